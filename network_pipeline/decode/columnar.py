"""A batch of frames as one Arrow RecordBatch: locate, then gather.

:mod:`.layers` walks through each frame once and notes where its layers begin; then each column is
one tight loop over a layer's places (:mod:`.gather`), driven by the schema's table: a new fixed
field is a new row there and nothing else. Rows equal those of :mod:`.nested`, whose docstring says
what becomes of malformed frames.

Nothing is raised, whatever the bytes of the frames are; nothing is read outside of them, so that a
row never depends on its neighbours. The loops release the GIL. A process that decodes many batches
is faster after :func:`network_pipeline.settings.keep_freed_memory`.
"""

from __future__ import annotations

import functools
import hashlib
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from network_pipeline import schema
from network_pipeline.decode import dns_reader, gather, layers, text
from network_pipeline.decode.assembly import Assembly, filled, memory, offsets_of
from network_pipeline.decode.options import MOST_BLOCKS_TEXT
from network_pipeline.decode.places import ERRORS, LAYERS, PLACES, SPANS, error
from network_pipeline.decode.written import Text
from network_pipeline.frames import NO_TIME, FrameBatch

#: Whether the loops run as machine code, or as Python with the same results.
COMPILED: Final = not layers.__file__.endswith(".py")

#: A buffer must be less than this from its first frame's beginning to its last one's end.
MOST_BYTES: Final = 2**31

_DIGEST_BYTES = 16
_TEXT_BYTES = 64  # that a text of a DNS message seldom exceeds

_IP_OPTIONS, _TCP_OPTIONS, _DNS_MESSAGE, _RAW, _PADDING = range(-len(SPANS), 0)
_DNS, _DNS_QUESTION, _DNS_ANSWERS, _TCP_SACK, _TCP_PAYLOAD_LEN = map(
    PLACES.index, ("dns", "dns_question", "dns_answers", "tcp_sack", "tcp_payload_len")
)

#: The types of numbers in headers, and the loops for addresses of so many bytes.
_KINDS = ("uint8", "uint16", "uint32")
_DTYPES: tuple[type[np.generic], ...] = (np.uint8, np.uint16, np.uint32)
_TYPES = (pa.uint8(), pa.uint16(), pa.uint32())
_ADDRESS_LOOPS = {4: gather.ipv4s, 6: gather.macs, 16: gather.ipv6s}

#: By its number: where the text of an error is in their list.
_ERROR_TEXTS = list(ERRORS.values())
_ERROR_CHOICES = np.full(256, -1, np.int32)
_ERROR_CHOICES[list(ERRORS)] = range(len(ERRORS))

_Columns = dict[str, "pa.Array[Any]"]


class _Located(NamedTuple):
    """Frames in ``data`` and what their walks found: rows are places, columns are frames."""

    data: memoryview
    places: NDArray[np.int32]
    ends: NDArray[np.int32]
    payload_lens: NDArray[np.uint32]
    errors: NDArray[np.uint8]


def decode_batch(
    batch: FrameBatch,
    *,
    source: str,
    session: str,
    payload_bytes: int | None = None,
    payload_key: bytes | None = None,
) -> pa.RecordBatch:
    """Return a row with all columns of the schema for every frame of a batch, in order.

    ``source`` and ``session`` say which agent saw the frames in which run. ``raw_load`` is cut to
    ``payload_bytes``, null for all if that is 0. With ``payload_key`` (1 to 64 bytes) it and
    ``padding_load`` hold keyed BLAKE2b digests (RFC 7693) of 16 bytes in the place of content.

    Raises:
        ValueError: a frame is not in the buffer, or frames are 2 GiB apart, or their DNS messages
            hold more than 1 GiB of text.
    """
    located = locate(batch)
    texts = _read_dns(located)
    assembly = Assembly(located.places)
    columns = {
        "source": assembly.same(source),
        "session": assembly.same(session),
        **_frame_columns(batch, located.errors, assembly),
        **_number_columns(located, assembly),
        **_address_columns(located, assembly),
        **_tcp_columns(located, assembly),
        **_dns_columns(texts, assembly),
        **_span_columns(located, assembly, payload_bytes, payload_key),
    }
    arrays = [
        columns[name] if name in columns else assembly.absent(kind) for name, kind in _types()
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema.arrow_schema())


@functools.cache
def _types() -> list[tuple[str, pa.DataType]]:
    """Return the names and types of all columns; pyarrow makes them anew whenever it is asked."""
    arrow_schema = schema.arrow_schema()
    return list(zip(arrow_schema.names, arrow_schema.types, strict=True))


