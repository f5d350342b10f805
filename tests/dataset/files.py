"""Dataset files and ledgers of a few cells, written by hand."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from network_pipeline.dataset.exports import ParquetExport, packets
from network_pipeline.dataset.writers import HEADER
from network_pipeline.schema import COLUMN_NAMES, arrow_schema

Row = tuple[str, int]


def csv_lines(rows: Iterable[Row], **cells: str) -> bytes:
    """Return a line for every (session, number), of the agent lb1."""
    filled = {"source": "lb1", **cells}
    lines = []
    for session, number in rows:
        values = {**filled, "session": session, "frame_number": str(number)}
        lines.append(",".join(values.get(name, "") for name in COLUMN_NAMES) + "\n")
    return "".join(lines).encode()


def csv_file(path: Path, rows: Iterable[Row], torn: bytes = b"") -> Path:
    path.write_bytes(HEADER + csv_lines(rows) + torn)
    return path


def parquet_file(path: Path, rows: Iterable[Row]) -> Path:
    values = list(rows)
    columns = {
        "source": ["lb1"] * len(values),
        "session": [session for session, _ in values],
        "frame_number": [number for _, number in values],
    }
    with ParquetExport(path, packets()) as export:
        fields = arrow_schema()
        arrays = [
            pa.array(columns.get(field.name, [None] * len(values)), type=_plain(field.type))
            for field in fields
        ]
        plain = pa.schema([field.with_type(_plain(field.type)) for field in fields])
        export.append(pa.RecordBatch.from_arrays(arrays, schema=plain))
    return path


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
