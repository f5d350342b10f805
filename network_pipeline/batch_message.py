"""Messages of many frames: one RecordBatch each, as an Arrow IPC stream.

Rows are published in as many messages as their size asks for: a body should be large enough that
the broker is not kept busy, and small enough that a message is not long in the way of others. What
was not published is the caller's to count.

What arrives is checked like a JSON message (:mod:`.message`), and held to the same rules, whole
columns at a time: headers, size, size once it is decompressed, columns and types, then values. One
message is of one agent and one session, which its headers name too, and has no frame twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from network_pipeline import arrow_arrays, arrow_stream, text_forms
from network_pipeline.errors import MessageError
from network_pipeline.message import (
    MAX_BODY_BYTES,
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
_BODY_BYTES = 1024 * 1024
_PLAIN_BYTES = MAX_PLAIN_BYTES // 4

#: How many times smaller rows are, at least in most cases, when they are compressed.
_COMPRESSES = 2

#: How full a message is meant to be, since the next rows may compress less well.
_FILL = 0.9

_FORMS_OF_TYPES = {
    "mac": text_forms.MAC,
    "ipv4": text_forms.IPV4,
    "ipv6": text_forms.IPV6,
    "string": text_forms.LINE,
}
_FORMS = {
    column.name: _FORMS_OF_TYPES[column.type]
    for column in COLUMNS
    if column.type in _FORMS_OF_TYPES
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
    for name, form in _FORMS.items():
        if not _fits(rows.column(name), form):
            raise MessageError(f"{name}: not a valid value")
    return rows


def _check_identity(rows: pa.RecordBatch, headers: Mapping[str, Any]) -> None:
    for name in ("source", "session"):
        value = _the_only_value(name, rows.column(name))
        if headers.get(name, value) != value:
            raise MessageError(f"another {name} than the headers say")
    if headers.get("count", rows.num_rows) != rows.num_rows:
        raise MessageError(f"{rows.num_rows} frames, not as many as the headers say")
    column = rows.column("frame_number")
    numbers = arrow_arrays.values(column, np.uint64)
    if column.null_count or not numbers.all():
        raise MessageError("no frame.number")
    if headers.get("first", numbers[0]) != numbers[0]:
        raise MessageError(f"frame {numbers[0]} comes first, not the one that the headers say")
    if not np.all(numbers[1:] > numbers[:-1]) and len(np.unique(numbers)) < len(numbers):
        raise MessageError("a frame.number twice")


def _the_only_value(name: str, column: pa.DictionaryArray) -> str:
    if column.null_count or not (value := column[0].as_py() if len(column) else None):
        raise MessageError(f"no {name}")
    places = arrow_arrays.values(column.indices, np.int32)
    if np.any(places != places[0]):
        raise MessageError(f"more than one {name}")
    return str(value)


def _fits(column: pa.Array[Any], form: int) -> bool:
    """Return whether the texts of a column have a form, those of a dictionary all of them."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary
    if column.null_count == len(column):
        return True
    return text_forms.all_fit(
        form,
        arrow_arrays.bitmap(column).data,
        column.offset,
        arrow_arrays.ends(column).data,
        arrow_arrays.octets(column).data,
    )
