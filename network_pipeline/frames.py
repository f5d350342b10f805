"""A frame: captured bytes and what the source knows about them; one by one, or many in a buffer."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


#: In the place of a capture time that 64 bits of nanoseconds cannot say (NumPy's NaT).
NO_TIME: Final = -(2**63)


def known_time(time_ns: int) -> int:
    """Return a capture time, or :data:`NO_TIME` for one before 1677-09-21 or after 2262-04-11.

    No column can hold that, since 64 bits of nanoseconds cannot; clocks that are wrong name it.
    """
    return time_ns if abs(time_ns) < -NO_TIME else NO_TIME


class LinkType(enum.IntEnum):
    """What the first byte of a frame belongs to (numbers of the tcpdump.org LINKTYPE registry)."""

    NULL = 0
    ETHERNET = 1
    RAW = 101
    LOOP = 108
    LINUX_SLL = 113
    IPV4 = 228
    IPV6 = 229
    LINUX_SLL2 = 276


class Frame(NamedTuple):
    """One captured frame.

    ``number`` is its 1-based position in the session; ``time_ns`` the capture time in nanoseconds
    since the epoch (UTC); ``wire_len`` its bytes on the wire, ``len(data)`` those captured.
    """

    number: int
    time_ns: int
    interface: str | None
    wire_len: int
    link_type: LinkType
    data: bytes


@dataclass(frozen=True, slots=True)
class FrameBatch:
    """Frames in one buffer, in which they may lie anywhere, record headers between them.

    All arrays have one element per frame: ``offsets`` is where it begins in ``buffer``, ``lengths``
    its bytes captured, ``wire_lens`` those on the wire, ``times_ns`` nanoseconds since the epoch
    (UTC) or :data:`NO_TIME`, ``numbers`` its place in the session, ``link_types`` values of
    :class:`LinkType`, and ``interfaces`` an index into ``interface_names``.
    """

    buffer: bytes | memoryview
    offsets: NDArray[np.int64]
    lengths: NDArray[np.uint32]
    wire_lens: NDArray[np.uint32]
    times_ns: NDArray[np.int64]
    numbers: NDArray[np.uint64]
    link_types: NDArray[np.uint16]
    interfaces: NDArray[np.uint16]
    interface_names: tuple[str | None, ...]

    def __len__(self) -> int:
        return len(self.offsets)

    def take(self, rows: slice | NDArray[np.intp]) -> FrameBatch:
        """Return some of the frames, by their places in the batch, in the same buffer."""
        return replace(
            self,
            offsets=self.offsets[rows],
            lengths=self.lengths[rows],
            wire_lens=self.wire_lens[rows],
            times_ns=self.times_ns[rows],
            numbers=self.numbers[rows],
            link_types=self.link_types[rows],
            interfaces=self.interfaces[rows],
        )
