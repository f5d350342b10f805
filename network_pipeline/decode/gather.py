"""The columns of located layers: one tight loop for each, over all rows.

A place of -1 leaves a number as it was and a text or bytes empty. Compiled, see
:mod:`network_pipeline.interpreted`.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

from network_pipeline.decode.options import write_blocks
from network_pipeline.decode.written import Text

if not TYPE_CHECKING:
    from network_pipeline.interpreted import nogil
else:
    from cython import nogil

#: Rows between which the fields change: their headers stay in the processor's cache.
ROWS_AT_ONCE: Final = 512
_ROWS_AT_ONCE = ROWS_AT_ONCE

RULE_NUMBERS: Final = 7  # of a fixed field, see `numbers`

_LEAST_SLICE = 32  # bytes from which on a slice costs less than a loop

#: Most bytes that are written for an address, by its own: those of IPv4 end with a dot that goes.
MOST_ADDRESS_TEXT: Final = {4: 16, 6: 18, 16: 45}

_COLON = ord(":")
_DOT = ord(".")
#: By byte: its two digits in hex, the first one in the lower bits.
_HEX = array("H", (ord(f"{byte:02x}"[0]) | ord(f"{byte:02x}"[1]) << 8 for byte in range(256)))
#: By byte: its decimal digits, the first one in the lowest bits, and in the highest their number.
_DECIMAL = array(
    "I",
    (int.from_bytes(b"%-3d%c" % (byte, len(str(byte))), "little") for byte in range(256)),
)


def numbers(
    data: memoryview,
    places: memoryview,
    rows: int,
    rules: memoryview,
    found: memoryview,
    columns8: memoryview,
    columns16: memoryview,
    columns32: memoryview,
) -> int:
    """Fill columns, rows of an array for numbers of 8, 16 or 32 bits, with fixed fields.

    A row of ``rules`` is a field: the row of ``places``, offset, width, shift, mask, which one of
    the three arrays, and the row in it. Fields of one place are better side by side. ``found`` is
    memory for two numbers of :data:`ROWS_AT_ONCE` rows.
    """
    with nogil:
        first = 0
        while first < rows:
            last = min(first + _ROWS_AT_ONCE, rows)
            place = -1
            count = 0
            for rule in range(len(rules)):
                if rules[rule, 0] != place:
                    place = rules[rule, 0]
                    count = _find(places, place, first, last, found)
                if rules[rule, 5] == 0:
                    _number(data, found, count, rules, rule, columns8)
                elif rules[rule, 5] == 1:
                    _number(data, found, count, rules, rule, columns16)
                else:
                    _number(data, found, count, rules, rule, columns32)
            first = last
    return 0


def _find(places: memoryview, place: int, first: int, last: int, found: memoryview) -> int:
    """Put rows that have a place, and where, into ``found``; return how many they are.

    So the loops over them have nothing to ask, for a processor cannot guess which rows have it.
    """
    count = 0
    for row in range(first, last):
        found[0, count] = row
        found[1, count] = places[place, row]
        count += places[place, row] >= 0
    return count


def _number(
    data: memoryview,
    found: memoryview,
    count: int,
    rules: memoryview,
    rule: int,
    columns: memoryview,
) -> int:
    offset = rules[rule, 1]
    width = rules[rule, 2]
    shift = rules[rule, 3]
    mask = rules[rule, 4]
    column = rules[rule, 6]
    if width == 1:
        for each in range(count):
            at = found[1, each] + offset
            columns[column, found[0, each]] = data[at] >> shift & mask
    elif width == 2:
        for each in range(count):
            at = found[1, each] + offset
            columns[column, found[0, each]] = (data[at] << 8 | data[at + 1]) >> shift & mask
    else:
        for each in range(count):
            at = found[1, each] + offset
            high = data[at] << 8 | data[at + 1]
            low = data[at + 2] << 8 | data[at + 3]
            columns[column, found[0, each]] = (high << 16 | low) >> shift & mask
    return 0


def macs(
    data: memoryview, places: memoryview, offset: int, written: memoryview, offsets: memoryview
) -> int:
    """Write the MAC addresses at ``offset`` from all places as ``aa:bb:cc:dd:ee:ff``."""
    used = 0
    hexes = _HEX
    with nogil:
        for row in range(len(places)):
            if places[row] >= 0:
                at = places[row] + offset
                for number in range(6):
                    digits = hexes[data[at + number]]
                    written[used] = digits & 0xFF
                    written[used + 1] = digits >> 8
                    written[used + 2] = _COLON
                    used += 3
                used -= 1
            offsets[row + 1] = used
    return used


def ipv4s(
    data: memoryview, places: memoryview, offset: int, written: memoryview, offsets: memoryview
) -> int:
    """Write the IPv4 addresses at ``offset`` from all places in dotted decimal form.

    Of each number three digits are written, and what follows hides those that it does not have:
    nothing to ask here either.
    """
    used = 0
    decimals = _DECIMAL
    with nogil:
        for row in range(len(places)):
            if places[row] >= 0:
                at = places[row] + offset
                for number in range(4):
                    digits = decimals[data[at + number]]
                    written[used] = digits & 0xFF
                    written[used + 1] = digits >> 8 & 0xFF
                    written[used + 2] = digits >> 16 & 0xFF
                    used += digits >> 24
                    written[used] = _DOT
                    used += 1
                used -= 1
            offsets[row + 1] = used
    return used


def ipv6s(
    data: memoryview, places: memoryview, offset: int, written: memoryview, offsets: memoryview
) -> int:
    """Write the IPv6 addresses at ``offset`` from all places (RFC 5952)."""
    text = Text(written)
    with nogil:
        for row in range(len(places)):
            if places[row] >= 0:
                text.ipv6(data, places[row] + offset)
            offsets[row + 1] = text.used
    return int(text.used)


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
