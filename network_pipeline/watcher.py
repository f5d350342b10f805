"""What shows others how an agent does, in the turns of its supervisor, which never waits for it."""

from __future__ import annotations

import logging
import selectors
import time
from collections.abc import Sequence

from network_pipeline import seat
from network_pipeline.seat import Seat

#: Seconds between two lines of what was counted.
INTERVAL_SECONDS = 10.0

_log = logging.getLogger(__name__)


class Watcher:
    """One way to show it. It starts no thread, since its process forks."""

    def open(self, selector: selectors.BaseSelector) -> None:
        """Begin; whose file is ready, its ``data`` is called."""

    def turn(self) -> None:
        """Do what is due, a few times a second."""

    def leave(self) -> None:
        """In a worker's process: let go of what belongs to the supervisor."""

    def close(self) -> None:
        """End."""


class Lines(Watcher):
    """Logs a line of what all workers have counted, now and then, where something moved."""

    def __init__(self, seats: Sequence[Seat]) -> None:
        self._seats = seats
        self._reported: tuple[float, dict[str, int]] = (0.0, {})

    def turn(self) -> None:
        """Log one if it is time."""
        before, last = self._reported
        now = time.monotonic()
        if now - before < INTERVAL_SECONDS:
            return
        counts = seat.total(self._seats)
        if counts != last:
            pace = (counts["captured"] - last.get("captured", 0)) / (now - before)
            _log.info("network-agent: %s (%s captured/s)", seat.text(counts), f"{pace:,.0f}")
            self._reported = (now, counts)
