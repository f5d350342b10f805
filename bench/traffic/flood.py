"""A SYN flood: from everywhere to one port of one host, and no answer."""

from __future__ import annotations

import numpy as np

from bench.traffic.headers import Frames
from bench.traffic.matrices import Bytes, Numbers, big, put, row

_HEADERS = bytes.fromhex(
    "02420a0000010242 0a0000fe0800"  # Ethernet
    "4500002c00004000400600000000 00000a000001"  # IPv4, 44 bytes, without source
    "000001bb0000000000000000 6002ffff00000000"  # TCP to 443: SYN, without port and number
    "020405b4"  # maximum segment size 1460
)
_ID_AT, _SOURCE_AT, _PORT_AT, _SEQUENCE_AT = 18, 26, 34, 38


def make(rng: np.random.Generator, count: int) -> Frames:
    """Make segments, each from an address, a port and with a number of its own at random."""

    def write_all(out: Bytes, starts: Numbers) -> None:
        frames = np.repeat(row(list(_HEADERS)), count, axis=0)
        for at, width in ((_ID_AT, 2), (_SOURCE_AT, 4), (_PORT_AT, 2), (_SEQUENCE_AT, 4)):
            frames[:, at : at + width] = big(rng.integers(1, 1 << 8 * width, count), width)
        put(out, starts, frames)

    return Frames(np.full(count, len(_HEADERS)), write_all)
