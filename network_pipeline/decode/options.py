"""TCP options (RFC 9293 section 3.1): one pass over the option bytes, each read exactly once.

Every option but END and NOP says its own length, so an option that nobody knows is stepped over,
and one whose length does not fit its kind is passed by with ``error`` set. A length that leads
nowhere (below 2, or past the end) ends the pass: what was read before it stays. Where an option is
repeated, its first value counts.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_END = 0
_NOP = 1
_MSS = 2  # RFC 9293
_WSCALE = 3  # RFC 7323
_SACKOK = 4  # RFC 2018
_SACK = 5  # RFC 2018
_TIMESTAMP = 8  # RFC 7323

#: Lengths of whole options that are always the same; that of SACK depends on its blocks.
_LENGTHS = {_MSS: 4, _WSCALE: 3, _SACKOK: 2, _TIMESTAMP: 10}

_U16 = struct.Struct("!H")
_U32_PAIR = struct.Struct("!II")


class Options(NamedTuple):
    """The options that have columns; ``None`` where absent.

    ``sack`` is ``left-right;left-right``, ``sackok`` is 1, ``error`` says whether an option was
    malformed.
    """

    mss: int | None
    wscale: int | None
    sackok: int | None
    sack: str | None
    tsval: int | None
    tsecr: int | None
    error: bool


def parse(data: bytes) -> Options:
    """Return what the option bytes of one TCP header say."""
    places, error = _locate(data)
    tsval: int | None = None
    tsecr: int | None = None
    if _TIMESTAMP in places:
        tsval, tsecr = _U32_PAIR.unpack_from(data, places[_TIMESTAMP])
    return Options(
        mss=_U16.unpack_from(data, places[_MSS])[0] if _MSS in places else None,
        wscale=data[places[_WSCALE]] if _WSCALE in places else None,
        sackok=1 if _SACKOK in places else None,
        sack=_blocks(data, places[_SACK]) if _SACK in places else None,
        tsval=tsval,
        tsecr=tsecr,
        error=error,
    )


def _locate(data: bytes) -> tuple[dict[int, int], bool]:
    """Return where the value of each kind of option begins, and whether one was malformed."""
    places: dict[int, int] = {}
    error: bool = False
    offset: int = 0
    size: int = len(data)
    while offset < size and data[offset] != _END:
        kind: int = data[offset]
        if kind == _NOP:
            offset += 1
            continue
        length: int = data[offset + 1] if offset + 1 < size else 0
        if length < 2 or offset + length > size:
            return places, True
        if _fits(kind, length):
            places.setdefault(kind, offset + 2)
        else:
            error = True
        offset += length
    return places, error


def _fits(kind: int, length: int) -> bool:
    if kind == _SACK:
        return length > 2 and (length - 2) % 8 == 0
    return _LENGTHS.get(kind, length) == length


def _blocks(data: bytes, offset: int) -> str:
    """Return the blocks of the SACK option whose value begins at ``offset``."""
    end = offset + data[offset - 1] - 2
    pairs = _U32_PAIR.iter_unpack(data[offset:end])
    return ";".join(f"{left}-{right}" for left, right in pairs)
