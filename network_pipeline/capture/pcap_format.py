"""The pcap format (draft-ietf-opsawg-pcap): one header, then records of one link type.

Read are both byte orders, microseconds and nanoseconds, the patched form of old Red Hat systems
with longer record headers, and files older than version 2.4, whose two lengths may be exchanged.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from network_pipeline.capture import link_types, records
from network_pipeline.capture.frame_arrays import FrameArrays, most_frame_bytes
from network_pipeline.capture.window import Damage, Window
from network_pipeline.frames import FrameBatch

HEADER_BYTES = 24


class _Kind(NamedTuple):
    big_endian: bool
    tick_ns: int
    extra_bytes: int


_MAGICS = {0xA1B2C3D4: (1000, 0), 0xA1B23C4D: (1, 0), 0xA1B2CD34: (1000, 8)}

_KINDS = {
    magic.to_bytes(4, "big" if big else "little"): _Kind(big, *rest)
    for magic, rest in _MAGICS.items()
    for big in (False, True)
}

_MAJOR = 2
_SETTLED_MINOR = 4  # from this version on it is settled which length comes first

#: The upper bits of the link type say how long a frame check sequence is (section 4).
_LINK_TYPE_BITS = 0x03FFFFFF


def recognises(begin: bytes) -> bool:
    """Return whether a file that begins with these bytes is a pcap file."""
    return begin[:4] in _KINDS


class PcapFormat:
    """Makes batches of the records of a file, whose header stands in a window.

    ``frames`` are those found so far, refused ones among them.

    Raises:
        Damage: the header cannot be used.
    """

    def __init__(self, window: Window, batch_frames: int) -> None:
        if window.left < HEADER_BYTES:
            raise Damage(0, f"the file ends within its header, after {window.left} bytes")
        header = bytes(window.data[window.position : window.position + HEADER_BYTES])
        kind = _KINDS[header[:4]]
        self._order = ">" if kind.big_endian else "<"
        numbers = struct.unpack(f"{self._order}4x2H8x2I", header)
        major, minor, snap_len, network = numbers
        if major != _MAJOR:
            raise Damage(4, f"pcap version {major}.{minor} cannot be read")
        self._link_number = network & _LINK_TYPE_BITS
        self._link_type = link_types.decoded(self._link_number)
        self._layout = records.Layout(
            big_endian=kind.big_endian,
            tick_ns=kind.tick_ns,
            extra_bytes=kind.extra_bytes,
            most_bytes=most_frame_bytes(snap_len, self._link_type is not None),
            lengths_mixed=minor < _SETTLED_MINOR,
        )
        self._scan = records.RecordScan(self._layout)
        self._batch_frames = batch_frames
        self.frames = 0
        window.position += HEADER_BYTES

    def batches(self, window: Window) -> Iterator[FrameBatch]:
        """Take the whole records that are in a window.

        Raises:
            Damage: after them comes something that is no record.
        """
        reason = records.IS_FULL
        while reason == records.IS_FULL:
            arrays = FrameArrays(self._batch_frames, window.left)
            reason = self._scan.scan(window.data, window.position, window.end, arrays.columns())
            window.position = self._scan.position
            first = self.frames + 1
            self.frames += self._scan.count
            if self._scan.count and self._link_type is not None:
                yield self._batch(arrays, window, first)
        if reason != records.NEEDS_MORE:
            length = self._length(window)
            most = self._layout.most_bytes
            raise Damage(
                window.offset(window.position),
                f"a record says it has {length} bytes, a frame has at most {most}",
            )

    def refused(self) -> Counter[str]:
        """Return how many frames are not in batches, by link type."""
        if self._link_type is None and self.frames:
            return Counter({link_types.name(self._link_number): self.frames})
        return Counter()

    def unfinished(self, window: Window) -> str:
        """Say what the rest of a window would be if the file went on."""
        header_bytes = records.RECORD_HEADER_BYTES + self._layout.extra_bytes
        if window.left < header_bytes:
            return f"a record's header, with {window.left} of {header_bytes} bytes"
        return f"a frame, with {window.left - header_bytes} of {self._length(window)} bytes"

    def _batch(self, arrays: FrameArrays, window: Window, first: int) -> FrameBatch:
        count = self._scan.count
        arrays.numbers[:count] = np.arange(first, first + count, dtype=np.uint64)
        arrays.interfaces[:count] = 0
        link_types_ = np.full(count, self._link_type, np.uint16)
        return arrays.batch(count, window.data, link_types_, (None,))

    def _length(self, window: Window) -> int:
        lengths: tuple[int, int] = struct.unpack_from(
            f"{self._order}2I", window.data, window.position + 8
        )
        return min(lengths) if self._layout.lengths_mixed else lengths[0]
