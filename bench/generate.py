"""A realistic capture of any size, the same bytes for the same seed.

Written is a pcap file with microseconds, chunk by chunk. A chunk is a buffer of random bytes into
which headers are put, kind by kind: every kind of frame is a matrix with one row per frame, and a
column of it is filled in one step. TCP runs in connections that begin and end within their chunk,
with handshakes, timestamps, selective acknowledgments and sequence numbers that fit; DNS answers
follow their questions. Checksums of IPv4 headers are right, those of TCP, UDP and ICMP are random.

    python -m bench.generate OUT --frames 1000000 --seed 1
"""

from __future__ import annotations

import argparse
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Numbers = NDArray[np.int64]

CHUNK_FRAMES = 50_000

#: Of 1000 frames. IPv6 is a tenth of TCP and UDP.
TCP, UDP, DNS, ICMP, ARP = 700, 100, 100, 60, 40
_IPV6_SHARE = 0.1

_FRAMES_PER_CONNECTION = 24
_START_S = 1_700_000_000
_MEAN_GAP_US = 20

_ETH_BYTES = 14
_TYPES = {4: 0x0800, 6: 0x86DD}
_IP_BYTES = {4: 20, 6: 40}
_TCP_BYTES = 20
_UDP_BYTES = 8
_TIMESTAMP_BYTES = 12
_SYN_OPTION_BYTES = 20

_SYN, _FIN, _PSH, _ACK = 2, 1, 8, 16

_MAC_PREFIX = [0x02, 0x42, 0x0A]
_NAMES = 64


@dataclass
class Talk:
    """Who talks: a number for each pair of hosts, and whether the remote one sends."""

    peer: Numbers
    is_answer: NDArray[np.bool]


@dataclass
class Frames:
    """Frames of one kind: how long each is, and what writes them where they will lie."""

    lengths: Numbers
    write: Callable[[Bytes, Numbers], None]


def write(path: Path, frames: int, seed: int) -> None:
    """Write a capture of so many frames."""
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1))
        for chunk in chunks(frames, seed):
            out.write(chunk)


def chunks(frames: int, seed: int) -> Iterator[memoryview]:
    """Yield the records of a capture, some tens of thousands at a time."""
    start_us = _START_S * 1_000_000
    for index, first in enumerate(range(0, frames, CHUNK_FRAMES)):
        rng = np.random.default_rng([seed, index])
        count = min(CHUNK_FRAMES, frames - first)
        times_us = start_us + np.cumsum(rng.integers(1, 2 * _MEAN_GAP_US, count))
        start_us = int(times_us[-1])
        yield _chunk(rng, times_us).data


def _chunk(rng: np.random.Generator, times_us: Numbers) -> Bytes:
    count = len(times_us)
    kinds = np.searchsorted(np.cumsum([TCP, UDP, DNS, ICMP]), rng.integers(0, 1000, count), "right")
    makers = (_tcp, _udp, _dns, _icmp, _arp)
    lengths = np.zeros(count, np.int64)
    parts: list[tuple[Numbers, Frames]] = []
    for kind, make in enumerate(makers):
        places = np.flatnonzero(kinds == kind)
        for version, own in _by_version(rng, places, kind):
            made = make(rng, version, len(own))
            lengths[own] = made.lengths
            parts.append((own, made))
    ends = np.cumsum(lengths + 16)
    starts = ends - lengths
    out = np.frombuffer(bytearray(rng.bytes(int(ends[-1]))), np.uint8)
    _put(out, starts - 16, _record_headers(times_us, lengths))
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


# -- TCP -------------------------------------------------------------------------------------------


