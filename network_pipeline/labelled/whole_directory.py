"""A directory that appears under its name when everything in it is written, or not at all.

Until then it is a hidden directory beside that place, which goes away where the work fails. A
dataset that has the name already is replaced in one step; anything else that has it is left alone.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from network_pipeline import places
from network_pipeline.dataset.writers import errors_of, sync_directory
from network_pipeline.errors import DatasetError

#: The file that every dataset has.
MANIFEST = "manifest.json"


class WholeDirectory:
    """A directory in the making, as a context manager; ``path`` is where files go until its end."""

    def __init__(self, target: Path) -> None:
        self.target = target
        # What a path such as "x/.." names has no name of its own to be hidden under.
        place = target.absolute()
        self.path = place.with_name(f".{place.name}.{os.getpid()}.part")
        self._old = place.with_name(f".{place.name}.{os.getpid()}.old")

    def check(self) -> None:
        """See whether the directory may appear, before hours of work on it.

        Raises:
            DatasetError: its name belongs to something that is no dataset, or it has none.
        """
        if not self.target.name or self.target.name == "..":
            raise DatasetError(f"{self.target}: give the directory a name")
        if not self.target.absolute().parent.is_dir():
            raise DatasetError(f"{self.target}: the directory that it goes to does not exist")
        if self.target.is_symlink():
            raise DatasetError(f"{self.target}: a symbolic link")
        if self.target.exists() and not (self.target / MANIFEST).is_file():
            raise DatasetError(f"{self.target}: exists and is no dataset; it is left as it is")

    def __enter__(self) -> Self:
        """Create the hidden directory, for its owner only.

        Raises:
            DatasetError: it cannot be created.
        """
        self.check()
        with errors_of(self.target):
            self.path.mkdir(mode=0o700)
        return self

    def write(self, name: str, text: str) -> None:
        """Write a file of the directory.

        Raises:
            DatasetError: it cannot be written.
        """
        with errors_of(self.target), (self.path / name).open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                with errors_of(self.target):
                    self._appear()
        finally:
            shutil.rmtree(self.path, ignore_errors=True)

    def _appear(self) -> None:
        for each in (self.path, *filter(Path.is_dir, self.path.rglob("*"))):
            sync_directory(each)
        is_replaced = self.target.exists()
        if is_replaced:
            self.target.rename(self._old)
        try:
            self.path.rename(self.target)
        except OSError:
            if is_replaced:
                self._old.rename(self.target)
            raise
        sync_directory(self.path.parent)
        shutil.rmtree(self._old, ignore_errors=True)


class SentDirectory:
    """A directory that is made here, and sent elsewhere when everything in it is written.

    A dataset that is there already loses its manifest first, then the tables that it has otherwise
    or no longer, and the new manifest comes last: between the two there is none.
    """

    def __init__(self, target: str) -> None:
        self.path = Path()
        self._target = places.directory(target)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        """Create the directory here."""
        made = tempfile.TemporaryDirectory(prefix="network-pipeline-")
        self.path = Path(self._stack.enter_context(made))
        return self

    def write(self, name: str, text: str) -> None:
        """Write a file of the directory.

        Raises:
            DatasetError: it cannot be written.
        """
        with errors_of(self.path):
            (self.path / name).write_text(text, encoding="utf-8")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._stack:
            if kind is None:
                self._send()

    def _send(self) -> None:
        paths = sorted(path for path in self.path.rglob("*") if path.is_file())
        names = [str(path.relative_to(self.path)) for path in paths]
        there = [name.removeprefix(f"{self._target}/") for name in places.under(self._target)]
        old = [name for name in there if _is_of_table(name) and name not in names]
        for name in (*(each for each in there if each == MANIFEST), *old):
            places.remove(f"{self._target}/{name}")
        for name in sorted(names, key=lambda each: each == MANIFEST):
            with places.written(f"{self._target}/{name}") as path:
                shutil.copyfile(self.path / name, path)


def _is_of_table(name: str) -> bool:
    """Return whether a file is a table of a dataset, or in the directory of one."""
    return name.partition("/")[0].endswith(".parquet")
