"""Which rows are for training, which for validation, which for the test: by group, never by row.

Rows of one group are on one side. Every class is spread by itself, so that each side has some of
it: groups go, large ones first and otherwise in an order that the seed gives, to the side that is
furthest from its share of the class. So a class with three groups is on all three sides. Classes
with fewer are spread together with the others of their label: attacks that were recorded once are
then on different sides, and the test asks for ones that no model was trained on.

By time, the sides follow one another. A row that begins in one and reaches into the gap before the
next is in neither: what a model is tested on is later than all it has seen.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from network_pipeline.errors import UsageError

#: The sides, in order of time. The first groups go to them as in :data:`_NEED`.
FOLDS = ("train", "validation", "test")
_NEED = (0, 2, 1)

#: The fold of rows that are in none.
NO_FOLD = -1


class Plan(NamedTuple):
    """How to split: by what, which shares of the rows, the seed, and the gap by time."""

    by: str
    fractions: tuple[float, float, float]
    seed: int
    gap_ns: int = 0


class Kind(NamedTuple):
    """A label and a class; both empty where rows have none."""

    label: str
    label_class: str


class Group(NamedTuple):
    """Rows that belong together: its name, what they are (:func:`main_kind`), how many."""

    name: str
    kind: Kind
    rows: int


def assign(groups: Iterable[Group], plan: Plan) -> dict[str, int]:
    """Return the fold of every group, by name; the order of the groups does not matter."""
    groups = list(groups)
    sizes = Counter(group.kind for group in groups)
    spread: defaultdict[Kind, list[Group]] = defaultdict(list)
    for group in groups:
        is_alone = sizes[group.kind] >= len(FOLDS)
        spread[group.kind if is_alone else Kind(group.kind.label, "")].append(group)
    found: dict[str, int] = {}
    for some in spread.values():
        found |= _spread(some, plan)
    return found


def _spread(groups: Sequence[Group], plan: Plan) -> dict[str, int]:
    rows = {fold: 0 for fold in _NEED if plan.fractions[fold]}
    found = {}
    for group in sorted(groups, key=lambda each: _order(each, plan.seed)):
        # min() takes the first of equals: _NEED's order.
        fold = min(rows, key=lambda each: rows[each] / plan.fractions[each])
        rows[fold] += group.rows
        found[group.name] = fold
    return found


def _order(group: Group, seed: int) -> tuple[int, bytes, str]:
    digest = hashlib.blake2b(f"{seed}|{group.name}".encode(), digest_size=16).digest()
    return -group.rows.bit_length(), digest, group.name


class Boundaries(NamedTuple):
    """Splitting by time: where validation and test begin, and the gap before each (ns)."""

    validation: int
    test: int
    gap_ns: int

    def folds(self, starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int8]:
        """Return the fold of rows by their first and last moments, or :data:`NO_FOLD`."""
        folds = np.searchsorted([self.validation, self.test], starts, side="right").astype(np.int8)
        following = np.array([self.validation, self.test, np.iinfo(np.int64).max])[folds]
        if self.validation == self.test:
            following[folds == 0] = self.test
        reaching = (folds < 2) & (np.maximum(starts, ends) >= following - self.gap_ns)
        folds[reaching] = NO_FOLD
        return folds


def boundaries(times: NDArray[np.int64], plan: Plan) -> Boundaries:
    """Return where the sides begin so that each has its share of the rows with these times.

    Raises:
        UsageError: there are no times, or they are too few to be parted.
    """
    if not len(times):
        raise UsageError("cannot split by time: no row has a time")
    ordered = np.sort(times)
    train, validation, _ = plan.fractions
    places = [round(len(ordered) * share) for share in (train, train + validation)]
    first, second = (int(ordered[min(place, len(ordered) - 1)]) for place in places)
    if ordered[0] == first:
        raise UsageError("cannot split by time: too many rows have the first time")
    return Boundaries(first, second, plan.gap_ns)


def main_kind(rows: Mapping[Kind, int]) -> Kind:
    """Return what a group stands for, from its rows by label and class.

    That is what most of its attacks are, if it has any: a few of them among many other rows must
    not be where they are by chance.
    """

    def order(kind: Kind) -> tuple[bool, bool, int, Kind]:
        return kind.label not in ("", "benign"), kind.label != "", rows[kind], kind

    return max(rows, key=order)
