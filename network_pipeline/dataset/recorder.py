"""Which file rows go to: its name, when it is finished and when the next one begins.

Without rotation one file grows for as long as the processor runs: OUTPUT_CSV itself, or a new
``DIR/NAME-YYYY-mm-dd-HH-MM-SS.csv`` (local time). With rotation every file has a time in its name,
also where OUTPUT_CSV gives directory and name, since a name that comes back could overwrite what a
collector has taken away. While it is written it ends in ``.part``; it is renamed when it has its
rows or its age, so whoever collects ``*.csv`` gets finished files only. A file is begun when its
first rows are there: none is ever without rows. What a dead processor left as ``.part`` is repaired
and finished by the next one that starts.

Names are claimed by creating them, so processors that start in the same second do not meet. The
lock of a ``.part`` file is held until it is renamed: a living processor's file is not taken for
a dead one's.

Every file has its ledger (:mod:`.book`). At the start those of the newest files of the same name
tell which frames are rows already.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import pyarrow as pa

from network_pipeline.dataset import csv_text, ledger_files
from network_pipeline.dataset.book import Book, read_frames, read_rows
from network_pipeline.dataset.series import EARLIER_FILES, PART, Series
from network_pipeline.dataset.writers import (
    HEADER,
    CsvWriter,
    FileTaken,
    Writer,
    errors_of,
    sync_directory,
)
from network_pipeline.errors import DatasetError, UsageError
from network_pipeline.range_sets import RangeSet
from network_pipeline.rows import Rows, count, numbers, session, source
from network_pipeline.settings import ProcessorSettings

logger = logging.getLogger(__name__)

#: Newest files of the same name whose ledgers are read at the start: what was delivered but not
#: acknowledged is in them. Of the last few the rows are read that the ledger does not know.
_EARLIER_LEDGERS = 256


class Recorder:
    """Appends rows to one file, or to one file after another.

    ``path`` is the file being written (the last one, when none is; None before the first), ``rows``
    the number of rows made durable.
    """

    def __init__(self, settings: ProcessorSettings) -> None:
        self.path: Path | None = None
        self.rows = 0
        self.book = Book()
        self._earlier: list[Path] = []
        self._settings = settings
        self._rotates = bool(
            settings.is_parquet or settings.rotate_after_rows or settings.rotate_after_seconds
        )
        output = settings.output
        self._series = (
            Series(output.parent, output.stem, output.suffix)
            if output
            else Series(settings.dir, settings.name, ".csv")
        )
        self._fixed = output if output and not self._rotates else None
        self._writer: Writer | None = None
        self._rows_in_file = self._size = 0
        self._began = 0.0

    def check(self) -> str:
        """Return where rows would go, after checking that they can; creates nothing.

        Raises:
            UsageError: the directory is missing or not writable, or the path is no file.
            DatasetError: the file holds something else, or another processor writes it.
        """
        self._series.check()
        if self._fixed is None:
            return str(self._series)
        if os.path.isdir(self._fixed):
            raise UsageError(f"{self._fixed}: a directory; OUTPUT_CSV must name a file")
        CsvWriter(self._fixed).check()
        return str(self._fixed)

    def start(self) -> None:
        """Open the file; with rotation, finish what dead processors left and open none yet.

        Raises:
            UsageError: as in :meth:`check`.
            DatasetError: as in :meth:`check`, or the file cannot be begun.
        """
        self.check()
        if self._rotates:
            self._finish_left_over()
            logger.info("writing to %s", self._series)
        if self._fixed is None:
            self._earlier = self._series.files()[-_EARLIER_LEDGERS:]
        if not self._rotates:
            self._begin()

    def earlier_frames(self) -> Iterator[tuple[str, RangeSet]]:
        """Yield sessions and numbers of the rows that were written before :meth:`start`.

        Raises:
            DatasetError: a file cannot be read.
        """
        for path in self._earlier[:-EARLIER_FILES]:
            yield from read_frames(path)
        for path in self._earlier[-EARLIER_FILES:]:
            yield from read_rows(path)
        if self._fixed:
            yield from self.book.frames()

    def frames_of_others(self) -> Iterator[tuple[str, RangeSet]]:
        """Yield sessions and numbers of the rows that others of the crew wrote lately."""
        for path in self._series.of_others(self._settings.crew) if self._settings.crew else ():
            try:
                yield from read_rows(path)
            except DatasetError as error:  # it was just taken away
                logger.warning("left out: %s", error)

    def keep_ledger(self, *, is_durable: bool) -> None:
        """Write the book beside the file where it has changed, if need be or it is time again.

        Raises:
            DatasetError: the ledger is as it was before.
        """
        if not self.book.has_changed:
            return
        if self.book.path is None and is_durable:  # before the first rows
            self._begin_ledger()
        if is_durable or self.book.is_due():
            self.book.save(self._size, is_durable=is_durable)

    def append(self, pieces: Sequence[Rows]) -> int:
        """Make rows durable, from the first of the first piece; return how many.

        Fewer than all are taken where the file has room for no more: the rest belongs into the
        next file, with another call.

        Raises:
            DatasetError: none of them is in a file; it may be tried again.
        """
        self.finish_if_due()
        writer = self._writer or self._begin()
        taken = list(_first(pieces, self._room()))
        writer.append(_lines(taken))
        with errors_of(writer.path):
            self._size = writer.path.stat().st_size
        for piece in taken:
            self.book.wrote(source(piece), session(piece), numbers(piece))
        rows = sum(map(count, taken))
        self._rows_in_file += rows
        self.rows += rows
        return rows

    def finish_if_due(self) -> None:
        """Finish the current file if it has its rows or its age; to be called now and then.

        Raises:
            DatasetError: it cannot be renamed, or its ledger not be written; its rows are durable,
                and it may be tried again.
        """
        if self._writer is None:
            return
        limits = self._settings
        full = limits.rotate_after_rows and self._rows_in_file >= limits.rotate_after_rows
        age = time.monotonic() - self._began
        if full or (limits.rotate_after_seconds and age >= limits.rotate_after_seconds):
            self.keep_ledger(is_durable=True)
            self._finish()

    def close(self) -> None:
        """Finish and close the file. Safe to call when nothing was started.

        Raises:
            DatasetError: it could not be renamed; its rows are durable.
        """
        if self._writer is None:
            return
        self._keep_last_ledger()
        if self._rotates:
            self._finish()
        else:
            self._writer.close()
            self._writer = None

    def _room(self) -> int | None:
        most = self._settings.rotate_after_rows
        return most - self._rows_in_file if most else None

    def _begin(self) -> Writer:
        if self.book.path:  # of a ledger without a dataset
            self.keep_ledger(is_durable=True)
        if self._fixed:
            writer: Writer = CsvWriter(self._fixed)
            writer.open()
        else:
            writer = self._claim()
        self.book.open(writer.path)
        self._writer, self.path = writer, writer.path
        self._rows_in_file, self._began = 0, time.monotonic()
        with errors_of(writer.path):
            self._size = writer.path.stat().st_size
        logger.info("writing to %s", self.path)
        return writer

    def _claim(self) -> Writer:
        while True:
            final = self._series.next()
            part = Path(f"{final}{PART}")
            path, other = (part, final) if self._rotates else (final, part)
            writer = CsvWriter(path, new=True)
            try:
                writer.open()
            except FileTaken:
                continue
            if not os.path.lexists(other):
                return writer
            with errors_of(path):
                path.unlink()
            writer.close()

    def _keep_last_ledger(self) -> None:
        """Write the book; what it could not keep is in the rows, or not acknowledged."""
        try:
            self.keep_ledger(is_durable=True)
        except DatasetError as error:
            logger.warning("%s", error)

    def _begin_ledger(self) -> None:
        """Begin a ledger whose dataset never comes: for what is known before the first rows."""
        while True:
            path = self._series.next()
            paths = (path, Path(f"{path}{PART}"), ledger_files.path_of(path))
            if not any(map(os.path.lexists, paths)):
                self.book.open(path)
                return

    def _finish(self) -> None:
        assert self._writer
        self.path = _rename(self._writer)
        self._writer.close()
        self._writer = None
        self._size = 0
        self.book.close()
        _sync(self._series.directory)

    def _finish_left_over(self) -> None:
        for path in self._series.files(PART):
            _finish_left_over(CsvWriter(path))


def _first(pieces: Sequence[Rows], most_rows: int | None) -> Iterator[Rows]:
    """Yield pieces up to so many rows; the last one may be a part of a batch."""
    left = most_rows
    for piece in pieces:
        if left is None or count(piece) <= left:
            yield piece
            left = None if left is None else left - count(piece)
            continue
        if left and isinstance(piece, pa.RecordBatch):
            yield piece.slice(0, left)
        return


def _lines(pieces: Sequence[Rows]) -> bytes:
    texts: list[bytes | memoryview] = []
    for kind, group in groupby(pieces, type):
        if kind is dict:
            # Pandas, which it takes, is slow to import, and most messages are batches.
            from network_pipeline.dataset import flatten  # noqa: PLC0415

            texts.append(flatten.lines(list(group)))
        else:
            # Few large batches make the same text as many small ones, in less time.
            combined = pa.Table.from_batches(list(group)).combine_chunks()
            texts.extend(map(csv_text.lines, combined.to_batches()))
    return b"".join(texts)


def _rename(writer: Writer) -> Path:
    """Give the writer's file its final name; remove it where it has no rows."""
    part = writer.path
    final = part.with_name(part.name.removesuffix(PART))
    with errors_of(part):
        if not os.path.lexists(part):
            logger.warning("%s is gone", part)
        elif part.stat().st_size <= len(HEADER):
            part.unlink()
        elif os.path.lexists(final):
            raise DatasetError(f"{final}: exists, so {part.name} cannot be finished")
        else:
            part.rename(final)
            logger.info("finished %s", final)
    return final


def _sync(directory: Path) -> None:
    with errors_of(directory):
        sync_directory(directory)


def _complete_ledger(path: Path) -> None:
    if path.exists():
        book = Book()
        book.open(path)
        if book.has_changed:
            book.save(path.stat().st_size)


def _finish_left_over(writer: Writer) -> None:
    try:
        writer.open()
        final = _rename(writer)
        _sync(writer.path.parent)
        _complete_ledger(final)
    except FileTaken:
        logger.debug("left to its processor: %s", writer.path)
    except DatasetError as error:
        logger.warning("left as it is: %s", error)
    finally:
        writer.close()
