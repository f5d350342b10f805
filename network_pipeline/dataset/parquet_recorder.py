"""Rows as Parquet: a file for every snapshot, since such a file cannot grow.

It has the name that a rotated file has, ``NAME-YYYY-mm-dd-HH-MM-SS.parquet``, and is written as
``.part``, synced and renamed: what a kill leaves of it holds no row that was acknowledged, and the
next processor of the same name removes it. A lock tells it from one that is being written.

The ledger comes behind the file: rows without one are read at the next start, while a ledger
without rows would be a loss. It is closed with its file. What is noted until the next one is in the
next one's, or in one without rows where it must be on disk before there are any.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path

import pyarrow as pa

from network_pipeline.dataset import ledger_files, nested_batches
from network_pipeline.dataset.exports import ParquetExport, packets
from network_pipeline.dataset.recorder import Recorder
from network_pipeline.dataset.series import PART
from network_pipeline.dataset.writers import FileTaken, errors_of
from network_pipeline.rows import Rows, numbers, session, source

logger = logging.getLogger(__name__)


class ParquetRecorder(Recorder):
    """Writes what it is given to a file of its own."""

    def append(self, pieces: Sequence[Rows]) -> int:
        """Make a file of rows; return how many they are.

        Raises:
            DatasetError: there is no such file; it may be tried again.
        """
        if self.book.path:  # of the file before, or of none
            self.keep_ledger(is_durable=True)
        export = self._written(pieces)
        # Nothing that could fail from here on: who collects files may have taken it already.
        self.path, self._size, self._rows_in_file = export.path, export.size, export.rows
        self.rows += export.rows
        self.book.open(export.path, is_new=True)
        for piece in pieces:
            self.book.wrote(source(piece), session(piece), numbers(piece))
        logger.info("finished %s", export.path)
        return export.rows

    def keep_ledger(self, *, is_durable: bool) -> None:
        """See :meth:`Recorder.keep_ledger`; the one of a file is on disk then, and closed."""
        has_rows = self._rows_in_file > 0
        super().keep_ledger(is_durable=is_durable or has_rows)
        if has_rows:
            self._rows_in_file = self._size = 0
            self.book.close()

    def finish_if_due(self) -> None:
        """Do nothing: every file is finished."""

    def close(self) -> None:
        """Write the ledger, if it is not. Safe to call when nothing was started."""
        self._keep_last_ledger()

    def _written(self, pieces: Sequence[Rows]) -> ParquetExport:
        while True:
            path = self._series.next()
            try:
                with ParquetExport(path, packets(), part=Path(f"{path}{PART}")) as export:
                    # Its part is ours, so nobody makes it now.
                    if any(map(os.path.lexists, (path, ledger_files.path_of(path)))):
                        raise FileTaken(f"{path}: exists already")
                    for batch in _batches(pieces):
                        export.append(batch)
            except FileTaken:
                continue
            return export

    def _finish_left_over(self) -> None:
        gone = suppress(FileNotFoundError, BlockingIOError)
        for part in self._series.files(PART):
            with errors_of(part), gone, part.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink()
                logger.warning("removed %s: its packets come again", part)


def _batches(pieces: Sequence[Rows]) -> Iterator[pa.RecordBatch]:
    for kind, group in groupby(pieces, type):
        if kind is dict:
            yield nested_batches.batch(list(group))
        else:
            yield from group
