"""The loops over capture files: where frames begin in a buffer, and what is said of them.

Plain Python that Cython compiles with the types of ``records.pxd`` (bounds checks on); without a
compiler it runs as it is, slower, with the same results. No number here can leave 64 bits, so both
count alike.

A scan takes whole records in turn and stops at the first thing that is not its business, with the
reason: more bytes are needed, the columns are full, a header is there that only Python reads, or
the record is damaged (every reason from :data:`DAMAGE` on). ``position`` is then where that record
begins, ``count`` how many frames the columns hold. Nothing is copied, nothing allocated.
"""

from __future__ import annotations

from typing import NamedTuple

from network_pipeline.frames import NO_TIME

NEEDS_MORE = 0
IS_FULL = 1
IS_HEADER = 2
DAMAGE = 3
BAD_BLOCK_LENGTH = 3
BAD_TRAILER = 4
FRAME_TOO_LONG = 5
FRAME_OUTSIDE_BLOCK = 6
NO_INTERFACE = 7

#: The longest record that is believed, whatever a file says its frames may have.
MOST_RECORD_BYTES = 256 * 1024 * 1024

#: The numbers of an interface stand in a row: its link type (below 0: its frames are refused), the
#: longest frame that is believed, the snap length (0: none), four for the clock (:func:`clock`),
#: and how many frames were refused.
INTERFACE_NUMBERS = 8
_ROW = INTERFACE_NUMBERS
_LINK_TYPE = 0
_MOST_BYTES = 1
_SNAP_LEN = 2
_MULTIPLIER = 3
_DIVISOR = 4
_FRACTION_BITS = 5
_BASE_NS = 6
_REFUSED = 7

RECORD_HEADER_BYTES = 16  # of pcap

_HEADER_BYTES = RECORD_HEADER_BYTES
_BLOCK_BYTES = 12  # of a block without a body: type, length, length
_SIMPLE_BYTES = 16
_PACKET_BYTES = 32
_MOST_BLOCK_BYTES = MOST_RECORD_BYTES

# Types of blocks (draft-ietf-opsawg-pcapng, section 11.1)
_INTERFACE = 1
_OBSOLETE_PACKET = 2
_SIMPLE_PACKET = 3
_ENHANCED_PACKET = 6
_SECTION = 0x0A0D0D0A

_NS_PER_S = 1_000_000_000
_NO_TIME = NO_TIME
_LAST_NS = 2**63 - 1
_LAST_WHOLE_S = 9_223_372_035  # and any nanoseconds, that is


class Columns(NamedTuple):
    """Memory for what a scan finds of each frame; see :class:`network_pipeline.frames.FrameBatch`.

    A :class:`RecordScan` leaves the last two alone.
    """

    offsets: memoryview
    lengths: memoryview
    wire_lens: memoryview
    times_ns: memoryview
    numbers: memoryview
    interfaces: memoryview


class Layout(NamedTuple):
    """How the records of a pcap file are written.

    ``tick_ns`` is the unit of the second half of a time; ``extra_bytes`` follow the 16 of each
    record's header; ``most_bytes`` is the longest frame that is believed; with ``lengths_mixed``
    the two lengths may stand in either order.
    """

    big_endian: bool
    tick_ns: int
    extra_bytes: int
    most_bytes: int
    lengths_mixed: bool


