"""TCP options (RFC 9293 section 3.1): one pass over the option bytes, each read exactly once.

Every option but END and NOP says its own length, so an option that nobody knows is stepped over,
and one whose length does not fit its kind is passed by with ``error`` set. A length that leads
nowhere (below 2, or past the end) ends the pass: what was read before it stays. Where an option is
repeated, its first value counts. Compiled, see :mod:`network_pipeline.interpreted`.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from network_pipeline.decode.written import Text

_END = 0
_NOP = 1
_MSS = 2  # RFC 9293
_WSCALE = 3  # RFC 7323
_SACKOK = 4  # RFC 2018
_SACK = 5  # RFC 2018
_TIMESTAMP = 8  # RFC 7323

#: The kinds whose places :func:`locate` notes, in the order of its rows.
KINDS = (_MSS, _WSCALE, _SACKOK, _SACK, _TIMESTAMP)
_NO_ROW = len(KINDS)

#: By kind: its row, and the length of a whole option where that is always the same. The length of
#: SACK depends on its blocks.
_ROWS = bytes(KINDS.index(kind) if kind in KINDS else len(KINDS) for kind in range(256))
_LENGTHS = bytes({2: 4, 3: 3, 4: 2, 8: 10}.get(kind, 0) for kind in range(256))

_SEMICOLON = ord(";")
_DASH = ord("-")

_BLOCK_BYTES = 8
#: The option says its length in one byte, and a block has two numbers of ten digits at most.
MOST_BLOCKS_TEXT: Final = 255 // _BLOCK_BYTES * 22

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
    nowhere = bytearray(struct.pack(f"{len(KINDS)}i", *[-1] * len(KINDS)))
    places = memoryview(nowhere).cast("i", (len(KINDS), 1))
    error = locate(memoryview(data), 0, len(data), places, 0, 0)
    mss, wscale, sackok, sack, timestamp = (places[row, 0] for row in range(len(KINDS)))
    tsval, tsecr = _U32_PAIR.unpack_from(data, timestamp) if timestamp >= 0 else (None, None)
    return Options(
        mss=_U16.unpack_from(data, mss)[0] if mss >= 0 else None,
        wscale=data[wscale] if wscale >= 0 else None,
        sackok=1 if sackok >= 0 else None,
        sack=_blocks(data, sack) if sack >= 0 else None,
        tsval=tsval,
        tsecr=tsecr,
        error=bool(error),
    )


def _blocks(data: bytes, at: int) -> str:
    written = bytearray(MOST_BLOCKS_TEXT)
    text = Text(memoryview(written))
    write_blocks(memoryview(data), at, text)
    return written[: text.used].decode("ascii")


def locate(
    data: memoryview, at: int, end: int, places: memoryview, first_row: int, column: int
) -> int:
    """Note where the values of the options between ``at`` and ``end`` begin.

    They go to ``column`` of ``places``, which holds -1s, one row for each of ``KINDS`` from
    ``first_row`` on. Returns 1 if an option was malformed, otherwise 0.
    """
    malformed = 0
    while at < end and data[at] != _END:
        kind = data[at]
        if kind == _NOP:
            at += 1
            continue
        length = data[at + 1] if at + 1 < end else 0
        if length < 2 or at + length > end:
            return 1
        row = _ROWS[kind]
        if not _fits(kind, length):
            malformed = 1
        elif row < _NO_ROW and places[first_row + row, column] < 0:
            places[first_row + row, column] = at + 2
        at += length
    return malformed


def _fits(kind: int, length: int) -> int:
    if kind == _SACK:
        return length > 2 and (length - 2) % _BLOCK_BYTES == 0
    return _LENGTHS[kind] == 0 or _LENGTHS[kind] == length


def write_blocks(data: memoryview, at: int, text: Text) -> int:
    """Write the blocks of the SACK option whose value begins at ``at``."""
    end = at - 2 + data[at - 1]
    first = at
    while at < end:
        if at > first:
            text.byte(_SEMICOLON)
        text.number(_u32(data, at))
        text.byte(_DASH)
        text.number(_u32(data, at + 4))
        at += _BLOCK_BYTES
    return 0


def _u32(data: memoryview, at: int) -> int:
    high = data[at] << 8 | data[at + 1]
    low = data[at + 2] << 8 | data[at + 3]
    return high << 16 | low
