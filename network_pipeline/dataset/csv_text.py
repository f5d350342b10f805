"""Record batches as lines of CSV: cell by cell the text that :mod:`.writers` makes of pandas' rows.

Written by polars, which took a third of the time of pyarrow for these columns.
"""

from __future__ import annotations

import io

import polars as pl
import pyarrow as pa

from network_pipeline.schema import COLUMNS

TIME_FORMAT = "%Y-%m-%dT%H:%M:%S%.9fZ"

_HEX = [column.name for column in COLUMNS if column.type == "hex"]
_TEXT = [column.name for column in COLUMNS if column.type == "string"]


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema with plain columns in the place of dictionaries."""
    return pa.schema(
        [
            field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
            for field in schema
        ]
    )


def plain(batch: pa.RecordBatch) -> pa.Table:
    """Return the rows with plain columns: dictionaries depend on how rows were batched."""
    return pa.Table.from_batches([batch]).cast(plain_schema(batch.schema))


def frame_of(rows: pa.Table) -> pl.DataFrame:
    """Return the rows with bytes as hex, as they are in text formats."""
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    return frame.with_columns(pl.col(*_HEX).bin.encode("hex"))


def lines(rows: pa.Table) -> memoryview:
    """Return a line per row, without a header; columns must be plain, not dictionaries."""
    # An empty text is an empty cell, as an absent one is; polars would write two quotes.
    frame = frame_of(rows).with_columns(pl.col(*_TEXT).replace("", None))
    written = io.BytesIO()
    frame.write_csv(written, include_header=False, datetime_format=TIME_FORMAT)
    return written.getbuffer()
