"""A moment in which nobody else can have a file open: how a snapshot appears in one piece.

While a large ``write`` runs, the file grows page by page, and whoever copies it just then gets half
a line. A write lease (``fcntl(2)``, F_SETLEASE) prevents that: Linux grants it only while nobody
else has the file open, and holds up every ``open`` by others until it is given back.

- Somebody has the file open: the lease is refused. Copying takes moments, so it is asked for again
  and again, for a bounded time; then the write goes ahead without it, since ``tail -f`` or a very
  long copy must not stop the dataset. Only such a reader can still see half of the last line.
- The file system knows no leases, or the file is another user's: written without.
- An ``open`` that is held up makes the kernel signal the holder of the lease, by default with
  SIGIO, which kills a process that does not expect it. F_SETSIG chooses SIGURG instead, which is
  ignored by default, so no handler is needed and it does not matter which thread is hit. The choice
  is forgotten whenever the lease is given back, so it is made anew before every request.
- Should this process hang while it holds the lease, the kernel takes it away after
  /proc/sys/fs/lease-break-time (45 s); should it die, at once.
"""

from __future__ import annotations

import errno
import fcntl
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

_RETRY_SECONDS = 0.0002


@contextmanager
def alone(descriptor: int, patience: float) -> Iterator[bool]:
    """Hold up those who open the file while the block runs, which must be short.

    Waits up to ``patience`` seconds for others to close the file; yields whether they all did.
    """
    granted = _request(descriptor, time.monotonic() + patience)
    try:
        yield granted
    finally:
        if granted:
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def _request(descriptor: int, deadline: float) -> bool:
    while True:
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        except OSError as error:
            if error.errno != errno.EAGAIN or time.monotonic() >= deadline:
                return False
            time.sleep(_RETRY_SECONDS)
        else:
            return True
