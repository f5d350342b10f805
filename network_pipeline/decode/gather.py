"""The columns of located layers: one tight loop for each, over all rows.

A place of -1 leaves a number as it was and a text or bytes empty. Compiled, see
:mod:`.interpreted`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from network_pipeline.decode.options import write_blocks
from network_pipeline.decode.written import Text

if not TYPE_CHECKING:
    from network_pipeline.decode.interpreted import nogil
else:
    from cython import nogil

#: Rows between which the fields change: their headers stay in the processor's cache.
_ROWS_AT_ONCE = 512

_LEAST_SLICE = 32  # bytes from which on a slice costs less than a loop


def numbers(
    data: memoryview, places: memoryview, rows: int, fields: memoryview, columns: memoryview
) -> int:
    """Fill a row of ``columns`` with the values of each fixed field.

    A row of ``fields`` is the row of ``places``, and offset, width, shift and mask.
    """
    with nogil:
        first = 0
        while first < rows:
            last = min(first + _ROWS_AT_ONCE, rows)
            for column in range(len(fields)):
                _number(data, places, fields, columns, column, first, last)
            first = last
    return 0


def _number(
    data: memoryview,
    places: memoryview,
    fields: memoryview,
    columns: memoryview,
    column: int,
    first: int,
    last: int,
) -> int:
    place = fields[column, 0]
    offset = fields[column, 1]
    width = fields[column, 2]
    shift = fields[column, 3]
    mask = fields[column, 4]
    for row in range(first, last):
        at = places[place, row] + offset
        if places[place, row] < 0:
            pass
        elif width == 1:
            columns[column, row] = data[at] >> shift & mask
        elif width == 2:
            columns[column, row] = (data[at] << 8 | data[at + 1]) >> shift & mask
        else:
            high = data[at] << 8 | data[at + 1]
            low = data[at + 2] << 8 | data[at + 3]
            columns[column, row] = (high << 16 | low) >> shift & mask
    return 0


def addresses(
    data: memoryview, places: memoryview, offset: int, width: int, text: Text, offsets: memoryview
) -> int:
    """Write the addresses at ``offset`` from all places: MAC, IPv4 or IPv6 by their width."""
    with nogil:
        for row in range(len(places)):
            at = places[row] + offset
            if places[row] < 0:
                pass
            elif width == 4:
                text.ipv4(data, at)
            elif width == 6:
                text.mac(data, at)
            else:
                text.ipv6(data, at)
            offsets[row + 1] = text.used
    return 0


def blocks(data: memoryview, places: memoryview, text: Text, offsets: memoryview) -> int:
    """Write the blocks of the SACK options at all places."""
    with nogil:
        for row in range(len(places)):
            if places[row] >= 0:
                write_blocks(data, places[row], text)
            offsets[row + 1] = text.used
    return 0


def spans(data: memoryview, places: memoryview, offsets: memoryview, copied: memoryview) -> int:
    """Copy as many bytes from each place as its row has between two ``offsets``."""
    with nogil:
        for row in range(len(places)):
            at = places[row]
            begin = offsets[row]
            end = offsets[row + 1]
            if end - begin >= _LEAST_SLICE:
                copied[begin:end] = data[at : at + end - begin]
            else:
                for place in range(begin, end):
                    copied[place] = data[at + place - begin]
    return 0
