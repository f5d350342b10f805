"""Dataset files that only ever grow, by whole snapshots.

A snapshot is one ``write`` at the end of the file and one ``fdatasync``: it costs what its rows
cost, never what the file holds. It is all or nothing. If anything fails, the file is cut back to
where it ended; if even that fails, the place is remembered and cut back to before the next rows.
What a crash in the middle of a ``write`` leaves behind is at most half a line at the end, until
``open`` cuts it off; whole lines before it may be rows that were not acknowledged and come again.

Readers see whole lines (:mod:`network_pipeline.dataset.lease`). One process writes a file: it holds
a lock on it (``flock``) for as long as it is open.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from network_pipeline.dataset.lease import alone
from network_pipeline.errors import DatasetError
from network_pipeline.schema import COLUMN_NAMES

logger = logging.getLogger(__name__)

#: The first line of every CSV file.
HEADER = (",".join(COLUMN_NAMES) + "\n").encode()

_BLOCK_BYTES = 65_536

#: How long a snapshot waits for readers to close the file, at most. All of them together wait no
#: longer than the time between them, so a reader that stays (``tail -f``) at most halves the speed.
_PATIENCE_SECONDS = 1.0


class FileTaken(DatasetError):
    """Another processor writes this file, or has made it a moment ago."""


class Writer(Protocol):
    """A dataset file of some format."""

    path: Path

    def check(self) -> None:
        """Say whether ``open`` can work, without creating or changing anything.

        Raises:
            DatasetError: it cannot; the text says why.
        """

    def open(self) -> None:
        """Create the file, or repair the existing one, and lock it.

        Raises:
            DatasetError: it cannot be created, or is no dataset of this version.
            FileTaken: it belongs to another process.
        """

    def append(self, lines: bytes) -> None:
        """Make rows durable, all of them, given as whole lines.

        Raises:
            DatasetError: none of them is in the file; it may be tried again.
        """

    def close(self) -> None:
        """Close and unlock the file; everything in it is durable already."""


class CsvWriter:
    """Comma-separated text with a header: lines of :mod:`.flatten` and :mod:`.csv_text`.

    ``new`` files must not exist yet, and are removed if they cannot be begun.
    """

    def __init__(self, path: Path, *, new: bool = False) -> None:
        self.path = path
        self._new = new
        self._descriptor = -1
        self._cut_to: int | None = None
        self._patience = _PATIENCE_SECONDS
        self._ended = time.monotonic()

    def check(self) -> None:
        """See :meth:`Writer.check`."""
        if not os.path.lexists(self.path):
            return
        with errors_of(self.path):
            # An open for writing with nothing created: the same answer as that of `open`.
            descriptor = os.open(self.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                _lock(descriptor, self.path)
                _lacks_header(descriptor, self.path)
            finally:
                os.close(descriptor)

    def open(self) -> None:
        """See :meth:`Writer.open`; the file's mode is 0600, symbolic links are not followed."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with errors_of(self.path):
            self._descriptor = os.open(self.path, flags | (os.O_EXCL if self._new else 0), 0o600)
            try:
                _lock(self._descriptor, self.path)
                self._repair()
                sync_directory(self.path.parent)
            except (OSError, DatasetError):
                if self._new:
                    with suppress(OSError):
                        self.path.unlink()
                self.close()
                raise

    def append(self, lines: bytes) -> None:
        """See :meth:`Writer.append`; a file that somebody deleted is begun again."""
        with errors_of(self.path):
            if not self._exists():
                logger.warning("%s is gone, beginning it again", self.path)
                self.close()
                self.open()
            self._append(lines)

    def close(self) -> None:
        """See :meth:`Writer.close`."""
        if self._descriptor >= 0:
            with suppress(OSError):
                self._undo()
            os.close(self._descriptor)
        self._descriptor, self._cut_to = -1, None

    def _exists(self) -> bool:
        return self._descriptor >= 0 and os.fstat(self._descriptor).st_nlink > 0

    def _repair(self) -> None:
        if _lacks_header(self._descriptor, self.path):
            self._cut(0)
            self._append(HEADER)
            os.fsync(self._descriptor)
        else:
            self._cut(_end_of_last_line(self._descriptor))

    def _cut(self, size: int) -> None:
        torn = os.fstat(self._descriptor).st_size - size
        if torn:
            os.ftruncate(self._descriptor, size)
            os.fsync(self._descriptor)
            logger.warning("%s: cut off %d bytes of a torn last line", self.path, torn)

    def _append(self, lines: bytes) -> None:
        began = time.monotonic()
        self._patience = min(_PATIENCE_SECONDS, self._patience + began - self._ended)
        with alone(self._descriptor, self._patience):
            self._patience -= time.monotonic() - began
            self._undo()
            self._cut_to = os.fstat(self._descriptor).st_size
            with self._undone_on_error():
                _write(self._descriptor, lines)
        with self._undone_on_error():
            os.fdatasync(self._descriptor)
        self._cut_to = None
        self._ended = time.monotonic()

    @contextmanager
    def _undone_on_error(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            with suppress(OSError):
                self._undo()
            raise

    def _undo(self) -> None:
        if self._cut_to is not None:
            os.ftruncate(self._descriptor, self._cut_to)
            self._cut_to = None


def sync_directory(path: Path) -> None:
    """Make the creation or renaming of a file in a directory durable; ``OSError`` if it fails."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(descriptor: int, lines: bytes) -> None:
    left = memoryview(lines)
    while left:
        left = left[os.write(descriptor, left) :]


def _lock(descriptor: int, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise DatasetError(f"{path}: not a regular file")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FileTaken(f"{path}: another processor writes this file") from None
    # Between open and lock its owner may have finished it: renamed or removed.
    if not os.path.lexists(path) or not os.path.samestat(os.lstat(path), os.fstat(descriptor)):
        raise FileTaken(f"{path}: another processor has just finished this file")


def _lacks_header(descriptor: int, path: Path) -> bool:
    first = os.pread(descriptor, len(HEADER), 0)
    if first == HEADER:
        return False
    if HEADER.startswith(first):
        return True
    raise DatasetError(
        f"{path}: its first line does not name the {len(COLUMN_NAMES)} columns of this version; "
        "write to another file"
    )


def _end_of_last_line(descriptor: int) -> int:
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - _BLOCK_BYTES)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


@contextmanager
def errors_of(path: Path) -> Iterator[None]:
    """Turn an ``OSError`` of the block into a :class:`DatasetError` that names the path."""
    try:
        yield
    except FileExistsError:
        raise FileTaken(f"{path}: exists already") from None
    except OSError as error:
        reason = "a symbolic link" if error.errno == errno.ELOOP else error.strerror or str(error)
        raise DatasetError(f"{path}: {reason}") from error