def locate(batch: FrameBatch) -> _Located:
    """Walk through all frames and note where their layers begin.

    Raises:
        ValueError: a frame is not in the buffer, or frames are 2 GiB apart.
    """
    data, offsets = _frames_of(batch)
    rows = len(offsets)
    located = _Located(
        data,
        places=filled((len(PLACES), rows), np.int32, -1),
        ends=filled((len(SPANS), rows), np.int32, -1),
        payload_lens=filled((rows,), np.uint32, 0),
        errors=filled((rows,), np.uint8, 0),
    )
    _, places, ends, payload_lens, errors = located
    walk = layers.Walk(data, places.data, ends.data, payload_lens.data)
    layers.locate(
        walk,
        offsets.data,
        np.ascontiguousarray(batch.lengths, np.uint32).data,
        np.ascontiguousarray(batch.wire_lens, np.uint32).data,
        np.ascontiguousarray(batch.link_types, np.uint16).data,
        errors.data,
    )
    errors[batch.times_ns == NO_TIME] = error("frame", "time")
    return located


def _frames_of(batch: FrameBatch) -> tuple[memoryview, NDArray[np.int32]]:
    """Return the part of the buffer that has all frames, and where they begin in it."""
    buffer = memoryview(batch.buffer).cast("B")
    if len(batch) == 0:
        return buffer[:0], filled((0,), np.int32, 0)
    first = int(batch.offsets.min())
    last = int((batch.offsets + batch.lengths).max())
    if first < 0 or last > len(buffer):
        raise ValueError(f"frames from byte {first} to {last} of {len(buffer)}")
    if last - first >= MOST_BYTES:
        raise ValueError(f"frames are {last - first} bytes apart, the limit is {MOST_BYTES}")
    return buffer[first:last], (batch.offsets - first).astype(np.int32)


def _frame_columns(batch: FrameBatch, errors: NDArray[np.uint8], assembly: Assembly) -> _Columns:
    names = [None if name is None else text.printable(name) for name in batch.interface_names]
    texts = list(dict.fromkeys(name for name in names if name is not None))
    choices = np.array([-1 if name is None else texts.index(name) for name in names], np.int32)
    times = np.array(batch.times_ns, np.int64)
    return {
        "frame_number": assembly.of_rows(pa.uint64(), np.array(batch.numbers, np.uint64)),
        "frame_time": assembly.of_rows(pa.timestamp("ns", "UTC"), times, times != NO_TIME),
        "frame_interface": assembly.chosen(texts, choices[batch.interfaces]),
        "frame_len": assembly.of_rows(pa.uint32(), np.array(batch.wire_lens, np.uint32)),
        "frame_caplen": assembly.of_rows(pa.uint32(), np.array(batch.lengths, np.uint32)),
        "frame_error": assembly.chosen(_ERROR_TEXTS, _ERROR_CHOICES[errors]),
    }


# -- fixed fields ----------------------------------------------------------------------------------


class _Fixed(NamedTuple):
    """A column that is a fixed field; ``kind`` of a number is its type's place in a list."""

    name: str
    place: int
    field: schema.Field
    kind: int


_FIXED = [
    _Fixed(
        column.name,
        PLACES.index(column.field.place or column.layer),
        column.field,
        _KINDS.index(column.type) if column.type in _KINDS else -1,
    )
    for column in schema.COLUMNS
    if column.field
]
_NUMBERS = sorted((fixed for fixed in _FIXED if fixed.kind >= 0), key=lambda each: each.place)
_ADDRESSES = [fixed for fixed in _FIXED if fixed.kind < 0]


def _number_columns(located: _Located, assembly: Assembly) -> _Columns:
    """Return the columns of the places that any row has: those of a type are one array's rows."""
    fields: tuple[list[_Fixed], ...] = ([], [], [])
    rules = []
    for fixed in _NUMBERS:
        if assembly.count(fixed.place):
            rules.append((fixed.place, *fixed.field[:4], fixed.kind, len(fields[fixed.kind])))
            fields[fixed.kind].append(fixed)
    values = [
        filled((len(each), assembly.rows), dtype, 0)
        for each, dtype in zip(fields, _DTYPES, strict=True)
    ]
    gather.numbers(
        located.data,
        located.places.data,
        assembly.rows,
        np.array(rules, np.int64).reshape(-1, gather.RULE_NUMBERS).data,
        memory((2, gather.ROWS_AT_ONCE), np.int32).data,
        *(each.data for each in values),
    )
    return {
        fixed.name: assembly.of_place(fixed.place, kind, row)
        for kind, each, rows in zip(_TYPES, fields, values, strict=True)
        for fixed, row in zip(each, rows, strict=True)
    }


def _address_columns(located: _Located, assembly: Assembly) -> _Columns:
    columns: _Columns = {}
    for name, place, field, _ in _ADDRESSES:
        count = assembly.count(place)
        if count == 0:
            continue
        written = memory((count * gather.MOST_ADDRESS_TEXT[field.width],), np.uint8)
        offsets = memory((assembly.rows + 1,), np.int32)
        offsets[0] = 0
        write = _ADDRESS_LOOPS[field.width]
        used = write(
            located.data, located.places[place].data, field.offset, written.data, offsets.data
        )
        columns[name] = assembly.of_place(place, pa.string(), offsets, written[:used])
    return columns


