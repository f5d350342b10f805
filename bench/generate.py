"""A realistic capture of any size, the same bytes for the same seed.

Written is a pcap file with microseconds, chunk by chunk. A chunk is a buffer of random bytes into
which headers are put, kind by kind: every kind of frame is a matrix with one row per frame, and a
column of it is filled in one step. TCP runs in connections that begin and end within their chunk,
with handshakes, timestamps, selective acknowledgments and sequence numbers that fit; DNS answers
follow their questions. Checksums of IPv4 headers are right, those of TCP, UDP and ICMP are random.

    python -m bench.generate OUT --frames 1000000 --seed 1

With ``--flood`` it is a SYN flood, in which every frame begins a connection.
"""

from __future__ import annotations

import argparse
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bench.traffic import dns, flood, local, tcp, udp
from bench.traffic.headers import Frames
from bench.traffic.matrices import Bytes, Numbers, put

CHUNK_FRAMES = 50_000

#: Of 1000 frames; the rest is ARP. IPv6 is a tenth of all but ARP.
TCP, UDP, DNS, ICMP = 700, 100, 100, 60
_IPV6_SHARE = 0.1

_START_S = 1_700_000_000
_MEAN_GAP_US = 20


def write(path: Path, frames: int, seed: int, *, is_flood: bool = False) -> None:
    """Write a capture of so many frames."""
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1))
        for chunk in chunks(frames, seed, is_flood=is_flood):
            out.write(chunk)


def chunks(frames: int, seed: int, *, is_flood: bool = False) -> Iterator[memoryview]:
    """Yield the records of a capture, some tens of thousands at a time."""
    start_us = _START_S * 1_000_000
    for index, first in enumerate(range(0, frames, CHUNK_FRAMES)):
        rng = np.random.default_rng([seed, index])
        count = min(CHUNK_FRAMES, frames - first)
        times_us = start_us + np.cumsum(rng.integers(1, 2 * _MEAN_GAP_US, count))
        start_us = int(times_us[-1])
        yield (_flood if is_flood else _mix)(rng, times_us).data


def _flood(rng: np.random.Generator, times_us: Numbers) -> Bytes:
    made = flood.make(rng, len(times_us))
    return _records(rng, times_us, [(np.arange(len(times_us)), made)])


def _mix(rng: np.random.Generator, times_us: Numbers) -> Bytes:
    count = len(times_us)
    kinds = np.searchsorted(np.cumsum([TCP, UDP, DNS, ICMP]), rng.integers(0, 1000, count), "right")
    makers = (tcp.make, udp.make, dns.make, local.icmp, local.arp)
    parts: list[tuple[Numbers, Frames]] = []
    for kind, make in enumerate(makers):
        places = np.flatnonzero(kinds == kind)
        for version, own in _by_version(rng, places, kind):
            parts.append((own, make(rng, version, len(own))))
    return _records(rng, times_us, parts)


def _records(
    rng: np.random.Generator, times_us: Numbers, parts: Sequence[tuple[Numbers, Frames]]
) -> Bytes:
    """Return the records of frames whose places among all of them are given with them."""
    lengths = np.zeros(len(times_us), np.int64)
    for own, made in parts:
        lengths[own] = made.lengths
    ends = np.cumsum(lengths + 16)
    starts = ends - lengths
    out = np.frombuffer(bytearray(rng.bytes(int(ends[-1]))), np.uint8)
    put(out, starts - 16, _record_headers(times_us, lengths))
    for own, made in parts:
        made.write(out, starts[own])
    return out


def _by_version(
    rng: np.random.Generator, places: Numbers, kind: int
) -> Iterator[tuple[int, Numbers]]:
    """Yield IP versions with the frames of each; ARP (the last kind) knows only one."""
    is_ipv6 = rng.random(len(places)) < (_IPV6_SHARE if kind < 4 else 0)
    for version, own in ((4, places[~is_ipv6]), (6, places[is_ipv6])):
        if len(own):
            yield version, own


def _record_headers(times_us: Numbers, lengths: Numbers) -> Bytes:
    seconds, microseconds = np.divmod(times_us, 1_000_000)
    fields = np.stack([seconds, microseconds, lengths, lengths], axis=1)
    return fields.astype("<u4").view(np.uint8).reshape(len(lengths), 16)


def main() -> None:
    """Write a capture as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m bench.generate", description=__doc__)
    parser.add_argument("out", type=Path, help="the pcap file to write")
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--flood", action="store_true", help="a SYN flood")
    arguments = parser.parse_args()
    write(arguments.out, arguments.frames, arguments.seed, is_flood=arguments.flood)


if __name__ == "__main__":
    main()
