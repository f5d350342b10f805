"""When the next worker may take a place whose worker died, or could not be started: later each
time, until one was steady.
"""

from __future__ import annotations

import logging
import time

from network_pipeline.broker.backoff import BackOff

_log = logging.getLogger(__name__)


class Succession:
    """The workers of one place, one after the other; ``restarts`` counts those that died.

    ``number`` is how the place is called. A worker that ran for more than ``steady_seconds`` is
    not one that cannot begin.
    """

    def __init__(self, number: int, steady_seconds: float) -> None:
        self.restarts = 0
        self._number = number
        self._steady_seconds = steady_seconds
        self._began = self._due = 0.0
        self._back_off = BackOff()

    @property
    def is_due(self) -> bool:
        """Whether the next worker may begin."""
        return time.monotonic() >= self._due

    def begin(self) -> None:
        """Note that a worker begins."""
        self._began = time.monotonic()

    @property
    def is_steady(self) -> bool:
        """Whether the last worker has run, or did run until just now, for long enough."""
        return time.monotonic() - self._began > self._steady_seconds

    def note_death(self, code: int) -> None:
        """Put off the successor of a worker that ended with a code, negative for a signal."""
        self.restarts += 1
        if self.is_steady:
            self._back_off.reset()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        self._put_off(f"{how}; the next begins")

    def note_refusal(self, error: OSError) -> None:
        """Put off a worker that the system has no room for."""
        self._put_off(f"cannot be started: {error.strerror}; the next try is")

    def _put_off(self, what: str) -> None:
        delay = self._back_off.next()
        self._due = time.monotonic() + delay
        _log.error("worker %d %s in %.1f s", self._number, what, delay)
