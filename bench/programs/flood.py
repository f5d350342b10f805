"""Send the frames of a capture on a device, over and over, at a rate; print how many, and how long.

    python -m bench.programs.flood CAPTURE DEVICE RATE SECONDS

Rate 0 is as fast as it goes. Frames go to an address that nobody has, so that no stack answers, in
calls of sendmmsg(2) past the queueing discipline.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import socket
import sys
import time

from network_pipeline.capture.pcap import CaptureFile
from network_pipeline.capture.recvmmsg import Header, MessageHeader, Piece

FRAMES = 8_192
BURST = 64

_NOBODY = bytes.fromhex("020000000099")
_SOL_PACKET, _PACKET_QDISC_BYPASS = 263, 20


def frames_of(path: str) -> list[bytes]:
    """Return the first frames of a capture, to an address that nobody has."""
    with CaptureFile(path) as capture:
        batch = next(iter(capture))
        places = zip(batch.offsets[:FRAMES].tolist(), batch.lengths[:FRAMES].tolist(), strict=True)
        return [_NOBODY + bytes(batch.buffer[at + 6 : at + size]) for at, size in places]


def bursts(frames: list[bytes], kept: list[object]) -> list[ctypes.Array[Header]]:
    """Return arrays of struct mmsghdr; what they point to is put into ``kept``."""
    made = []
    for begin in range(0, len(frames) - BURST + 1, BURST):
        headers = (Header * BURST)()
        data = [ctypes.create_string_buffer(each, len(each)) for each in frames[begin:][:BURST]]
        pieces = (Piece * BURST)(*(Piece(ctypes.addressof(each), len(each)) for each in data))
        for place in range(BURST):
            piece = ctypes.addressof(pieces) + place * ctypes.sizeof(Piece)
            headers[place].message = MessageHeader(None, 0, piece, 1, None, 0, 0)
        kept += [data, pieces]
        made.append(headers)
    return made


def flood(path: str, device: str, rate: float, seconds: float) -> tuple[int, float]:
    """Send; return how many frames went out, and in how many seconds."""
    libc = ctypes.CDLL(None, use_errno=True)
    kept: list[object] = []
    made = bursts(frames_of(path), kept)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.setsockopt(_SOL_PACKET, _PACKET_QDISC_BYPASS, 1)
        sock.bind((device, 0))
        sent = 0
        begin = time.perf_counter()
        for headers in itertools.cycle(made):
            now = time.perf_counter() - begin
            if now >= seconds:
                break
            if rate and (early := sent / rate - now) > 0:
                time.sleep(early)
            count = libc.sendmmsg(sock.fileno(), headers, BURST, 0)
            if count < 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            sent += count
        return sent, time.perf_counter() - begin


if __name__ == "__main__":
    print(*flood(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))
