"""A directory of Parquet files by source and date, as Hive, Spark, polars and Arrow read them.

Rows of one input go to ``source=NAME/date=YYYY-MM-DD/PART.parquet``, one file for each source and
each day (in UTC) that the input has; rows without a time to ``date=__HIVE_DEFAULT_PARTITION__``.
``PART`` is the input's, so two inputs never meet in a file, they can be written at once by whoever
likes, and writing one again puts the same files in the place of those before. Names of sources are
percent-encoded. The files have the column ``source`` too: each is a dataset by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from network_pipeline import places
from network_pipeline.errors import DatasetError

#: What the name of a part begins and ends with.
PREFIX, ENDING = "part-", ".parquet"

#: What Hive calls the partition of rows that have no value.
_NONE = "__HIVE_DEFAULT_PARTITION__"

_DAY_NS = 86_400 * 10**9
#: Days of rows without a time.
_NO_DAY = np.iinfo(np.int64).min

#: Files that one input may fill at a time; more days than that are no capture but broken times.
_MOST_FILES = 400


class Takes(Protocol):
    """What rows are given to, with texts about where they come from."""

    facts: dict[str, str]

    def append(self, batch: pa.RecordBatch) -> None:
        """Take rows."""


#: Begins a file at a path.
Begins = Callable[[Path], AbstractContextManager[Takes]]


class Partition(NamedTuple):
    """Where rows belong: the name of their source, and days since 1970."""

    source: str
    day: int

    def directory(self, *, is_hive: bool) -> str:
        """Return the names of its directories: Hive's, or such that readers make no columns of."""
        date = _NONE if self.day == _NO_DAY else str(np.datetime64(self.day, "D"))
        source = quote(self.source, safe="") or _NONE
        return f"source={source}/date={date}" if is_hive else f"source-{source}/date-{date}"


class Partitions:
    """Takes the rows of one input as an export does; a context manager.

    Files are begun by ``begins`` when their first row comes and appear when the block ends without
    an error. ``time`` is the column that tells the date. ``files`` are their names then. Where
    readers must not make columns of directories, the names of these are not as in Hive.
    """

    def __init__(
        self, root: str, part: str, begins: Begins, time: str, *, is_hive: bool = True
    ) -> None:
        self.facts: dict[str, str] = {}
        self.files: list[str] = []
        self._root = places.directory(root)
        self._part = part
        self._begins = begins
        self._time = time
        self._is_hive = is_hive
        self._open: dict[Partition, Takes] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def append(self, batch: pa.RecordBatch) -> None:
        """Take rows, and give each to the file that it belongs to.

        Raises:
            DatasetError: they cannot be written.
        """
        for partition, rows in _parted(batch, self._time):
            if partition not in self._open:
                self._begin(partition)
            self._open[partition].append(rows)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for opened in self._open.values():
            opened.facts |= self.facts
        self._stack.__exit__(kind, error, trace)
        self.files.sort()

    def _begin(self, partition: Partition) -> None:
        if len(self._open) == _MOST_FILES:
            raise DatasetError(f"rows of more than {_MOST_FILES} days in one input")
        name = f"{self._root}/{partition.directory(is_hive=self._is_hive)}/{self._part}"
        self._open[partition] = self._stack.enter_context(_file(name, self._begins))
        self.files.append(name)


@contextmanager
def _file(name: str, begins: Begins) -> Iterator[Takes]:
    with places.written(name) as path, begins(path) as takes:
        yield takes


def part_name(digest: str) -> str:
    """Return the name of the part files of an input, made of the SHA-256 of its content."""
    return f"{PREFIX}{digest[:32]}{ENDING}"


def is_part(name: str) -> bool:
    """Return whether a file is called as the parts of a partitioned dataset are."""
    return name.startswith(PREFIX) and name.endswith(ENDING)


def sweep(root: str, written: Mapping[str, Sequence[str]]) -> list[str]:
    """Remove files that parts had before and no longer have; return their names.

    ``written`` has the files of every part. Files in the making are gone with them: those that a
    worker left that died.

    Raises:
        UsageError, DatasetError: the directory cannot be listed, or files not be removed.
    """
    kept = {name for names in written.values() for name in names}
    old = [
        name
        for name in places.under(root, hidden=True)
        if name not in kept and _part_of(name) in written
    ]
    for name in old:
        places.remove(name)
    return old


def _part_of(name: str) -> str:
    last = name.rpartition("/")[2]
    begin, ending, _ = last.removeprefix(".").partition(ENDING)
    return begin + ending


def _parted(batch: pa.RecordBatch, time: str) -> Iterator[tuple[Partition, pa.RecordBatch]]:
    """Yield the rows of every partition, in the order in which these come first."""
    days = _days(batch.column(time))
    sources, names = _sources(batch.column("source"))
    keys = np.stack([sources, days])
    distinct, first, places_of = np.unique(keys, axis=1, return_index=True, return_inverse=True)
    for number in np.argsort(first).tolist():
        source, day = distinct[:, number].tolist()
        rows = batch
        if len(first) > 1:
            rows = batch.filter(pa.array(places_of.reshape(-1) == number))
        yield Partition(names[source], day), rows


def _days(column: pa.Array[pa.Scalar]) -> NDArray[np.int64]:
    moments = column.cast(pa.int64())
    days: NDArray[np.int64] = np.floor_divide(
        moments.fill_null(0).to_numpy(zero_copy_only=False), _DAY_NS
    )
    return np.where(moments.is_valid().to_numpy(zero_copy_only=False), days, _NO_DAY)


def _sources(column: pa.Array[pa.Scalar]) -> tuple[NDArray[np.int64], list[str]]:
    """Return which source every row has, by place, and their names; no name is an empty one."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    coded = pc.dictionary_encode(column.fill_null(""))
    return coded.indices.cast(pa.int64()).to_numpy(zero_copy_only=False), (
        coded.dictionary.to_pylist()
    )
