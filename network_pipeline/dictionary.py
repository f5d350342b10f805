"""The data dictionary: what every column means, for a terminal and for the docs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from network_pipeline.flows.schema import FLOW_COLUMNS
from network_pipeline.schema import COLUMNS, SCHEMA_VERSION

_TITLE = f"""\
Columns
=======

What a row of a dataset holds, schema version ``{SCHEMA_VERSION}``. Every row has all
columns in this order.
A value that the frame does not have is absent: empty in CSV, null in Parquet; absent is not zero.
Numbers are decimal integers, ``hex`` is lower-case without a prefix, times are UTC with nanoseconds
(``2018-01-27T17:40:04.123456789Z``). The last column of the table names tshark's field with the
same value, where there is one. A column's role says what a model may do with it:
`docs/datasets.rst <datasets.rst>`_.

"""

_TABLE = """\
.. list-table::
   :header-rows: 1

"""


def as_text() -> Iterator[str]:
    """Yield one line per column: name, type, meaning."""
    yield from _lines([(column.name, column.type, column.meaning) for column in COLUMNS])


def flows_as_text() -> Iterator[str]:
    """Yield one line per column of flows: name, type, role, meaning."""
    yield from _lines([(c.name, c.type, c.role, c.meaning) for c in FLOW_COLUMNS])


def _lines(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yield lines in which all cells but the last have a width."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for *cells, last in rows:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=False))
        yield "  ".join([*padded, last])


def as_rst() -> str:
    """Return the page of the docs."""
    rows = [("column", "type", "role", "meaning", "tshark")]
    rows += [(f"``{c.name}``", c.type, c.role, _escaped(c.meaning), c.tshark) for c in COLUMNS]
    return _TITLE + _TABLE + "".join(_row(cells) for cells in rows)


def flows_as_rst() -> str:
    """Return the table of flows' columns."""
    rows = [("column", "type", "role", "unit", "meaning")]
    rows += [(f"``{c.name}``", c.type, c.role, c.unit, _escaped(c.meaning)) for c in FLOW_COLUMNS]
    return _TABLE + "".join(_row(cells) for cells in rows)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("*", "\\*")


def _row(cells: tuple[str, ...]) -> str:
    first, *others = (f" {cell}" if cell else "" for cell in cells)
    return f"   * -{first}\n" + "".join(f"     -{cell}\n" for cell in others)
