"""Messages on disk, in the order in which they are to be sent: one SQLite file per agent run.

Why SQLite: it is in Python, its file survives kill -9 and a power cut at any moment, and space
that is given back is used again. Why a rollback journal and not a WAL: what was appended lies in
one file, which is what the next run adopts; the limit is that of the file; and a tail that was cut
off is missed, since a tally at the front of the file says how many frames there must be (SQLite
drops a torn tail of a WAL without a word). It costs three ``fsync`` for each append instead of one,
and an append takes up to a thousand messages. ``synchronous=FULL``: what counts as spooled is on
disk. What was removed may come back after a power cut or a kill, which makes duplicates, no losses.

The connection keeps SQLite's exclusive lock from the first moment to the last, so a file that can
be locked is one that an ended run left.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from network_pipeline.errors import NetworkPipelineError
from network_pipeline.message import Message

#: Removed messages stay in the file until there are so many: one transaction for all of them.
_SWEEP_MESSAGES = 256
_SCHEMA = (
    "CREATE TABLE tally (messages INTEGER, frames INTEGER)",
    "INSERT INTO tally VALUES (0, 0)",
    "CREATE TABLE messages (id INTEGER PRIMARY KEY, frames INTEGER, content_type TEXT, "
    "headers TEXT, body BLOB)",
)


class SpoolDamaged(NetworkPipelineError):
    """What is left of a file cannot be read."""


@dataclass(frozen=True, slots=True)
class Spooled:
    """A message on disk; ``id`` is its place in the order, ``frames`` how many it holds."""

    id: int
    frames: int
    message: Message


class SpoolFile:
    """One open file. Several threads may use it; each call ends with the file as it says."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Take over a connection; see :func:`create` and :func:`adopt`."""
        self.path = path
        #: Messages in the file that were not removed, and the frames in them. Some have none.
        self.messages = self.frames = 0
        #: Why the last :meth:`append` failed.
        self.failure = ""
        self._connection = connection
        self._lock = threading.Lock()
        self._is_open = True
        #: Messages with ids up to the floor were removed, and these above it. Some of them may
        #: still be in the file.
        self._floor = 0
        self._removed: set[int] = set()
        #: The last message that was read: those up to it may be on their way to the broker.
        self._read_last = 0
        self._unswept = self._unswept_frames = 0

    def append(self, messages: Sequence[Spooled], room: int) -> bool:
        """Make messages durable, all or none; their ids must grow.

        ``room`` is how many bytes the file may have, which it never exceeds.
        """
        rows = [
            (each.id, each.frames, each.message.content_type,
             json.dumps(dict(each.message.headers)), each.message.body)
            for each in messages
        ]  # fmt: skip
        frames = sum(each.frames for each in messages)
        with self._lock:
            try:
                self._limit(room)
                with _transaction(self._connection):
                    self._connection.executemany("INSERT INTO messages VALUES (?,?,?,?,?)", rows)
                    self._tally(len(rows), frames)
            except (OSError, sqlite3.Error) as error:
                self.failure = str(error)
                return False
            self.messages += len(rows)
            self.frames += frames
            return True

    def read(self, most: int, most_bytes: int) -> list[Spooled]:
        """Return the oldest messages that were not removed, at least one if there are any.

        Raises:
            SpoolDamaged: the file holds frames that cannot be read.
        """
        with self._lock:
            if not self._is_open:
                return []
            found: list[Spooled] = []
            failure = "they are not there"
            try:
                for each in self._read(most, most_bytes):
                    found.append(each)
            except (sqlite3.Error, ValueError, TypeError) as error:
                failure = str(error)
            if found:
                self._read_last = found[-1].id
            elif self.messages:
                raise SpoolDamaged(f"{self.frames} frames in {self.path}: {failure}")
            return found

    def remove(self, messages: Iterable[Spooled]) -> None:
        """Forget messages that the broker has; the file follows later, as it can."""
        with self._lock:
            if not self._is_open:
                return
            for each in messages:
                self._removed.add(each.id)
                self.messages -= 1
                self.frames -= each.frames
                self._unswept += 1
                self._unswept_frames += each.frames
            if self._unswept >= _SWEEP_MESSAGES:
                self._sweep()

    def evict(self, count: int, above: int) -> list[Spooled]:
        """Drop up to ``count`` of the oldest messages; return them.

        Not those with ids up to ``above``, nor any that was read.
        """
        query = "SELECT * FROM messages WHERE id > ? ORDER BY id LIMIT ?"
        with self._lock:
            self._sweep()
            try:
                first = max(above, self._read_last)
                rows = self._connection.execute(query, (first, count)).fetchall()
                evicted = [_spooled(row) for row in rows]
                if not evicted:
                    return []
                frames = sum(each.frames for each in evicted)
                self._delete(0, [each.id for each in evicted], len(evicted), frames)
            except (sqlite3.Error, ValueError, TypeError):
                return []
            self.messages -= len(evicted)
            self.frames -= frames
            return evicted

    def close(self) -> None:
        """Close the file, for the next run to adopt; without messages in it, delete it."""
        with self._lock:
            if not self._is_open:
                return
            self._is_open = False
            if self.messages:
                self._sweep()
            else:
                _delete_files(self.path)
            self._connection.close()

    def set_aside(self) -> Path:
        """Close a damaged file and keep it under another name; return its name."""
        aside = self.path.with_suffix(".damaged")
        with self._lock, suppress(OSError):
            self._is_open = False
            self._connection.close()
            self.path.rename(aside)
            journal(self.path).unlink(missing_ok=True)
            return aside
        return self.path

    def _limit(self, room: int) -> None:
        [size] = self._connection.execute("PRAGMA page_size").fetchone()
        self._connection.execute(f"PRAGMA max_page_count = {max(1, room // size)}")

    def _read(self, most: int, most_bytes: int) -> Iterator[Spooled]:
        found = size = 0
        query = "SELECT * FROM messages WHERE id > ? ORDER BY id"
        with closing(self._connection.execute(query, (self._floor,))) as rows:
            for row in rows:
                if row[0] in self._removed:
                    if not found:  # else one before it was refused, and stays the oldest
                        self._floor = row[0]
                        self._removed.discard(row[0])
                    continue
                yield _spooled(row)
                found += 1
                size += len(row[4])
                if found >= most or size >= most_bytes:
                    return

    def _sweep(self) -> None:
        """Delete what was removed; on a full disk that may fail, and is tried again later."""
        with suppress(sqlite3.Error):
            self._delete(self._floor, self._removed, self._unswept, self._unswept_frames)
            self._removed.clear()
            self._unswept = self._unswept_frames = 0

    def _delete(self, floor: int, ids: Iterable[int], messages: int, frames: int) -> None:
        with _transaction(self._connection):
            self._connection.execute("DELETE FROM messages WHERE id <= ?", (floor,))
            self._connection.executemany(
                "DELETE FROM messages WHERE id = ?", ((each,) for each in ids)
            )
            self._tally(-messages, -frames)

    def _tally(self, messages: int, frames: int) -> None:
        self._connection.execute(
            "UPDATE tally SET messages = messages + ?, frames = frames + ?", (messages, frames)
        )


