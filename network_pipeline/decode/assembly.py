"""Arrow arrays from NumPy's, without copying.

All arrays of one place share its validity bitmap; arrays of what no row has share their zeros.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_Array = NDArray[Any]


class Assembly:
    """Makes the arrays of a batch whose places (rows of ``places``) were located."""

    def __init__(self, places: NDArray[np.int32]) -> None:
        self.rows = places.shape[1]
        bitmaps = np.packbits(places >= 0, axis=1, bitorder="little")
        self._counts: list[int] = np.bitwise_count(bitmaps).sum(axis=1, dtype=np.int64).tolist()
        self._bitmaps = [
            _buffer(bitmap) if 0 < count < self.rows else None
            for bitmap, count in zip(bitmaps, self._counts, strict=True)
        ]
        self._absent: dict[pa.DataType, pa.Array[Any]] = {}
        self._zeros = _buffer(filled((self.rows + 1,), np.uint64, 0))

    def count(self, place: int) -> int:
        """Return how many rows have a place."""
        return self._counts[place]

    def absent(self, kind: pa.DataType) -> pa.Array[Any]:
        """Return an array of a number, text or bytes type that is all null."""
        if kind not in self._absent:
            buffers = [self._zeros] * (3 if kind in (pa.string(), pa.binary()) else 2)
            self._absent[kind] = pa.Array.from_buffers(kind, self.rows, buffers, self.rows)
        return self._absent[kind]

    def of_place(self, place: int, kind: pa.DataType, *values: _Array) -> pa.Array[Any]:
        """Return numbers, or offsets and bytes of texts; null in rows without the place."""
        count = self._counts[place]
        if count == 0:
            return self.absent(kind)
        buffers = [self._bitmaps[place], *map(_buffer, values)]
        return pa.Array.from_buffers(kind, self.rows, buffers, self.rows - count)

    def of_rows(
        self, kind: pa.DataType, values: _Array, present: NDArray[np.bool_] | None = None
    ) -> pa.Array[Any]:
        """Return numbers of all rows, null where they are not present."""
        bitmap = None
        if present is not None and not present.all():
            bitmap = _buffer(np.packbits(present, bitorder="little"))
        return pa.Array.from_buffers(kind, self.rows, [bitmap, _buffer(values)])

    def chosen(self, texts: Sequence[str], choice: NDArray[np.int32]) -> pa.Array[Any]:
        """Return one of some texts for every row, by its index; null where that is -1."""
        indices = self.of_rows(pa.int32(), choice, choice >= 0)
        return pa.DictionaryArray.from_arrays(indices, _texts(texts), safe=False)

    def same(self, text: str) -> pa.Array[Any]:
        """Return the same text for every row."""
        indices = pa.Array.from_buffers(pa.int32(), self.rows, [None, self._zeros], 0)
        return pa.DictionaryArray.from_arrays(indices, _texts([text]), safe=False)


def _texts(texts: Sequence[str]) -> pa.Array[Any]:
    """Return texts as an array, without ``pa.array``: that imports pandas where it is installed."""
    encoded = [text.encode() for text in texts]
    offsets = offsets_of(np.array([len(each) for each in encoded], np.int32))
    buffers = [None, _buffer(offsets), _buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers, 0)


def _buffer(values: Any) -> pa.Buffer:
    return pa.py_buffer(values)


def memory(shape: tuple[int, ...], dtype: type[np.generic]) -> _Array:
    """Return an array whose values are not set, of memory that Arrow keeps and uses again.

    To have pages from the system for every batch would cost more than to decode it.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    return np.ndarray(shape, dtype, memoryview(pa.allocate_buffer(size)))


def filled(shape: tuple[int, ...], dtype: type[np.generic], value: int) -> _Array:
    """Return an array of such memory with one value everywhere."""
    values = memory(shape, dtype)
    values.fill(value)
    return values


def offsets_of(sizes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return where values of these sizes begin and end, one behind the other."""
    offsets = memory((len(sizes) + 1,), np.int32)
    offsets[0] = 0
    np.cumsum(sizes, out=offsets[1:])
    return offsets
