"""Rows of several files of one session, in the order of its frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from network_pipeline.errors import DatasetError
from network_pipeline.flows.merging import merged


def stream(numbers: Sequence[int], size: int) -> Iterator[pa.RecordBatch]:
    for first in range(0, len(numbers), size):
        part = pa.array(numbers[first : first + size], pa.uint64())
        sources = pa.array([f"s{number}" for number in part.to_pylist()]).dictionary_encode()
        yield pa.RecordBatch.from_arrays([part, sources], names=["frame_number", "source"])


@given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 7))
def test_frames_come_in_their_order(files_of_frames: list[int], size: int) -> None:
    files = [[n for n, each in enumerate(files_of_frames, 1) if each == file] for file in range(4)]
    rows = [
        row for batch in merged([stream(file, size) for file in files]) for row in batch.to_pylist()
    ]
    expected = [{"frame_number": n, "source": f"s{n}"} for n in range(1, len(files_of_frames) + 1)]
    assert rows == expected


def test_a_frame_in_two_files_is_refused() -> None:
    with pytest.raises(DatasetError, match="files of one part have the same frames"):
        list(merged([stream([1, 2, 5], 9), stream([2, 3], 9)]))
