"""What workers count, in memory that they share with their supervisor.

A worker that is killed cannot say any more what it did. Its counts stand here as it left them, in
a slot of its own, and so does where it was in its rings: its successor goes on from there. Beside
them stand figures for who watches it, as they were at its last beat.
"""

from __future__ import annotations

import mmap
import time
from array import array
from collections.abc import Sequence

from network_pipeline.metrics import AGENT_COUNTS, Counters

#: What a worker counts, in frames.
COUNTED = (*AGENT_COUNTS, "not_sampled")

_WORD_BYTES = 8
_NS_PER_S = 1_000_000_000


class SharedCounters(Counters):
    """Counters that others see: each stands in an integer of 64 bits of its own."""

    def __init__(self, cells: memoryview, names: Sequence[str]) -> None:
        super().__init__(*names)
        self._cells = cells
        self._places = {name: place for place, name in enumerate(names)}
        for place in self._places.values():
            cells[place] = 0

    def add(self, name: str, amount: int = 1) -> None:
        """Add to a count."""
        with self._lock:
            self._counts[name] += amount
            self._cells[self._places[name]] = self._counts[name]


class Slot:
    """The part of one worker: when it was last seen, its counts, its figures, and cells for what it
    reads.
    """

    def __init__(self, words: memoryview, names: Sequence[str], figures: int) -> None:
        counts, cells = 1 + len(names), 1 + len(names) + figures
        self._beat = words[:1]
        self._counts = words[1:counts]
        self._figures = words[counts:cells]
        self._names = names
        self.cells = words[cells:]

    def begin(self) -> SharedCounters:
        """Return counters for a new worker, all zero as its figures are; it was not seen yet."""
        self._beat[0] = 0
        self._figures[:] = array("q", bytes(self._figures.nbytes))
        return SharedCounters(self._counts, self._names)

    def beat(self, figures: Sequence[int]) -> None:
        """Note that the worker is alive and well, and what its figures are."""
        self._figures[:] = array("q", figures)
        self._beat[0] = time.monotonic_ns()

    @property
    def seen(self) -> float | None:
        """Seconds since the worker was last seen, None if it never was."""
        beat = self._beat[0]
        return (time.monotonic_ns() - beat) / _NS_PER_S if beat else None

    def counts(self) -> dict[str, int]:
        """Return what the worker has counted."""
        return dict(zip(self._names, self._counts.tolist(), strict=True))

    def figures(self) -> list[int]:
        """Return the figures of its last beat."""
        return self._figures.tolist()


def slots(workers: int, names: Sequence[str], *, figures: int, cells: int) -> list[Slot]:
    """Return a slot for each worker, with so many figures and cells, in memory that children
    share.
    """
    words = 1 + len(names) + figures + cells
    memory = memoryview(mmap.mmap(-1, workers * words * _WORD_BYTES)).cast("q")
    starts = range(0, workers * words, words)
    return [Slot(memory[at : at + words], names, figures) for at in starts]
