"""Frames from network devices, sniffed with scapy.

scapy's AsyncSniffer waits on our sockets in its own thread, and its callback only puts what they
give into a bounded queue: one thread captures, and whatever can wait (decoding, publishing) does so
in others. Between the wire and the queue a frame is counted wherever it can be lost: by the kernel
when the socket's buffer is full, here when the queue is.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from collections.abc import Iterator, Sequence
from typing import cast

from scapy.error import Scapy_Exception
from scapy.sendrecv import AsyncSniffer
from scapy.sessions import DefaultSession
from scapy.supersocket import SuperSocket

from network_pipeline.capture import devices, filters
from network_pipeline.capture.frame_queue import FrameQueue
from network_pipeline.capture.packet_socket import Burst, PacketSocket
from network_pipeline.capture.recvmmsg import Receiver
from network_pipeline.capture.source import SourceCounts
from network_pipeline.errors import CaptureError
from network_pipeline.frames import Frame
from network_pipeline.settings import CaptureSettings

QUEUE_FRAMES = 65_536
QUEUE_BYTES = 64 * 1024 * 1024
_START_SECONDS = 10.0

_log = logging.getLogger(__name__)


class Sniffer:
    """A source of frames from network devices (:class:`network_pipeline.capture.source.Source`).

    ``endpoints`` are the broker's hosts and ports, whose traffic is never captured. With
    ``settings.stop_after_num`` the session ends with that frame's number. A read waits for
    ``enough_frames``. :meth:`open` needs CAP_NET_RAW; all else works after it was given up.
    """

    def __init__(
        self,
        settings: CaptureSettings,
        endpoints: Sequence[tuple[str, int]],
        *,
        enough_frames: int = 1,
        queue_frames: int = QUEUE_FRAMES,
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        names = settings.devices
        self._devices = (devices.ANY,) if devices.ANY in names else names
        self._filter = settings.filter
        self._endpoints = endpoints
        self._queue = FrameQueue(
            queue_frames, queue_bytes, last=settings.stop_after_num, enough=enough_frames
        )
        self._sockets: list[PacketSocket] = []
        self._scapy: AsyncSniffer | None = None
        self._stopped = False

    def open(self) -> None:
        """Open the devices and begin to take frames in.

        Raises:
            BrokerUnreachable: a broker's host name has no address.
            CaptureError: no such device, or the filter does not compile.
            CapturePermissionError: CAP_NET_RAW is missing.
        """
        broker = filters.broker_filter(self._endpoints)
        receiver, numbers = Receiver(), itertools.count(1)
        sockets = [PacketSocket(device, receiver, numbers) for device in self._devices]
        with contextlib.ExitStack() as opened:
            for sock in sockets:
                opened.callback(sock.close)
                self._begin(sock, broker)
            self._scapy = self._start(sockets)
            opened.pop_all()
        self._sockets = sockets

    def read(self, timeout: float) -> list[Frame]:
        """Return frames that wait, oldest first; up to ``timeout`` seconds for enough of them.

        Raises:
            CaptureError: no device is left to take frames from, and none waits.
        """
        if self._stopped:
            return self._queue.get(0)
        ended = not self._is_sniffing()  # asked first: what it queued last is then there to get
        frames = self._queue.get(0 if ended else timeout)
        if ended and not frames:
            raise CaptureError(f"no device is left to capture on: {', '.join(self._devices)}")
        return frames

    def stop(self) -> None:
        """Take no more frames in; those that the kernel took already are queued."""
        if self._scapy is None or self._stopped:
            return
        for sock in self._sockets:
            sock.refuse()
        with contextlib.suppress(Scapy_Exception):  # it ended by itself: no device was left
            self._scapy.stop()
        for sock in self._sockets:
            for burst in sock.rest():
                self._queue.put(burst)
            sock.close()
        self._stopped = True

    def counts(self) -> SourceCounts:
        """Return the counts since :meth:`open`."""
        dropped = sum(sock.kernel_dropped() for sock in self._sockets)
        return SourceCounts(self._queue.taken + dropped, dropped, self._queue.shed)

    def _begin(self, sock: PacketSocket, broker: str) -> None:
        if sock.device == devices.ANY:
            sock.open()
            sock.begin(filters.any_program(self._filter, broker))
            for name in devices.undecodable():
                _log.warning("device %s is left out: its frames cannot be decoded", name)
        else:
            link_type = devices.link_type(sock.device)
            sock.open()
            sock.begin(filters.device_program(self._filter, broker, link_type, sock.device))

    def _start(self, sockets: Sequence[PacketSocket]) -> AsyncSniffer:
        started = threading.Event()
        sniffer = AsyncSniffer(
            opened_socket=list(sockets),
            session=_BurstSession,
            prn=self._queue.put,
            store=False,
            started_callback=started.set,
        )
        sniffer.start()
        if not started.wait(_START_SECONDS):
            raise CaptureError("scapy's sniffer did not start")
        return sniffer

    def _is_sniffing(self) -> bool:
        thread = self._scapy.thread if self._scapy else None
        return thread is not None and thread.is_alive()


class _BurstSession(DefaultSession):
    """Lets scapy's loop take bursts where it would take dissected packets."""

    def recv(self, sock: SuperSocket) -> Iterator[Burst]:  # type: ignore[override]
        yield from cast(PacketSocket, sock).bursts()
