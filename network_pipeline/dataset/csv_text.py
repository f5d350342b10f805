"""Record batches as lines of CSV: cell by cell the text that :mod:`.flatten` makes of dicts.

The loop over cells is compiled (:mod:`.csv_cells`): columns go into it as they lie in Arrow's
memory, texts and bytes behind one another. That took a quarter of the time of polars.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from network_pipeline import arrow_arrays
from network_pipeline.dataset import csv_cells
from network_pipeline.decode.assembly import memory
from network_pipeline.schema import COLUMNS, INTEGER_LIMITS

_KINDS = {
    "hex": csv_cells.HEX,
    "mac": csv_cells.PLAIN,
    "ipv4": csv_cells.PLAIN,
    "ipv6": csv_cells.PLAIN,
    "string": csv_cells.TEXT,
    "timestamp[ns, UTC]": csv_cells.TIME,
    "uint8": csv_cells.NUMBER8,
    "uint16": csv_cells.NUMBER16,
    "uint32": csv_cells.NUMBER32,
    "uint64": csv_cells.NUMBER64,
}
_DTYPES: dict[str, type[np.generic]] = {
    "uint8": np.uint8,
    "uint16": np.uint16,
    "uint32": np.uint32,
    "uint64": np.uint64,
}
#: The types of the columns of packets.
PACKET_TYPES = tuple(column.type for column in COLUMNS)

_DIGITS = {kind: len(str(limit)) for kind, limit in INTEGER_LIMITS.items()}


def lines(rows: pa.RecordBatch, types: Sequence[str] = PACKET_TYPES) -> memoryview:
    """Return a line of UTF-8 for every row, without a header; absent and empty are no text.

    ``types`` are those of the columns, as schemas name them: of packets, if not said otherwise.
    """
    cells = _Cells(rows.num_rows)
    kinds = [kind if kind in _KINDS else "string" for kind in types]
    # All of them at once: what has the same address must be the same.
    columns = [
        array if kind == known else _as_text(array)
        for array, kind, known in zip(rows.columns, types, kinds, strict=True)
    ]
    for kind, array in zip(kinds, columns, strict=True):
        cells.add(kind, array)
    return cells.written()


def _as_text(array: pa.Array[Any]) -> pa.Array[Any]:
    """Return numbers as the shortest text that is theirs; those of a list with ``;`` between."""
    if not pa.types.is_list(array.type):
        return array.cast(pa.string())
    import pyarrow.compute as pc  # noqa: PLC0415  slow to import, and packets have no lists

    texts = pa.ListArray.from_arrays(array.offsets, array.flatten().cast(pa.string()))
    return pc.binary_join(texts, ";")


class _Cells:
    """Columns on their way into the loop, and how much text it can make of them."""

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._cells: list[tuple[int, int]] = []
        self._runs: list[tuple[int, int, int]] = []
        self._present: list[NDArray[np.uint8]] = []
        self._present_of: dict[tuple[int, bytes], int] = {}
        self._numbers: dict[str, list[NDArray[Any]]] = {kind: [] for kind in INTEGER_LIMITS}
        self._places: list[NDArray[np.int64]] = []
        self._data: list[NDArray[np.uint8]] = []
        self._data_bytes = 0
        self._most_bytes = 0

    def add(self, kind: str, array: pa.Array[Any]) -> None:
        """Add a column whose type in the schema is ``kind``."""
        self._extend_run(self._presence(array))
        if array.null_count == self._rows:
            self._cells.append((0, 0))  # never looked at
            return
        if isinstance(array, pa.DictionaryArray):
            array = array.dictionary_decode()
        cell = _KINDS[kind]
        if kind in self._numbers:
            self._cells.append((cell, len(self._numbers[kind])))
            self._numbers[kind].append(arrow_arrays.values(array, kind))
            self._most_bytes += self._rows * _DIGITS[kind]
            return
        self._cells.append((cell, len(self._places)))
        if cell == csv_cells.TIME:
            self._places.append(np.append(arrow_arrays.values(array, np.int64), 0))
            self._most_bytes += self._rows * csv_cells.TIME_BYTES
        else:
            self._add_data(array)

    def written(self) -> memoryview:
        """Return the lines."""
        rows = self._rows
        out = memory((self._most_bytes + rows * len(self._cells),), np.uint8)
        lines = csv_cells.Lines(
            np.array(self._runs, np.int64).data,
            np.array(self._cells, np.int64).data,
            _matrix(self._present, rows, np.uint8).data,
            [_matrix(each, rows, _DTYPES[kind]).data for kind, each in self._numbers.items()],
            _matrix(self._places, rows + 1, np.int64).data,
            np.concatenate([np.zeros(0, np.uint8), *self._data]).data,
            out.data,
        )
        return out.data[: lines.write(rows)]

    def _extend_run(self, present: int) -> None:
        column = len(self._cells)
        if self._runs and self._runs[-1][0] == present:
            self._runs[-1] = (present, self._runs[-1][1], column + 1)
        else:
            self._runs.append((present, column, column + 1))

    def _presence(self, array: pa.Array[Any]) -> int:
        """Return the row of ``present`` for an array; columns of a layer share theirs.

        What the decoder gives shares the bitmap too; what came in a message has copies of it.
        """
        key: tuple[int, bytes]
        if array.null_count in (0, self._rows):
            key = (array.null_count, b"")
        else:
            first, shift = divmod(array.offset, 8)
            bitmap = memoryview(array.buffers()[0])[first : first + self._rows // 8 + 2]
            key = (shift, bitmap.tobytes())
        if key not in self._present_of:
            self._present_of[key] = len(self._present)
            self._present.append(self._bits(array))
        return self._present_of[key]

    def _bits(self, array: pa.Array[Any]) -> NDArray[np.uint8]:
        if array.null_count in (0, self._rows):
            return np.full(self._rows, array.null_count == 0, np.uint8)
        bits = np.unpackbits(arrow_arrays.bitmap(array), bitorder="little")
        return bits[array.offset : array.offset + self._rows]

    def _add_data(self, array: pa.Array[Any]) -> None:
        ends = arrow_arrays.ends(array)
        first, last = int(ends[0]), int(ends[-1])
        self._places.append(ends + np.int64(self._data_bytes - first))
        self._data.append(arrow_arrays.octets(array)[first:last])
        self._data_bytes += last - first
        self._most_bytes += 2 * (last - first) + 2 * self._rows  # hex, or quoted


def _matrix(rows: list[NDArray[Any]], width: int, dtype: type[np.generic]) -> NDArray[Any]:
    """Return arrays as the rows of a matrix; one without rows has a row all the same."""
    matrix = memory((max(1, len(rows)), width), dtype)
    for row, values in enumerate(rows):
        matrix[row] = values
    return matrix
