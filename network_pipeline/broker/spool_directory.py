"""The directory of spool files, which all agents of a user on this host share.

An agent run has at most one file of its own at a time, there only while something is in it. What an
ended run left is adopted by one living agent with the same broker and queue: file names begin with
a digest of those, since messages must not go where they were not meant to. A lock on the directory
is held for the moments in which files are made or adopted; that a run lives shows by its lock on
its file (see :mod:`.spool_file`). The limit is that of all files together, whoever's they are.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from network_pipeline.broker import spool_file
from network_pipeline.broker.spool_file import SpoolDamaged, SpoolFile
from network_pipeline.errors import UsageError
from network_pipeline.settings import BrokerSettings, PublisherSettings

log = logging.getLogger(__name__)


class SpoolDirectory:
    """Makes and finds spool files."""

    def __init__(self, settings: BrokerSettings, limits: PublisherSettings) -> None:
        """Store for which broker and queue, where, and how many bytes its files may have together.

        ``limits`` must name a spool.
        """
        assert limits.spool_dir is not None
        self.place = limits.spool_dir
        self._max_bytes = limits.spool_max_bytes
        self._prefix = settings.destination
        self._lock_file = -1
        self._reported: set[Path] = set()

    def open(self) -> None:
        """Make the directory, for this user alone, and see whether it can be written to.

        Raises:
            UsageError: it cannot.
        """
        try:
            self.place.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
            self._lock_file = os.open(self.place / "lock", flags, 0o600)
        except OSError as error:
            raise UsageError(
                f"no spool in {self.place}: {error.strerror} for user {os.geteuid()}; name a "
                "directory of that user with --spool-dir, or do without: --spool-max-bytes 0"
            ) from None

    def check(self) -> None:
        """Say whether the directory can be used, and leave it closed.

        Raises:
            UsageError: it cannot.
        """
        self.open()
        self.close()

    def close(self) -> None:
        """Give the directory up."""
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1

    def create(self) -> SpoolFile:
        """Return a new file of this run.

        Raises:
            OSError, sqlite3.Error: it cannot be written.
        """
        with self._alone():
            return spool_file.create(self.place / spool_file.file_name(self._prefix))

    def adopt(self) -> list[SpoolFile]:
        """Return the files that ended runs left for this broker and queue, older first."""
        found = []
        with self._alone():
            for path in sorted(self.place.glob(f"{self._prefix}-*.spool")):
                if file := self._adopt(path):
                    found.append(file)
        return found

    def room(self, own: Path | None) -> int:
        """Return how many bytes this run's file may have, next to all others.

        Raises:
            OSError: the directory is gone.
        """
        others = 0
        for entry in os.scandir(self.place):
            if own is None or not entry.name.startswith(own.name):
                with suppress(OSError):
                    others += entry.stat(follow_symlinks=False).st_size
        return self._max_bytes - others

    def strangers(self) -> int:
        """Return how many files are for another broker or queue."""
        mine = f"{self._prefix}-"
        return sum(not path.name.startswith(mine) for path in self.place.glob("*.spool"))

    def _adopt(self, path: Path) -> SpoolFile | None:
        try:
            file = spool_file.adopt(path)
        except (SpoolDamaged, sqlite3.Error) as error:
            if path not in self._reported:
                log.error("%s, which an earlier run left, cannot be read: %s", path, error)
                self._reported.add(path)
            return None
        if file and not file.messages:
            file.close()
            return None
        return file

    @contextmanager
    def _alone(self) -> Iterator[None]:
        fcntl.flock(self._lock_file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock_file, fcntl.LOCK_UN)
