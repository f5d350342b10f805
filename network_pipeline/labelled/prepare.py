"""From datasets of packets or flows to one that a model can learn from.

Twice over the rows. The first time frames that came before are dropped and the others get their
labels and the group that they belong to; when all groups are known they are split; the second time
rows get their fold, and names are made others where that is asked for. What is kept in memory are
the rows of a batch, a line for every group, and the ranges of frame numbers.

Two files come of it: ``rows.parquet`` with every column, and ``training.parquet`` with the same
rows in the same order, of which it holds features and labels only.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from network_pipeline.capture.raw_file import file_session
from network_pipeline.errors import UsageError
from network_pipeline.labelled import meaning, parquet, splits
from network_pipeline.labelled.anonymize import Anonymizer
from network_pipeline.labelled.groups import KEY, Groups
from network_pipeline.labelled.labels import LABEL_COLUMNS, Labeller
from network_pipeline.labelled.rows import Rows
from network_pipeline.labelled.rules_file import RulesFile
from network_pipeline.labelled.tables import BATCH_ROWS, Table
from network_pipeline.ranges import WrittenFrames

ROWS = "rows.parquet"
TRAINING = "training.parquet"
_STAGED = "staged.parquet"

#: What is added to every row: the capture file that it is of, its labels, and its fold.
FILE, SPLIT = "file", "split"
ADDED = (FILE, *LABEL_COLUMNS, SPLIT)

#: Labels that go with the features; the others say where they come from.
_LEARNED = ("label", "label_class", SPLIT)

#: About 80 bytes each: frames of sessions that many processors shared, all mixed up.
_MOST_RANGES = 2**22

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """What is asked for: how to split, what to keep beside features, a key to anonymize with."""

    split: splits.Plan
    keep: Sequence[str] = ()
    key: bytes | None = None


@dataclass
class Counts:
    """What became of the rows: ``read = written + duplicates``."""

    read: int = 0
    duplicates: int = 0
    written: int = 0
    rows_of: Counter[Path] = field(default_factory=Counter)
    folds: Counter[str] = field(default_factory=Counter)


class Preparation:
    """Makes the two files of a dataset in a directory, from tables of one schema."""

    def __init__(self, tables: Sequence[Table], rules: RulesFile, plan: Plan) -> None:
        self._tables = tables
        self._plan = plan
        self._captures = rules.captures
        self._seen = WrittenFrames(_MOST_RANGES)
        self.labeller = Labeller(rules)
        self.groups = Groups(plan.split)
        self.counts = Counts()
        self.roles: dict[str, str] = {}

    def check(self) -> None:
        """See that the plan fits the rows, and read the alerts.

        Raises:
            UsageError: it does not.
        """
        names = self._tables[0].schema.names
        if taken := sorted(set(names) & set(ADDED)):
            raise UsageError(
                f"{self._tables[0].path} has {', '.join(taken)} already: "
                "give the dataset that it was made of"
            )
        if unknown := sorted(set(self._plan.keep) - set(names)):
            raise UsageError(f"there is no column {', '.join(unknown)} to keep")
        self.labeller.load()
        self.labeller.check_columns(names)
        labels = dict.fromkeys((*LABEL_COLUMNS, SPLIT), "label")
        self.roles = {**self._tables[0].roles, FILE: "identity", **labels}

    def run(self, directory: Path) -> None:
        """Write the files.

        Raises:
            UsageError: rows cannot be read, labelled without contradiction, or split.
            DatasetError: they cannot be written.
        """
        staged = directory / _STAGED
        first, *_ = self._tables
        columns = [*first.schema, *parquet.texts((FILE, *LABEL_COLUMNS, KEY))]
        with parquet.RowsExport(staged, pa.schema(columns)) as export:
            for frame in self._labelled():
                export.add(frame)
        if not self.counts.written:
            raise UsageError(f"{first.path}: there are no rows")
        self.labeller.check_conflicts()
        self._write(directory, staged)
        staged.unlink()

    def training_columns(self) -> list[str]:
        """Return the columns of the training view, in order."""
        return [
            name
            for name, role in self.roles.items()
            if role == "feature" or name in self._plan.keep or name in _LEARNED
        ]

    def files(self) -> dict[str, str]:
        """Return the names of capture files by session, as datasets and the rules know them.

        Raises:
            UsageError: a capture cannot be read.
        """
        found: dict[str, str] = {}
        for table in self._tables:
            found |= table.files
        for path in self._captures:
            found[file_session(str(path))] = path.name
        return found

    def _labelled(self) -> Iterator[pl.DataFrame]:
        """Yield all rows with labels and keys."""
        files = self.files()
        for table in self._tables:
            for batch in table.batches():
                frame = self._new_rows(batch)
                self.counts.rows_of[table.path] += frame.height
                rows = Rows(frame, files, table.path.name)
                added = [rows.texts("file").alias(FILE), *self.labeller.label(rows)]
                frame = frame.with_columns(*added, self.groups.keys(rows))
                self.groups.add(frame, rows)
                yield frame

    def _new_rows(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of frames that did not come before; flows are taken as they are."""
        self.counts.read += frame.height
        if self._tables[0].kind == "packets":
            frame = self._unseen(frame)
        self.counts.written += frame.height
        self.counts.duplicates = self.counts.read - self.counts.written
        return frame

    def _unseen(self, frame: pl.DataFrame) -> pl.DataFrame:
        known = frame.select(pl.col("session", "frame_number").is_not_null().all()).row(0)
        if not all(known):
            return frame  # of imported rows nobody knows which frames they are
        is_new = frame.select(pl.struct("session", "frame_number").is_first_distinct())[:, 0]
        fresh = is_new.to_numpy().copy()
        for (session,), places in frame.with_row_index("@row").group_by(
            "session", maintain_order=True
        ):
            at = places["@row"].to_numpy()
            numbers = places["frame_number"].to_numpy().astype(np.uint64)
            fresh[at] &= ~self._seen.holds(str(session), numbers)
            self._seen.add(str(session), np.unique(numbers))
        return frame.filter(pl.Series(fresh))

    def _write(self, directory: Path, staged: Path) -> None:
        folds = self.groups.folds()
        columns = [*self._tables[0].schema, *parquet.texts(ADDED)]
        schema = parquet.with_roles(pa.schema(columns), self.roles)
        view = pa.schema([schema.field(name) for name in self.training_columns()])
        anonymizer = Anonymizer(self._plan.key, self.roles) if self._plan.key else None
        with (
            parquet.RowsExport(directory / ROWS, schema) as rows,
            parquet.RowsExport(directory / TRAINING, view) as training,
        ):
            for batch in pl.scan_parquet(staged).collect_batches(
                chunk_size=BATCH_ROWS, maintain_order=True
            ):
                frame = self._split(batch, folds)
                if anonymizer:
                    frame = anonymizer.anonymize(frame)
                rows.add(frame)
                training.add(frame)

    def _split(self, frame: pl.DataFrame, folds: splits.Boundaries | pl.DataFrame) -> pl.DataFrame:
        if isinstance(folds, splits.Boundaries):
            found = _folds_in_time(frame, folds)
        else:
            joined = frame.select(KEY).join(folds, on=KEY, how="left", maintain_order="left")
            found = joined["fold"].to_numpy()
        names = pl.Series(SPLIT, [*splits.FOLDS, None], pl.String).gather(
            np.where(found == splits.NO_FOLD, len(splits.FOLDS), found)
        )
        self.counts.folds.update(
            {name or "": count for name, count in names.value_counts().iter_rows()}
        )
        return frame.with_columns(names)


def _folds_in_time(frame: pl.DataFrame, boundaries: splits.Boundaries) -> NDArray[np.int8]:
    rows = Rows(frame, {}, "")
    starts, ends = rows.times("start"), rows.times("end")
    folds = boundaries.folds(starts, ends)
    folds[starts == meaning.NO_TIME] = splits.NO_FOLD
    return folds
