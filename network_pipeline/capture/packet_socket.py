"""A packet socket that scapy's sniffer can read from.

scapy's own dissects every frame as it arrives and keeps its time as a float, which is too short
for nanoseconds. This one hands over bytes, integers, and many frames at a time.
"""

from __future__ import annotations

import errno
import logging
import socket
import struct
import threading
from collections.abc import Iterator

from scapy.supersocket import SuperSocket

from network_pipeline.capture import af_packet, devices, filters, libpcap
from network_pipeline.capture.af_packet import PACKET_STATISTICS, SOL_PACKET
from network_pipeline.capture.recvmmsg import PACKET_AUXDATA, SO_TIMESTAMPNS, Received, Receiver
from network_pipeline.frames import Frame

#: Kernel memory for frames that wait to be read, per socket; the kernel doubles it.
RECEIVE_BUFFER_BYTES = 16 * 1024 * 1024

# asm-generic/socket.h
_SO_RCVBUFFORCE = 33

_STATISTICS = struct.Struct("@II")  # tpacket_stats: frames that passed the filter, those dropped

_log = logging.getLogger(__name__)


class Burst(list[Frame]):
    """The frames of one read. scapy notes on it which socket they came from."""

    sniffed_on: str | None = None


class PacketSocket(SuperSocket):
    """A packet socket on one device, or on all of them (``any``).

    ``numbers`` gives each frame its number; the sockets of one session share it.
    """

    def __init__(self, device: str, receiver: Receiver, numbers: Iterator[int]) -> None:
        self.closed = True
        self.device = device
        self._receiver = receiver
        self._numbers = numbers
        self._lock = threading.Lock()
        self._dropped = 0
        self._down = False
        self._gone = False

    def open(self) -> None:
        """Open the socket. It takes no frame in yet.

        Raises:
            CapturePermissionError: CAP_NET_RAW is missing.
        """
        self.ins = af_packet.open_socket()
        self.closed = False
        self.ins.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.ins.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        try:
            self.ins.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        except PermissionError:  # without CAP_NET_ADMIN: as much as net.core.rmem_max allows
            self.ins.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)

    def begin(self, program: libpcap.Program) -> None:
        """Take in the frames that pass a filter, and none that does not.

        Raises:
            CaptureError: the filter is too long, or the device is no longer there.
        """
        filters.attach(self.ins, program)
        af_packet.bind(self.ins, self.device, promiscuous=True)

    def refuse(self) -> None:
        """Take no more frames in; those that were can still be read."""
        with self._lock:
            if not self.closed:
                filters.attach(self.ins, (libpcap.REJECT,))

    def bursts(self) -> Iterator[Burst]:
        """Yield the frames that wait, in one burst; it may be empty.

        Raises:
            EOFError: the device is gone, and all its frames were read.
        """
        yield self._receive()
        while self._gone:
            burst = self._receive()
            if not burst:
                raise EOFError
            yield burst

    def rest(self) -> Iterator[Burst]:
        """Yield all that waits, after :meth:`refuse`."""
        while not self.closed and (burst := self._receive()):
            yield burst

    def kernel_dropped(self) -> int:
        """Return how many frames passed the filter and found the kernel's buffer full."""
        with self._lock:
            if not self.closed:
                # The kernel begins at zero again with each reading.
                answer = self.ins.getsockopt(SOL_PACKET, PACKET_STATISTICS, _STATISTICS.size)
                self._dropped += _STATISTICS.unpack(answer)[1]
            return self._dropped

    def close(self) -> None:
        """Close the socket; what it counted stays."""
        self.kernel_dropped()
        with self._lock:
            if not self.closed:
                self.closed = True
                self.ins.close()

    def _receive(self) -> Burst:
        while True:
            try:
                received = self._receiver.receive(self.ins.fileno())
            except BlockingIOError:
                return Burst()
            except OSError as error:
                if error.errno != errno.ENETDOWN:
                    raise
                self._note_down()  # said once by the kernel; frames from before may wait
                continue
            if self._down:
                self._note_up()
            return self._numbered(received)

    def _numbered(self, received: list[Received]) -> Burst:
        # Names are asked for anew in each burst: devices may be renamed.
        indexes = {one.device_index for one in received} if self.device == devices.ANY else set()
        names = {index: devices.name_of(self.ins, index) for index in indexes}
        return Burst(
            Frame(
                next(self._numbers),
                time_ns,
                names.get(index, self.device),
                wire_len,
                devices.LINK_TYPES[hardware_type],
                data,
            )
            for index, hardware_type, time_ns, wire_len, data in received
        )

    def _note_down(self) -> None:
        if af_packet.bound_to(self.ins) == "":
            self._gone = True
            _log.warning("device %s was removed", self.device)
        elif not self._down:
            self._down = True
            _log.warning("device %s is down; capture goes on when it is up again", self.device)

    def _note_up(self) -> None:
        if devices.is_up(self.ins, af_packet.bound_to(self.ins)):
            self._down = False
            _log.warning("device %s is up again", self.device)
