"""Count the frames of a device until SIGINT, in one of several ways; print how many.

python -m bench.programs.live_readers ring|recv|scapy DEVICE
"""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Callable

_ETH_P_ALL = 3


def ring(device: str, stop: threading.Event) -> int:
    """Read blocks of a ring and decode nothing."""
    from network_pipeline.capture.filters import programs  # noqa: PLC0415
    from network_pipeline.capture.ring import Ring, open_sockets  # noqa: PLC0415
    from network_pipeline.settings import RingSettings  # noqa: PLC0415

    source = Ring(open_sockets(programs([device], "", []), RingSettings()))
    source.open()
    _say_ready()
    count = 0
    while not stop.is_set():
        count += len(source.read(0.1))
    source.stop()
    while more := len(source.read(0)):
        count += more
    return count


def recv(device: str, stop: threading.Event) -> int:
    """Receive frame by frame."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((device, _ETH_P_ALL))
        sock.settimeout(0.1)
        _say_ready()
        count = 0
        while True:
            try:
                sock.recv(65_536)
            except TimeoutError:
                if stop.is_set():
                    return count
            else:
                count += 1


def scapy(device: str, stop: threading.Event) -> int:
    """Sniff, as scapy does it, with its layers."""
    from scapy.layers import dns, inet, inet6, l2  # noqa: F401, PLC0415
    from scapy.sendrecv import AsyncSniffer  # noqa: PLC0415

    counted = [0]

    def count(_packet: object) -> None:
        counted[0] += 1

    sniffer = AsyncSniffer(iface=device, store=False, prn=count, started_callback=_say_ready)
    sniffer.start()
    stop.wait()
    sniffer.stop()
    return counted[0]


def _say_ready() -> None:
    print("ready", file=sys.stderr, flush=True)


def main() -> None:
    """Count in the way that the command line names."""
    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    ways: dict[str, Callable[[str, threading.Event], int]]
    ways = {"ring": ring, "recv": recv, "scapy": scapy}
    print(ways[sys.argv[1]](sys.argv[2], stop))


if __name__ == "__main__":
    main()
