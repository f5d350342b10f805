"""One RecordBatch as an Arrow IPC stream, and back from bytes that nobody vouches for.

A stream is messages: a schema, the dictionaries, the batch. Arrow's own reader takes care of their
framing and verifies their metadata; what it has no limit for is how much memory compressed buffers
ask for. Each begins with its plain length (8 bytes, little endian, -1: not compressed), so the sum
is known before anything is decompressed. Where the buffers lie is said in the message's metadata, a
FlatBuffers table of which a few fields are read here. Only then is the stream opened, and all that
it holds validated: lengths, offsets, UTF-8, indices of dictionaries. Nothing is ever unpickled:
extension types make another schema.

Sources: "Arrow Columnar Format", section "Serialization and Interprocess Communication (IPC)", with
its Schema.fbs and Message.fbs; "FlatBuffers Internals".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from pyarrow import ipc

_IN_ONE_THREAD = ipc.IpcReadOptions(use_threads=False)

# Places of fields in the tables of Message.fbs.
_MESSAGE_HEADER = 2
_DICTIONARY_DATA = 1
_BATCH_BUFFERS = 2
_BATCH_COMPRESSION = 3

#: What comes before a compressed buffer: its plain length.
_PREFIX_BYTES = 8


def write(rows: pa.RecordBatch, compression: str | None) -> bytes:
    """Return the rows as a stream; ``compression`` is that of its buffers: lz4, zstd or None."""
    sink = pa.BufferOutputStream()
    options = ipc.IpcWriteOptions(compression=compression, use_threads=False)
    with ipc.new_stream(sink, rows.schema, options=options) as stream:
        stream.write_batch(rows)
    return bytes(sink.getvalue())


def read(
    body: bytes, schema: pa.Schema, *, most_plain_bytes: int, most_rows: int
) -> pa.RecordBatch:
    """Return the batch of a stream that holds one batch of this schema, validated, and no more.

    Raises:
        ValueError: it does not, or is larger; the text is a reason that quotes no content.
    """
    try:
        plain_bytes = sum(map(_plain_bytes, _messages(body)))
        if plain_bytes > most_plain_bytes:
            raise ValueError(f"{plain_bytes} bytes decompressed, the limit is {most_plain_bytes}")
        with ipc.open_stream(body, options=_IN_ONE_THREAD) as stream:
            if not stream.schema.equals(schema):
                raise ValueError("an Arrow stream with other columns")
            rows = stream.read_next_batch()
        if rows.num_rows > most_rows:
            raise ValueError(f"{rows.num_rows} rows, the limit is {most_rows}")
        rows.validate(full=True)
    except (pa.ArrowException, struct.error, OSError, EOFError) as error:
        raise ValueError(f"not an Arrow stream ({type(error).__name__})") from None
    return rows


def _messages(body: bytes) -> list[ipc.Message]:
    """Return the messages of a stream after its schema: dictionaries, and a batch as the last."""
    file = pa.BufferReader(body)
    messages = list(_up_to_end(file))
    kinds = [message.type for message in messages]
    if kinds != ["schema", *["dictionary"] * (len(kinds) - 2), "record batch"]:
        raise ValueError("an Arrow stream that holds more than one batch or none")
    if any(message.metadata_version != ipc.MetadataVersion.V5 for message in messages):
        raise ValueError("an Arrow stream of another version of its format")
    if file.tell() != len(body):
        raise ValueError("an Arrow stream that is cut, or with bytes behind its end")
    return messages[1:]


def _up_to_end(file: pa.NativeFile) -> Iterator[ipc.Message]:
    reader = ipc.MessageReader.open_stream(file)
    while True:
        try:
            yield reader.read_next_message()
        except StopIteration:
            return


def _plain_bytes(message: ipc.Message) -> int:
    """Return how much memory the message's buffers take once they are decompressed."""
    data = memoryview(message.metadata)
    batch = _follow(data, _field(data, _follow(data, 0), _MESSAGE_HEADER))
    if message.type == "dictionary":
        batch = _follow(data, _field(data, batch, _DICTIONARY_DATA))
    if not _field(data, batch, _BATCH_COMPRESSION):
        return len(message.body)
    buffers = _follow(data, _field(data, batch, _BATCH_BUFFERS))
    [count] = struct.unpack_from("<I", data, buffers)
    places = np.frombuffer(data, "<i8", 2 * count, buffers + 4).reshape(-1, 2)
    offsets, lengths = places[places[:, 1] > 0].T
    body = np.frombuffer(message.body, np.uint8)
    if np.any((lengths < _PREFIX_BYTES) | (offsets < 0) | (offsets > len(body) - _PREFIX_BYTES)):
        raise ValueError("an Arrow stream with buffers that are not there")
    plain = body[offsets[:, None] + np.arange(_PREFIX_BYTES)].view("<i8")[:, 0]
    return int(np.where(plain >= 0, plain, lengths).sum(dtype=object))


# -- FlatBuffers: fields are found through a table's vtable, tables and vectors through offsets ----


def _field(data: memoryview, table: int, number: int) -> int:
    """Return where a table has the field with this number; 0: nowhere."""
    vtable = table - int(struct.unpack_from("<i", data, table)[0])
    [size] = struct.unpack_from("<H", data, vtable)
    entry = 4 + 2 * number
    offset = int(struct.unpack_from("<H", data, vtable + entry)[0]) if entry < size else 0
    return table + offset if offset else 0


def _follow(data: memoryview, place: int) -> int:
    """Return where the offset at this place leads."""
    return place + int(struct.unpack_from("<I", data, place)[0])
