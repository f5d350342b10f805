"""Several processors of one queue: a process for each, started again when it dies.

A worker is the same command, with other options behind the ones that were given; the last of each
counts. So it has no memory, thread or connection in common with this process, which only waits.
Workers are told to end when this process does, however it does. They have process groups of their
own: Ctrl-C in a terminal reaches this process alone, which passes it on once.

One that cannot even begin ends all: what it met, the others will meet, or have. One that ran for a
while and dies, or is killed, is started again, later and later.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from network_pipeline import settings
from network_pipeline.errors import NetworkPipelineError
from network_pipeline.succession import Succession

#: Longest time until the end of a worker is noticed.
TURN_SECONDS = 0.2
#: A worker that ran for so long is not one that cannot begin.
STEADY_SECONDS = 10.0

_log = logging.getLogger(__name__)


@dataclass
class _Seat:
    """A place for a worker: its command, and its process or when the next one may begin."""

    number: int
    command: Sequence[str]
    succession: Succession
    process: subprocess.Popen[bytes] | None = None
    was_steady: bool = False


class Crew:
    """Runs a command for each worker, in an environment."""

    def __init__(self, commands: Sequence[Sequence[str]], environment: Mapping[str, str]) -> None:
        self._seats = [
            _Seat(number, command, Succession(number, STEADY_SECONDS))
            for number, command in enumerate(commands, 1)
        ]
        self._environment = environment
        self._worst = 0

    @property
    def restarts(self) -> int:
        """How many workers died."""
        return sum(seat.succession.restarts for seat in self._seats)

    def run(self, stop: threading.Event) -> None:
        """Run until ``stop`` is set, then have the workers end in good order.

        Raises:
            NetworkPipelineError: a worker could not begin, or not end in good order; its exit code
                is the worst of theirs.
        """
        try:
            while not stop.is_set() and not self._worst:
                for seat in self._seats:
                    self._look_after(seat)
                stop.wait(TURN_SECONDS)
        finally:
            self._end()
        _log.info("%d workers ended, restarts=%d", len(self._seats), self.restarts)
        if self._worst:
            error = NetworkPipelineError("workers ended with errors, which they have said")
            error.exit_code = self._worst
            raise error

    def _look_after(self, seat: _Seat) -> None:
        if seat.process is None:
            if seat.succession.is_due:
                self._start(seat)
            return
        code = seat.process.poll()
        if code is not None:
            seat.process = None
            self._replace(seat, code)

    def _start(self, seat: _Seat) -> None:
        seat.succession.begin()
        try:
            seat.process = subprocess.Popen(
                seat.command, env=self._environment_of(seat), process_group=0
            )
        except OSError as error:
            seat.succession.note_refusal(error)
            return
        _log.info("worker %d is process %d", seat.number, seat.process.pid)

    def _environment_of(self, seat: _Seat) -> dict[str, str]:
        return dict(settings.with_restarts(self._environment, seat.succession.restarts))

    def _replace(self, seat: _Seat, code: int) -> None:
        """Decide what comes after a worker that ended though nobody here told it to."""
        seat.was_steady |= seat.succession.is_steady
        if code > 0 and not seat.was_steady:
            self._worst = code
            return
        seat.succession.note_death(code)

    def _end(self) -> None:
        living = [seat.process for seat in self._seats if seat.process]
        for process in living:
            process.terminate()
        for process in living:
            code = process.wait()
            if code != -signal.SIGTERM:  # which ends one that has not begun
                self._worst = max(self._worst, code if code >= 0 else 1)
