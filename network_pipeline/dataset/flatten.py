"""From nested dicts to a table, and its lines of CSV: one row per frame.

A row always has all columns, in the schema's order.

``json_normalize`` flattens a whole batch at once and guesses types from what it finds: an integer
column in which some rows are absent comes out as floats. The schema knows better, so each column
is put back into its own type: integers into pandas' nullable ones (absent is ``<NA>``, never 0 or
1.0), everything else into text. A float holds integers exactly up to 2**53; the only column that
may exceed that, ``frame_number``, is present in every row and thus never was a float.

An absent value and an empty text differ in the table. In CSV both are an empty cell.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.arrays import IntegerArray

from network_pipeline.message import Nested
from network_pipeline.schema import COLUMNS, INTEGER_LIMITS

#: Plain Python strings, also where pyarrow is installed: small batches are faster so.
_TEXT = pd.StringDtype("python")


def rows(nested: Sequence[Nested]) -> pd.DataFrame:
    """Return one row per nested dict, with exactly the columns of ``schema.COLUMN_NAMES``.

    The dicts must have passed :func:`network_pipeline.message.decode`.
    """
    found = pd.json_normalize(list(nested), sep="_")
    return pd.DataFrame(
        {column.name: _typed(found, column.name, column.type, len(nested)) for column in COLUMNS},
        copy=False,
    )


def lines(nested: Sequence[Nested]) -> bytes:
    """Return a line of CSV per nested dict, in UTF-8, with quotes only where a value needs them."""
    text = io.StringIO(newline="")
    values = rows(nested).to_numpy(dtype=object, na_value="")
    csv.writer(text, lineterminator="\n").writerows(values)
    return text.getvalue().encode()


def _typed(found: pd.DataFrame, name: str, kind: str, count: int) -> Any:
    if kind not in INTEGER_LIMITS:
        texts = found[name].to_numpy(dtype=object) if name in found else np.full(count, pd.NA)
        return pd.array(texts, dtype=_TEXT)
    if name not in found:
        return IntegerArray(np.zeros(count, dtype=kind), np.ones(count, dtype=bool))
    present = found[name].to_numpy()
    absent = pd.isna(present)
    return IntegerArray(np.where(absent, 0, present).astype(kind), absent)
