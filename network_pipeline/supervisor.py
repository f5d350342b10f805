"""The supervisor of an agent: starts workers, starts dead ones again, and counts for all of them.

It opens the rings while it has the right to, then gives all privileges up, and keeps the rings: its
children inherit them. A worker that dies needs no root to be replaced, and what comes meanwhile
waits in its ring. That is why workers are forked, not started anew; and since a forked process has
the modules already, it need not read them where an unprivileged user may not. There is one thread,
and one loop that waits for signals, and for who asks how the workers do.

Workers count in shared memory, so that what a killed one had not published yet is known::

    captured = published + spooled + shed + kernel_dropped + not_sampled + lost

``lost`` are at most so many: some may have reached the broker without its confirm being seen. The
session's ledger says it too, which is the successor's to publish.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from network_pipeline import agent, logs, privileges, sessions
from network_pipeline.capture.libpcap import Program
from network_pipeline.capture.ring_group import RingGroup, SparesUsedUp
from network_pipeline.capture.ring_socket import RingSocket
from network_pipeline.errors import CaptureError, NetworkPipelineError
from network_pipeline.notify import Notifier
from network_pipeline.scoreboard import Slot
from network_pipeline.seat import Seat, text, total
from network_pipeline.watcher import Watcher

#: Longest time between two looks at workers and devices.
TURN_SECONDS = 0.5
#: A worker that has not been seen for so long is ended: it is stuck.
STUCK_SECONDS = 60.0
#: How long workers may take to end, beyond what their publishers may.
END_SECONDS = agent.DRAIN_SECONDS + 10.0
#: What a worker is told to end, or to leave its rings to another.
WORKER_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_INTERRUPTED_TWICE = 130

#: Runs a worker's session in its process and returns its exit code; :data:`WORKER_SIGNALS` wait
#: until it has handlers for them.
RunWorker = Callable[[Sequence[RingSocket], Slot, str], int]

_log = logging.getLogger(__name__)


class Supervisor:
    """Runs workers until it is told to stop.

    ``rings`` are open, and have a ring for each of the ``seats``. ``filters`` gives the programs of
    the devices anew, when SIGHUP asks for it. ``sessions`` is the directory of the workers'
    ledgers, None for none.
    """

    def __init__(  # noqa: PLR0913  wired by name, in one place
        self,
        rings: RingGroup,
        seats: Sequence[Seat],
        run_worker: RunWorker,
        *,
        filters: Callable[[], Mapping[str, Program]],
        notifier: Notifier,
        sessions: Path | None,
        watchers: Sequence[Watcher],
    ) -> None:
        self._rings = rings
        self._seats = seats
        self._run_worker = run_worker
        self._filters = filters
        self._notifier = notifier
        self._sessions = sessions
        self._watchers = watchers
        self._unread: Counter[str] = Counter()
        self._signals: list[int] = []
        self._stopping_since: float | None = None
        self._taking_up: list[str] = []
        self._failed = 0
        self._is_ready = False

    def run(self) -> None:
        """Run until SIGTERM or SIGINT, and say what was counted; SIGHUP reads the filter again.

        Raises:
            NetworkPipelineError: workers could not begin, or not publish all at the end.
        """
        here, there = socket.socketpair()
        here.setblocking(False)
        there.setblocking(False)
        for number in _SIGNALS:
            signal.signal(number, lambda number, _frame: self._signals.append(number))
        signal.set_wakeup_fd(there.fileno(), warn_on_full_buffer=False)
        with (
            here,
            there,
            selectors.PollSelector() as selector,  # a child has no part in it
            contextlib.ExitStack() as opened,  # whatever ends this, the terminal is given back
        ):
            opened.callback(signal.set_wakeup_fd, -1)
            selector.register(here, selectors.EVENT_READ, partial(_drain, here))
            for watcher in self._watchers:
                watcher.open(selector)
                opened.callback(watcher.close)
            for seat in self._seats:
                self._start(seat)
            while any(seat.pid for seat in self._seats) or not self._is_stopping:
                for key, _ in selector.select(TURN_SECONDS):
                    key.data()
                self._turn()
        self._settle()
        _log.info("network-agent ended: %s", text(self._counts()))
        if self._failed:
            error = NetworkPipelineError("workers ended with errors, which they have said")
            error.exit_code = self._failed
            raise error

    def _settle(self) -> None:
        """Count what is in the rings of workers that did not end in good order."""
        waiting, dropped = self._rings.settle()
        self._unread["captured"] += waiting + dropped
        self._unread["kernel_dropped"] += dropped
        self._unread["lost"] += waiting
        if waiting:
            _log.error("%d frames are lost that no worker has read", waiting)

    def _counts(self) -> dict[str, int]:
        """Return what all workers have counted, those before them too."""
        return {name: count + self._unread[name] for name, count in total(self._seats).items()}

    @property
    def _is_stopping(self) -> bool:
        return self._stopping_since is not None

    def _turn(self) -> None:
        while self._signals:
            self._obey(self._signals.pop(0))
        self._reap()
        self._rings.watch()
        if not self._is_stopping:
            self._take_up_devices()
        if self._is_stopping:
            self._end_late_ones()
        else:
            self._end_stuck_ones()
            for seat in self._seats:
                if not seat.pid and seat.succession.is_due and not self._taking_up:
                    self._start(seat)
        self._notify()
        for watcher in self._watchers:
            watcher.turn()

    # -- signals

    def _obey(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._reload()
        elif number in (signal.SIGTERM, signal.SIGINT):
            if self._is_stopping:
                self._signal_all(signal.SIGKILL)
                for watcher in self._watchers:
                    watcher.close()
                os._exit(_INTERRUPTED_TWICE)
            self._stop()

    def _stop(self) -> None:
        """Have workers end; where one has died, its successor first reads what waits."""
        self._stopping_since = time.monotonic()
        self._notifier.send("STOPPING=1")
        for seat in self._seats:
            if not seat.pid and not self._failed:
                self._start(seat)
        self._signal_all(signal.SIGTERM)

    def _reload(self) -> None:
        now_us = time.monotonic_ns() // 1000
        self._notifier.send("RELOADING=1", f"MONOTONIC_USEC={now_us}")
        try:
            self._rings.accept(self._filters())
        except NetworkPipelineError as error:
            _log.error("the filter stays as it was: %s", error)
        else:
            _log.info("the filter was read again")
        self._notifier.send("READY=1")

    def _signal_all(self, number: int) -> None:
        for seat in self._seats:
            if seat.pid:
                os.kill(seat.pid, number)

    # -- workers

    def _start(self, seat: Seat) -> None:
        seat.begin(agent.new_session())
        # A signal that comes before the child has handlers of its own waits until then.
        signal.pthread_sigmask(signal.SIG_BLOCK, WORKER_SIGNALS)
        parent = os.getpid()
        try:
            with logs.forking():
                seat.pid = os.fork()
                if seat.pid == 0:
                    self._become_worker(seat, parent)
        except OSError as error:
            seat.succession.note_refusal(error)
            if self._is_stopping:  # nobody tries again
                self._failed = self._failed or 1
        else:
            _log.info("worker %d is process %d, session %s", seat.number, seat.pid, seat.session)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, WORKER_SIGNALS)

    def _become_worker(self, seat: Seat, parent: int) -> None:
        """Run in the child, and end it."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # they are for the supervisor
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for watcher in self._watchers:
                watcher.leave()
            self._rings.close(but=seat.number)
            privileges.end_with_parent(signal.SIGTERM)
            if os.getppid() == parent:
                code = self._run_worker(self._rings.of(seat.number), seat.slot, seat.session)
        except Exception:
            _log.exception("worker %d cannot begin", seat.number)
        finally:
            logging.shutdown()
            os._exit(code)

    def _reap(self) -> None:
        for seat in self._seats:
            if seat.pid:
                pid, status = os.waitpid(seat.pid, os.WNOHANG)
                if pid:
                    self._note_end(seat, os.waitstatus_to_exitcode(status))

    def _note_end(self, seat: Seat, code: int) -> None:
        """Count what a worker did, and decide what comes after it."""
        counts = seat.end()
        _log.info("worker %d is done, session %s: %s", seat.number, seat.session, text(counts))
        if counts["lost"]:
            _log.error("%d frames are lost with worker %d", counts["lost"], seat.number)
        if code and self._sessions:
            sessions.bury(self._sessions, seat.session, counts)
        if self._is_stopping and code:
            self._failed = self._failed or max(code, 1)
        elif code > 0 and not seat.was_ready:
            self._failed = code
            self._stop()
        elif not self._is_stopping and (code or not self._taking_up):
            seat.succession.note_death(code)

    def _end_stuck_ones(self) -> None:
        for seat in self._seats:
            seen = seat.slot.seen
            if seat.pid and seen is not None and seen > STUCK_SECONDS:
                _log.error("worker %d is stuck", seat.number)
                os.kill(seat.pid, signal.SIGKILL)

    def _end_late_ones(self) -> None:
        if time.monotonic() - (self._stopping_since or 0.0) > END_SECONDS:
            self._signal_all(signal.SIGKILL)

    # -- devices

    def _take_up_devices(self) -> None:
        """Where a device is back, let all workers leave their rings, and then open new ones.

        Where there are no sockets for them any more, all ends in good order, to be started anew.
        """
        if not self._taking_up:
            try:
                self._taking_up = self._rings.back()
            except SparesUsedUp as error:
                _log.error("%s", error)
                self._stop()
                self._failed = error.exit_code
            if self._taking_up:
                self._signal_all(signal.SIGUSR1)
        elif not any(seat.pid for seat in self._seats):
            for device in self._taking_up:
                self._take_up(device)
            self._taking_up = []

    def _take_up(self, device: str) -> None:
        try:
            self._rings.take_up(device)
        except CaptureError as error:  # it has gone again; the next turn sees what became of it
            _log.warning("%s", error)

    # -- what is said

    def _notify(self) -> None:
        if not self._is_ready and all(seat.is_ready for seat in self._seats):
            self._is_ready = True
            self._notifier.send("READY=1")
            _log.info("capturing with %d workers", len(self._seats))
        self._notifier.send("WATCHDOG=1")


def _drain(sock: socket.socket) -> None:
    try:
        while sock.recv(4096):
            pass
    except BlockingIOError:
        pass
