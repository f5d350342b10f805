"""Whole dataset files from record batches: CSV, Parquet, JSON lines.

A file appears under its name when it is complete and on disk: until then it is a hidden file beside
it, which goes away where the work fails. Rows are written in blocks of :data:`BLOCK_ROWS`, however
they come, so that the same rows always give the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from network_pipeline.dataset import csv_text
from network_pipeline.dataset.writers import HEADER, errors_of, sync_directory
from network_pipeline.errors import UsageError
from network_pipeline.schema import SCHEMA_VERSION, arrow_schema

#: Rows of one Parquet row group, and of one piece of text.
BLOCK_ROWS = 65_536


class Export:
    """A dataset file in the making, as a context manager: kept on success, gone on an error.

    ``facts`` are texts about where the rows come from; a format that can keeps them, as they are at
    the end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self.facts = {"schema": SCHEMA_VERSION}
        self._hidden = path.with_name(f".{path.name}.{os.getpid()}.part")
        self._file: IO[bytes] | None = None
        self._waiting: list[pa.Table] = []
        self._waiting_rows = 0

    def __enter__(self) -> Self:
        """Create the hidden file, with mode 0600.

        Raises:
            DatasetError: it cannot be created.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with errors_of(self.path):
            self._file = os.fdopen(os.open(self._hidden, flags, 0o600), "wb")
            self._begin(self._file)
        return self

    def append(self, batch: pa.RecordBatch) -> None:
        """Take rows.

        Raises:
            DatasetError: they cannot be written.
        """
        self._waiting.append(csv_text.plain(batch))
        self._waiting_rows += batch.num_rows
        self.rows += batch.num_rows
        if self._waiting_rows >= BLOCK_ROWS:
            with errors_of(self.path):
                self._write_blocks(BLOCK_ROWS)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._file is not None
        try:
            if kind is None:
                with errors_of(self.path):
                    self._complete(self._file)
        finally:
            self._file.close()
            self._hidden.unlink(missing_ok=True)

    def _complete(self, file: IO[bytes]) -> None:
        self._write_blocks(1)
        self._end()
        file.flush()
        os.fsync(file.fileno())
        self._hidden.rename(self.path)
        sync_directory(self.path.parent)

    def _write_blocks(self, least_rows: int) -> None:
        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting)
        while table.num_rows >= least_rows:
            self._write(table.slice(0, BLOCK_ROWS).combine_chunks())
            table = table.slice(BLOCK_ROWS)
        self._waiting, self._waiting_rows = [table], table.num_rows

    def _begin(self, file: IO[bytes]) -> None:
        """Write what comes before the rows."""

    def _write(self, table: pa.Table) -> None:
        """Write one block of rows."""
        raise NotImplementedError

    def _end(self) -> None:
        """Write what comes after the rows."""


class CsvExport(Export):
    """The text that processors write."""

    def _begin(self, file: IO[bytes]) -> None:
        file.write(HEADER)

    def _write(self, table: pa.Table) -> None:
        assert self._file is not None
        self._file.write(csv_text.lines(table))


class JsonLinesExport(Export):
    """One JSON object a row, with all columns; absent is null."""

    def _write(self, table: pa.Table) -> None:
        times = pl.col("frame_time").dt.strftime(csv_text.TIME_FORMAT)
        csv_text.frame_of(table).with_columns(times).write_ndjson(self._file)


class ParquetExport(Export):
    """Typed columns, compressed with zstd; hex columns are bytes; facts are the file's metadata."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._writer: Any = None

    def _begin(self, file: IO[bytes]) -> None:
        schema = csv_text.plain_schema(arrow_schema())
        self._writer = pq.ParquetWriter(file, schema, compression="zstd")

    def _write(self, table: pa.Table) -> None:
        self._writer.write_table(table, row_group_size=BLOCK_ROWS)

    def _end(self) -> None:
        self._writer.add_key_value_metadata(self.facts)
        self._writer.close()


#: By the ending of the file's name.
FORMATS: Mapping[str, type[Export]] = {
    ".csv": CsvExport,
    ".jsonl": JsonLinesExport,
    ".parquet": ParquetExport,
}


def export(path: Path) -> Export:
    """Return the export whose format the file's name ends with.

    Raises:
        UsageError: no format ends so.
    """
    if path.suffix not in FORMATS:
        raise UsageError(f"{path}: the name must end in {', '.join(FORMATS)}")
    return FORMATS[path.suffix](path)
