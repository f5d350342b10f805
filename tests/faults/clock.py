"""A wall clock that a test can set back in one process, as an administrator or NTP would.

A library that is loaded before the C library answers its questions for the time of day, with an
offset that the test writes into a file: for Python's :mod:`time` and :mod:`datetime`, for SQLite
and for whatever else is linked to it. It does not cover the kernel: the times of frames that a
device gives, of files, and monotonic clocks, which nobody can set.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests import needs

_SOURCE = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile long long *offset;

__attribute__((constructor)) static void begin(void) {
    int file = open(getenv("CLOCK_OFFSET"), O_RDONLY);
    offset = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int done = syscall(SYS_clock_gettime, clock, now);
    if (!done && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) && offset)
        now->tv_sec += *offset;
    return done;
}

int gettimeofday(struct timeval *now, void *zone) {
    struct timespec precise;
    int done = clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return done;
}

time_t time(time_t *now) {
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (now) *now = precise.tv_sec;
    return precise.tv_sec;
}
"""


class Clock:
    """The wall clock of the processes that were started while :meth:`shown`."""

    def __init__(self, directory: Path) -> None:
        self._library = directory / "clock.so"
        self._offset = directory / "offset"

    def make(self) -> None:
        """Compile the library; the clock is right at first."""
        if shutil.which("cc") is None:
            needs.lacking("a C compiler")
        command = ["cc", "-shared", "-fPIC", "-O2", "-x", "c", "-", "-o", str(self._library)]
        subprocess.run(command, input=_SOURCE.encode(), check=True)
        self.turn(0)

    def turn(self, seconds: int) -> None:
        """Show so many seconds more than the right time, less if negative."""
        with self._offset.open("r+b" if self._offset.exists() else "wb", buffering=0) as file:
            file.write(struct.pack("@q", seconds))

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Processes that the block starts have this clock."""
        added = {"LD_PRELOAD": str(self._library), "CLOCK_OFFSET": str(self._offset)}
        os.environ.update(added)
        try:
            yield
        finally:
            for name in added:
                del os.environ[name]
