"""UDP datagrams of QUIC and NTP, and the headers of all datagrams."""

from __future__ import annotations

import numpy as np

from bench.traffic.headers import ETH_BYTES, IP_BYTES, Frames, Talk, ip_headers, port_pair
from bench.traffic.matrices import Bytes, Numbers, big, put

UDP_BYTES = 8


def make(rng: np.random.Generator, version: int, count: int) -> Frames:
    """Make frames of QUIC and NTP."""
    is_ntp = rng.random(count) < 0.1
    payload = np.where(is_ntp, 48, rng.integers(30, 1_200, count))
    talk = Talk(rng.integers(0, 4_000, count), rng.random(count) < 0.6)
    header_bytes = ETH_BYTES + IP_BYTES[version] + UDP_BYTES

    def write_all(out: Bytes, starts: Numbers) -> None:
        ports = port_pair(talk, np.where(is_ntp, 123, 443))
        put(out, starts, udp_headers(rng, version, payload, talk, ports))

    return Frames(header_bytes + payload, write_all)


def udp_headers(
    rng: np.random.Generator,
    version: int,
    payload: Numbers,
    talk: Talk,
    ports: tuple[Numbers, Numbers],
) -> Bytes:
    """Return all headers of datagrams with so many bytes of payload."""
    ip = ip_headers(rng, version, 17, UDP_BYTES + payload, talk)
    checksum = big(rng.integers(1, 65_536, len(payload)), 2)
    udp = [big(ports[0], 2), big(ports[1], 2), big(UDP_BYTES + payload, 2), checksum]
    return np.concatenate([ip, *udp], axis=1)