class RecordScan:
    """Scans the records of a pcap file (draft-ietf-opsawg-pcap, section 5)."""

    def __init__(self, layout: Layout) -> None:
        self.big = layout.big_endian
        self.tick_ns = layout.tick_ns
        self.header_bytes = _HEADER_BYTES + layout.extra_bytes
        self.most_bytes = layout.most_bytes
        self.lengths_mixed = layout.lengths_mixed
        self.position = 0
        self.count = 0

    def scan(self, data: memoryview, start: int, end: int, columns: Columns) -> int:
        """Fill the columns from ``data[start:end]``, where a record begins; return the reason."""
        offsets, lengths, wire_lens, times_ns = columns[:4]
        capacity = len(offsets)
        count = 0
        at = start
        reason = IS_FULL
        while count < capacity:
            if end - at < self.header_bytes:
                reason = NEEDS_MORE
                break
            length = _u32(data, at + 8, self.big)
            wire_len = _u32(data, at + 12, self.big)
            if self.lengths_mixed and length > wire_len:
                length, wire_len = wire_len, length
            if length > self.most_bytes:
                reason = FRAME_TOO_LONG
                break
            if end - at - self.header_bytes < length:
                reason = NEEDS_MORE
                break
            seconds = _u32(data, at, self.big)
            ticks = _u32(data, at + 4, self.big)
            offsets[count] = at + self.header_bytes
            lengths[count] = length
            wire_lens[count] = wire_len
            times_ns[count] = seconds * _NS_PER_S + ticks * self.tick_ns
            count += 1
            at += self.header_bytes + length
        self.position = at
        self.count = count
        return reason


class BlockScan:
    """Scans the blocks of one section of a pcapng file (draft-ietf-opsawg-pcapng, section 4).

    Frames are numbered from ``number + 1`` on, those of refused interfaces too.
    """

    def __init__(self, big_endian: bool, number: int) -> None:
        self.big = big_endian
        self.number = number
        self.position = 0
        self.count = 0

    def scan(
        self, data: memoryview, start: int, end: int, interfaces: memoryview, columns: Columns
    ) -> int:
        """Fill the columns from ``data[start:end]``, where a block begins; return the reason.

        ``interfaces`` holds :data:`INTERFACE_NUMBERS` for each interface of the section.
        """
        self.data = data
        self.interfaces = interfaces
        self.offsets, self.lengths, self.wire_lens, self.times_ns = columns[:4]
        self.numbers, self.interface_ids = columns[4:]
        capacity = len(self.offsets)
        self.position = start
        self.count = 0
        reason = -1
        while reason < 0:
            reason = self._block(end) if self.count < capacity else IS_FULL
        return reason

    def _block(self, end: int) -> int:
        """Take the block at ``position``; return -1, or why it cannot be taken."""
        at = self.position
        if end - at < _BLOCK_BYTES:
            return NEEDS_MORE
        kind = _u32(self.data, at, self.big)
        if kind == _SECTION:  # the same in either byte order, of which it may be the other
            return IS_HEADER
        total = _u32(self.data, at + 4, self.big)
        if total < _BLOCK_BYTES or total % 4 or total > _MOST_BLOCK_BYTES:
            return BAD_BLOCK_LENGTH
        if end - at < total:
            return NEEDS_MORE
        if _u32(self.data, at + total - 4, self.big) != total:
            return BAD_TRAILER
        return self._whole_block(kind, total)

    def _whole_block(self, kind: int, total: int) -> int:
        if kind == _INTERFACE:
            return IS_HEADER
        reason = -1
        if kind in (_ENHANCED_PACKET, _OBSOLETE_PACKET):
            reason = self._packet(kind, total)
        elif kind == _SIMPLE_PACKET:
            reason = self._simple_packet(total)
        if reason < 0:
            self.position += total
        return reason

    def _packet(self, kind: int, total: int) -> int:
        at = self.position
        if total < _PACKET_BYTES:
            return BAD_BLOCK_LENGTH
        if kind == _ENHANCED_PACKET:
            interface = _u32(self.data, at + 8, self.big)
        else:
            interface = _u16(self.data, at + 8, self.big)
        row = interface * _ROW
        if row >= len(self.interfaces):
            return NO_INTERFACE
        length = _u32(self.data, at + 20, self.big)
        if length > total - _PACKET_BYTES:
            return FRAME_OUTSIDE_BLOCK
        if length > self.interfaces[row + _MOST_BYTES]:
            return FRAME_TOO_LONG
        high = _u32(self.data, at + 12, self.big)
        low = _u32(self.data, at + 16, self.big)
        time_ns = _nanoseconds(high, low, self.interfaces, row)
        return self._store(row, at + 28, length, _u32(self.data, at + 24, self.big), time_ns)

    def _simple_packet(self, total: int) -> int:
        at = self.position
        if total < _SIMPLE_BYTES:
            return BAD_BLOCK_LENGTH
        if len(self.interfaces) == 0:
            return NO_INTERFACE
        wire_len = _u32(self.data, at + 8, self.big)
        length = wire_len
        if 0 < self.interfaces[_SNAP_LEN] < length:
            length = self.interfaces[_SNAP_LEN]
        if length > total - _SIMPLE_BYTES:
            return FRAME_OUTSIDE_BLOCK
        if length > self.interfaces[_MOST_BYTES]:
            return FRAME_TOO_LONG
        return self._store(0, at + 12, length, wire_len, _NO_TIME)

    def _store(self, row: int, offset: int, length: int, wire_len: int, time_ns: int) -> int:
        self.number += 1
        if self.interfaces[row + _LINK_TYPE] < 0:
            self.interfaces[row + _REFUSED] += 1
            return -1
        self.offsets[self.count] = offset
        self.lengths[self.count] = length
        self.wire_lens[self.count] = wire_len
        self.times_ns[self.count] = time_ns
        self.numbers[self.count] = self.number
        self.interface_ids[self.count] = row // _ROW
        self.count += 1
        return -1


