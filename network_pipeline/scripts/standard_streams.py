"""Standard input, output and error as a command needs them, however it was started.

A stream that is closed (``>&-``) is None for Python, and the next file that is opened, a dataset
maybe, gets its number. What the encoding of a terminal lacks would end the command, and so would
an output that cannot be written; Python would complain of that once more as it exits.
"""

from __future__ import annotations

import io
import os
import sys


def prepare() -> None:
    """Have all three open, and what an encoding lacks written as an escape such as ``\\u2026``."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def flush() -> OSError | None:
    """Write what waits for standard output; return why it cannot be. Then the rest is dropped."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error
    return None
