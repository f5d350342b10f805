"""Whole dataset files from record batches: CSV, Parquet, JSON lines.

A file appears under its name when it is complete and on disk: until then it is a hidden file beside
it, locked, which goes away where the work fails. The same rows always give the same bytes, however
they are batched.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Mapping, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from network_pipeline.dataset import csv_text
from network_pipeline.dataset.writers import errors_of, sync_directory
from network_pipeline.errors import UsageError
from network_pipeline.schema import COLUMNS, arrow_schema

#: Rows of one group of a Parquet file.
GROUP_ROWS = 65_536

#: Batches that wait to be a group: a small one takes far more memory than its rows.
_MOST_WAITING = 256

_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S%.9fZ"


@dataclass(frozen=True)
class Layout:
    """What rows look like: their Arrow schema, whose metadata has its version, and types by name.

    Parquet files have dictionaries of all columns but the ``varying``, of which the ``rising`` are
    written as differences and the ``noise`` as it is, not compressed, and statistics of the
    ``searched``. Of those that come as dictionaries, the ``steady`` ones are the same however rows
    were batched, and are written as they are.
    """

    schema: pa.Schema
    types: Mapping[str, str]
    varying: frozenset[str]
    searched: tuple[str, ...]
    rising: frozenset[str] = frozenset()
    noise: frozenset[str] = frozenset()
    steady: frozenset[str] = frozenset()

    @property
    def version(self) -> str:
        """The schema's version."""
        return str(self.schema.metadata[b"schema"].decode())


#: Columns that hardly ever have a value twice, or whose values differ little from one another.
_VARYING = frozenset({
    "frame_number", "frame_time", "ip_id", "ip_chksum", "icmp_chksum", "icmpv6_chksum", "tcp_seq",
    "tcp_ack", "tcp_window", "tcp_chksum", "tcp_options_tsval", "tcp_options_tsecr", "udp_chksum",
    "tcp_options_raw", "raw_load",
})  # fmt: skip
#: Whole numbers that are near the one before them, in any file.
_RISING = frozenset(("frame_number", "frame_time"))
#: Columns that readers find rows by.
_SEARCHED = (
    "session", "frame_number", "frame_time", "ip_src", "ip_dst", "ipv6_src", "ipv6_dst",
    "tcp_sport", "tcp_dport", "udp_sport", "udp_dport",
)  # fmt: skip


#: Errors are always the same; sources and sessions are those of the rows, in their order.
_STEADY = frozenset(("source", "session", "frame_error"))


def packets() -> Layout:
    """Return the layout of packets."""
    types = {column.name: column.type for column in COLUMNS}
    return Layout(arrow_schema(), types, _VARYING, _SEARCHED, _RISING, steady=_STEADY)


