"""A whole process and what it cost, as the kernel accounts it when it is waited for.

This module is imported by a process that stays small: the kernel counts what a process was before
it became another program into that program's peak memory.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple


class Cost(NamedTuple):
    """CPU and wall seconds of a process and its children, the peak memory of the largest."""

    cpu_s: float
    wall_s: float
    peak_mb: float


class ProgramError(Exception):
    """A program ended with another exit code than 0; the text is the end of what it said."""


def cost(command: list[str], stdout: Path | None = None) -> Cost:
    """Run a program to its end; what it prints goes to a file, or nowhere.

    Raises:
        ProgramError: it failed.
    """
    with tempfile.TemporaryFile() as said, open(stdout or os.devnull, "wb") as printed:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=printed, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            text = said.read().decode(errors="replace").strip().splitlines()
            raise ProgramError(text[-1] if text else f"exit code {process.returncode}")
    return Cost(usage.ru_utime + usage.ru_stime, wall_s, usage.ru_maxrss * 1024 / 1e6)