def _tcp(rng: np.random.Generator, version: int, count: int) -> Frames:
    connection = rng.integers(0, max(count // _FRAMES_PER_CONNECTION, 1), count)
    order = np.argsort(connection, kind="stable")
    position = np.empty(count, np.int64)
    first = np.searchsorted(connection[order], np.arange(connection.max() + 1))
    position[order] = np.arange(count) - first[connection[order]]
    size = np.bincount(connection)[connection]
    is_last = (position == size - 1) & (position > 3)
    is_answer = np.where(position < 3, position == 1, rng.random(count) < 0.6)
    talk = Talk(connection, is_answer)

    payload = _tcp_payloads(rng, position, is_last)
    blocks = np.where((payload == 0) & (position > 3), rng.integers(0, 12, count) == 0, 0)
    blocks = blocks * rng.integers(1, 3, count)
    options = np.where(position < 2, _SYN_OPTION_BYTES, _TIMESTAMP_BYTES)
    options = options + np.where(blocks > 0, 4 + 8 * blocks, 0)
    flags = np.where(position < 2, _SYN, 0) | np.where(position > 0, _ACK, 0)
    flags |= np.where(payload > 0, _PSH, 0) | np.where(is_last, _FIN, 0)
    sent, seen = _sequences(rng, connection, order, payload + (position < 2), is_answer)
    seen[position == 0] = 0
    header_bytes = _ETH_BYTES + _IP_BYTES[version] + _TCP_BYTES

    def write_all(out: Bytes, starts: Numbers) -> None:
        ports = _ports(talk)
        ip = _ip_headers(rng, version, 6, _TCP_BYTES + options + payload, talk)
        tcp = np.concatenate(
            [
                *(_big(port, 2) for port in ports),
                _big(sent, 4),
                _big(seen, 4),
                _big((options // 4 + 5) << 12 | flags, 2),
                _big(rng.integers(1_000, 65_536, count), 2),
                _big(rng.integers(0, 65_536, count), 2),
                _big(np.zeros(count, np.int64), 2),
            ],
            axis=1,
        )
        _put(out, starts, np.concatenate([ip, tcp], axis=1))
        _write_timestamps(out, starts + header_bytes, rng, position)
        _write_sack(out, starts + header_bytes + _TIMESTAMP_BYTES, blocks, seen)

    return Frames(header_bytes + options + payload, write_all)


def _tcp_payloads(
    rng: np.random.Generator, position: Numbers, is_last: NDArray[np.bool]
) -> Numbers:
    """Return payload lengths: nothing, a bit, or all that fits into 1500 bytes."""
    kind = rng.random(len(position))
    some = rng.integers(1, 1400, len(position))
    payload = np.where(kind < 0.45, 0, np.where(kind < 0.71, some, 1428))
    return np.where((position < 3) | is_last, 0, payload)


def _sequences(
    rng: np.random.Generator,
    connection: Numbers,
    order: Numbers,
    taken: Numbers,
    is_answer: NDArray[np.bool],
) -> tuple[Numbers, Numbers]:
    """Return sequence and acknowledgment numbers by what each side has sent before."""
    sent = []
    for side in (False, True):
        own = np.where(is_answer == side, taken, 0)[order]
        before = np.cumsum(own) - own
        first = np.searchsorted(connection[order], np.arange(connection.max() + 1))
        first = np.minimum(first, len(order) - 1)
        numbers = np.empty(len(order), np.int64)
        numbers[order] = before - before[first][connection[order]]
        start = rng.integers(0, 2**32, connection.max() + 1)
        sent.append((numbers + start[connection]) % 2**32)
    return np.where(is_answer, sent[1], sent[0]), np.where(is_answer, sent[0], sent[1])


def _write_timestamps(out: Bytes, at: Numbers, rng: np.random.Generator, position: Numbers) -> None:
    """Write the options that all segments have, and those of handshakes."""
    clock = _big(np.cumsum(rng.integers(0, 3, len(at))) + 1_000_000, 4)
    echoed = _big(np.cumsum(rng.integers(0, 3, len(at))) + 2_000_000, 4)
    echoed[position == 0] = 0
    is_syn = position < 2
    syn = _columns([_row([2, 4, 5, 180, 4, 2, 8, 10]), clock, echoed, _row([1, 3, 3, 7])])
    _put(out, at[is_syn], syn[is_syn])
    other = _columns([_row([1, 1, 8, 10]), clock, echoed])
    _put(out, at[~is_syn], other[~is_syn])


def _write_sack(out: Bytes, at: Numbers, blocks: Numbers, acknowledged: Numbers) -> None:
    """Write one or two selective acknowledgments of what came after a gap."""
    for number in (1, 2):
        own = np.flatnonzero(blocks == number)
        edges = [acknowledged[own] + 1_428 * (edge + 1) for edge in range(2 * number)]
        sack = _columns([_row([1, 1, 5, 2 + 8 * number]), *(_big(edge, 4) for edge in edges)])
        _put(out, at[own], sack)


# -- UDP and DNS -----------------------------------------------------------------------------------


def _udp(rng: np.random.Generator, version: int, count: int) -> Frames:
    """Make frames of QUIC and NTP."""
    is_ntp = rng.random(count) < 0.1
    payload = np.where(is_ntp, 48, rng.integers(30, 1_200, count))
    talk = Talk(rng.integers(0, 4_000, count), rng.random(count) < 0.6)
    header_bytes = _ETH_BYTES + _IP_BYTES[version] + _UDP_BYTES

    def write_all(out: Bytes, starts: Numbers) -> None:
        ports = _ports(talk, np.where(is_ntp, 123, 443))
        _put(out, starts, _udp_headers(rng, version, payload, talk, ports))

    return Frames(header_bytes + payload, write_all)


def _udp_headers(
    rng: np.random.Generator,
    version: int,
    payload: Numbers,
    talk: Talk,
    ports: tuple[Numbers, Numbers],
) -> Bytes:
    ip = _ip_headers(rng, version, 17, _UDP_BYTES + payload, talk)
    checksum = _big(rng.integers(1, 65_536, len(payload)), 2)
    udp = [_big(ports[0], 2), _big(ports[1], 2), _big(_UDP_BYTES + payload, 2), checksum]
    return np.concatenate([ip, *udp], axis=1)


def _dns(rng: np.random.Generator, version: int, count: int) -> Frames:
    """Make questions, and to each the answer as the next frame of this kind."""
    question = np.arange(count) // 2
    is_answer = np.arange(count) % 2 == 1
    name = rng.integers(0, _NAMES, count // 2 + 1)[question]
    answers = np.where(is_answer, 1 + rng.integers(0, 4, count // 2 + 1)[question], 0)
    names = [_dns_name(index) for index in range(_NAMES)]
    name_bytes = np.array([len(text) for text in names])
    payload = 12 + name_bytes[name] + 4 + answers * 16
    header_bytes = _ETH_BYTES + _IP_BYTES[version] + _UDP_BYTES
    identifiers = rng.integers(0, 65_536, count // 2 + 1)[question]
    talk = Talk(question, is_answer)

    def write_all(out: Bytes, starts: Numbers) -> None:
        ports = _ports(talk, np.full(count, 53))
        _put(out, starts, _udp_headers(rng, version, payload, talk, ports))
        flags = np.where(is_answer, 0x8180, 0x0100)
        counts = [np.ones(count, np.int64), answers, np.zeros(count, np.int64)]
        numbers = [identifiers, flags, *counts, counts[2]]
        _put(out, starts + header_bytes, np.concatenate([_big(n, 2) for n in numbers], axis=1))
        for index, text in enumerate(names):
            for amount in range(5):
                own = np.flatnonzero((name == index) & (answers == amount))
                record = rng.integers(0, 256, (len(own), amount, 16), np.uint8)
                record[:, :, :12] = [0xC0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4]
                head = _row([*text, 0, 1, 0, 1])
                body = [head, record.reshape(len(own), amount * 16)]
                _put(out, starts[own] + header_bytes + 12, _columns(body))

    return Frames(header_bytes + payload, write_all)


def _dns_name(index: int) -> bytes:
    labels = (
        ("www", "cdn", "api", "mail")[index % 4],
        f"{'site' * (1 + index % 5)}{index}",
        "example",
    )
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


# -- the rest --------------------------------------------------------------------------------------


def _icmp(rng: np.random.Generator, version: int, count: int) -> Frames:
    """Make echo requests and replies."""
    header_bytes = _ETH_BYTES + _IP_BYTES[version] + 8
    is_answer = np.arange(count) % 2 == 1
    peer = np.arange(count) // 2 % 50
    talk = Talk(peer, is_answer)

    def write_all(out: Bytes, starts: Numbers) -> None:
        length = np.full(count, 64)
        ip = _ip_headers(rng, version, 1 if version == 4 else 58, length, talk)
        types = np.where(is_answer, 0, 8) if version == 4 else np.where(is_answer, 129, 128)
        numbers = [types << 8, rng.integers(0, 65_536, count), peer, np.arange(count) // 2 % 65_536]
        _put(out, starts, np.concatenate([ip, *(_big(n, 2) for n in numbers)], axis=1))

    return Frames(np.full(count, header_bytes + 56), write_all)


def _arp(rng: np.random.Generator, version: int, count: int) -> Frames:
    """Make requests and replies, padded to 60 bytes."""

    def write_all(out: Bytes, starts: Numbers) -> None:
        frames = np.zeros((count, 60), np.uint8)
        is_answer = np.arange(count) % 2 == 1
        asker, asked = rng.integers(1, 250, (2, count // 2 + 1))[:, np.arange(count) // 2]
        sender, target = np.where(is_answer, (asked, asker), (asker, asked))
        frames[:, :6] = np.where(is_answer[:, None], _macs(target), 0xFF)
        frames[:, 6:12] = frames[:, 22:28] = _macs(sender)
        frames[:, 12:20] = [8, 6, 0, 1, 8, 0, 6, 4]
        frames[:, 21] = np.where(is_answer, 2, 1)
        frames[:, 28:32] = _columns([_row([10, 0, 0]), _big(sender, 1)])
        frames[:, 32:38] = np.where(is_answer[:, None], _macs(target), 0)
        frames[:, 38:42] = _columns([_row([10, 0, 0]), _big(target, 1)])
        _put(out, starts, frames)

    return Frames(np.full(count, 60), write_all)


def _ip_headers(
    rng: np.random.Generator,
    version: int,
    protocol: int,
    payload: Numbers,
    talk: Talk,
) -> Bytes:
    """Return Ethernet and IP headers."""
    count, peer, is_answer = len(payload), talk.peer, talk.is_answer
    host, remote = 1 + peer % 200, peer * 2_654_435_761 % 2**32
    macs = _macs(host), _macs(np.full(count, 254))
    if version == 4:
        near, far = _columns([_row([10, 0, 0]), _big(host, 1)]), _big(remote | 0x10000000, 4)
        fixed = [
            _row([0x45, 0]),
            _big(payload + 20, 2),
            _big(rng.integers(0, 65_536, count), 2),
            _row([0x40, 0]),
            _columns([_big(np.where(is_answer, 57, 64), 1), _row([protocol, 0, 0])]),
        ]
    else:
        prefix = _row([0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0])
        near, far = _columns([prefix, _big(host, 4)]), _columns([prefix, _big(remote, 4)])
        label = _big(0x60000000 | peer * 7_919 % 2**20, 4)
        fixed = [label, _big(payload, 2), _row([protocol]), _big(np.where(is_answer, 57, 64), 1)]
    swap = is_answer[:, None]
    ethernet = [np.where(swap, macs[0], macs[1]), np.where(swap, macs[1], macs[0])]
    addresses = [np.where(swap, far, near), np.where(swap, near, far)]
    header = _columns([*fixed, *addresses])
    if version == 4:
        header[:, 10:12] = _checksums(header)
    return _columns([*ethernet, _row(list(_TYPES[version].to_bytes(2, "big"))), header])


def _checksums(headers: Bytes) -> Bytes:
    """Return the checksums of IPv4 headers (RFC 791)."""
    words = headers.reshape(len(headers), -1, 2).astype(np.int64)
    total = (words[:, :, 0] * 256 + words[:, :, 1]).sum(axis=1)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return _big(~total & 0xFFFF, 2)


def _ports(
    talk: Talk,
    service: Numbers | None = None,
) -> tuple[Numbers, Numbers]:
    """Return source and destination ports, the same ones for the same peer."""
    peer, is_answer = talk.peer, talk.is_answer
    if service is None:
        service = np.array([443, 443, 443, 80, 80, 22, 8080, 5432])[peer % 8]
    own = 32_768 + peer * 7_919 % 28_000
    return np.where(is_answer, service, own), np.where(is_answer, own, service)


def _macs(host: Numbers) -> Bytes:
    return _columns([_row(_MAC_PREFIX), _big(host, 3)])


# -- matrices of bytes -----------------------------------------------------------------------------


def _big(values: Numbers, width: int) -> Bytes:
    """Return numbers as rows of ``width`` bytes, most significant first."""
    return values.astype(">u8").view(np.uint8).reshape(len(values), 8)[:, 8 - width :]


def _row(values: list[int]) -> Bytes:
    return np.array([values], np.uint8)


def _columns(parts: list[Bytes]) -> Bytes:
    """Return matrices side by side; those of one row are repeated."""
    count = next((len(part) for part in parts if len(part) != 1), 1)
    return np.concatenate([np.broadcast_to(p, (count, p.shape[1])) for p in parts], axis=1)


def _put(out: Bytes, starts: Numbers, rows: Bytes) -> None:
    """Write each row of a matrix where it begins."""
    out[starts[:, None] + np.arange(rows.shape[1])] = rows


def main() -> None:
    """Write a capture as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m bench.generate", description=__doc__)
    parser.add_argument("out", type=Path, help="the pcap file to write")
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    write(arguments.out, arguments.frames, arguments.seed)


if __name__ == "__main__":
    main()
