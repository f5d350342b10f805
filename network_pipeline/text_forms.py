"""Whether the texts of a column look as its type says: one loop over them, as they lie in memory.

They are UTF-8 already. What each form may hold is what :data:`.message.TEXT_PATTERNS` says, of JSON
texts one by one. Compiled, see :mod:`network_pipeline.interpreted`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if not TYPE_CHECKING:
    from network_pipeline.interpreted import nogil
else:
    from cython import nogil

#: Forms: addresses, and text of one line without control characters.
MAC: Final = 1
IPV4: Final = 2
IPV6: Final = 3
LINE: Final = 4

_MAC = MAC
_IPV4 = IPV4
_IPV6 = IPV6

_MAC_BYTES = 17
_LEAST_IPV6 = 2
_MOST_IPV6 = 45
_MOST_DIGITS = 3  # of a number in an IPv4 address
_DOTS = 3

_COLON = ord(":")
_DOT = ord(".")

_DIGIT = 1
_HEX = 2
_PRINTABLE = 4
_LEADS = 8  # the first byte of a character that may be a control or a line break
#: By byte: what it may be.
_KINDS = bytes(
    _DIGIT * (byte in b"0123456789")
    | _HEX * (byte in b"0123456789abcdef")
    | _PRINTABLE * (byte >= 0x20 and byte != 0x7F)
    | _LEADS * (byte in (0xC2, 0xE2))
    for byte in range(256)
)


def all_fit(
    form: int, present: memoryview, first: int, ends: memoryview, octets: memoryview
) -> bool:
    """Return whether all texts of a column have a form.

    They are in ``octets``, each behind the one before it: ``ends`` has where each begins, and at
    last where the last one ends. ``present`` has a bit for each, from that number ``first`` on, of
    a byte the lowest before: what has none is not looked at. An empty one means all of them.
    """
    with nogil:
        for row in range(len(ends) - 1):
            bit = first + row
            if len(present) > 0 and not present[bit >> 3] >> (bit & 7) & 1:
                continue
            if not _fits(form, octets, ends[row], ends[row + 1]):
                return False
    return True


def _fits(form: int, octets: memoryview, begin: int, end: int) -> int:
    if form == _IPV4:
        return _is_ipv4(octets, begin, end)
    if form == _MAC:
        return _is_mac(octets, begin, end)
    if form == _IPV6:
        return _is_ipv6(octets, begin, end)
    return _is_line(octets, begin, end)


def _is_mac(octets: memoryview, begin: int, end: int) -> int:
    if end - begin != _MAC_BYTES:
        return 0
    for place in range(_MAC_BYTES):
        value = octets[begin + place]
        if place % 3 == 2:
            if value != _COLON:
                return 0
        elif not _KINDS[value] & _HEX:
            return 0
    return 1


def _is_ipv4(octets: memoryview, begin: int, end: int) -> int:
    dots = 0
    digits = 0
    for place in range(begin, end):
        value = octets[place]
        if _KINDS[value] & _DIGIT:
            digits += 1
        elif value == _DOT and digits > 0:
            dots += 1
            digits = 0
        else:
            return 0
        if digits > _MOST_DIGITS:
            return 0
    return dots == _DOTS and digits > 0


def _is_ipv6(octets: memoryview, begin: int, end: int) -> int:
    if not _LEAST_IPV6 <= end - begin <= _MOST_IPV6:
        return 0
    for place in range(begin, end):
        value = octets[place]
        if not _KINDS[value] & _HEX and value not in (_COLON, _DOT):
            return 0
    return 1


def _is_line(octets: memoryview, begin: int, end: int) -> int:
    for place in range(begin, end):
        kinds = _KINDS[octets[place]]
        if not kinds & _PRINTABLE:
            return 0
        if kinds & _LEADS and _is_break(octets, place):
            return 0
    return 1


def _is_break(octets: memoryview, place: int) -> int:
    """Return whether a character is a C1 control, or U+2028 or U+2029, which end lines."""
    if octets[place] == 0xC2:
        return octets[place + 1] < 0xA0
    return octets[place + 1] == 0x80 and octets[place + 2] in (0xA8, 0xA9)
