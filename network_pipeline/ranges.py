"""Sets of frame numbers: those written, so that one delivered again is dropped, and those lost.

Frame numbers of a session mostly come in order, so they are kept as merged ranges: a session whose
frames all pass through here is one range, however long it runs. Where several processors share
a queue each sees only some of the numbers and ranges do not merge; therefore their total is bounded
and the oldest are forgotten. Forgetting can at worst let a duplicate through, never lose a frame.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.uint64]

#: Ranges kept in all, about 80 bytes each: four times what a broker can have in flight here.
MAX_RANGES = 262_144


def runs(numbers: Numbers) -> list[tuple[int, int]]:
    """Return the runs of consecutive numbers, each as its first and its last."""
    if len(numbers) <= 1:
        return [(number, number) for number in numbers.tolist()]
    breaks = np.flatnonzero(numbers[1:] != numbers[:-1] + np.uint64(1))
    firsts = numbers[np.append(0, breaks + 1)].tolist()
    lasts = numbers[np.append(breaks, len(numbers) - 1)].tolist()
    return list(zip(firsts, lasts, strict=True))


class Ranges:
    """A set of integers, kept as sorted ranges that neither overlap nor touch."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def __len__(self) -> int:
        """Return the number of ranges."""
        return len(self._firsts)

    def __contains__(self, number: int) -> bool:
        place = bisect_right(self._firsts, number)
        return place > 0 and number <= self._lasts[place - 1]

    def overlaps(self, first: int, last: int) -> bool:
        """Whether a number from ``first`` to ``last`` is in the set."""
        place = bisect_left(self._lasts, first)
        return place < len(self) and self._firsts[place] <= last

    def add(self, first: int, last: int) -> None:
        """Add the numbers from ``first`` to ``last``."""
        low = bisect_left(self._lasts, first - 1)
        high = bisect_right(self._firsts, last + 1)
        if low < high:  # these ranges touch them
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def pairs(self) -> list[tuple[int, int]]:
        """Return the ranges, each as its first and its last number."""
        return list(zip(self._firsts, self._lasts, strict=True))

    def forget_lower_half(self) -> None:
        """Forget the lower half of the ranges: the frames that were captured first."""
        half = (len(self) + 1) // 2
        del self._firsts[:half], self._lasts[:half]


class WrittenFrames:
    """Frames by session and number; at most ``max_ranges`` ranges in all."""

    def __init__(self, max_ranges: int = MAX_RANGES) -> None:
        self._max_ranges = max_ranges
        self._sessions: dict[str, Ranges] = {}
        self._ranges = 0

    def __len__(self) -> int:
        """Return the number of ranges in all sessions."""
        return self._ranges

    def holds(self, session: str, numbers: Numbers) -> NDArray[np.bool_]:
        """Say for each frame of a session, by its number, whether it is noted."""
        held = np.zeros(len(numbers), np.bool_)
        ranges = self._sessions.get(session)
        if ranges and any(ranges.overlaps(first, last) for first, last in runs(numbers)):
            held[:] = [number in ranges for number in numbers.tolist()]
        return held

    def add(self, session: str, numbers: Numbers) -> None:
        """Note frames of a session by their numbers."""
        ranges = self._sessions.pop(session, None) or Ranges()
        self._sessions[session] = ranges  # last in the dict: the session used most recently
        before = len(ranges)
        for first, last in runs(numbers):
            ranges.add(first, last)
        self._ranges += len(ranges) - before
        while self._ranges > self._max_ranges:
            self._forget()

    def add_ranges(self, session: str, ranges: Iterable[tuple[int, int]]) -> None:
        """Note frames of a session by ranges of their numbers."""
        for first, last in ranges:
            known = self._sessions.setdefault(session, Ranges())
            before = len(known)
            known.add(first, last)
            self._ranges += len(known) - before
            while self._ranges > self._max_ranges:
                self._forget()

    def shares(self, other: WrittenFrames) -> bool:
        """Whether a frame is noted in both."""
        return any(
            (mine := self._sessions.get(session)) is not None and mine.overlaps(first, last)
            for session, ranges in other._sessions.items()
            for first, last in ranges.pairs()
        )

    def join(self, other: WrittenFrames) -> None:
        """Note the frames of another one."""
        for session, ranges in other._sessions.items():
            self.add_ranges(session, ranges.pairs())

    def _forget(self) -> None:
        oldest = next(iter(self._sessions))
        ranges = self._sessions[oldest]
        before = len(ranges)
        if len(self._sessions) > 1:
            self._sessions.pop(oldest)
            self._ranges -= before
        else:
            ranges.forget_lower_half()
            self._ranges -= before - len(ranges)
