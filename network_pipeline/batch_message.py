"""Messages of many frames: one RecordBatch each, as an Arrow IPC stream.

Rows are published in as many messages as their size asks for: a body should be large enough that
the broker is not kept busy, and small enough that a message is not long in the way of others. What
was not published is the caller's to count.

What arrives is checked like a JSON message (:mod:`.message`), and held to the same rules, whole
columns at a time: headers, size, size once it is decompressed, columns and types, then values. One
message is of one agent and one session, which its headers name too, and has no frame twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from network_pipeline import arrow_stream
from network_pipeline.errors import MessageError
from network_pipeline.message import (
    MAX_BODY_BYTES,
    TEXT_PATTERNS,
    Message,
    check_envelope,
    headers_of,
)
from network_pipeline.schema import COLUMNS, arrow_schema

ARROW_TYPE = "application/vnd.apache.arrow.stream"

#: Frames of one message.
MAX_ROWS = 65_536

#: What the buffers of one message may take once they are decompressed: all columns of MAX_ROWS
#: frames with a payload of 500 bytes, or 64 frames of the largest size.
MAX_PLAIN_BYTES = 64 * 1024 * 1024

#: A body is not larger than this unless it holds a single frame, nor, decompressed, than that.
_BODY_BYTES = 256 * 1024
_PLAIN_BYTES = MAX_PLAIN_BYTES // 4

#: How many times smaller rows are, at least in most cases, when they are compressed.
_COMPRESSES = 2

#: How full a message is meant to be, since the next rows may compress less well.
_FILL = 0.9

_TEXTS = {
    pattern: [column.name for column in COLUMNS if column.type == kind]
    for kind, pattern in TEXT_PATTERNS.items()
}


def encode(
    rows: pa.RecordBatch,
    *,
    source: str,
    session: str,
    compression: Literal["lz4", "zstd", "none"] = "lz4",
) -> list[Message]:
    """Return the messages that hold the rows, in order; ``count`` of their headers says how many.

    ``last`` is the last frame's number, since numbers may be missing between it and ``first``.
    A frame so large that no message can hold it (about 2 MiB) is left out: the counts of all
    messages then add up to less than the rows.
    """
    codec = None if compression == "none" else compression
    return [
        Message(body, ARROW_TYPE, _headers(source, session, piece.column("frame_number")))
        for body, piece in _bodies(rows, codec)
    ]


def _headers(source: str, session: str, numbers: pa.UInt64Array) -> dict[str, str | int]:
    headers = headers_of(source, session, numbers[0].as_py(), len(numbers))
    return {**headers, "last": numbers[-1].as_py()}


def _bodies(rows: pa.RecordBatch, codec: str | None) -> Iterator[tuple[bytes, pa.RecordBatch]]:
    """Yield bodies with the rows that they hold."""
    plain_bytes = rows.nbytes  # which takes a while to ask for
    begin, wanted = 0, _COMPRESSES * _BODY_BYTES * rows.num_rows // max(1, plain_bytes)
    while begin < rows.num_rows:
        piece = rows.slice(begin, min(max(1, wanted), MAX_ROWS))
        count = piece.num_rows
        body = arrow_stream.write(piece, codec)
        piece_bytes = piece.nbytes if plain_bytes > _PLAIN_BYTES else plain_bytes
        fullness = max(len(body) / _BODY_BYTES, piece_bytes / _PLAIN_BYTES)
        wanted = int(count * _FILL / fullness)
        if fullness > 1 and count > 1:
            continue
        begin += count
        if len(body) <= MAX_BODY_BYTES and piece_bytes <= MAX_PLAIN_BYTES:
            yield body, piece


def decode(body: bytes, content_type: str | None, headers: Mapping[str, Any]) -> pa.RecordBatch:
    """Return the checked rows that a message holds: at least one, with all columns.

    A message without headers is judged by its values alone, as a JSON message is.

    Raises:
        MessageError: it holds no batch of this schema, or something that no row may hold.
    """
    check_envelope(ARROW_TYPE, body, content_type, headers)
    try:
        rows = arrow_stream.read(
            body, arrow_schema(), most_plain_bytes=MAX_PLAIN_BYTES, most_rows=MAX_ROWS
        )
    except ValueError as error:
        raise MessageError(str(error)) from None
    _check_identity(rows, headers)
    for pattern, names in _TEXTS.items():
        _check_texts(rows, names, pattern)
    return rows


def _check_identity(rows: pa.RecordBatch, headers: Mapping[str, Any]) -> None:
    for name in ("source", "session"):
        value = _the_only_value(name, rows.column(name))
        if headers.get(name, value) != value:
            raise MessageError(f"another {name} than the headers say")
    if headers.get("count", rows.num_rows) != rows.num_rows:
        raise MessageError(f"{rows.num_rows} frames, not as many as the headers say")
    numbers = rows.column("frame_number")
    if numbers.null_count or pc.min(numbers).as_py() == 0:
        raise MessageError("no frame.number")
    first = numbers[0].as_py()
    if headers.get("first", first) != first:
        raise MessageError(f"frame {first} comes first, not the one that the headers say")
    if len(numbers.unique()) < len(numbers):
        raise MessageError("a frame.number twice")


def _the_only_value(name: str, column: pa.DictionaryArray) -> str:
    if column.null_count or not (value := column[0].as_py() if len(column) else None):
        raise MessageError(f"no {name}")
    if pc.count_distinct(column.indices).as_py() > 1:
        raise MessageError(f"more than one {name}")
    return str(value)


def _check_texts(rows: pa.RecordBatch, names: Sequence[str], pattern: str) -> None:
    """Check the texts of columns of one type.

    Together, since a pattern takes longer to compile than to match in one column; and what differs
    only once, since addresses and names come again and again. What can be seen to be right from
    the bytes of a column, which is most of it, is not matched at all.
    """
    is_plain = _PLAIN.get(pattern, lambda _texts: False)
    texts = {name: _present(rows.column(name)) for name in names}
    unclear = {name: each for name, each in texts.items() if len(each) and not is_plain(each)}
    distinct = {name: each.unique() for name, each in unclear.items()}
    if not distinct or _all_match(pa.concat_arrays(list(distinct.values())), pattern):
        return
    wrong = next(name for name, each in distinct.items() if not _all_match(each, pattern))
    raise MessageError(f"{wrong}: not a valid value")


def _present(column: pa.Array[Any]) -> pa.Array[Any]:
    """Return the texts of a column, those of a dictionary once."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary
    if column.null_count == len(column):
        return column.slice(0, 0)
    return column.drop_null() if column.null_count else column


