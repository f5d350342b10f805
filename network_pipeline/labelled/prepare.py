"""From datasets of packets or flows to one that a model can learn from.

Twice over the rows. The first time frames that came before are dropped and the others get their
labels and the group that they belong to, table by table (:mod:`.labelling`), here or on a cluster;
when all groups are known they are split; the second time, which is here, rows get their fold, and
names are made others where that is asked for. What is kept in memory are the rows of a batch, a
line for every group, and the ranges of frame numbers.

Two files come of it: ``rows.parquet`` with every column, and ``training.parquet`` with the same
rows in the same order, of which it holds features and labels only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from network_pipeline import cluster, places
from network_pipeline.capture.raw_file import file_session
from network_pipeline.errors import UsageError
from network_pipeline.labelled import meaning, parquet, splits
from network_pipeline.labelled.anonymize import Anonymizer
from network_pipeline.labelled.groups import KEY, Groups
from network_pipeline.labelled.labelling import FILE, MOST_RANGES, Labelled, Labelling, Unit
from network_pipeline.labelled.labels import LABEL_COLUMNS, Labeller
from network_pipeline.labelled.rows import Rows
from network_pipeline.labelled.rules_file import RulesFile
from network_pipeline.labelled.tables import BATCH_ROWS, Table
from network_pipeline.ranges import WrittenFrames

ROWS = "rows.parquet"
TRAINING = "training.parquet"

#: What is added to every row: the capture file that it is of, its labels, and its fold.
SPLIT = "split"
ADDED = (FILE, *LABEL_COLUMNS, SPLIT)

#: Labels that go with the features; the others say where they come from.
_LEARNED = ("label", "label_class", SPLIT)


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
    rows_of: Counter[str] = field(default_factory=Counter)
    folds: Counter[str] = field(default_factory=Counter)


class Preparation:
    """Makes the two files of a dataset in a directory, from tables of one schema."""

    def __init__(self, tables: Sequence[Table], form: str, rules: RulesFile, plan: Plan) -> None:
        self._tables = tables
        self._form = form
        self._plan = plan
        self._captures = rules.captures
        self._seen = WrittenFrames(MOST_RANGES)
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
                f"{self._tables[0].name} has {', '.join(taken)} already: "
                "give the dataset that it was made of"
            )
        if unknown := sorted(set(self._plan.keep) - set(names)):
            raise UsageError(f"there is no column {', '.join(unknown)} to keep")
        self.labeller.load()
        self.labeller.check_columns(names)
        labels = dict.fromkeys((*LABEL_COLUMNS, SPLIT), "label")
        self.roles = {**self._tables[0].roles, FILE: "identity", **labels}

    def run(self, directory: Path, stage: str, address: str) -> None:
        """Write the files; rows wait in ``stage``, which workers at ``address`` can write to.

        Raises:
            UsageError: rows cannot be read, labelled without contradiction, or split.
            DatasetError: they cannot be written.
            NetworkPipelineError: the cluster cannot be reached.
        """
        units = [
            Unit(table, f"{places.directory(stage)}/{place:06}.parquet", WrittenFrames(0))
            for place, table in enumerate(self._tables)
        ]
        labelling = Labelling(self.labeller, self._plan.split, self.files(), self._form)
        for unit, found in cluster.results(labelling, units, address):
            labelled = cluster.result(found)
            if self._seen.shares(labelled.frames):
                labelled = labelling(unit._replace(taken=self._seen))
            self._add(unit.table, labelled)
        if not self.counts.written:
            raise UsageError(f"{places.shown(self._tables[0].name)}: there are no rows")
        self.labeller.check_conflicts()
        self._write(directory, [unit.staged for unit in units])

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

    def _add(self, table: Table, labelled: Labelled) -> None:
        """Add up what came of the next table."""
        self.counts.read += labelled.read
        self.counts.written += labelled.kept
        self.counts.duplicates = self.counts.read - self.counts.written
        self.counts.rows_of[table.name] += labelled.kept
        self.labeller.counts.add(labelled.labels)
        self.groups.join(labelled.groups)
        self._seen.join(labelled.frames)

    def _write(self, directory: Path, staged: Sequence[str]) -> None:
        folds = self.groups.folds()
        columns = [*self._tables[0].schema, *parquet.texts(ADDED)]
        schema = parquet.with_roles(pa.schema(columns), self.roles)
        view = pa.schema([schema.field(name) for name in self.training_columns()])
        anonymizer = Anonymizer(self._plan.key, self.roles) if self._plan.key else None
        with (
            parquet.RowsExport(directory / ROWS, schema) as rows,
            parquet.RowsExport(directory / TRAINING, view) as training,
        ):
            for batch in _batches(staged):
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


def _batches(staged: Sequence[str]) -> Iterator[pl.DataFrame]:
    for name in staged:
        with places.fetched(name) as path:
            rows = pl.scan_parquet(path, hive_partitioning=False)
            yield from rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True)


def _folds_in_time(frame: pl.DataFrame, boundaries: splits.Boundaries) -> NDArray[np.int8]:
    rows = Rows(frame, {}, "")
    starts, ends = rows.times("start"), rows.times("end")
    folds = boundaries.folds(starts, ends)
    folds[starts == meaning.NO_TIME] = splits.NO_FOLD
    return folds
