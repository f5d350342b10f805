"""A number for the flow of each frame: the same for both directions, on every host, in every run.

A flow is two addresses, two ports and a protocol. So whoever samples by this number keeps a flow
with all its frames, or none of it, and agents at both ends keep the same ones. What has no ports
(ICMP, and fragments, of which only the first could have them) is told apart by its addresses, ARP
by those that it is about; all frames of other kinds are one flow.

Whole columns at a time, since it is a few operations on numbers whose places :mod:`.layers` finds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from network_pipeline.decode import gather
from network_pipeline.decode.columnar import locate
from network_pipeline.decode.places import PLACES
from network_pipeline.frames import FrameBatch

_Numbers = NDArray[np.uint64]

#: Of each end: where its address may be, as numbers of 32 bits, the first of which are those of
#: IPv4 and ARP too, and its port. An end that a frame does not have is all zeros.
_ADDRESSES = (
    [[("ip", 12), ("arp_psrc", 0), ("ipv6", 8)], [("ipv6", 12)], [("ipv6", 16)], [("ipv6", 20)]],
    [[("ip", 16), ("arp_pdst", 0), ("ipv6", 24)], [("ipv6", 28)], [("ipv6", 32)], [("ipv6", 36)]],
)
_PORTS = ([("tcp", 0), ("udp", 0)], [("tcp", 2), ("udp", 2)])
_PROTOCOL = [("ip", 9), ("ipv6_proto", 0)]
_FRAGMENT = [("ip", 6)]
_FRAGMENT_MASK = 0x3FFF  # RFC 791: more fragments, and the offset

#: Which of the arrays of :func:`gather.numbers` has 32 bits.
_WIDE = 2

# MurmurHash3's finalizer (Appleby, public domain), in which every bit reaches all 64.
_FACTORS = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_SHIFT = np.uint64(33)


def flow_hashes(batch: FrameBatch) -> _Numbers:
    """Return a number of 64 bits for every frame, evenly spread over flows."""
    located = locate(batch)
    rows = len(batch)

    def read(alternatives: list[tuple[str, int]], width: int) -> _Numbers:
        """Return what is in the one of these places that a frame has, else 0."""
        rules = [
            (PLACES.index(place), at, width, 0, 0xFFFFFFFF, _WIDE, row)
            for row, (place, at) in enumerate(alternatives)
        ]
        values = np.zeros((len(rules), rows), np.uint32)
        gather.numbers(
            located.data,
            located.places.data,
            rows,
            np.array(rules, np.int64).data,
            np.empty((2, gather.ROWS_AT_ONCE), np.int32).data,
            np.empty((0, rows), np.uint8).data,
            np.empty((0, rows), np.uint16).data,
            values.data,
        )
        found: _Numbers = np.bitwise_or.reduce(values, axis=0).astype(np.uint64)
        return found

    has_ports = (read(_FRAGMENT, 2) & np.uint64(_FRAGMENT_MASK)) == 0
    has_ports &= located.places[PLACES.index("ipv6_fragment")] < 0
    both = np.zeros(rows, np.uint64)
    for address, port in zip(_ADDRESSES, _PORTS, strict=True):
        end = read(port, 2) * has_ports
        for word in address:
            end = _mixed(end ^ _mixed(read(word, 4)))
        both += end  # in either order
    return _mixed(both ^ read(_PROTOCOL, 1))


def _mixed(values: _Numbers) -> _Numbers:
    for factor in _FACTORS:
        values = (values ^ (values >> _SHIFT)) * factor
    return values ^ (values >> _SHIFT)