class _transaction:  # noqa: N801  used as a statement
    """A transaction that is rolled back where its block fails, unless SQLite did so itself."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        self._connection.execute("BEGIN EXCLUSIVE")

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._connection.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def create(path: Path) -> SpoolFile:
    """Create a file that does not exist yet, for this user alone.

    Raises:
        OSError, sqlite3.Error: it cannot be written.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    connection = _connection(path)
    try:
        _claim(connection)
        with _transaction(connection):
            for statement in _SCHEMA:
                connection.execute(statement)
        _sync_directory(path.parent)
    except (OSError, sqlite3.Error):
        connection.close()
        _delete_files(path)
        raise
    return SpoolFile(path, connection)


def adopt(path: Path) -> SpoolFile | None:
    """Open a file that an ended run left; None where its run lives, or another one was quicker.

    Raises:
        SpoolDamaged: nothing in it can be read.
        sqlite3.Error: it cannot be opened.
    """
    connection = _connection(path)
    file = SpoolFile(path, connection)
    try:
        # First: a file that is shorter than it says shall be read as far as it goes.
        connection.execute("PRAGMA writable_schema = ON")
        _claim(connection)
        with _transaction(connection):
            tally: Any = connection.execute("SELECT messages, frames FROM tally").fetchone() or ()
        if [*map(type, tally)] != [int, int] or min(tally) < 0:
            raise SpoolDamaged(f"{file.set_aside()}: its tally says {tally}")
        file.messages, file.frames = tally
    except sqlite3.Error as error:
        code = error.sqlite_errorcode & 0xFF
        if code == sqlite3.SQLITE_ERROR and not path.stat().st_size:
            return file  # without tables: its run ended as it was made
        if code in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise SpoolDamaged(f"{file.set_aside()}: {error}") from None
        connection.close()
        if code == sqlite3.SQLITE_BUSY:
            return None
        raise
    return file


def journal(path: Path) -> Path:
    """Return where SQLite keeps what it needs to undo an unfinished transaction."""
    return path.with_name(path.name + "-journal")


def _sync_directory(place: Path) -> None:
    """Make the name of a new file as durable as the file."""
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _delete_files(path: Path) -> None:
    with suppress(OSError):  # empty, it does no harm
        journal(path).unlink(missing_ok=True)
        path.unlink()


def file_name(prefix: str) -> str:
    """Return a new name; names sort by the time they were made."""
    return f"{prefix}-{time.time_ns():020}-{os.getpid()}.spool"


def _connection(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)


def _claim(connection: sqlite3.Connection) -> None:
    """Keep the lock from the first transaction on, and make each durable."""
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA synchronous = FULL")


def _spooled(row: tuple[Any, ...]) -> Spooled:
    number, frames, content_type, headers, body = row
    return Spooled(
        int(number), int(frames), Message(bytes(body), content_type, dict(json.loads(headers)))
    )
