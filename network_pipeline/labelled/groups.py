"""The groups of a dataset, as its rows go by: what they are called, and their rows of each class.

What is kept is a line for every group and class, however many rows there are; by time, the moments
of all rows.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from network_pipeline.errors import UsageError
from network_pipeline.labelled import meaning, splits
from network_pipeline.labelled.rows import Rows

#: The column that a row's group is found by while a dataset is made; no dataset has it.
KEY = "@key"

#: Lines that are kept before those of one group are added up.
_MOST_LINES = 2**20

_COUNTED = (KEY, "label", "label_class")

_log = logging.getLogger(__name__)


class Groups:
    """Counts the groups of a plan, then says which fold each is in."""

    def __init__(self, plan: splits.Plan) -> None:
        self._plan = plan
        self._counts: list[pl.DataFrame] = []
        self._firsts: list[pl.DataFrame] = []
        self._times: list[NDArray[np.int64]] = []
        self._rows = 0
        self.count = 0

    def keys(self, rows: Rows) -> pl.Series:
        """Return what the groups of rows are found by, and note what is needed of them later."""
        if self._plan.by == "host":
            keys = rows.pairs
            self._note_first(rows, keys)
        elif self._plan.by == "connection":
            keys = rows.connections
        else:
            keys = rows.texts("session" if self._plan.by == "time" else self._plan.by)
        # What is of no connection or host belongs with the rest of its capture.
        rest = pl.select("session " + rows.texts("session").fill_null("")).to_series()
        return keys.cast(pl.String).fill_null(rest).alias(KEY)

    def add(self, frame: pl.DataFrame, rows: Rows) -> None:
        """Count rows that have the columns of :data:`_COUNTED`."""
        if self._plan.by == "time":
            self._times.append(rows.times("start"))
            return
        self._counts.append(frame.group_by(_COUNTED).agg(pl.len().alias("rows")))
        self._keep_short()

    def join(self, other: Groups) -> None:
        """Count the groups of rows that come after these."""
        self._times += other._times
        self._counts += other._counts
        self._firsts += [
            frame.with_columns(pl.col("place") + self._rows) for frame in other._firsts
        ]
        self._rows += other._rows
        self._keep_short()

    def folds(self) -> splits.Boundaries | pl.DataFrame:
        """Return the boundaries in time, or the fold of every key.

        Raises:
            UsageError: rows cannot be split like this.
        """
        if self._plan.by == "time":
            times = np.concatenate([np.zeros(0, np.int64), *self._times])
            return splits.boundaries(times[times != meaning.NO_TIME], self._plan)
        groups_of = self._groups_of_keys()
        names = list(groups_of.values())
        groups = list(self._groups(groups_of))
        self.count = len(groups)
        found = splits.assign(groups, self._plan)
        if len(set(found.values())) < 2:
            raise UsageError(f"cannot split by {self._plan.by}: too few groups, {self.count}")
        keys = pl.Series(KEY, list(groups_of), pl.String)
        return pl.DataFrame([keys, pl.Series("fold", [found[name] for name in names], pl.Int8)])

    def _groups(self, groups_of: dict[str, str]) -> Iterator[splits.Group]:
        rows: defaultdict[str, Counter[splits.Kind]] = defaultdict(Counter)
        for key, label, label_class, count in self._added_up().iter_rows():
            rows[groups_of[key]][splits.Kind(label or "", label_class or "")] += count
        for name, counts in rows.items():
            yield splits.Group(name, splits.main_kind(counts), counts.total())

    def _groups_of_keys(self) -> dict[str, str]:
        """Return the group of every key: itself, or the host that spoke first of a pair."""
        keys = self._added_up()[KEY].unique().sort().to_list()
        if self._plan.by != "host":
            return dict(zip(keys, keys, strict=True))
        first = _first_of(pl.concat(self._firsts))
        hosts = dict(zip(first[KEY], first["host"], strict=True))
        return {key: hosts.get(key, key) for key in keys}

    def _added_up(self) -> pl.DataFrame:
        return pl.concat(self._counts).group_by(_COUNTED).agg(pl.col("rows").sum()).sort(_COUNTED)

    def _note_first(self, rows: Rows, pairs: pl.Series) -> None:
        frame = pl.DataFrame(
            {
                KEY: pairs,
                "host": rows.frame.select(meaning.value("src", rows.frame.columns))[:, 0],
                "time": rows.times("start"),
                "place": np.arange(self._rows, self._rows + len(rows)),
            }
        )
        self._rows += len(rows)
        self._firsts.append(_first_of(frame.drop_nulls(KEY)))

    def _keep_short(self) -> None:
        if sum(each.height for each in self._counts) > _MOST_LINES:
            self._counts = [self._added_up()]
        if sum(each.height for each in self._firsts) > _MOST_LINES:
            self._firsts = [_first_of(pl.concat(self._firsts))]


def _first_of(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sort(KEY, "time", "place").unique(KEY, keep="first", maintain_order=True)
