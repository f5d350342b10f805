"""Which frames of a session were lost, by their numbers: what a ledger needs to explain every gap.

A source counts the frames that it has no room for, and their numbers are used up. Frames come in
order, so a number that is passed over is one of those: :class:`Gaps` finds them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from network_pipeline.message import Message
from network_pipeline.ranges import Numbers, Ranges

#: Ranges that are kept; of more, the lower half is forgotten.
MAX_RANGES = 10_000


def frames_in(message: Message) -> int:
    """Return how many frames a message holds, by its ``count`` header."""
    return int(message.headers.get("count", 1))


class Losses:
    """The numbers of shed frames, which several threads may add to."""

    def __init__(self, max_ranges: int = MAX_RANGES) -> None:
        #: Whether frames were shed whose numbers are not, or no longer, known.
        self.is_incomplete = False
        self._max_ranges = max_ranges
        self._lock = threading.Lock()
        self._ranges = Ranges()

    def add(self, message: Message) -> None:
        """Note a message that was shed; what is missing within it was lost before."""
        first, frames = message.headers.get("first"), frames_in(message)
        if first is None:
            self.add_unknown()
        elif frames:
            last = message.headers.get("last", int(first) + frames - 1)
            self.add_range(int(first), int(last))

    def add_range(self, first: int, last: int) -> None:
        """Note frames that were lost, from number ``first`` to ``last``."""
        with self._lock:
            self._ranges.add(first, last)
            if len(self._ranges) > self._max_ranges:
                self._ranges.forget_lower_half()
                self.is_incomplete = True

    def add_unknown(self) -> None:
        """Note that frames were lost of which the numbers are not known."""
        self.is_incomplete = True

    def pairs(self) -> list[tuple[int, int]]:
        """Return the ranges of numbers, each as its first and its last."""
        with self._lock:
            return self._ranges.pairs()


class Gaps:
    """Adds to :attr:`losses` what is missing between frames whose numbers grow from 1."""

    def __init__(self, losses: Losses) -> None:
        self.losses = losses
        self._next = 1

    def see(self, numbers: Sequence[int] | Numbers) -> None:
        """Take the numbers of the next frames; those passed over are lost."""
        if not len(numbers):
            return
        first, last = int(numbers[0]), int(numbers[-1])
        if first == self._next and last - first == len(numbers) - 1:
            self._next = last + 1
            return
        for number in map(int, numbers):
            self.end(number - 1)
            self._next = number + 1

    def end(self, last: int) -> None:
        """Take ``last`` for the number of a frame that was seen or lost, as all before it."""
        if last >= self._next:
            self.losses.add_range(self._next, last)
            self._next = last + 1