def _tcp_columns(located: _Located, assembly: Assembly) -> _Columns:
    """Return what is no fixed field: the payload's length and the blocks of SACK."""
    lens = assembly.of_place(_TCP_PAYLOAD_LEN, pa.uint32(), located.payload_lens)
    written = memory((assembly.count(_TCP_SACK) * MOST_BLOCKS_TEXT,), np.uint8)
    offsets = filled((assembly.rows + 1,), np.int32, 0)
    out = Text(written.data)
    gather.blocks(located.data, located.places[_TCP_SACK].data, out, offsets.data)
    blocks = assembly.of_place(_TCP_SACK, pa.string(), offsets, written[: out.used])
    return {"tcp_payload_len": lens, "tcp_options_sack": blocks}


# -- DNS -------------------------------------------------------------------------------------------


class _Texts(NamedTuple):
    """Arrow offsets (a row each) and bytes of the texts that DNS messages hold."""

    offsets: NDArray[np.int32]
    texts: list[Text]


def _read_dns(located: _Located) -> _Texts:
    """Read all messages and note where they have a question, answers, and errors."""
    _, places, ends, _, errors = located
    rows = places.shape[1]
    sizes = (ends[_DNS_MESSAGE] - places[_DNS])[places[_DNS] >= 0]
    capacity = dns_reader.most_written(int(sizes.max(initial=0))) + _TEXT_BYTES * len(sizes)
    texts = [Text(memory((capacity,), np.uint8).data) for _ in range(dns_reader.TEXTS)]
    reader = dns_reader.Reader(located.data, texts)
    offsets = filled((dns_reader.TEXTS, rows + 1), np.int32, 0)
    reasons = filled((rows,), np.uint8, 0)
    read = partial(
        dns_reader.read_column,
        reader,
        places[_DNS].data,
        ends[_DNS_MESSAGE].data,
        places[_DNS_QUESTION].data,
        places[_DNS_ANSWERS].data,
        offsets.data,
        reasons.data,
    )
    row = 0
    while (row := read(row)) < rows:
        if 2 * len(texts[0].data) > MOST_BYTES:
            raise ValueError(f"DNS messages hold more than {len(texts[0].data)} bytes of text")
        for out in texts:
            out.widen()
    wrong = (errors == 0) & (reasons > 0)
    errors[wrong] = LAYERS.index("dns") << 4 | reasons[wrong]
    return _Texts(offsets, texts)


def _dns_columns(found: _Texts, assembly: Assembly) -> _Columns:
    names = ("dns_qd_qname", "dns_an_rrname", "dns_an_type", "dns_an_ttl", "dns_an_rdata")
    columns: _Columns = {}
    for name, offsets, out in zip(names, found.offsets, found.texts, strict=True):
        place = _DNS_QUESTION if name == "dns_qd_qname" else _DNS_ANSWERS
        written = np.array(out.data[: out.used])  # copied, since most of the memory is not used
        columns[name] = assembly.of_place(place, pa.string(), offsets, written)
    return columns


# -- bytes -----------------------------------------------------------------------------------------


def _span_columns(
    located: _Located, assembly: Assembly, payload_bytes: int | None, payload_key: bytes | None
) -> _Columns:
    sizes = located.ends - located.places[-len(SPANS) :]
    columns = {
        "ip_options": _copied(located, assembly, _IP_OPTIONS, sizes[_IP_OPTIONS]),
        "tcp_options_raw": _copied(located, assembly, _TCP_OPTIONS, sizes[_TCP_OPTIONS]),
        "raw_len": assembly.of_place(_RAW, pa.uint32(), sizes[_RAW].astype(np.uint32)),
    }
    of_payload = _copied if payload_key is None else partial(_digests, key=payload_key)
    columns["padding_load"] = of_payload(located, assembly, _PADDING, sizes[_PADDING])
    if payload_bytes != 0:
        cut = sizes[_RAW] if payload_bytes is None else np.minimum(sizes[_RAW], payload_bytes)
        columns["raw_load"] = of_payload(located, assembly, _RAW, cut)
    return columns


def _copied(
    located: _Located, assembly: Assembly, place: int, sizes: NDArray[np.int32]
) -> pa.Array[Any]:
    if assembly.count(place) == 0:
        return assembly.absent(pa.binary())
    offsets = offsets_of(sizes)
    copied = memory((int(offsets[-1]),), np.uint8)
    gather.spans(located.data, located.places[place].data, offsets.data, copied.data)
    return assembly.of_place(place, pa.binary(), offsets, copied)


def _digests(
    located: _Located, assembly: Assembly, place: int, sizes: NDArray[np.int32], key: bytes
) -> pa.Array[Any]:
    present = located.places[place] >= 0
    begins = located.places[place][present].tolist()
    digests = [
        hashlib.blake2b(located.data[at : at + size], key=key, digest_size=_DIGEST_BYTES).digest()
        for at, size in zip(begins, sizes[present].tolist(), strict=True)
    ]
    offsets = offsets_of(np.where(present, _DIGEST_BYTES, 0).astype(np.int32))
    return assembly.of_place(
        place, pa.binary(), offsets, np.frombuffer(b"".join(digests), np.uint8)
    )
