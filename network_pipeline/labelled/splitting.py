"""The second time over the rows: they get their fold, and names are made others if asked for.

What comes of it is written to two files, or, of each table by itself, to part files: the rows with
every column, and the training view with the same rows in the same order. Directories of the view
have no keys in their names, since readers would make columns of them that tell who sent the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from network_pipeline import places
from network_pipeline.dataset.partitions import Partitions
from network_pipeline.labelled import meaning, parquet, splits
from network_pipeline.labelled.anonymize import Anonymizer
from network_pipeline.labelled.groups import KEY
from network_pipeline.labelled.rows import Rows
from network_pipeline.labelled.tables import BATCH_ROWS

#: What the two tables of a dataset are called, files or directories.
ROWS = "rows.parquet"
TRAINING = "training.parquet"

#: The column with the side that a row is on.
SPLIT = "split"

#: The columns that tell partitions; no dataset has the second one.
_SOURCE, _TIME = "source", "@time"


@dataclass(frozen=True)
class Splitting:
    """Splits labelled rows.

    ``folds`` are boundaries in time, or names a file with the fold of every key. ``roles`` are
    those of the columns, ``key`` is what to anonymize with, if that is asked for.
    """

    folds: splits.Boundaries | str
    roles: Mapping[str, str]
    key: bytes | None

    def frames(self, staged: str) -> Iterator[pl.DataFrame]:
        """Yield the rows of a file that labelling has made.

        Raises:
            UsageError: it cannot be read.
        """
        folds = _loaded(self.folds) if isinstance(self.folds, str) else self.folds
        anonymizer = Anonymizer(self.key, self.roles) if self.key else None
        with places.fetched(staged) as path:
            batches = parquet.scan(path).collect_batches(chunk_size=BATCH_ROWS, maintain_order=True)
            for batch in batches:
                frame = _split(batch, folds)
                yield anonymizer.anonymize(frame) if anonymizer else frame


class Staged(NamedTuple):
    """The labelled rows of a table: the file where they wait, and the name of their part files."""

    name: str
    part: str


class Parted(NamedTuple):
    """What came of a table: rows by fold, and part files."""

    folds: Counter[str]
    files: list[str]


@dataclass(frozen=True)
class Parting:
    """Writes the part files of a table in ``root``; ``rows`` and ``training`` are the schemas."""

    splitting: Splitting
    root: str
    rows: pa.Schema
    training: pa.Schema

    def __call__(self, staged: Staged) -> Parted:
        """Write those of one.

        Raises:
            UsageError: rows cannot be read.
            DatasetError: they cannot be written.
        """
        root, part = self.root, staged.part
        rows = Partitions(f"{root}/{ROWS}", part, self._begin_rows, _TIME)
        view = Partitions(f"{root}/{TRAINING}", part, self._begin_training, _TIME, is_hive=False)
        folds: Counter[str] = Counter()
        with rows, view:
            for frame in self.splitting.frames(staged.name):
                folds += counts(frame)
                for batch in parquet.batches(_partitionable(frame)):
                    rows.append(batch)
                    view.append(batch)
        return Parted(folds, rows.files + view.files)

    def _begin_rows(self, path: Path) -> parquet.RowsExport:
        return parquet.RowsExport(path, self.rows)

    def _begin_training(self, path: Path) -> parquet.RowsExport:
        return parquet.RowsExport(path, self.training)


def counts(frame: pl.DataFrame) -> Counter[str]:
    """Return how many rows are on every side; those on none have no name."""
    return Counter({name or "": count for name, count in frame[SPLIT].value_counts().iter_rows()})


def _loaded(name: str) -> pl.DataFrame:
    with places.fetched(name) as path:
        return pl.read_parquet(path)


def _split(frame: pl.DataFrame, folds: splits.Boundaries | pl.DataFrame) -> pl.DataFrame:
    if isinstance(folds, splits.Boundaries):
        found = _folds_in_time(frame, folds)
    else:
        joined = frame.select(KEY).join(folds, on=KEY, how="left", maintain_order="left")
        found = joined["fold"].to_numpy()
    names = pl.Series(SPLIT, [*splits.FOLDS, None], pl.String).gather(
        np.where(found == splits.NO_FOLD, len(splits.FOLDS), found)
    )
    return frame.with_columns(names)


def _folds_in_time(frame: pl.DataFrame, boundaries: splits.Boundaries) -> NDArray[np.int8]:
    rows = Rows(frame, {}, "")
    starts, ends = rows.times("start"), rows.times("end")
    folds = boundaries.folds(starts, ends)
    folds[starts == meaning.NO_TIME] = splits.NO_FOLD
    return folds


def _partitionable(frame: pl.DataFrame) -> pl.DataFrame:
    """Return rows with the columns that tell partitions, which some datasets do not have."""
    added = [meaning.value("start", frame.columns).cast(pl.Int64).alias(_TIME)]
    if _SOURCE not in frame.columns:
        added.append(pl.lit(None, pl.String).alias(_SOURCE))
    return frame.with_columns(added)
