"""Listeners for tests: each in a thread, on a port that the kernel chooses."""

from __future__ import annotations

import contextlib
import queue
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from network_pipeline.metrics import Counters
from network_pipeline.traffic.listen import ListenSettings

Listen = Callable[[ListenSettings, Callable[[str], None], threading.Event], Counters]

SECONDS = 20.0


@dataclass
class Listener:
    """A running listener: what it said, where it listens, what it counted once it ended."""

    said: queue.Queue[str] = field(default_factory=queue.Queue)
    stop: threading.Event = field(default_factory=threading.Event)
    address: tuple[str, int] = ("", 0)
    announcement: str = ""
    counters: dict[str, int] = field(default_factory=dict)
    thread: threading.Thread | None = None

    def next_said(self) -> str:
        """Return the next line, without its time."""
        return re.sub(
            r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6} ", "", self.said.get(timeout=SECONDS)
        )

    def wait(self) -> None:
        """Wait until it has ended."""
        assert self.thread is not None
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()


@contextlib.contextmanager
def listening(listen: Listen, settings: ListenSettings) -> Iterator[Listener]:
    """Run a listener; it is stopped at the end."""
    listener = Listener()

    def serve() -> None:
        listener.counters = listen(settings, listener.said.put, listener.stop).snapshot()

    listener.thread = threading.Thread(target=serve)
    listener.thread.start()
    try:
        line = listener.next_said()
        while "Starting" not in line:
            line = listener.next_said()
        listener.announcement = line
        found = re.search(r"address=(\S+):(\d+) ", line)
        assert found
        listener.address = (found[1].strip("[]"), int(found[2]))
        yield listener
    finally:
        listener.stop.set()
        listener.wait()
