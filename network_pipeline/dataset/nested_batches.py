"""From nested dicts to a record batch: the types that an Arrow message has.

The dicts must have passed :func:`network_pipeline.message.decode`, so that every value has a place
in its column's type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from network_pipeline.message import Nested
from network_pipeline.schema import COLUMNS, arrow_schema


def batch(nested: Sequence[Nested]) -> pa.RecordBatch:
    """Return one row per nested dict, with all columns."""
    schema = arrow_schema()
    arrays = [
        _array([_value(each, column.path) for each in nested], column.type, field.type)
        for column, field in zip(COLUMNS, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _value(nested: Nested, path: Sequence[str]) -> Any:
    value: Any = nested
    for key in path:
        if value is None:
            return None
        value = value.get(key)
    return value


def _array(values: list[Any], kind: str, wanted: pa.DataType) -> pa.Array[Any]:
    if kind == "hex":
        return pa.array([None if each is None else bytes.fromhex(each) for each in values], wanted)
    if pa.types.is_timestamp(wanted):
        return pa.array(values, pa.string()).cast(wanted)
    if pa.types.is_dictionary(wanted):
        return pa.array(values, pa.string()).dictionary_encode().cast(wanted)
    return pa.array(values, wanted)
