"""Parquet files of labelled rows: columns that say their role, groups of the same rows always."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from network_pipeline.dataset.exports import ParquetExport, packets


class RowsExport(ParquetExport):
    """A file of rows with a schema of its own."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        super().__init__(path, packets())
        self._schema = schema

    def append(self, batch: pa.RecordBatch) -> None:
        """Take rows, of whose columns those of the schema are kept.

        Raises:
            DatasetError: they cannot be written.
        """
        rows = pa.Table.from_batches([batch]).select(self._schema.names).cast(self._schema)
        for each in rows.combine_chunks().to_batches():
            super().append(each)

    def add(self, frame: pl.DataFrame) -> None:
        """Take rows, as :meth:`append` does."""
        for batch in batches(frame.select(self._schema.names)):
            self.append(batch)

    def _begin(self, file: IO[bytes]) -> None:
        self._writer = pq.ParquetWriter(file, self._schema, compression="zstd")


def batches(frame: pl.DataFrame) -> Sequence[pa.RecordBatch]:
    """Return rows as Arrow knows them."""
    rows: pa.Table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    return list(rows.combine_chunks().to_batches())


def files(path: Path) -> list[Path]:
    """Return the files of a table: itself, or those of a directory, in the order of their rows."""
    return sorted(path.rglob("*.parquet")) if path.is_dir() else [path]


def scan(path: Path) -> pl.LazyFrame:
    """Return the rows of a table, of a file or of those in a directory."""
    # Partitions are directories with values in their names, which the rows have already.
    return pl.scan_parquet(files(path), hive_partitioning=False)


def with_roles(schema: pa.Schema, roles: Mapping[str, str]) -> pa.Schema:
    """Return a schema whose columns say their role."""
    return pa.schema([column.with_metadata({"role": roles[column.name]}) for column in schema])


def texts(names: Iterable[str]) -> Sequence[pa.Field]:
    """Return columns of text."""
    return [pa.field(name, pa.string()) for name in names]
