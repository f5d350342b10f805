"""The rings of several workers: for each of them one on each device, which share it by flow.

The sockets of a device form a fanout group, in which the kernel sends the frames of a flow to the
same socket. Fragments are not put together first (PACKET_FANOUT_FLAG_DEFRAG): rows are to be what
was on the wire, so fragments go by their addresses alone.

The kernel does not bind a socket of a group anew. So that a device that was removed can be taken up
when it is back, spare sockets are opened at the start, while that is allowed. They cost nothing
until they are used.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import resource
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from network_pipeline.capture import af_packet
from network_pipeline.capture.libpcap import Program
from network_pipeline.capture.ring_cells import CELLS
from network_pipeline.capture.ring_socket import RingSocket
from network_pipeline.errors import CaptureError
from network_pipeline.settings import RingSettings

#: How often each device may come back.
SPARES = 16

#: Files that a process has open beside the sockets of rings, at most.
_OTHER_FILES = 256

_log = logging.getLogger(__name__)


def cells_needed(devices: int) -> int:
    """Return how many cells a worker needs for the rings that it ever has."""
    return CELLS * devices * (1 + SPARES)


class Totals(NamedTuple):
    """Of the rings of a worker: frames that were read, frames dropped, and how often one was
    full.
    """

    read: int
    dropped: int
    freezes: int


class SparesUsedUp(CaptureError):
    """A device came back more often than sockets were opened for."""


class RingGroup:
    """Rings of as many workers as there are ``cells``, on each of the devices.

    All but :meth:`open` works without privileges. Children inherit the rings; only one process at
    a time may read those of a worker.
    """

    def __init__(
        self, devices: Sequence[str], settings: RingSettings, cells: Sequence[memoryview]
    ) -> None:
        self._devices = devices
        self._settings = settings
        self._cells = [_pieces(each) for each in cells]
        self._rings: list[list[RingSocket]] = [[] for _ in cells]
        self._spares: dict[str, list[socket.socket]] = {}
        self._programs: Mapping[str, Program] = {}

    def open(self, programs: Mapping[str, Program]) -> None:
        """Open all rings and spare sockets, and begin to take in what the filters choose.

        Raises:
            CaptureError: no such device, or one that is down, no memory for its rings, or no leave
                for so many open files.
            CapturePermissionError: CAP_NET_RAW is missing.
        """
        self._programs = programs
        workers = len(self._rings)
        _allow_files(workers * len(self._devices) * (1 + SPARES) + _OTHER_FILES)
        for device in self._devices:
            self._open_rings(device, [af_packet.open_socket() for _ in range(workers)])
        if workers > 1:
            for device in self._devices:
                self._spares[device] = [af_packet.open_socket() for _ in range(workers * SPARES)]

    def of(self, worker: int) -> Sequence[RingSocket]:
        """Return the rings of a worker, by its number from 0 on."""
        return self._rings[worker]

    def accept(self, programs: Mapping[str, Program]) -> None:
        """Replace the filters of all rings, or of none; no frame is lost by that.

        Raises:
            CaptureError: a filter is too long.
        """
        try:
            self._accept(programs)
        except CaptureError:  # one may be too long though those before it were not
            self._accept(self._programs)
            raise
        self._programs = programs

    def _accept(self, programs: Mapping[str, Program]) -> None:
        for ring in itertools.chain(*self._rings):
            ring.accept(programs[ring.device])

    def watch(self) -> None:
        """Say what became of the devices. A worker that is alone looks at its own."""
        if len(self._rings) > 1:
            for ring in self._rings[0]:
                ring.look()

    def back(self) -> list[str]:
        """Return devices that were removed and are there again.

        Raises:
            SparesUsedUp: one of them was back too often to be taken up.
        """
        newest = {ring.device: ring for ring in self._rings[0]}
        found = [name for name, ring in newest.items() if ring.is_back]
        for name in found:
            if not self._spares[name]:
                raise SparesUsedUp(
                    f"device {name} is there again, and was too often before: no sockets are left "
                    "for it, so the agent ends, and can be started anew"
                )
        return found

    def take_up(self, device: str) -> None:
        """Open rings on a device that is back, while nobody reads any ring.

        What waits in the old ones stays to be read; those that are read to their end are closed.

        Raises:
            CaptureError: it is gone once more, or down, or no memory for its rings.
        """
        for rings in self._rings:
            for ring in [ring for ring in rings if ring.is_gone and ring.is_drained()]:
                ring.close()
                rings.remove(ring)
        self._open_rings(device, [self._spares[device].pop() for _ in self._rings])
        _log.warning("device %s is there again", device)

    def totals(self, worker: int) -> Totals:
        """Return what was counted in the rings that a worker has now."""
        rings = self._rings[worker]
        return Totals(
            sum(ring.cells.read for ring in rings),
            sum(ring.cells.dropped for ring in rings),
            sum(ring.cells.freezes for ring in rings),
        )

    def settle(self) -> tuple[int, int]:
        """Take no more frames in, once all readers have ended.

        Returns:
            How many frames wait and will be read by nobody, and how many the kernel dropped since
            anybody asked.
        """
        waiting = dropped = 0
        for ring in itertools.chain(*self._rings):
            ring.refuse()
            before = ring.cells.dropped
            ring.count()
            waiting += ring.cells.waiting
            dropped += ring.cells.dropped - before
        return waiting, dropped

    def close(self, but: int | None = None) -> None:
        """Close all rings but those of one worker, and the spare sockets."""
        for worker, rings in enumerate(self._rings):
            for ring in rings if worker != but else ():
                ring.close()
        for spare in itertools.chain(*self._spares.values()):
            spare.close()

    def _open_rings(self, device: str, sockets: Sequence[socket.socket]) -> None:
        """Open a ring for each worker; frames come in when all of them share the device."""
        group = None
        with contextlib.ExitStack() as failing:
            opened = [RingSocket(device, self._settings, next(each)) for each in self._cells]
            for ring, sock in zip(opened, sockets, strict=True):
                failing.callback(ring.close)
                ring.open(sock)
                if len(opened) > 1:
                    group = ring.join(group)
            for ring in opened:
                ring.accept(self._programs[device])
            failing.pop_all()
        for rings, ring in zip(self._rings, opened, strict=True):
            rings.append(ring)


def _allow_files(count: int) -> None:
    """Raise the limit of open files, too low for many workers, as far as that is allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))


def _pieces(cells: memoryview) -> Iterator[memoryview]:
    return (cells[at : at + CELLS] for at in range(0, len(cells), CELLS))
