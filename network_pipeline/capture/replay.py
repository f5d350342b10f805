"""Frames of a file at the pace at which they were captured, or a multiple of it.

Every frame is due as long after the first one as it was captured after it, divided by the speed.
Only times that move on are waited for: a frame without a time, or from before one that was given
already, is due at once. What falls due within a tick comes together, so that fast traffic makes
large batches.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from network_pipeline.frames import NO_TIME, FrameBatch

#: Frames come up to this late, in seconds; a stop is noticed within it.
TICK_SECONDS = 0.05

#: Most frames that come at once.
MOST_FRAMES = 4096


def paced(
    batches: Iterable[FrameBatch], speed: float, stop: threading.Event
) -> Iterator[FrameBatch]:
    """Yield the frames of batches when they are due, until there are no more or ``stop`` is set.

    A ``speed`` of 1 is that of the capture, infinity as fast as they are taken. Errors of
    ``batches`` are passed on, after the frames that came before them.
    """
    clock = _Clock(speed)
    for batch in batches:
        due = clock.due(batch.times_ns)
        first = 0
        while first < len(batch):
            if stop.is_set():
                return
            now = time.monotonic()
            last = min(int(np.searchsorted(due, now, "right")), first + MOST_FRAMES)
            if last > first:
                yield batch.take(slice(first, last))
                first = last
            else:
                time.sleep(min(float(due[first]) - now, TICK_SECONDS))


class _Clock:
    """Turns times of capture into instants of the monotonic clock, never going back."""

    def __init__(self, speed: float) -> None:
        self._speed = speed
        self._first_ns = NO_TIME
        self._latest_ns = NO_TIME
        self._started = 0.0

    def due(self, times_ns: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return when the frames are due that follow those of the last call."""
        known = times_ns[times_ns != NO_TIME]
        if self._first_ns == NO_TIME and len(known):
            self._first_ns = int(known[0])
            self._started = time.monotonic()
        # NO_TIME is the least of all times. Floats cannot overflow, and 2**-22 s is exact enough.
        latest = np.maximum.accumulate(np.append(self._latest_ns, times_ns))[1:]
        self._latest_ns = int(latest[-1]) if len(latest) else self._latest_ns
        after = (np.maximum(latest, self._first_ns) - float(self._first_ns)) / 1e9 / self._speed
        return self._started + np.ceil(after / TICK_SECONDS) * TICK_SECONDS
