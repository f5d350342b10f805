"""Sets of frame numbers as sorted ranges in arrays: algebra on millions of them at once.

:mod:`network_pipeline.ranges` grows a set number by number; here whole sets are united, intersected
and subtracted, each in a few passes over arrays. Numbers are those of frames, 1 to 2**64 - 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

#: The largest number of a frame.
LARGEST = 2**64 - 1

Numbers = npt.NDArray[np.uint64]

_ONE = np.uint64(1)


class RangeSet:
    """An immutable set of numbers: ranges in order that neither overlap nor touch."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, pairs: Iterable[Sequence[int]] = ()) -> None:
        """Take (first, last) pairs in any order; they may overlap."""
        array = np.array(list(pairs), dtype=np.uint64).reshape(-1, 2)
        self._firsts, self._lasts = _merged(array[:, 0], array[:, 1])

    @classmethod
    def of_numbers(cls, numbers: Numbers) -> RangeSet:
        """Return the set of numbers given in any order, repeated or not."""
        return cls._of(*_merged(numbers, numbers))

    @classmethod
    def _of(cls, firsts: Numbers, lasts: Numbers) -> RangeSet:
        made = cls.__new__(cls)
        made._firsts, made._lasts = firsts, lasts
        return made

    def __len__(self) -> int:
        """Return the number of ranges."""
        return len(self._firsts)

    def __bool__(self) -> bool:
        return len(self._firsts) > 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RangeSet) and self.pairs() == other.pairs()

    def __hash__(self) -> int:
        return hash(tuple(self.pairs()))

    def __repr__(self) -> str:
        return f"RangeSet({self.pairs()})"

    def __str__(self) -> str:
        """Write the first few ranges: ``1-7, 9, 12-14 and 5 more``."""
        shown = [f"{a}" if a == b else f"{a}-{b}" for a, b in self.pairs(5)]
        more = f" and {len(self) - 5} more" if len(self) > 5 else ""
        return ", ".join(shown) + more

    @property
    def count(self) -> int:
        """How many numbers are in the set."""
        return int((self._lasts - self._firsts).sum(dtype=np.uint64)) + len(self)

    @property
    def last(self) -> int:
        """The largest number, 0 for the empty set."""
        return int(self._lasts[-1]) if self else 0

    def pairs(self, most: int | None = None) -> list[tuple[int, int]]:
        """Return the ranges, or the first ``most``, as (first, last) pairs."""
        return list(zip(self._firsts[:most].tolist(), self._lasts[:most].tolist(), strict=True))

    def contains(self, numbers: Numbers) -> npt.NDArray[np.bool_]:
        """Say of every number whether it is in the set."""
        if not self:
            return np.zeros(len(numbers), dtype=np.bool_)
        places = np.searchsorted(self._firsts, numbers, side="right")
        found: npt.NDArray[np.bool_] = (places > 0) & (numbers <= self._lasts[places - 1])
        return found

    def __or__(self, other: RangeSet) -> RangeSet:
        return union([self, other])

    def __and__(self, other: RangeSet) -> RangeSet:
        return repeated([self, other])

    def __sub__(self, other: RangeSet) -> RangeSet:
        return self & other._complement()

    def above(self, number: int) -> RangeSet:
        """Return what is larger than ``number``."""
        return self & RangeSet([(number + 1, LARGEST)]) if number < LARGEST else RangeSet()

    def lowest(self, count: int) -> RangeSet:
        """Return the ``count`` smallest numbers, or all where there are fewer."""
        taken = []
        for first, last in self.pairs():
            if count <= 0:
                break
            taken.append((first, min(last, first + count - 1)))
            count -= last - first + 1
        return RangeSet(taken)

    def _complement(self) -> RangeSet:
        # Wraps at the largest number to 0, and such a range is one of those without numbers.
        firsts = np.concatenate([np.array([1], np.uint64), self._lasts + _ONE])
        lasts = np.concatenate([self._firsts - _ONE, np.array([LARGEST], np.uint64)])
        holds = (firsts <= lasts) & (firsts > 0)
        return RangeSet._of(firsts[holds], lasts[holds])


