"""TCP segments in connections that begin and end among the frames that are asked for."""

from __future__ import annotations

import numpy as np

from bench.traffic.headers import ETH_BYTES, IP_BYTES, Frames, Talk, ip_headers, port_pair
from bench.traffic.matrices import Bytes, Flags, Numbers, big, columns, put, row

_FRAMES_PER_CONNECTION = 24

_TCP_BYTES = 20
_TIMESTAMP_BYTES = 12
_SYN_OPTION_BYTES = 20

_SYN, _FIN, _PSH, _ACK = 2, 1, 8, 16


def make(rng: np.random.Generator, version: int, count: int) -> Frames:
    """Make the segments of as many connections as fit."""
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
    header_bytes = ETH_BYTES + IP_BYTES[version] + _TCP_BYTES

    def write_all(out: Bytes, starts: Numbers) -> None:
        ports = port_pair(talk)
        ip = ip_headers(rng, version, 6, _TCP_BYTES + options + payload, talk)
        tcp = np.concatenate(
            [
                *(big(port, 2) for port in ports),
                big(sent, 4),
                big(seen, 4),
                big((options // 4 + 5) << 12 | flags, 2),
                big(rng.integers(1_000, 65_536, count), 2),
                big(rng.integers(0, 65_536, count), 2),
                big(np.zeros(count, np.int64), 2),
            ],
            axis=1,
        )
        put(out, starts, np.concatenate([ip, tcp], axis=1))
        _write_timestamps(out, starts + header_bytes, rng, position)
        _write_sack(out, starts + header_bytes + _TIMESTAMP_BYTES, blocks, seen)

    return Frames(header_bytes + options + payload, write_all)


def _tcp_payloads(rng: np.random.Generator, position: Numbers, is_last: Flags) -> Numbers:
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
    is_answer: Flags,
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
    clock = big(np.cumsum(rng.integers(0, 3, len(at))) + 1_000_000, 4)
    echoed = big(np.cumsum(rng.integers(0, 3, len(at))) + 2_000_000, 4)
    echoed[position == 0] = 0
    is_syn = position < 2
    syn = columns([row([2, 4, 5, 180, 4, 2, 8, 10]), clock, echoed, row([1, 3, 3, 7])])
    put(out, at[is_syn], syn[is_syn])
    other = columns([row([1, 1, 8, 10]), clock, echoed])
    put(out, at[~is_syn], other[~is_syn])


def _write_sack(out: Bytes, at: Numbers, blocks: Numbers, acknowledged: Numbers) -> None:
    """Write one or two selective acknowledgments of what came after a gap."""
    for number in (1, 2):
        own = np.flatnonzero(blocks == number)
        edges = [acknowledged[own] + 1_428 * (edge + 1) for edge in range(2 * number)]
        sack = columns([row([1, 1, 5, 2 + 8 * number]), *(big(edge, 4) for edge in edges)])
        put(out, at[own], sack)
