"""What frames of all kinds begin with: Ethernet and IP headers, and who talks to whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.traffic.matrices import Bytes, Flags, Numbers, big, columns, row

ETH_BYTES = 14
IP_BYTES = {4: 20, 6: 40}

_TYPES = {4: 0x0800, 6: 0x86DD}
_MAC_PREFIX = [0x02, 0x42, 0x0A]


@dataclass
class Talk:
    """Who talks: a number for each pair of hosts, and whether the remote one sends."""

    peer: Numbers
    is_answer: Flags


@dataclass
class Frames:
    """Frames of one kind: how long each is, and what writes them where they will lie."""

    lengths: Numbers
    write: Callable[[Bytes, Numbers], None]


def ip_headers(
    rng: np.random.Generator,
    version: int,
    protocol: int,
    payload: Numbers,
    talk: Talk,
) -> Bytes:
    """Return Ethernet and IP headers."""
    count, peer, is_answer = len(payload), talk.peer, talk.is_answer
    host, remote = 1 + peer % 200, peer * 2_654_435_761 % 2**32
    near_mac, far_mac = macs(host), macs(np.full(count, 254))
    if version == 4:
        near, far = columns([row([10, 0, 0]), big(host, 1)]), big(remote | 0x10000000, 4)
        fixed = [
            row([0x45, 0]),
            big(payload + 20, 2),
            big(rng.integers(0, 65_536, count), 2),
            row([0x40, 0]),
            columns([big(np.where(is_answer, 57, 64), 1), row([protocol, 0, 0])]),
        ]
    else:
        prefix = row([0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0])
        near, far = columns([prefix, big(host, 4)]), columns([prefix, big(remote, 4)])
        label = big(0x60000000 | peer * 7_919 % 2**20, 4)
        fixed = [label, big(payload, 2), row([protocol]), big(np.where(is_answer, 57, 64), 1)]
    swap = is_answer[:, None]
    ethernet = [np.where(swap, near_mac, far_mac), np.where(swap, far_mac, near_mac)]
    addresses = [np.where(swap, far, near), np.where(swap, near, far)]
    header = columns([*fixed, *addresses])
    if version == 4:
        header[:, 10:12] = _checksums(header)
    return columns([*ethernet, row(list(_TYPES[version].to_bytes(2, "big"))), header])


def _checksums(headers: Bytes) -> Bytes:
    """Return the checksums of IPv4 headers (RFC 791)."""
    words = headers.reshape(len(headers), -1, 2).astype(np.int64)
    total = (words[:, :, 0] * 256 + words[:, :, 1]).sum(axis=1)
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return big(~total & 0xFFFF, 2)


def port_pair(
    talk: Talk,
    service: Numbers | None = None,
) -> tuple[Numbers, Numbers]:
    """Return source and destination ports, the same ones for the same peer."""
    peer, is_answer = talk.peer, talk.is_answer
    if service is None:
        service = np.array([443, 443, 443, 80, 80, 22, 8080, 5432])[peer % 8]
    own = 32_768 + peer * 7_919 % 28_000
    return np.where(is_answer, service, own), np.where(is_answer, own, service)


def macs(host: Numbers) -> Bytes:
    """Return MAC addresses by the numbers of hosts."""
    return columns([row(_MAC_PREFIX), big(host, 3)])
