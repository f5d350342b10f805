"""DNS questions, each followed by its answer."""

from __future__ import annotations

import numpy as np

from bench.traffic.headers import ETH_BYTES, IP_BYTES, Frames, Talk, port_pair
from bench.traffic.matrices import Bytes, Numbers, big, columns, put, row
from bench.traffic.udp import UDP_BYTES, udp_headers

_NAMES = 64


def make(rng: np.random.Generator, version: int, count: int) -> Frames:
    """Make questions, and to each the answer as the next frame of this kind."""
    question = np.arange(count) // 2
    is_answer = np.arange(count) % 2 == 1
    name = rng.integers(0, _NAMES, count // 2 + 1)[question]
    answers = np.where(is_answer, 1 + rng.integers(0, 4, count // 2 + 1)[question], 0)
    names = [_dns_name(index) for index in range(_NAMES)]
    name_bytes = np.array([len(text) for text in names])
    payload = 12 + name_bytes[name] + 4 + answers * 16
    header_bytes = ETH_BYTES + IP_BYTES[version] + UDP_BYTES
    identifiers = rng.integers(0, 65_536, count // 2 + 1)[question]
    talk = Talk(question, is_answer)

    def write_all(out: Bytes, starts: Numbers) -> None:
        ports = port_pair(talk, np.full(count, 53))
        put(out, starts, udp_headers(rng, version, payload, talk, ports))
        flags = np.where(is_answer, 0x8180, 0x0100)
        counts = [np.ones(count, np.int64), answers, np.zeros(count, np.int64)]
        numbers = [identifiers, flags, *counts, counts[2]]
        put(out, starts + header_bytes, np.concatenate([big(n, 2) for n in numbers], axis=1))
        for index, text in enumerate(names):
            for amount in range(5):
                own = np.flatnonzero((name == index) & (answers == amount))
                record = rng.integers(0, 256, (len(own), amount, 16), np.uint8)
                record[:, :, :12] = [0xC0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4]
                head = row([*text, 0, 1, 0, 1])
                body = [head, record.reshape(len(own), amount * 16)]
                put(out, starts[own] + header_bytes + 12, columns(body))

    return Frames(header_bytes + payload, write_all)


def _dns_name(index: int) -> bytes:
    labels = (
        ("www", "cdn", "api", "mail")[index % 4],
        f"{'site' * (1 + index % 5)}{index}",
        "example",
    )
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"