def up_to(last: int) -> RangeSet:
    """Return the numbers from 1 to ``last``; none for 0."""
    return RangeSet([(1, last)] if last else ())


def union(sets: Iterable[RangeSet]) -> RangeSet:
    """Return the numbers that are in any of the sets."""
    firsts, lasts = _concatenated(sets)
    return RangeSet._of(*_merged(firsts, lasts))


def repeated(sets: Iterable[RangeSet]) -> RangeSet:
    """Return the numbers that are in two or more of the sets."""
    firsts, lasts = _concatenated(sets)
    order = np.argsort(firsts, kind="stable")
    firsts, lasts = firsts[order], lasts[order]
    # What a range shares with those before it ends where the farthest of them ends.
    farthest = np.maximum.accumulate(lasts)[:-1]
    shared_firsts, shared_lasts = firsts[1:], np.minimum(lasts[1:], farthest)
    holds = shared_firsts <= shared_lasts
    return RangeSet._of(*_merged(shared_firsts[holds], shared_lasts[holds]))


def _concatenated(sets: Iterable[RangeSet]) -> tuple[Numbers, Numbers]:
    listed = [RangeSet(), *sets]
    return (
        np.concatenate([each._firsts for each in listed]),
        np.concatenate([each._lasts for each in listed]),
    )


def _merged(firsts: Numbers, lasts: Numbers) -> tuple[Numbers, Numbers]:
    if not len(firsts):
        return firsts, lasts
    if np.any(firsts[1:] < firsts[:-1]):
        order = np.argsort(firsts, kind="stable")
        firsts, lasts = firsts[order], lasts[order]
    farthest = np.maximum.accumulate(lasts)
    begins: Any = np.empty(len(firsts), dtype=np.bool_)
    begins[0] = True
    begins[1:] = firsts[1:] - _ONE > farthest[:-1]
    ends = np.append(np.flatnonzero(begins)[1:] - 1, len(firsts) - 1)
    return firsts[begins], farthest[ends]


class Tally:
    """Counts numbers as they come, in blocks: how many, which, and which more than once.

    Blocks are merged when they have grown as large as what they are merged into, so all of them
    together cost about one sort.
    """

    _LEAST = 4096

    def __init__(self) -> None:
        self.rows = 0
        self._once = RangeSet()
        self._repeated = RangeSet()
        self._pending: list[RangeSet] = []
        self._pending_ranges = 0

    @property
    def numbers(self) -> RangeSet:
        """The numbers that came."""
        self._merge()
        return self._once

    @property
    def repeated(self) -> RangeSet:
        """The numbers that came more than once."""
        self._merge()
        return self._repeated

    def fresh(self, numbers: Numbers) -> npt.NDArray[np.bool_]:
        """Say of every number whether it is the first of its kind, before this block and in it."""
        first = np.zeros(len(numbers), dtype=np.bool_)
        first[np.unique(numbers, return_index=True)[1]] = True
        for known in (self._once, *self._pending):
            first &= ~known.contains(numbers)
        return first

    def add(self, numbers: Numbers) -> None:
        """Count a block of numbers."""
        self.rows += len(numbers)
        block = RangeSet.of_numbers(numbers)
        if block.count < len(numbers):
            ordered = np.sort(numbers)
            again = RangeSet.of_numbers(ordered[1:][ordered[1:] == ordered[:-1]])
            self._repeated |= again
        self._pending.append(block)
        self._pending_ranges += len(block)
        if self._pending_ranges > max(self._LEAST, len(self._once)):
            self._merge()

    def _merge(self) -> None:
        if self._pending:
            sets = [self._once, *self._pending]
            self._repeated |= repeated(sets)
            self._once = union(sets)
            self._pending, self._pending_ranges = [], 0
