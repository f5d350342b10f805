"""The loop over a block of a TPACKET_V3 ring: where frames begin, and what the kernel says of them.

Plain Python that Cython compiles with the types of ``ring_frames.pxd`` (bounds checks on); without
a compiler it runs as it is, slower, with the same results.

In a block, frames are a linked list (linux/if_packet.h, struct tpacket3_hdr): each header says how
far on the next one is. Behind it stands a struct sockaddr_ll with the device, then the frame. The
kernel takes the outermost VLAN tag off a frame and notes it in the header. It is put back here in
place: the addresses before it move four bytes forward, into room that the ring reserves
(:data:`RESERVED_BYTES`). So nothing is copied, and a block can be walked only once.
"""

from __future__ import annotations

from typing import NamedTuple

#: What a ring must reserve before each frame (PACKET_RESERVE), for the tag.
RESERVED_BYTES = 4

# Places in struct tpacket3_hdr, whose size is a multiple of its alignment, and in the sockaddr_ll
# behind it; those of 32 and of 16 bits are counted in such.
_NEXT, _SECONDS, _NANOSECONDS, _SNAP_LEN, _WIRE_LEN, _STATUS, _VLAN_TAG, _DEVICE = (
    0, 1, 2, 3, 4, 5, 8, 13,
)  # fmt: skip
_FRAME_AT, _VLAN_TYPE, _HARDWARE_TYPE = 12, 18, 28

_VLAN_VALID = 1 << 4
_VLAN_TYPE_VALID = 1 << 6
_ETH_P_8021Q = 0x8100
_TAG_BYTES = RESERVED_BYTES
_ADDRESSES_BYTES = 12
_NS_PER_S = 1_000_000_000


class Columns(NamedTuple):
    """Memory for what is found of each frame; see :class:`network_pipeline.frames.FrameBatch`.

    ``devices`` are indexes of devices, ``hardware_types`` what kind those are (ARPHRD_*).
    """

    offsets: memoryview
    lengths: memoryview
    wire_lens: memoryview
    times_ns: memoryview
    devices: memoryview
    hardware_types: memoryview


def walk(
    data: memoryview, words: memoryview, halves: memoryview, first: int, columns: Columns
) -> int:
    """Fill the columns, whose length is how many frames there are; the first begins at ``first``.

    ``data``, ``words`` and ``halves`` are blocks, in units of 8, 32 and 16 bits. Returns how many
    tags were put back.
    """
    offsets, lengths, wire_lens, times_ns, devices, hardware_types = columns
    at = first
    tags = 0
    for row in range(len(offsets)):
        word = at >> 2
        half = at >> 1
        offset = at + halves[half + _FRAME_AT]
        length = words[word + _SNAP_LEN]
        wire_len = words[word + _WIRE_LEN]
        status = words[word + _STATUS]
        if status & _VLAN_VALID:
            kind = halves[half + _VLAN_TYPE] if status & _VLAN_TYPE_VALID else _ETH_P_8021Q
            if length >= _ADDRESSES_BYTES:
                offset = _put_tag_back(data, offset, kind, words[word + _VLAN_TAG])
                length += _TAG_BYTES
            wire_len += _TAG_BYTES
            tags += 1
        offsets[row] = offset
        lengths[row] = length
        wire_lens[row] = wire_len
        times_ns[row] = words[word + _SECONDS] * _NS_PER_S + words[word + _NANOSECONDS]
        devices[row] = words[word + _DEVICE]
        hardware_types[row] = halves[half + _HARDWARE_TYPE]
        at += words[word + _NEXT]
    return tags


def _put_tag_back(data: memoryview, offset: int, kind: int, tag: int) -> int:
    """Return where the frame begins now."""
    begin = offset - _TAG_BYTES
    for place in range(begin, begin + _ADDRESSES_BYTES):
        data[place] = data[place + _TAG_BYTES]
    end = begin + _ADDRESSES_BYTES
    data[end] = kind >> 8
    data[end + 1] = kind & 0xFF
    data[end + 2] = tag >> 8 & 0xFF
    data[end + 3] = tag & 0xFF
    return begin
