"""Counts of one process. Whatever happens to a frame or a message moves exactly one of them."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

#: What every agent counts, in frames.
AGENT_COUNTS = ("captured", "published", "spooled", "shed", "kernel_dropped", "adopted", "damaged")
#: What becomes of a frame that an agent captured: each is in exactly one of these counts.
OUTCOMES = ("published", "spooled", "shed", "kernel_dropped", "not_sampled")


class Counters:
    """Named counts that several threads may add to."""

    def __init__(self, *names: str) -> None:
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(names, 0)

    def add(self, name: str, amount: int = 1) -> None:
        """Add to a count; an unknown name is a ``KeyError``: a typo is never a new count."""
        with self._lock:
            self._counts[name] += amount

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def snapshot(self) -> dict[str, int]:
        """Return all counts as they stand together."""
        with self._lock:
            return dict(self._counts)

    def __str__(self) -> str:
        return " ".join(f"{name}={count}" for name, count in self.snapshot().items())


class Distribution(NamedTuple):
    """How many values lay up to each bound but above the one before, then above all; their sum."""

    bounds: Sequence[float]
    counts: Sequence[int]
    total: float


class Histogram:
    """How many values lay up to each of some bounds, and their sum."""

    def __init__(self, *bounds: float) -> None:
        self.bounds: Sequence[float] = bounds
        self._lock = threading.Lock()
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value that was seen so many times."""
        with self._lock:
            self._counts[bisect_left(self.bounds, value)] += times
            self._sum += value * times

    def snapshot(self) -> Distribution:
        """Return it as it stands."""
        with self._lock:
            return Distribution(self.bounds, tuple(self._counts), self._sum)


@dataclass(frozen=True)
class Reading:
    """What a process, or a worker of it, has counted at a time, and what goes up and down.

    Names are those of :mod:`network_pipeline.exposition`; ``amounts`` count other things than
    frames.
    """

    frames: Mapping[str, int]
    gauges: Mapping[str, float]
    histograms: Mapping[str, Distribution]
    amounts: Mapping[str, int] = field(default_factory=dict)


class Pulse:
    """Tells whether a loop still turns."""

    def __init__(self) -> None:
        self._at = time.monotonic()

    def beat(self) -> None:
        """Note that the loop turned."""
        self._at = time.monotonic()

    def age(self) -> float:
        """Return the seconds since it turned last."""
        return time.monotonic() - self._at
