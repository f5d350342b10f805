"""A file or a pipe, byte for byte.

A file is read as fast as it comes. A pipe is first asked whether it has something, so that whoever
reads a slow one is told that it has nothing now, and can go on with what there is.
"""

from __future__ import annotations

import hashlib
import os
import select
import stat
import uuid
from pathlib import Path

from network_pipeline.errors import UsageError

#: The path that stands for standard input.
STDIN = "-"

#: How long a pipe may have nothing before the reader is told.
POLL_MS = 100

_STDIN_DESCRIPTOR = 0
_SESSIONS = uuid.UUID("b3b6f6a5-6c0a-4a3c-8d0e-5b8a0b7f4f6d")
_SESSION_BYTES = 64 * 1024


def file_session(path: str | Path) -> str:
    """Return the session of a capture file; see :attr:`RawFile.session`.

    Raises:
        UsageError: there is no such file, or it cannot be read.
    """
    file = RawFile(path)
    file.open()
    file.close()
    return file.session


class RawFile:
    """A file, or standard input where ``path`` is :data:`STDIN`.

    Open, ``session`` identifies the content of a file: a UUIDv5 of the SHA-256 of its first 64 KiB
    and its size, as it lies on the disk. A pipe gets a new UUID every time. ``is_seekable`` tells
    which of both it is, ``position`` how many bytes were read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        self.session = ""
        self.is_seekable = False
        self.position = 0
        self._descriptor = -1
        self._start = 0

    def open(self) -> None:
        """Open the file.

        Raises:
            UsageError: there is no such file, or it cannot be read.
        """
        try:
            self._descriptor = self._opened()
            about = os.fstat(self._descriptor)
            if stat.S_ISDIR(about.st_mode):
                raise IsADirectoryError(0, "it is a directory")
            self.is_seekable = stat.S_ISREG(about.st_mode)
            if self.is_seekable:
                self._start = os.lseek(self._descriptor, 0, os.SEEK_CUR)
            self.session = self._session(about.st_size)
        except OSError as error:
            self.close()
            raise UsageError(f"cannot read {self.path}: {error.strerror}") from None

    def close(self) -> None:
        """Close the file; standard input stays open."""
        if self._descriptor > _STDIN_DESCRIPTOR:
            os.close(self._descriptor)
        self._descriptor = -1

    def read(self, size: int) -> bytes | None:
        """Return up to ``size`` bytes, none at the end, ``None`` where a pipe has none now.

        Raises:
            OSError: the file cannot be read.
        """
        if not self._is_ready():
            return None
        data = os.read(self._descriptor, size)
        self.position += len(data)
        return data

    def read_into(self, room: memoryview) -> int | None:
        """Read as :meth:`read` does, into ``room``; return how many bytes."""
        if not self._is_ready():
            return None
        size = os.readv(self._descriptor, [room])
        self.position += size
        return size

    def rewind(self) -> None:
        """Go back to where the file began when it was opened."""
        os.lseek(self._descriptor, self._start, os.SEEK_SET)
        self.position = 0

    def _opened(self) -> int:
        if str(self.path) == STDIN:
            return _STDIN_DESCRIPTOR
        return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)

    def _session(self, size: int) -> str:
        if not self.is_seekable:
            return str(uuid.uuid4())
        begin = os.pread(self._descriptor, _SESSION_BYTES, 0)
        return str(uuid.uuid5(_SESSIONS, f"{hashlib.sha256(begin).hexdigest()} {size}"))

    def _is_ready(self) -> bool:
        if self.is_seekable:
            return True
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(POLL_MS))
