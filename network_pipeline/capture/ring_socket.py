"""One packet socket with a TPACKET_V3 ring: memory that the kernel fills and we read in place.

The ring is divided into blocks (Documentation/networking/packet_mmap.rst). The kernel puts frames
into one until it is full, or has not been for the retire time, then it is ours until we give it
back. When all blocks are ours it drops frames, and counts them, and how often that happened.

A block is closed by its bytes or by time, so many small ones bridge a longer pause of their reader
than a few large ones do. Blocks that are ready and lie one behind the other become one
:class:`~network_pipeline.frames.FrameBatch`, whose buffer are the blocks themselves: nothing is
copied, and the more waits, the less a batch costs of each frame.

What was taken is noted in :mod:`.ring_cells`: where a process that reads a ring was killed, another
goes on behind it.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import mmap
import socket
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from network_pipeline.capture import af_packet, devices, filters, libpcap
from network_pipeline.capture.af_packet import SOL_PACKET
from network_pipeline.capture.ring_cells import CELLS, RingCells
from network_pipeline.capture.ring_frames import RESERVED_BYTES, Columns, walk
from network_pipeline.errors import CaptureError
from network_pipeline.frames import FrameBatch
from network_pipeline.settings import RingSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Blocks of one batch have so many bytes at most, and are not more than half of the ring's.
_BATCH_BYTES = 4 * 1024 * 1024

# linux/if_packet.h, linux/net_tstamp.h
_PACKET_RX_RING = 5
_PACKET_VERSION = 10
_PACKET_RESERVE = 12
_PACKET_TIMESTAMP = 17
_PACKET_FANOUT = 18
_TPACKET_V3 = 2
_FANOUT_HASH = 0
_FANOUT_UNIQUE_ID = 0x2000
_RAW_HARDWARE_TIMES = 1 << 6
_STATUS_USER = 1

_REQUEST = struct.Struct("@7I")  # tpacket_req3

# Places in struct tpacket_block_desc, in units of 32 bits; the sequence number has 64.
_BLOCK_STATUS, _FRAMES, _FIRST_FRAME, _SEQUENCE = 2, 3, 4, 6

_LINK_TYPES = np.zeros(65_536, np.uint16)
_LINK_TYPES[list(devices.LINK_TYPES)] = list(devices.LINK_TYPES.values())

_log = logging.getLogger(__name__)


class RingSocket:
    """A ring on one device, or on all of them (``any``).

    ``cells`` are those of :class:`.RingCells`. All methods but :meth:`open` work without
    privileges, in any process that has inherited the socket; one at a time may take blocks.
    """

    def __init__(
        self, device: str, settings: RingSettings, cells: memoryview | None = None
    ) -> None:
        self.device = device
        self._settings = settings
        self.cells = RingCells(cells or memoryview(bytearray(8 * CELLS)).cast("q"))
        self._socket: socket.socket | None = None
        self._data = self._words = self._halves = memoryview(b"")
        most = min(settings.blocks // 2, _BATCH_BYTES // settings.block_bytes)
        self._most_blocks = max(1, most)
        self._held: Sequence[int] = ()
        self._in_group = False
        self._name = device
        self._down = False
        self._gone = False

    # -- opening and closing

    def open(self, sock: socket.socket | None = None) -> None:
        """Open the ring, or make a ring of an open socket. It takes no frame in yet.

        Raises:
            CapturePermissionError: CAP_NET_RAW is missing.
            CaptureError: no such device, or the kernel has no memory for the ring.
        """
        if self.device != devices.ANY:
            devices.link_type(self.device)  # frames of this device can be decoded
        self._socket = sock or af_packet.open_socket()
        filters.attach(self._socket, (libpcap.REJECT,))
        self._make_ring(self._socket)
        self._map(self._socket)
        af_packet.bind(self._socket, self.device, promiscuous=self._settings.promiscuous)

    def join(self, group: int | None) -> int:
        """Share the device's frames with the sockets of a group, by flow; return the group's id.

        None makes a group. The kernel hashes addresses and ports of a frame, the same for both
        directions; fragments by their addresses only.
        """
        unique = _FANOUT_UNIQUE_ID if group is None else 0
        value = (_FANOUT_HASH | unique) << 16 | (group or 0)
        try:
            self._open.setsockopt(SOL_PACKET, _PACKET_FANOUT, value)
        except OSError as error:
            raise CaptureError(
                f"cannot share {self.device} between workers: {error.strerror}; is it up?"
            ) from None
        self._in_group = True
        return self._open.getsockopt(SOL_PACKET, _PACKET_FANOUT) & 0xFFFF

    def accept(self, program: libpcap.Program) -> None:
        """Take in frames that pass a filter, in the place of one before, and lose none between.

        Raises:
            CaptureError: the filter is too long.
        """
        filters.attach(self._open, filters.cut(program, self._settings.snap_bytes))

    def refuse(self) -> None:
        """Take no more frames in; those that were can still be taken."""
        filters.attach(self._open, (libpcap.REJECT,))

    def fileno(self) -> int:
        """Return the descriptor, which is ready when a block is there or the device is down."""
        return self._open.fileno()

    def close(self) -> None:
        """Close the socket in this process. The memory goes with its last batch.

        What was counted stays; nothing is counted now, since another process may do that.
        """
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            self._data = self._words = self._halves = memoryview(b"")

    @property
    def _open(self) -> socket.socket:
        assert self._socket is not None, "the ring is not open"
        return self._socket

    def _make_ring(self, sock: socket.socket) -> None:
        wanted = self._settings
        sock.setsockopt(SOL_PACKET, _PACKET_VERSION, _TPACKET_V3)
        sock.setsockopt(SOL_PACKET, _PACKET_RESERVE, RESERVED_BYTES)
        if wanted.hardware_times:
            sock.setsockopt(SOL_PACKET, _PACKET_TIMESTAMP, _RAW_HARDWARE_TIMES)
        # In this version of the ring frames are as long as they are: a "frame" is a whole block.
        request = _REQUEST.pack(
            wanted.block_bytes, wanted.blocks, wanted.block_bytes, wanted.blocks,
            wanted.retire_ms, 0, 0,
        )  # fmt: skip
        try:
            sock.setsockopt(SOL_PACKET, _PACKET_RX_RING, request)
        except OSError as error:
            raise CaptureError(
                f"no ring of {wanted.blocks} blocks of {wanted.block_bytes} bytes on "
                f"{self.device}: {error.strerror}; ask for fewer or smaller blocks"
            ) from None

    def _map(self, sock: socket.socket) -> None:
        self._data = memoryview(mmap.mmap(sock.fileno(), self._settings.bytes))
        self._words = self._data.cast("I")
        self._halves = self._data.cast("H")

    # -- blocks

    def take(self, number: int) -> FrameBatch | None:
        """Return the frames of the next blocks, numbered from ``number`` on, or None.

        The batch is void once the blocks are given back.
        """
        following = self._following()
        self._held = list(itertools.takewhile(self._is_ready, following))
        if not self._held:
            return None
        counts = [self._words[self._head(each) + _FRAMES] for each in self._held]
        self.cells.take(len(counts), sum(counts))
        return self._batch(following[0] % self._settings.blocks, counts, number)

    @property
    def has_batch(self) -> bool:
        """Whether so many blocks are ready that the next batch cannot have more."""
        return self._is_ready(self._following()[-1])

    def give_back(self) -> None:
        """Give the blocks that were taken last back to the kernel, the oldest first."""
        for number in self._held:
            self._words[self._head(number) + _BLOCK_STATUS] = 0
        self._held = ()

    def recover(self) -> None:
        """Give blocks back that a process took which was killed since."""
        taken = self.cells.taken
        self._held = [
            number
            for number in range(max(0, taken - self._most_blocks), taken)
            if self._is_ready(number) and self._sequence(number) == number + 1
        ]
        self.give_back()

    def is_drained(self) -> bool:
        """Return whether all frames that the kernel put into the ring were taken."""
        self.count()
        return self.cells.waiting <= 0

    def _following(self) -> range:
        """Return which blocks come next, as many as may be one batch."""
        taken = self.cells.taken
        end_of_ring = taken + self._settings.blocks - taken % self._settings.blocks
        return range(taken, min(taken + self._most_blocks, end_of_ring))

    def count(self) -> None:
        """Ask the kernel for its counts, as long as the socket is open; ``cells`` adds them up."""
        if self._socket is not None:
            self.cells.count(self._socket)

    def _head(self, number: int) -> int:
        """Return where a block begins, in words, by how many were before it."""
        return number % self._settings.blocks * self._settings.block_bytes // 4

    def _is_ready(self, number: int) -> bool:
        return bool(self._words[self._head(number) + _BLOCK_STATUS] & _STATUS_USER)

    def _sequence(self, number: int) -> int:
        place = self._head(number) + _SEQUENCE
        return self._words[place + 1] << 32 | self._words[place]

    def _batch(self, block: int, counts: Sequence[int], number: int) -> FrameBatch:
        """Return the frames of blocks one behind the other, of which the first is the given one."""
        total = sum(counts)
        offsets, times_ns = np.empty((2, total), np.int64)
        lengths, wire_lens, indexes = np.empty((3, total), np.uint32)
        kinds = np.empty(total, np.uint16)
        size = self._settings.block_bytes
        begin, end = block * size, (block + len(counts)) * size
        data = self._data[begin:end]
        words, halves = self._words[begin // 4 : end // 4], self._halves[begin // 2 : end // 2]
        row = 0
        for place, count in enumerate(counts):
            rows = slice(row, row + count)
            found = (offsets, lengths, wire_lens, times_ns, indexes, kinds)
            first = place * size + words[place * size // 4 + _FIRST_FRAME]
            walk(data, words, halves, first, Columns(*(each[rows].data for each in found)))
            row += count
        interfaces, names = self._interfaces(indexes)
        return FrameBatch(
            buffer=data,
            offsets=offsets,
            lengths=lengths,
            wire_lens=wire_lens,
            times_ns=times_ns,
            numbers=np.arange(number, number + total, dtype=np.uint64),
            link_types=_LINK_TYPES[kinds],
            interfaces=interfaces,
            interface_names=names,
        )

    def _interfaces(
        self, indexes: NDArray[np.uint32]
    ) -> tuple[NDArray[np.uint16], tuple[str | None, ...]]:
        """Return which device each frame is of, and the devices' names: asked for in each batch,
        since devices may be renamed.
        """
        if self.device != devices.ANY:
            name = af_packet.bound_to(self._open) or self._name
            return np.zeros(len(indexes), np.uint16), (name,)
        found, places = np.unique(indexes, return_inverse=True)
        names = tuple(devices.name_of(self._open, index) for index in found.tolist())
        return places.astype(np.uint16), names

    # -- the device

    def watch(self) -> None:
        """Note what became of the device; a group's sockets are looked at by who opened them."""
        self._open.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # or it stays ready
        if not self._in_group:
            self.look()

    def look(self) -> None:
        """Say what became of the device since the last time; take it up where it is back."""
        name = af_packet.bound_to(self._open)
        if self.device == devices.ANY:
            pass
        elif not name:
            self._look_for_gone()
        elif devices.is_up(self._open, name):
            self._note_up(name)
        elif not self._down:
            self._down = True
            _log.warning("device %s is down; capture goes on when it is up again", name)

    @property
    def is_back(self) -> bool:
        """Whether a device that was removed is there again, and up, for another socket.

        The kernel never binds a socket of a group anew.
        """
        return self._in_group and self.is_gone and devices.is_up(self._open, self.device)

    @property
    def is_gone(self) -> bool:
        """Whether the device that the socket was bound to was removed."""
        return self.device != devices.ANY and not af_packet.bound_to(self._open)

    def _look_for_gone(self) -> None:
        if not self._gone:
            self._gone = True
            _log.warning(
                "device %s was removed; capture goes on when it is there again", self._name
            )
        if self._in_group or devices.index_of(self._open, self.device) is None:
            return
        with contextlib.suppress(CaptureError):  # gone once more
            af_packet.bind(self._open, self.device, promiscuous=self._settings.promiscuous)
            _log.warning("device %s is there again", self.device)
            self._gone, self._down, self._name = False, False, self.device

    def _note_up(self, name: str) -> None:
        if self._down:
            self._down = False
            _log.warning("device %s is up again", name)
        if name != self._name:
            _log.warning("device %s is called %s now", self._name, name)
            self._name = name
