"""Values written as text, byte by byte, into memory of a fixed size.

The texts equal those of :mod:`.text`. Compiled, see :mod:`network_pipeline.interpreted`.
"""

from __future__ import annotations

_DIGITS = b"0123456789abcdef"
_ZERO = ord("0")
_DOT = ord(".")
_COLON = ord(":")


class Text:
    """Text that grows from front to back: ``used`` bytes of ``data`` are written.

    Its methods raise IndexError where ``data`` is full; callers make it large enough.
    """

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self.used = 0

    def widen(self) -> None:
        """Double the memory."""
        wider = bytearray(2 * len(self.data))
        wider[: self.used] = self.data[: self.used]
        self.data = memoryview(wider)

    def byte(self, value: int) -> int:
        """Write one byte."""
        self.data[self.used] = value
        self.used += 1
        return 0

    def cut(self, used: int) -> int:
        """Take back all but the first ``used`` bytes."""
        self.used = used
        return 0

    def number(self, value: int) -> int:
        """Write an unsigned number of 32 bits in decimal."""
        power = 1
        while value // power >= 10:
            power *= 10
        while power > 0:
            self.byte(_ZERO + value // power % 10)
            power //= 10
        return 0

    def hex(self, data: memoryview, at: int, end: int) -> int:
        """Write bytes as two digits each."""
        used = self.used
        for place in range(at, end):
            value = data[place]
            self.data[used] = _DIGITS[value >> 4]
            self.data[used + 1] = _DIGITS[value & 15]
            used += 2
        self.used = used
        return 0

    def ipv4(self, data: memoryview, at: int) -> int:
        """Write four bytes in dotted decimal form."""
        used = self.used
        for place in range(at, at + 4):
            value = data[place]
            if place > at:
                self.data[used] = _DOT
                used += 1
            if value >= 100:
                self.data[used] = _ZERO + value // 100
                used += 1
            if value >= 10:
                self.data[used] = _ZERO + value // 10 % 10
                used += 1
            self.data[used] = _ZERO + value % 10
            used += 1
        self.used = used
        return 0

    def ipv6(self, data: memoryview, at: int) -> int:
        """Write sixteen bytes (RFC 5952): groups in hex, the first longest run of zeros as ``::``.

        As in inet_ntop(3), addresses that hold an IPv4 one behind 80 or 96 zeros end dotted.
        """
        run = _zero_run(data, at)
        first = run >> 4
        end = run & 15
        ends_dotted = first == 0 and (
            end == 6 or (end == 5 and data[at + 10] == 0xFF and data[at + 11] == 0xFF)
        )
        for number in range(6 if ends_dotted else 8):
            if number == first and end > 0:
                self.byte(_COLON)
            elif not first < number < end:
                self._group(data, at, number)
        if ends_dotted:
            self.byte(_COLON)
            self.ipv4(data, at + 12)
        elif end == 8:
            self.byte(_COLON)
        return 0

    def _group(self, data: memoryview, at: int, number: int) -> int:
        """Write a group of an IPv6 address without leading zeros."""
        if number > 0:
            self.byte(_COLON)
        value = data[at + 2 * number] << 8 | data[at + 2 * number + 1]
        if value >= 0x1000:
            self.byte(_DIGITS[value >> 12])
        if value >= 0x100:
            self.byte(_DIGITS[value >> 8 & 15])
        if value >= 0x10:
            self.byte(_DIGITS[value >> 4 & 15])
        return self.byte(_DIGITS[value & 15])


def _zero_run(data: memoryview, at: int) -> int:
    """Return the first longest run of two or more zero groups as ``first << 4 | end``, or 0."""
    found = 0
    longest = 1
    size = 0
    for number in range(8):
        size = size + 1 if data[at + 2 * number] | data[at + 2 * number + 1] == 0 else 0
        if size > longest:
            longest = size
            found = (number + 1 - size) << 4 | (number + 1)
    return found
