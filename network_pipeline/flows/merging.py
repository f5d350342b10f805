"""Rows of several files of one session, in the order of its frames.

The files of a partitioned dataset are one day each, and a capture's times may go back over
midnight. Of every file one batch waits; what is yielded are the rows up to the least of their last
frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from network_pipeline.errors import DatasetError

_NUMBER = "frame_number"


class _Head(NamedTuple):
    """What waits of a file: rows, the numbers of their frames, and what comes after them."""

    rows: pa.RecordBatch
    numbers: NDArray[np.int64]
    rest: Iterator[pa.RecordBatch]


def merged(streams: Sequence[Iterator[pa.RecordBatch]]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of streams, each of which is in the order of its frames.

    Raises:
        DatasetError: a frame is there twice.
    """
    heads = [head for stream in streams if (head := _next(stream))]
    while len(heads) > 1:
        limit = min(int(head.numbers[-1]) for head in heads)
        taken: list[pa.RecordBatch] = []
        left: list[_Head | None] = []
        for head in heads:
            count = int(np.searchsorted(head.numbers, limit, side="right"))
            if count:
                taken.append(head.rows.slice(0, count))
            left.append(_without(head, count))
        yield _in_order(taken)
        heads = [head for head in left if head]
    for head in heads:
        yield head.rows
        yield from head.rest


def _next(stream: Iterator[pa.RecordBatch]) -> _Head | None:
    for rows in stream:
        if rows.num_rows:
            return _Head(rows, rows.column(_NUMBER).cast(pa.int64()).to_numpy(), stream)
    return None


def _without(head: _Head, count: int) -> _Head | None:
    """Return what waits of a file after ``count`` rows."""
    if count == head.rows.num_rows:
        return _next(head.rest)
    return _Head(head.rows.slice(count), head.numbers[count:], head.rest)


def _in_order(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    if len(batches) == 1:
        return batches[0]
    table = pa.concat_tables(
        [pa.Table.from_batches([each]) for each in batches], promote_options="default"
    )
    numbers = table.column(_NUMBER).cast(pa.int64()).to_numpy()
    order = np.argsort(numbers, kind="stable")
    if (np.diff(numbers[order]) == 0).any():
        raise DatasetError("files of one part have the same frames")
    ordered = table.unify_dictionaries().take(order).combine_chunks()
    [batch] = ordered.to_batches()
    return batch
