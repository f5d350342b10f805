"""Cells of typed columns written as lines of CSV: one loop over rows, and in each over its cells.

Columns side by side that have values in the same rows, as those of a layer do, are a run: where
they have none, a run is as many commas.

Compiled, see :mod:`network_pipeline.interpreted`. Text is quoted where it holds a comma or
a quote; line breaks are not looked for, since no value may hold one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if not TYPE_CHECKING:
    from network_pipeline.interpreted import nogil
else:
    from cython import nogil

#: Kinds of cells: numbers by their bits come first; a plain text is never quoted.
NUMBER8: Final = 1
NUMBER16: Final = 2
NUMBER32: Final = 3
NUMBER64: Final = 4
TIME: Final = 5
PLAIN: Final = 6
TEXT: Final = 7
HEX: Final = 8

#: Most bytes of a number and of a time.
NUMBER_BYTES: Final = 20
TIME_BYTES: Final = 30

_NUMBER_BYTES = NUMBER_BYTES
_NUMBER8 = NUMBER8
_NUMBER16 = NUMBER16
_NUMBER32 = NUMBER32
_NUMBER64 = NUMBER64
_TIME = TIME
_PLAIN = PLAIN
_HEX = HEX

_DIGITS = b"0123456789abcdef"
_COMMA = ord(",")
_NEWLINE = ord("\n")
_QUOTE = ord('"')

_DAY_NS = 86_400_000_000_000
_SECOND_NS = 1_000_000_000


class Lines:
    """Lines that grow from front to back: ``used`` bytes of ``out`` are written.

    A row of ``runs`` is the row of ``present`` that says where they have values, the first column
    and the one behind the last. A row of ``cells`` is a column's kind and its row in the numbers of
    so many bits, or in ``places``: times, and where texts begin and end in ``data``. Callers make
    ``out`` large enough.
    """

    def __init__(
        self,
        runs: memoryview,
        cells: memoryview,
        present: memoryview,
        numbers: Sequence[memoryview],
        places: memoryview,
        data: memoryview,
        out: memoryview,
    ) -> None:
        self.runs = runs
        self.cells = cells
        self.present = present
        self.numbers8, self.numbers16, self.numbers32, self.numbers64 = numbers
        self.places = places
        self.data = data
        self.out = out
        self.used = 0

    def write(self, rows: int) -> int:
        """Write the lines of all rows; return the bytes they take."""
        with nogil:
            for row in range(rows):
                for run in range(len(self.runs)):
                    if self.present[self.runs[run, 0], row]:
                        self._run(self.runs[run, 1], self.runs[run, 2], row)
                    else:
                        self._commas(self.runs[run, 2] - self.runs[run, 1])
                self.out[self.used - 1] = _NEWLINE
        return self.used

    def _run(self, first: int, last: int, row: int) -> int:
        for column in range(first, last):
            self._cell(self.cells[column, 0], self.cells[column, 1], row)
            self.out[self.used] = _COMMA
            self.used += 1
        return 0

    def _commas(self, count: int) -> int:
        used = self.used
        for _ in range(count):
            self.out[used] = _COMMA
            used += 1
        self.used = used
        return 0

    def _cell(self, kind: int, place: int, row: int) -> int:
        if kind <= _NUMBER64:
            if kind == _NUMBER16:
                value = self.numbers16[place, row]
            elif kind == _NUMBER8:
                value = self.numbers8[place, row]
            elif kind == _NUMBER32:
                value = self.numbers32[place, row]
            else:
                value = self.numbers64[place, row]
            return self._number(value)
        if kind == _TIME:
            return self._time(self.places[place, row])
        begin = self.places[place, row]
        end = self.places[place, row + 1]
        if kind == _HEX:
            return self._hex(begin, end)
        if kind == _PLAIN:
            return self._copy(begin, end)
        return self._text(begin, end)

    def _number(self, value: int) -> int:
        size = 1
        limit = 10
        while size < _NUMBER_BYTES and value >= limit:
            size += 1
            limit *= 10
        return self._digits(value, size)

    def _digits(self, value: int, size: int) -> int:
        """Write the last ``size`` decimal digits of a value."""
        at = self.used + size
        for _ in range(size):
            at -= 1
            rest = value // 10
            self.out[at] = _DIGITS[value - 10 * rest]
            value = rest
        self.used += size
        return 0

    def _time(self, time_ns: int) -> int:
        """Write nanoseconds since 1970 as RFC 3339 does."""
        day = time_ns // _DAY_NS
        left = time_ns - day * _DAY_NS
        if left < 0:  # C rounds towards zero
            left += _DAY_NS
            day -= 1
        self._date(day)
        self._mark(ord("T"))
        second = left // _SECOND_NS
        self._digits(second // 3600, 2)
        self._mark(ord(":"))
        self._digits(second // 60 % 60, 2)
        self._mark(ord(":"))
        self._digits(second % 60, 2)
        self._mark(ord("."))
        self._digits(left - second * _SECOND_NS, 9)
        return self._mark(ord("Z"))

    def _date(self, day: int) -> int:
        """Write a day since 1970 in the Gregorian calendar.

        Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", ``civil_from_days``; all
        days of 64 bits of nanoseconds lie within two eras.
        """
        day += 719_468  # since 1 March of the year 0
        era = day // 146_097
        day -= era * 146_097
        year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
        day -= 365 * year + year // 4 - year // 100
        month = (5 * day + 2) // 153  # from March
        day -= (153 * month + 2) // 5
        year += 400 * era
        if month < 10:
            month += 3
        else:
            month -= 9
            year += 1
        self._digits(year, 4)
        self._mark(ord("-"))
        self._digits(month, 2)
        self._mark(ord("-"))
        return self._digits(day + 1, 2)

    def _mark(self, value: int) -> int:
        self.out[self.used] = value
        self.used += 1
        return 0

    def _hex(self, begin: int, end: int) -> int:
        used = self.used
        for place in range(begin, end):
            value = self.data[place]
            self.out[used] = _DIGITS[value >> 4]
            self.out[used + 1] = _DIGITS[value & 15]
            used += 2
        self.used = used
        return 0

    def _copy(self, begin: int, end: int) -> int:
        used = self.used
        for place in range(begin, end):
            self.out[used] = self.data[place]
            used += 1
        self.used = used
        return 0

    def _text(self, begin: int, end: int) -> int:
        for place in range(begin, end):
            if self.data[place] == _COMMA or self.data[place] == _QUOTE:
                return self._quoted(begin, end)
        return self._copy(begin, end)

    def _quoted(self, begin: int, end: int) -> int:
        self._mark(_QUOTE)
        for place in range(begin, end):
            if self.data[place] == _QUOTE:
                self._mark(_QUOTE)
            self._mark(self.data[place])
        return self._mark(_QUOTE)