def _octets(texts: pa.Array[Any]) -> tuple[NDArray[np.int32], bytes]:
    """Return how long texts are, and their bytes behind one another."""
    _, offsets, data = texts.buffers()
    begins = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return np.diff(begins), bytes(data or b"")[begins[0] : begins[-1]]


def _are_macs(texts: pa.Array[Any]) -> bool:
    lengths, octets = _octets(texts)
    return bool(np.all(lengths == len(_MAC))) and octets.translate(_HEX_DIGITS) == _MAC * len(texts)


def _are_ipv4(texts: pa.Array[Any]) -> bool:
    _, offsets, data = texts.buffers()
    shapes = pa.py_buffer(bytes(data or b"").translate(_DIGITS))
    shaped = pa.StringArray.from_buffers(len(texts), offsets, shapes, offset=texts.offset)
    return _IPV4_SHAPES.issuperset(shaped.unique().to_pylist())


def _are_ipv6(texts: pa.Array[Any]) -> bool:
    lengths, octets = _octets(texts)
    return bool(np.all((lengths >= 2) & (lengths <= 45))) and not octets.translate(
        None, b"0123456789abcdef:."
    )


def _are_printable(texts: pa.Array[Any]) -> bool:
    _, octets = _octets(texts)
    return not octets.translate(None, bytes(range(0x20, 0x7F)))


#: What digits are made, so that only the shape is left.
_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_HEX_DIGITS = bytes.maketrans(b"123456789abcdef", b"0" * 15)
_MAC = b":".join([b"00"] * 6)
_IPV4_SHAPES = frozenset(
    ".".join("0" * count for count in counts) for counts in product((1, 2, 3), repeat=4)
)

#: By type, what tells from the bytes of texts that they fit; where it says no, they may yet.
_SEEN: Mapping[str, Callable[[pa.Array[Any]], bool]] = {
    "mac": _are_macs,
    "ipv4": _are_ipv4,
    "ipv6": _are_ipv6,
    "string": _are_printable,
}
_PLAIN = {TEXT_PATTERNS[kind]: check for kind, check in _SEEN.items()}


def _all_match(texts: pa.Array[Any], pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(texts, f"^(?:{pattern})$"), min_count=0).as_py())
