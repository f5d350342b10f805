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

    def add(self, frame: pl.DataFrame) -> None:
        """Take rows, of whose columns those of the schema are kept.

        Raises:
            DatasetError: they cannot be written.
        """
        rows = frame.select(self._schema.names).to_arrow(compat_level=pl.CompatLevel.oldest())
        for batch in rows.cast(self._schema).combine_chunks().to_batches():
            self.append(batch)

    def _begin(self, file: IO[bytes]) -> None:
        self._writer = pq.ParquetWriter(file, self._schema, compression="zstd")


def with_roles(schema: pa.Schema, roles: Mapping[str, str]) -> pa.Schema:
    """Return a schema whose columns say their role."""
    return pa.schema([column.with_metadata({"role": roles[column.name]}) for column in schema])


def texts(names: Iterable[str]) -> Sequence[pa.Field]:
    """Return columns of text."""
    return [pa.field(name, pa.string()) for name in names]
