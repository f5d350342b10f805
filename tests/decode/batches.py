"""Frames as batches, and decoded batches as rows that can be compared with nested ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from network_pipeline.decode import nested, text
from network_pipeline.decode.columnar import decode_batch
from network_pipeline.frames import Frame, FrameBatch
from network_pipeline.schema import COLUMNS
from tests.decode import tshark

SOURCE = "agent"
SESSION = "7f3c0b1e-6d0a-4f54-9d2b-0c8a6a2b1f00"


def batch_of(frames: Sequence[Frame], around: bytes = b"") -> FrameBatch:
    """Return frames as a batch, in a buffer in which every frame stands between other bytes."""
    sizes = [len(frame.data) for frame in frames]
    ends = np.cumsum([size + len(around) for size in sizes], dtype=np.int64)
    names = tuple(dict.fromkeys(frame.interface for frame in frames))
    return FrameBatch(
        buffer=around + b"".join(frame.data + around for frame in frames),
        offsets=ends - np.array(sizes, np.int64),
        lengths=np.array(sizes, np.uint32),
        wire_lens=np.array([frame.wire_len for frame in frames], np.uint32),
        times_ns=np.array([frame.time_ns for frame in frames], np.int64),
        numbers=np.array([frame.number for frame in frames], np.uint64),
        link_types=np.array([frame.link_type for frame in frames], np.uint16),
        interfaces=np.array([names.index(frame.interface) for frame in frames], np.uint16),
        interface_names=names,
    )


def decoded(frames: Sequence[Frame], around: bytes = b"\xff" * 8) -> pa.RecordBatch:
    """Return the decoded batch of frames, its buffers checked."""
    batch = decode_batch(batch_of(frames, around), source=SOURCE, session=SESSION)
    batch.validate(full=True)
    return batch


def rows_of(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Return rows as the nested decoder has their values, absent ones left out."""
    names = [column.name for column in COLUMNS]
    columns = [_values(column.type, batch.column(column.name)) for column in COLUMNS]
    return [
        {name: value for name, value in zip(names, row, strict=True) if value is not None}
        for row in zip(*columns, strict=True)
    ]


def _values(kind: str, array: Any) -> list[Any]:
    if kind == "hex":
        return [None if value is None else value.hex() for value in array.to_pylist()]
    if kind.startswith("timestamp"):
        values = array.cast(pa.int64()).to_pylist()
        return [None if value is None else text.time(value) for value in values]
    return list(array.to_pylist())


def nested_rows(frames: Sequence[Frame]) -> list[dict[str, Any]]:
    """Return the rows that the nested decoder makes of frames."""
    return [
        {"source": SOURCE, "session": SESSION, **tshark.row_of(nested.decode(frame))}
        for frame in frames
    ]


def differences(frames: Sequence[Frame], batch: pa.RecordBatch) -> list[str]:
    """Return where a decoded batch differs from the nested decoder's rows of the same frames."""
    found = []
    rows = rows_of(batch)
    assert len(rows) == len(frames)
    for row, expected in zip(rows, nested_rows(frames), strict=True):
        found += [
            f"frame {expected['frame_number']} {name}: {row.get(name)!r} is {expected.get(name)!r}"
            for name in row.keys() | expected.keys()
            if row.get(name) != expected.get(name)
        ]
    return found