class Export:
    """A dataset file in the making, as a context manager: kept on success, gone on an error.

    ``facts`` are texts about where the rows come from; a format that can keeps them, as they are at
    the end. ``size`` is that of the complete file in bytes. ``part`` is what the file is called
    until it is complete: something hidden, if not said otherwise.
    """

    def __init__(self, path: Path, layout: Layout, part: Path | None = None) -> None:
        self.path = path
        self.layout = layout
        self.rows = self.size = 0
        self.facts = {"schema": layout.version}
        # Of several at once, on one machine or many, each has its own.
        hidden = f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part"
        self._part = part or path.with_name(hidden)
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        """Create the part, with mode 0600.

        Raises:
            DatasetError: it cannot be created.
            FileTaken: it is there already.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with errors_of(self.path):
            self._file = os.fdopen(os.open(self._part, flags, 0o600), "wb")
            fcntl.flock(self._file, fcntl.LOCK_EX)
            self._begin(self._file)
        return self

    def append(self, batch: pa.RecordBatch) -> None:
        """Take rows.

        Raises:
            DatasetError: they cannot be written.
        """
        assert self._file is not None
        self.rows += batch.num_rows
        with errors_of(self.path):
            self._write(self._file, batch)

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
            self._part.unlink(missing_ok=True)
            with suppress(OSError):  # of what could not be written
                self._file.close()
            self._release()

    def _complete(self, file: IO[bytes]) -> None:
        self._end()
        file.flush()
        os.fsync(file.fileno())
        self.size = file.tell()
        self._part.rename(self.path)
        try:
            sync_directory(self.path.parent)
        except OSError:
            self.path.unlink(missing_ok=True)
            raise

    def _begin(self, file: IO[bytes]) -> None:
        """Write what comes before the rows."""

    def _write(self, file: IO[bytes], batch: pa.RecordBatch) -> None:
        """Write rows."""
        raise NotImplementedError

    def _end(self) -> None:
        """Write what comes after the rows."""

    def _release(self) -> None:
        """Let go of what writes, whether the file is complete or gone."""


class CsvExport(Export):
    """The text that processors write."""

    def _begin(self, file: IO[bytes]) -> None:
        file.write((",".join(self.layout.schema.names) + "\n").encode())

    def _write(self, file: IO[bytes], batch: pa.RecordBatch) -> None:
        file.write(csv_text.lines(batch, tuple(self.layout.types.values())))


class JsonLinesExport(Export):
    """One JSON object a row, with all columns; absent is null."""

    def _write(self, file: IO[bytes], batch: pa.RecordBatch) -> None:
        import polars as pl  # noqa: PLC0415  slow to import, and only needed here

        frame = pl.DataFrame(pl.from_arrow(_plain(batch)))
        hexes = pl.col(pl.Binary).bin.encode("hex")
        times = pl.col(pl.Datetime).dt.strftime(_TIME_FORMAT)
        frame.with_columns(hexes, times).write_ndjson(file)


class ParquetExport(Export):
    """Typed columns, compressed with zstd; hex columns are bytes; facts are the file's metadata.

    Rows are written in groups of :data:`GROUP_ROWS`, however they come. Dictionaries and statistics
    are for columns that have a use for them: they cost half as much as all the rest.
    """

    def __init__(self, path: Path, layout: Layout, part: Path | None = None) -> None:
        super().__init__(path, layout, part)
        self._schema = _plain_schema(layout.schema, layout.steady)
        self._writer: Any = None
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_rows = 0

    def _begin(self, file: IO[bytes]) -> None:
        noise = self.layout.noise
        codecs = {name: "none" if name in noise else "zstd" for name in _leaves(self._schema)}
        self._writer = pq.ParquetWriter(
            file,
            self._schema,
            compression=codecs,
            column_encoding=dict.fromkeys(self.layout.rising, "DELTA_BINARY_PACKED"),
            write_batch_size=GROUP_ROWS,
            # Where dictionaries are written as they are, who reads the file gets texts.
            store_schema=not self.layout.steady,
            use_dictionary=[name for name in self._schema.names if name not in self.layout.varying],
            write_statistics=list(self.layout.searched),
        )

    def _write(self, file: IO[bytes], batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        self._waiting_rows += batch.num_rows
        if self._waiting_rows >= GROUP_ROWS or len(self._waiting) >= _MOST_WAITING:
            self._write_groups(GROUP_ROWS)

    def _end(self) -> None:
        self._write_groups(1)
        self._writer.add_key_value_metadata(self.facts)
        self._writer.close()

    def _release(self) -> None:
        self._writer.is_open = False  # else it writes a footer when it is collected

    def _write_groups(self, least_rows: int) -> None:
        if not self._waiting:
            return
        # Cast when they are a group: each column of each batch would take a while to begin with.
        rows = pa.Table.from_batches(self._waiting)
        while rows.num_rows >= least_rows:
            group = rows.slice(0, GROUP_ROWS).combine_chunks()
            self._writer.write_table(group.cast(self._schema))
            rows = rows.slice(GROUP_ROWS)
        self._waiting, self._waiting_rows = rows.combine_chunks().to_batches(), rows.num_rows


#: By the ending of the file's name.
FORMATS: Mapping[str, type[Export]] = {
    ".csv": CsvExport,
    ".jsonl": JsonLinesExport,
    ".parquet": ParquetExport,
}


def export(path: Path, layout: Layout | None = None) -> Export:
    """Return the export whose format the file's name ends with; of packets, if not said otherwise.

    Raises:
        UsageError: no format ends so.
    """
    if path.suffix not in FORMATS:
        raise UsageError(f"{path}: the name must end in {', '.join(FORMATS)}")
    return FORMATS[path.suffix](path, layout or packets())


def _leaves(schema: pa.Schema) -> list[str]:
    """Return what Parquet calls the columns of values."""
    return [
        f"{field.name}.list.{field.type.value_field.name}"
        if pa.types.is_list(field.type)
        else field.name
        for field in schema
    ]


def _plain_schema(schema: pa.Schema, but: Set[str] = frozenset()) -> pa.Schema:
    """Return the schema with plain columns instead of dictionaries, except some."""
    return pa.schema(
        [
            field.with_type(field.type.value_type)
            if pa.types.is_dictionary(field.type) and field.name not in but
            else field
            for field in schema
        ],
        schema.metadata,
    )


def _plain(batch: pa.RecordBatch) -> pa.Table:
    """Return the rows with plain columns: dictionaries depend on how rows were batched."""
    table = pa.Table.from_batches([batch])
    schema = _plain_schema(batch.schema)
    return table if schema == table.schema else table.cast(schema)
