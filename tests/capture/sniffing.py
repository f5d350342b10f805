"""What the capture tests share: frames to send, a sniffer in a namespace, and its frames."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from network_pipeline.capture.sniffer import Sniffer
from network_pipeline.frames import Frame
from network_pipeline.settings import CaptureSettings
from tests.netns import Namespace

SECONDS = 20.0

Cable = tuple[Namespace, Namespace]

LEFT, RIGHT = "02:00:00:00:00:01", "02:00:00:00:00:02"
ETHER = Ether(src=LEFT, dst=RIGHT)


@contextlib.contextmanager
def sniffing(
    where: Namespace,
    *names: str,
    text: str = "",
    endpoints: Sequence[tuple[str, int]] = (),
    stop_after_num: int = 0,
    **limits: int,
) -> Iterator[Sniffer]:
    settings = CaptureSettings(names, text, "test", stop_after_num)
    sniffer = Sniffer(settings, endpoints, **limits)
    with where.entered():
        sniffer.open()
    try:
        yield sniffer
    finally:
        sniffer.stop()


def awaited(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


def taken(sniffer: Sniffer, count: int) -> list[Frame]:
    """Wait until so many frames came, stop, and return all there are."""
    assert awaited(lambda: sniffer.counts().captured >= count), sniffer.counts()
    sniffer.stop()
    return rest(sniffer)


def rest(sniffer: Sniffer) -> list[Frame]:
    frames: list[Frame] = []
    while batch := sniffer.read(0):
        frames += batch
    return frames


def send(where: Namespace, device: str, frames: Sequence[bytes]) -> None:
    with where.packet_socket(device) as sender:
        for frame in frames:
            sender.send(frame)


def send_datagrams(where: Namespace, address: str, count: int, size: int = 8) -> None:
    with where.udp_socket() as sender:
        for number in range(count):
            sender.sendto(number.to_bytes(size), (address, 9))


def datagrams(frames: Sequence[Frame], size: int = 8) -> list[int]:
    return [int.from_bytes(frame.data[-size:]) for frame in frames]


def udp(payload: bytes = b"payload", *, dport: int = 9) -> bytes:
    packet = ETHER / IP(src="10.99.0.1", dst="10.99.0.2") / UDP(sport=1, dport=dport) / payload
    return bytes(packet)
