"""From datasets of packets or flows to one that a model can learn from.

Twice over the rows. The first time frames that came before are dropped and the others get their
labels and the group that they belong to, table by table (:mod:`.labelling`), here or on a cluster;
when all groups are known they are split; the second time rows get their fold, and names are made
others where that is asked for (:mod:`.splitting`): here, or, where part files are written, on the
cluster as well. What is kept in memory are the rows of a batch, a line for every group, and the
ranges of frame numbers.

Two tables come of it: ``rows.parquet`` with every column, and ``training.parquet`` with the same
rows in the same order, of which it holds features and labels only. Each is a file, or a directory
of part files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow as pa

from network_pipeline import cluster, places
from network_pipeline.capture.raw_file import file_session
from network_pipeline.dataset.partitions import part_name, sweep
from network_pipeline.dataset.writers import errors_of
from network_pipeline.errors import UsageError
from network_pipeline.labelled import parquet, splits
from network_pipeline.labelled.groups import Groups
from network_pipeline.labelled.labelling import FILE, MOST_RANGES, Labelled, Labelling, Unit
from network_pipeline.labelled.labels import LABEL_COLUMNS, Labeller
from network_pipeline.labelled.rules_file import RulesFile
from network_pipeline.labelled.splitting import (
    ROWS,
    SPLIT,
    TRAINING,
    Parting,
    Splitting,
    Staged,
    counts,
)
from network_pipeline.labelled.tables import Table
from network_pipeline.ranges import WrittenFrames

#: What is added to every row: the capture file that it is of, its labels, and its fold.
ADDED = (FILE, *LABEL_COLUMNS, SPLIT)

#: Labels that go with the features; the others say where they come from.
_LEARNED = ("label", "label_class", SPLIT)


@dataclass(frozen=True)
class Plan:
    """What is asked for.

    How to split, what to keep beside features, a key to anonymize with, whether to write part files
    by source and date.
    """

    split: splits.Plan
    keep: Sequence[str] = ()
    key: bytes | None = None
    is_partitioned: bool = False


@dataclass
class Counts:
    """What became of the rows: ``read = written + duplicates``."""

    read: int = 0
    duplicates: int = 0
    written: int = 0
    rows_of: Counter[str] = field(default_factory=Counter)
    folds: Counter[str] = field(default_factory=Counter)


class Preparation:
    """Makes the two tables of a dataset in a directory, from tables of one schema.

    ``parts`` are the part files that were written instead of two files.
    """

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
        self.parts: list[str] = []

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
        """Write the tables; rows wait in ``stage``, which workers at ``address`` can write to.

        Part files are written in ``stage`` too where that is elsewhere.

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
        splitting = Splitting(_staged_folds(self.groups.folds(), stage), self.roles, self._plan.key)
        if self._plan.is_partitioned:
            root = places.directory(stage) if places.is_remote(stage) else str(directory)
            self._write_parts(root, units, splitting, address)
        else:
            self._write(directory, units, splitting)

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

    def _schemas(self) -> tuple[pa.Schema, pa.Schema]:
        columns = [*self._tables[0].schema, *parquet.texts(ADDED)]
        schema = parquet.with_roles(pa.schema(columns), self.roles)
        return schema, pa.schema([schema.field(name) for name in self.training_columns()])

    def _write(self, directory: Path, units: Sequence[Unit], splitting: Splitting) -> None:
        schema, view = self._schemas()
        with (
            parquet.RowsExport(directory / ROWS, schema) as rows,
            parquet.RowsExport(directory / TRAINING, view) as training,
        ):
            for unit in units:
                for frame in splitting.frames(unit.staged):
                    self.counts.folds += counts(frame)
                    rows.add(frame)
                    training.add(frame)

    def _write_parts(
        self, root: str, units: Sequence[Unit], splitting: Splitting, address: str
    ) -> None:
        parting = Parting(splitting, root, *self._schemas())
        staged = [Staged(unit.staged, part_name(unit.table.sha256)) for unit in units]
        written: dict[str, list[str]] = {}
        for each, found in cluster.results(parting, staged, address):
            parted = cluster.result(found)
            self.counts.folds += parted.folds
            written[each.part] = parted.files
            self.parts += parted.files
        for name in (ROWS, TRAINING):
            sweep(f"{root}/{name}", written)  # what a worker left that died


def _staged_folds(folds: splits.Boundaries | pl.DataFrame, stage: str) -> splits.Boundaries | str:
    """Return folds as workers get them: those of groups, who can be many, in a file."""
    if isinstance(folds, splits.Boundaries):
        return folds
    name = f"{places.directory(stage)}/folds.parquet"
    with places.written(name) as path, errors_of(path):
        folds.write_parquet(path)
    return name
