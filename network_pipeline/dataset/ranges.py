"""Which frames this process has written, so that a frame that is delivered again is dropped.

Frame numbers of a session mostly come in order, so they are kept as merged ranges: a session whose
frames all pass through here is one range, however long it runs. Where several processors share
a queue each sees only some of the numbers and ranges do not merge; therefore their total is bounded
and the oldest are forgotten. Forgetting can at worst let a duplicate through, never lose a frame.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

#: Ranges kept in all, about 80 bytes each: four times what a broker can have in flight here.
MAX_RANGES = 262_144


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

    def add(self, number: int) -> None:
        """Add a number, in O(log n) where it extends a range or comes last."""
        if number in self:
            return
        place = bisect_left(self._firsts, number)
        extends_left = place > 0 and self._lasts[place - 1] == number - 1
        extends_right = place < len(self._firsts) and self._firsts[place] == number + 1
        if extends_left and extends_right:
            self._lasts[place - 1] = self._lasts.pop(place)
            del self._firsts[place]
        elif extends_left:
            self._lasts[place - 1] = number
        elif extends_right:
            self._firsts[place] = number
        else:
            self._firsts.insert(place, number)
            self._lasts.insert(place, number)

    def forget_lower_half(self) -> None:
        """Forget the lower half of the ranges: the frames that were captured first."""
        half = (len(self) + 1) // 2
        del self._firsts[:half], self._lasts[:half]


class WrittenFrames:
    """The frames written by this process, by session; at most ``max_ranges`` ranges in all."""

    def __init__(self, max_ranges: int = MAX_RANGES) -> None:
        self._max_ranges = max_ranges
        self._sessions: dict[str, Ranges] = {}
        self._ranges = 0

    def __len__(self) -> int:
        """Return the number of ranges in all sessions."""
        return self._ranges

    def __contains__(self, key: tuple[str, int]) -> bool:
        session, number = key
        return session in self._sessions and number in self._sessions[session]

    def add(self, key: tuple[str, int]) -> None:
        """Note that a frame is written, given its session and its number."""
        session, number = key
        ranges = self._sessions.pop(session, None) or Ranges()
        self._sessions[session] = ranges  # last in the dict: the session used most recently
        before = len(ranges)
        ranges.add(number)
        self._ranges += len(ranges) - before
        while self._ranges > self._max_ranges:
            self._forget()

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
