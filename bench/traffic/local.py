"""What hosts of one network ask each other: ICMP echo and ARP."""

from __future__ import annotations

import numpy as np

from bench.traffic.headers import ETH_BYTES, IP_BYTES, Frames, Talk, ip_headers, macs
from bench.traffic.matrices import Bytes, Numbers, big, columns, put, row


def icmp(rng: np.random.Generator, version: int, count: int) -> Frames:
    """Make echo requests and replies."""
    header_bytes = ETH_BYTES + IP_BYTES[version] + 8
    is_answer = np.arange(count) % 2 == 1
    peer = np.arange(count) // 2 % 50
    talk = Talk(peer, is_answer)

    def write_all(out: Bytes, starts: Numbers) -> None:
        length = np.full(count, 64)
        ip = ip_headers(rng, version, 1 if version == 4 else 58, length, talk)
        types = np.where(is_answer, 0, 8) if version == 4 else np.where(is_answer, 129, 128)
        numbers = [types << 8, rng.integers(0, 65_536, count), peer, np.arange(count) // 2 % 65_536]
        put(out, starts, np.concatenate([ip, *(big(n, 2) for n in numbers)], axis=1))

    return Frames(np.full(count, header_bytes + 56), write_all)


def arp(rng: np.random.Generator, version: int, count: int) -> Frames:
    """Make requests and replies, padded to 60 bytes."""

    def write_all(out: Bytes, starts: Numbers) -> None:
        frames = np.zeros((count, 60), np.uint8)
        is_answer = np.arange(count) % 2 == 1
        asker, asked = rng.integers(1, 250, (2, count // 2 + 1))[:, np.arange(count) // 2]
        sender, target = np.where(is_answer, (asked, asker), (asker, asked))
        frames[:, :6] = np.where(is_answer[:, None], macs(target), 0xFF)
        frames[:, 6:12] = frames[:, 22:28] = macs(sender)
        frames[:, 12:20] = [8, 6, 0, 1, 8, 0, 6, 4]
        frames[:, 21] = np.where(is_answer, 2, 1)
        frames[:, 28:32] = columns([row([10, 0, 0]), big(sender, 1)])
        frames[:, 32:38] = np.where(is_answer[:, None], macs(target), 0)
        frames[:, 38:42] = columns([row([10, 0, 0]), big(target, 1)])
        put(out, starts, frames)

    return Frames(np.full(count, 60), write_all)
