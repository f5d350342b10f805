"""What waits on disk for the broker: this run's file, and those that earlier runs left.

Counts move here: ``spooled`` is a gauge, the frames of this run that are on disk; a confirm moves
them to ``published``. Frames of earlier runs are counted in ``adopted`` when the broker has them,
and in ``damaged`` where a file cannot be read. Frames of this run whose file cannot be read are
``shed``, and so are those that a full spool drops for newer ones.

The sender reads and removes, the spooler (see :mod:`.buffer`) stores, each in its own thread. The
lock is held for moments, never while a disk works.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from network_pipeline.broker.spool_directory import SpoolDirectory
from network_pipeline.broker.spool_file import SpoolDamaged, Spooled, SpoolFile
from network_pipeline.losses import Losses
from network_pipeline.metrics import Counters
from network_pipeline.settings import BrokerSettings, PublisherSettings

log = logging.getLogger(__name__)

_FAILURE_LOG_SECONDS = 30.0


class Spool:
    """The files of one agent run, in the order in which they are sent."""

    def __init__(
        self, settings: BrokerSettings, limits: PublisherSettings, counters: Counters
    ) -> None:
        #: What was shed here.
        self.losses = Losses()
        self._directory = SpoolDirectory(settings, limits)
        self._keep_newest = limits.spool_keep == "newest"
        self._counters = counters
        self._lock = threading.Lock()
        self._own: SpoolFile | None = None
        self._adopted: list[SpoolFile] = []
        self._is_storing = False
        #: The last message that went on its way to the broker from memory.
        self._in_flight = 0
        self._next_log = 0.0

    @property
    def place(self) -> Path:
        """The directory."""
        return self._directory.place

    def open(self) -> None:
        """Open the directory, and adopt what earlier runs left there.

        Raises:
            UsageError: it cannot be used.
        """
        self._directory.open()
        if strangers := self._directory.strangers():
            log.warning("%d files in %s wait for an agent with another broker or queue",
                        strangers, self.place)  # fmt: skip
        self.adopt()

    def adopt(self) -> bool:
        """Look for files that ended runs left; return whether there are any."""
        found = self._directory.adopt()
        if found:
            frames = sum(file.frames for file in found)
            log.info("adopted %d frames that an earlier run left in %s", frames, self.place)
            with self._lock:
                self._adopted += found
        return bool(found)

    def close(self) -> None:
        """Close all files, and say what is left for the next run."""
        with self._lock:
            files = [file for file in (*self._adopted, self._own) if file]
            if self._own and self._own.frames:
                log.warning("%d frames wait in %s; the next capture for this queue sends them",
                            self._own.frames, self._own.path)  # fmt: skip
        for file in files:
            file.close()
        self._directory.close()

    def has_own(self) -> bool:
        """Whether messages of this run are on disk."""
        own = self._own
        return own is not None and own.messages > 0

    # -- the sender

    def oldest(self) -> SpoolFile | None:
        """Return the file whose messages are to be sent next, None where all are empty."""
        with self._lock:
            files = (*self._adopted, self._own)
            return next((file for file in files if file and file.messages), None)

    def read(self, file: SpoolFile, most: int, most_bytes: int) -> list[Spooled]:
        """Return the oldest messages of a file; none where it is damaged, which is counted."""
        try:
            return file.read(most, most_bytes)
        except SpoolDamaged as error:
            self._give_up(file, error)
            return []

    def note_in_flight(self, number: int) -> None:
        """Tell up to which message those from memory may be on their way to the broker."""
        self._in_flight = number

    def remove(self, file: SpoolFile, taken: Sequence[Spooled]) -> None:
        """Forget messages that the broker has."""
        file.remove(taken)
        frames = sum(each.frames for each in taken)
        with self._lock:
            if file in self._adopted:
                self._counters.add("adopted", frames)
            else:
                self._counters.add("spooled", -frames)
                self._counters.add("published", frames)
            is_empty = not file.messages and not self._is_storing
            if is_empty:
                self._forget(file)
        if is_empty:
            file.close()

    def _forget(self, file: SpoolFile) -> None:
        if file is self._own:
            self._own = None
        else:
            self._adopted.remove(file)

    def _give_up(self, file: SpoolFile, error: SpoolDamaged) -> None:
        with self._lock:
            if self._is_storing:
                return  # into this file, perhaps: what is there to count is known in a moment
            if file is self._own:
                self._counters.add("spooled", -file.frames)
                self._counters.add("shed", file.frames)
                self.losses.add_unknown()
            else:
                self._counters.add("damaged", file.frames)
            self._forget(file)
        log.error("the spool is damaged: %s; kept as %s", error, file.set_aside())

    # -- the spooler

    def store(self, messages: Sequence[Spooled]) -> tuple[SpoolFile | None, int]:
        """Append as many messages as there is room for; return the file, and how many."""
        with self._lock:
            self._is_storing = True
        stored = 0
        try:
            stored = self._store(messages)
        finally:
            with self._lock:
                frames = sum(each.frames for each in messages[:stored])
                self._counters.add("spooled", frames)
                self._is_storing = False
        return self._own, stored

    def _store(self, messages: Sequence[Spooled]) -> int:
        try:
            room = self._directory.room(self._own.path if self._own else None)
            if room <= 0:
                raise OSError("other files fill it")
            file = self._own = self._own or self._directory.create()
        except (OSError, sqlite3.Error) as error:
            self._say(str(error))
            return 0
        size = len(messages)
        while size and not file.append(messages[:size], room):
            if not (self._keep_newest and self._evict(file, size)):
                self._say(file.failure)
                size //= 2
        return size

    def _evict(self, file: SpoolFile, size: int) -> bool:
        """Shed the oldest messages on disk for newer ones; return whether there were any."""
        evicted = file.evict(size, above=self._in_flight)
        frames = sum(each.frames for each in evicted)
        with self._lock:
            for each in evicted:
                self.losses.add(each.message)
            self._counters.add("spooled", -frames)
            self._counters.add("shed", frames)
        return bool(evicted)

    def _say(self, reason: str) -> None:
        if time.monotonic() >= self._next_log:
            self._next_log = time.monotonic() + _FAILURE_LOG_SECONDS
            log.warning("the spool in %s takes no more: %s", self.place, reason)
