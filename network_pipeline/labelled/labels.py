"""Labels for rows: the first rule that matches decides, and what else matched is counted.

Two rules that match a row and say different things of it are a conflict, unless the first one says
that it overrides the other. Signatures of one alert file do not conflict: the most severe decides.
Rules that matched nothing are counted too: with a typing error in an address they look like that.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from network_pipeline.errors import UsageError
from network_pipeline.labelled.alerts import Alerts
from network_pipeline.labelled.rows import Rows
from network_pipeline.labelled.rules_file import RulesFile

#: What labelling adds to rows.
LABEL_COLUMNS = ("label", "label_class", "label_rule", "label_source")

#: What the entry of rows that nothing matched is called.
OTHERWISE = "otherwise"


class Entry(NamedTuple):
    """One answer: a rule, or a signature of an alert file; ``owner`` is the rule's or file's name.

    ``source`` says where it stands: FILE:LINE of a rule, or the file of an alert.
    """

    name: str
    owner: str
    label: str
    label_class: str
    source: str


class Overlap(NamedTuple):
    """Two entries that matched the same rows, of which the first decided."""

    first: Entry
    other: Entry
    rows: int
    is_conflict: bool


@dataclass
class LabelCounts:
    """Rows that every entry matched and decided, by place, and that a pair of entries matched."""

    matched: NDArray[np.int64]
    decided: NDArray[np.int64]
    overlaps: dict[tuple[int, int], int] = field(default_factory=dict)
    unlabelled: int = 0

    def add(self, other: LabelCounts) -> None:
        """Count what another one has."""
        self.matched += other.matched
        self.decided += other.decided
        self.unlabelled += other.unlabelled
        for pair, rows in other.overlaps.items():
            self.overlaps[pair] = self.overlaps.get(pair, 0) + rows


class Labeller:
    """Labels batches, and counts what every entry did."""

    def __init__(self, rules: RulesFile) -> None:
        self._file = rules
        self._alerts = [Alerts(each) for each in rules.alerts]
        self._overrides = {each.name: frozenset(each.overrides) for each in rules.rules}
        self.entries: list[Entry] = []
        self.counts = self.new_counts()

    def load(self) -> None:
        """Read the alerts, after which the entries are known.

        Raises:
            UsageError: a file of alerts cannot be read.
        """
        name = self._file.name
        self.entries = [
            Entry(each.name, each.name, each.label, each.label_class, f"{name}:{each.line}")
            for each in self._file.rules
        ]
        for alerts in self._alerts:
            alerts.load()
            self.entries += _entries(alerts)
        if otherwise := self._file.otherwise:
            source = f"{name}:{otherwise.line}"
            labels = otherwise.label, otherwise.label_class
            self.entries.append(Entry(OTHERWISE, OTHERWISE, *labels, source))
        self.counts = self.new_counts()

    def fresh(self) -> Labeller:
        """Return one with the same entries that has counted nothing."""
        other = copy(self)
        other.counts = self.new_counts()
        return other

    def new_counts(self) -> LabelCounts:
        """Return counts of nothing."""
        return LabelCounts(*np.zeros((2, len(self.entries)), np.int64))

    def check_columns(self, present: Collection[str]) -> None:
        """See whether the expressions of rules can be evaluated.

        Raises:
            UsageError: a column is not there; the rule and line are named.
        """
        for rule in self._file.rules:
            if missing := sorted(rule.columns - set(present)):
                raise UsageError(
                    f"{self._file.name}:{rule.line}: rule {rule.name!r}: where: "
                    f"there is no column {', '.join(missing)}"
                )

    def label(self, rows: Rows) -> list[pl.Series]:
        """Return the columns of :data:`LABEL_COLUMNS` for rows; nulls where nothing matched.

        Raises:
            UsageError: an expression cannot be evaluated; the rule and line are named.
        """
        places, matched_rows = self._matches(rows)
        decided = self._decide(places, matched_rows, len(rows))
        if self._file.otherwise:
            rest = decided == len(self.entries)
            decided[rest] = len(self.entries) - 1
            self.counts.matched[-1] += int(rest.sum())
        counts = np.bincount(decided, minlength=len(self.entries) + 1)
        self.counts.decided += counts[:-1]
        self.counts.unlabelled += int(counts[-1])
        return self._columns(decided)

    def overlaps(self) -> list[Overlap]:
        """Return which entries matched the same rows so far."""
        return [
            Overlap(self.entries[first], self.entries[other], rows, self._conflict(first, other))
            for (first, other), rows in sorted(self.counts.overlaps.items())
        ]

    def check_conflicts(self) -> None:
        """See that no rows were left to chance.

        Raises:
            UsageError: rules contradict each other about rows.
        """
        found = [
            f"{one.first.name!r} ({one.first.source}) and {one.other.name!r} "
            f"({one.other.source}) contradict each other about {one.rows:,} rows"
            for one in self.overlaps()
            if one.is_conflict
        ]
        if found:
            raise UsageError("; ".join(found) + "; let one say overrides: [the other]")

    @property
    def alerts(self) -> Sequence[Alerts]:
        """The alerts of every file, in order."""
        return self._alerts

    def _matches(self, rows: Rows) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return which entry matches which row, both by place."""
        places, found = [], []
        for place, rule in enumerate(self._file.rules):
            mask = np.ones(len(rows), np.bool_)
            try:
                for condition in rule.conditions:
                    mask &= condition(rows)
            except (pl.exceptions.PolarsError, ValueError) as error:
                reason = str(error).strip().partition("\n")[0]
                raise UsageError(
                    f"{self._file.name}:{rule.line}: rule {rule.name!r}: where: {reason}"
                ) from None
            matched = np.flatnonzero(mask)
            places.append(np.full(len(matched), place))
            found.append(matched)
        first = len(self._file.rules)
        for alerts in self._alerts:
            signatures, matched = alerts.matches(rows)
            places.append(signatures + first)
            found.append(matched)
            first += len(alerts.signatures)
        return np.concatenate(places), np.concatenate(found)

    def _decide(
        self, places: NDArray[np.intp], rows: NDArray[np.intp], count: int
    ) -> NDArray[np.intp]:
        """Return the first entry of every row, or the number of entries where there is none."""
        decided = np.full(count, len(self.entries))
        np.minimum.at(decided, rows, places)
        self.counts.matched += np.bincount(places, minlength=len(self.entries))
        beaten = decided[rows] != places
        pairs, counts = np.unique(
            np.stack([decided[rows[beaten]], places[beaten]]), axis=1, return_counts=True
        )
        overlaps = self.counts.overlaps
        for first, other, number in zip(*pairs.tolist(), counts.tolist(), strict=True):
            overlaps[first, other] = overlaps.get((first, other), 0) + number
        return decided

    def _conflict(self, first: int, other: int) -> bool:
        one, two = self.entries[first], self.entries[other]
        differ = (one.label, one.label_class) != (two.label, two.label_class)
        overrides = self._overrides.get(one.owner, frozenset())
        return differ and one.owner != two.owner and two.owner not in overrides

    def _columns(self, decided: NDArray[np.intp]) -> list[pl.Series]:
        texts: Sequence[Sequence[str]] = [
            [each.label for each in self.entries],
            [each.label_class for each in self.entries],
            [each.name for each in self.entries],
            [each.source for each in self.entries],
        ]
        return [
            pl.Series(name, [*values, None], pl.String).gather(decided)
            for name, values in zip(LABEL_COLUMNS, texts, strict=True)
        ]


def _entries(alerts: Alerts) -> list[Entry]:
    file = alerts.file
    return [
        Entry(
            f"{file.name}: {signature.name}",
            file.name,
            file.label,
            file.label_class or signature.name,
            file.path.name,
        )
        for signature in alerts.signatures
    ]
