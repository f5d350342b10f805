"""Puts logging back as a test found it, and ends what the test began to log to."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

from network_pipeline import logs


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Keep the root logger's handlers and level, those loggers' levels, and warning filters."""
    root = logging.root
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("amqp", "kombu", "urllib3")}
    with warnings.catch_warnings():
        try:
            yield
        finally:
            logs.shutdown()
            root.handlers[:] = handlers
            root.setLevel(level)
            for name, before in levels.items():
                logging.getLogger(name).setLevel(before)