def clock(resolution: int, offset_s: int) -> tuple[int, int, int, int]:
    """Return the numbers of an interface's clock (if_tsresol as in the file, if_tsoffset).

    Times count in units of a power of 10, which a multiplier and a divisor make nanoseconds, or, if
    the third number is not -1, of a second divided by that power of 2. The fourth is added. 64 bits
    of a unit finer than 10 to the -27th of a second are less than two nanoseconds: 0 here.
    """
    exponent = resolution & 0x7F
    base_ns = offset_s * _NS_PER_S if abs(offset_s) <= _LAST_WHOLE_S else NO_TIME
    if resolution > 0x7F:
        return 0, 1, exponent, base_ns
    if exponent > 27:
        return 0, 1, 127, base_ns
    return 10 ** max(9 - exponent, 0), 10 ** max(exponent - 9, 0), -1, base_ns


def _nanoseconds(high: int, low: int, interfaces: memoryview, row: int) -> int:
    """Return a time of an interface in nanoseconds since the epoch.

    NO_TIME where 64 bits cannot say it, or could not before the offset is added.
    """
    ticks = high << 32 | low
    bits = interfaces[row + _FRACTION_BITS]
    base_ns = interfaces[row + _BASE_NS]
    if bits >= 0:
        time_ns = _binary_nanoseconds(ticks, bits)
    else:
        time_ns = _NO_TIME
        multiplier = interfaces[row + _MULTIPLIER]
        whole = ticks // interfaces[row + _DIVISOR]
        if whole <= _LAST_NS // multiplier:
            time_ns = whole * multiplier
    if _NO_TIME in (time_ns, base_ns):
        return _NO_TIME
    if base_ns > 0 and time_ns > _LAST_NS - base_ns:
        return _NO_TIME
    return time_ns + base_ns


def _binary_nanoseconds(ticks: int, bits: int) -> int:
    seconds = ticks >> bits if bits < 64 else 0
    if seconds > _LAST_WHOLE_S:
        return _NO_TIME
    fraction = ticks - (seconds << bits) if bits < 64 else ticks
    if bits <= 34:
        return seconds * _NS_PER_S + (fraction * _NS_PER_S >> bits)
    # In two halves, since the product takes up to 94 bits; below 2**32 nothing reaches the result.
    upper = (fraction >> 32) * _NS_PER_S + ((fraction & 0xFFFFFFFF) * _NS_PER_S >> 32)
    return seconds * _NS_PER_S + (upper >> (bits - 32) if bits < 96 else 0)


def _u16(data: memoryview, at: int, big: bool) -> int:
    if big:
        return data[at] << 8 | data[at + 1]
    return data[at] | data[at + 1] << 8


def _u32(data: memoryview, at: int, big: bool) -> int:
    if big:
        return _u16(data, at, big) << 16 | _u16(data, at + 2, big)
    return _u16(data, at, big) | _u16(data, at + 2, big) << 16
