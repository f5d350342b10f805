"""What the messages of a queue hold, whatever their kind: the rows of frames of one session.

A JSON message holds one nested dict, an Arrow message a record batch. Both go through a processor
as they are; what it needs to know of them is here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from network_pipeline import arrow_arrays, batch_message, message
from network_pipeline.errors import MessageError
from network_pipeline.message import Nested

#: A frame, or a batch of frames with all columns.
Rows: TypeAlias = "Nested | pa.RecordBatch"

_DECODERS: dict[str, Callable[[bytes, str | None, Mapping[str, Any]], Rows]] = {
    message.JSON_TYPE: message.decode,
    batch_message.ARROW_TYPE: batch_message.decode,
}


def decode(body: bytes, content_type: str | None, headers: Mapping[str, Any]) -> Rows:
    """Return the checked rows of a message.

    Raises:
        MessageError: it is of no known type, or holds no frames that this version has columns for.
    """
    decoder = _DECODERS.get(content_type or "")
    if decoder is None:
        raise MessageError(f"content type {content_type!r:.80} is none of {', '.join(_DECODERS)}")
    return decoder(body, content_type, headers)


def claimed_count(headers: Mapping[str, Any]) -> int:
    """Return how many frames a message has by its headers; 1 where they say nothing credible."""
    count = headers.get("count")
    return count if type(count) is int and 1 <= count <= batch_message.MAX_ROWS else 1


def session(rows: Rows) -> str:
    """Return the session that the frames belong to."""
    if isinstance(rows, pa.RecordBatch):
        return str(rows.column("session")[0].as_py())
    return str(rows["session"])


def source(rows: Rows) -> str:
    """Return the name of the agent that captured the frames."""
    if isinstance(rows, pa.RecordBatch):
        return str(rows.column("source")[0].as_py())
    return str(rows["source"])


def numbers(rows: Rows) -> NDArray[np.uint64]:
    """Return the frames' numbers in the session."""
    if isinstance(rows, pa.RecordBatch):
        return arrow_arrays.values(rows.column("frame_number"), np.uint64)
    return np.array([rows["frame"]["number"]], np.uint64)


def count(rows: Rows) -> int:
    """Return how many frames they are."""
    return rows.num_rows if isinstance(rows, pa.RecordBatch) else 1
