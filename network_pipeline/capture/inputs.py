"""The capture files that a command was given, looked at before the first of them is read.

A frame is known by the session of its file and its number in it, and the session by the file's
content. So a file that is given twice, or under two names, would give every frame twice: it is read
once.
"""

from __future__ import annotations

import filecmp
import logging
import os
import stat
from collections.abc import Sequence
from typing import NamedTuple

from network_pipeline.capture.raw_file import STDIN, file_session
from network_pipeline.errors import UsageError

#: How names of capture files in a directory end.
ENDINGS = tuple(
    f".{kind}{packed}"
    for kind in ("pcap", "pcapng", "cap")
    for packed in ("", ".gz", ".zst", ".xz")
)

_STDIN_PATH = "/dev/stdin"

_log = logging.getLogger(__name__)


class Input(NamedTuple):
    """A capture file and its bytes; those of a pipe are not known: None."""

    path: str
    size: int | None


def inputs(paths: Sequence[str]) -> list[Input]:
    """Return the files, each once, in order.

    Raises:
        UsageError: one is not there or cannot be read, or two differ that would be one session.
    """
    found: dict[str, Input] = {}
    for path in paths:
        size = _size(path)
        key = path if size is None else file_session(path)
        if key not in found:
            found[key] = Input(path, size)
        elif _are_same(found[key].path, path):
            _log.warning("%s is the same capture as %s and is read once", path, found[key].path)
        else:
            raise UsageError(
                f"{path} and {found[key].path} have one size and begin alike, so their frames "
                "would have the same session and numbers: make a dataset of each"
            )
    return list(found.values())


def _size(path: str) -> int | None:
    try:
        about = os.stat(_named(path))
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    # What a directory is told is left to whoever opens it.
    return about.st_size if stat.S_ISREG(about.st_mode) or stat.S_ISDIR(about.st_mode) else None


def _are_same(first: str, second: str) -> bool:
    one, other = _named(first), _named(second)
    return os.path.samefile(one, other) or filecmp.cmp(one, other, shallow=False)


def _named(path: str) -> str:
    return _STDIN_PATH if path == STDIN else path
