"""What is noted of a ring, in memory that processes may share.

Where a process that reads a ring was killed, another goes on behind the last block that it took,
and its frames are still counted. Blocks are noted as taken before they are looked at, so none is
read twice. As the kernel tells its counts it forgets them, so it writes them into this memory
itself.

Numbers that belong together are there twice, and one store says which of them hold: whoever is
killed before it changed none.
"""

from __future__ import annotations

import ctypes
import socket

from network_pipeline.capture.af_packet import PACKET_STATISTICS, SOL_PACKET

#: Integers of 64 bits: how often blocks were taken; how many, and frames in them, in one place for
#: an even number of times and in one for an odd; how often the kernel's counts were added up; their
#: sums (frames, dropped ones among them, how often it found no free block), then its last answer,
#: both in two places as well.
CELLS = 16
_TAKES, _ADDED = 0, 5
_TAKEN, _SUMS, _ANSWERS = (1, 3), (6, 9), (12, 14)

_Statistics = ctypes.c_uint32 * 3  # struct tpacket_stats_v3 (linux/if_packet.h)

_libc = ctypes.CDLL(None, use_errno=True)


class RingCells:
    """The notes of one ring in :data:`CELLS` integers, all of them 0 at first."""

    def __init__(self, cells: memoryview) -> None:
        self._cells = cells
        self._answers = [_Statistics.from_buffer(cells[at : at + 2]) for at in _ANSWERS]

    def take(self, blocks: int, frames: int) -> None:
        """Note so many blocks more as taken, with so many frames in them."""
        takes = self._cells[_TAKES] + 1
        place = _TAKEN[takes % 2]
        self._cells[place], self._cells[place + 1] = self.taken + blocks, self.read + frames
        self._cells[_TAKES] = takes

    def count(self, sock: socket.socket) -> None:
        """Ask the kernel for its counts, which then begin at zero again, and add them up."""
        self._add_up()  # what somebody asked for who was killed
        self._ask(sock)
        self._add_up()

    @property
    def taken(self) -> int:
        """How many blocks were taken."""
        return int(self._cells[_TAKEN[self._cells[_TAKES] % 2]])

    @property
    def read(self) -> int:
        """How many frames were in them."""
        return int(self._cells[_TAKEN[self._cells[_TAKES] % 2] + 1])

    @property
    def waiting(self) -> int:
        """How many frames were not taken, as of the last :meth:`count`."""
        counted, dropped, _ = self._sums
        return counted - dropped - self.read

    @property
    def dropped(self) -> int:
        """How many frames found no free block, as of the last :meth:`count`."""
        return self._sums[1]

    @property
    def freezes(self) -> int:
        """How often there was no free block, as of the last :meth:`count`."""
        return self._sums[2]

    def _ask(self, sock: socket.socket) -> None:
        answer = self._answers[self._cells[_ADDED] % 2]
        size = ctypes.c_uint32(ctypes.sizeof(answer))
        if _libc.getsockopt(
            sock.fileno(), SOL_PACKET, PACKET_STATISTICS, answer, ctypes.byref(size)
        ):
            raise OSError(ctypes.get_errno(), "the kernel tells no statistics")

    def _add_up(self) -> None:
        """Add the last answer to the sums."""
        added = self._cells[_ADDED]
        answer, following = self._answers[added % 2], self._answers[(added + 1) % 2]
        place = _SUMS[(added + 1) % 2]
        for each, (total, more) in enumerate(zip(self._sums, answer, strict=True)):
            self._cells[place + each] = total + more
        following[:] = [0, 0, 0]
        self._cells[_ADDED] = added + 1

    @property
    def _sums(self) -> tuple[int, int, int]:
        place = _SUMS[self._cells[_ADDED] % 2]
        counted, dropped, freezes = self._cells[place : place + 3]
        return counted, dropped, freezes
