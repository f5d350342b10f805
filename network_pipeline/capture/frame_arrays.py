"""Memory for the frames that a scan finds, and the batch that is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from network_pipeline.capture.records import MOST_RECORD_BYTES, Columns
from network_pipeline.frames import FrameBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: No record of a capture file is shorter.
LEAST_RECORD_BYTES = 16

#: What libpcap and Wireshark believe a frame can have, unless a file says more.
_MOST_FRAME_BYTES = 262_144


def most_frame_bytes(snap_len: int, decoded: bool) -> int:
    """Return the longest frame that is believed, by what the file says that its frames are cut to.

    Frames that are ``decoded`` come from networks, others may come from buses with longer ones.
    """
    if not decoded:
        return MOST_RECORD_BYTES
    return snap_len if _MOST_FRAME_BYTES < snap_len <= MOST_RECORD_BYTES else _MOST_FRAME_BYTES


class FrameArrays:
    """Arrays for up to ``most`` frames, as many as can lie in ``size`` bytes."""

    def __init__(self, most: int, size: int) -> None:
        capacity = min(most, size // LEAST_RECORD_BYTES + 1)
        self.offsets = np.empty(capacity, np.int64)
        self.lengths = np.empty(capacity, np.uint32)
        self.wire_lens = np.empty(capacity, np.uint32)
        self.times_ns = np.empty(capacity, np.int64)
        self.numbers = np.empty(capacity, np.uint64)
        self.interfaces = np.empty(capacity, np.uint16)

    def columns(self) -> Columns:
        """Return the arrays as a scan takes them."""
        return Columns(
            self.offsets.data,
            self.lengths.data,
            self.wire_lens.data,
            self.times_ns.data,
            self.numbers.data,
            self.interfaces.data,
        )

    def batch(
        self,
        count: int,
        buffer: memoryview,
        link_types: NDArray[np.uint16],
        interface_names: tuple[str | None, ...],
    ) -> FrameBatch:
        """Return the first ``count`` frames, which lie in ``buffer``."""
        return FrameBatch(
            buffer=buffer,
            offsets=self.offsets[:count],
            lengths=self.lengths[:count],
            wire_lens=self.wire_lens[:count],
            times_ns=self.times_ns[:count],
            numbers=self.numbers[:count],
            link_types=link_types,
            interfaces=self.interfaces[:count],
            interface_names=interface_names,
        )
