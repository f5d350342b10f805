"""Names of the files that a processor writes one after another: a name, a local time, an ending."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from network_pipeline.dataset.writers import errors_of
from network_pipeline.errors import UsageError

#: What a file's name ends with in addition while it is written.
PART = ".part"

#: Newest files of a name whose rows are read where their ledgers do not know them yet.
EARLIER_FILES = 8

_STAMP = "%Y-%m-%d-%H-%M-%S"
_STAMP_PATTERN = r"\d{4}(-\d\d){5}(-\d+)?"


class Series:
    """Gives names that it never gave before, and finds the files that have such names."""

    def __init__(self, directory: Path, name: str, suffix: str) -> None:
        self.directory = directory
        self.name = name
        self.suffix = suffix
        self._stamp, self._claims = "", 0

    def __str__(self) -> str:
        return str(self.directory / f"{self.name}-YYYY-mm-dd-HH-MM-SS{self.suffix}")

    def check(self) -> None:
        """See whether files can be made; creates nothing.

        Raises:
            UsageError: the directory is missing or not writable, or the name is none.
        """
        if "/" in self.name:
            raise UsageError(f"DS_NAME={self.name}: must be a name without '/'")
        if not os.path.isdir(self.directory):
            raise UsageError(f"{self.directory}: no such directory")
        if not os.access(self.directory, os.W_OK | os.X_OK, effective_ids=True):
            raise UsageError(f"{self.directory}: no permission to create files there")

    def next(self) -> Path:
        """Return the path of the next file; others may have made it already."""
        # Never a stamp before the last one: after the end of daylight saving time an hour's names
        # would come back.
        stamp = max(time.strftime(_STAMP), self._stamp)
        self._claims = self._claims + 1 if stamp == self._stamp else 0
        self._stamp = stamp
        claim = f"-{self._claims}" if self._claims else ""
        return self.directory / f"{self.name}-{stamp}{claim}{self.suffix}"

    def of_others(self, crew: str) -> list[Path]:
        """Return the files of the others of a crew, whole rows in them: the newest of each.

        Raises:
            DatasetError: the directory cannot be read.
        """
        part = "" if self.suffix == ".parquet" else f"({re.escape(PART)})?"
        pattern = rf"({re.escape(crew)}-\d+)(-{_STAMP_PATTERN})?{re.escape(self.suffix)}{part}"
        with errors_of(self.directory):
            names = filter(
                None, map(re.compile(pattern).fullmatch, sorted(os.listdir(self.directory)))
            )
        by_worker: dict[str, list[Path]] = {}
        for found in names:
            if found[1] != self.name:
                by_worker.setdefault(found[1], []).append(self.directory / found[0])
        return [path for paths in by_worker.values() for path in paths[-EARLIER_FILES:]]

    def files(self, ending: str = "") -> list[Path]:
        """Return the files that have the name and a time, oldest first.

        Raises:
            DatasetError: the directory cannot be read.
        """
        pattern = f"{re.escape(self.name)}-{_STAMP_PATTERN}{re.escape(self.suffix + ending)}"
        with errors_of(self.directory):
            found = sorted(os.listdir(self.directory))
        return [self.directory / name for name in found if re.fullmatch(pattern, name)]
