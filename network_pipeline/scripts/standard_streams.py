"""Standard input, output and error as a command needs them, however it was started.

A stream that is closed (``>&-``) is None for Python, and the next file that is opened, a dataset
maybe, gets its number. What the encoding of a terminal lacks would end the command, and so would
an output that cannot be written; Python would complain of that once more as it exits.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TextIO


def prepare() -> None:
    """Have all three open, and what an encoding lacks written as an escape such as ``\\u2026``."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def complain(text: str) -> None:
    """Write a line to standard error, if that is still there."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr)


def flush() -> OSError | None:
    """Write what waits; return why standard output cannot be. What cannot is dropped."""
    _flush(sys.stderr)  # nobody is left to be told
    return _flush(sys.stdout)


def _flush(stream: TextIO) -> OSError | None:
    try:
        stream.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None
