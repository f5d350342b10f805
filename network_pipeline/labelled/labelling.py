"""The first time over the rows: what labelling makes of one table, here or on a cluster.

Rows get their labels and the key of their group, and are put aside in a file. Frames that came
before in the table are dropped. What came before in other tables is not known here: whoever adds up
sees that two have the same frames, and labels the later one again without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from network_pipeline import places
from network_pipeline.labelled import parquet, splits, tables
from network_pipeline.labelled.groups import KEY, Groups
from network_pipeline.labelled.labels import LABEL_COLUMNS, LabelCounts, Labeller
from network_pipeline.labelled.rows import Rows
from network_pipeline.labelled.tables import Table
from network_pipeline.ranges import WrittenFrames

#: The column with the capture file that a row is of.
FILE = "file"

#: About 80 bytes each: frames of sessions that many processors shared, all mixed up.
MOST_RANGES = 2**22


class Unit(NamedTuple):
    """A table, where its rows are put, and frames that are not to come again."""

    table: Table
    staged: str
    taken: WrittenFrames


class Labelled(NamedTuple):
    """What came of a table: rows read and kept, their frames, labels and groups."""

    read: int
    kept: int
    frames: WrittenFrames
    labels: LabelCounts
    groups: Groups


@dataclass(frozen=True)
class Labelling:
    """Labels the rows of a table. ``files`` names capture files by session."""

    labeller: Labeller
    split: splits.Plan
    files: Mapping[str, str]
    form: str

    def __call__(self, unit: Unit) -> Labelled:
        """Label those of one.

        Raises:
            UsageError: rows cannot be read or labelled.
            DatasetError: they cannot be written.
        """
        labeller = self.labeller.fresh()  # threads of a worker share this
        groups, frames = Groups(self.split), WrittenFrames(MOST_RANGES)
        read = kept = 0
        with places.written(unit.staged) as path, parquet.RowsExport(path, _schema(unit)) as export:
            for batch in tables.batches(unit.table, self.form):
                fresh = batch
                if unit.table.kind == "packets":
                    fresh = _unseen(batch, frames, unit.taken)
                read, kept = read + batch.height, kept + fresh.height
                export.add(self._labelled(fresh, unit.table, labeller, groups))
        return Labelled(read, kept, frames, labeller.counts, groups)

    def _labelled(
        self, frame: pl.DataFrame, table: Table, labeller: Labeller, groups: Groups
    ) -> pl.DataFrame:
        rows = Rows(frame, self.files, places.last(table.name))
        added = [rows.texts("file").alias(FILE), *labeller.label(rows)]
        frame = frame.with_columns(*added, groups.keys(rows))
        groups.add(frame, rows)
        return frame


def _schema(unit: Unit) -> pa.Schema:
    return pa.schema([*unit.table.schema, *parquet.texts((FILE, *LABEL_COLUMNS, KEY))])


def _unseen(frame: pl.DataFrame, seen: WrittenFrames, taken: WrittenFrames) -> pl.DataFrame:
    """Return the rows of frames that were not seen and are not taken, and note them as seen."""
    names = ("session", "frame_number")
    if "session" not in frame.columns or any(frame[name].has_nulls() for name in names):
        return frame  # of imported rows nobody knows which frames they are
    is_new = frame.select(pl.struct(names).is_first_distinct())[:, 0]
    fresh = is_new.to_numpy().copy()
    for (session,), places_of in frame.with_row_index("@row").group_by(
        "session", maintain_order=True
    ):
        at = places_of["@row"].to_numpy()
        numbers = places_of["frame_number"].to_numpy().astype(np.uint64)
        fresh[at] &= ~(seen.holds(str(session), numbers) | taken.holds(str(session), numbers))
        seen.add(str(session), np.unique(numbers))
    return frame.filter(pl.Series(fresh))
