"""Arrow's arrays as numpy reads them: in place, and without pandas, which ``to_numpy`` imports."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray


def values(array: pa.Array[Any], dtype: DTypeLike) -> NDArray[Any]:
    """Return the values of an array of numbers or times; something where it has none."""
    kind = np.dtype(dtype)  # a buffer may end with a part of a value
    return np.frombuffer(array.buffers()[1], kind, len(array), array.offset * kind.itemsize)


def ends(array: pa.Array[Any]) -> NDArray[np.int32]:
    """Return where each text or binary value begins in :func:`octets`, and where the last ends."""
    return np.frombuffer(array.buffers()[1], np.int32, len(array) + 1, 4 * array.offset)


def octets(array: pa.Array[Any]) -> NDArray[np.uint8]:
    """Return the bytes of all texts or values, behind one another."""
    return np.frombuffer(array.buffers()[2] or b"", np.uint8)


def bitmap(array: pa.Array[Any]) -> NDArray[np.uint8]:
    """Return which rows have a value: a bit for each, the lowest of a byte first.

    The first row's is that of ``array.offset``. Nothing at all where every row has one.
    """
    return np.frombuffer(array.buffers()[0] or b"", np.uint8)
