from __future__ import annotations

import struct

from scapy.layers.inet import TCP

from network_pipeline.traffic.craft import (
    BROADCAST_MAC,
    Ends,
    arp_request,
    echo_frame,
    echo_request,
    tcp_frame,
    udp_frame,
)
from tests.traffic.checksum import folded

V4 = Ends("02:00:00:00:00:01", "02:00:00:00:00:02", "10.0.0.1", "10.0.0.2")
V6 = Ends("02:00:00:00:00:01", "02:00:00:00:00:02", "fd00::1", "fd00::2")
ETHERNET = "020000000002020000000001"
V6_ADDRESSES = bytes.fromhex("fd" + "00" * 14 + "01" + "fd" + "00" * 14 + "02")


def pseudo_v4(protocol: int, length: int) -> bytes:
    return bytes([10, 0, 0, 1, 10, 0, 0, 2, 0, protocol]) + struct.pack("!H", length)


def pseudo_v6(protocol: int, length: int) -> bytes:
    return V6_ADDRESSES + struct.pack("!II", length, protocol)


def test_an_arp_request() -> None:
    ends = Ends("02:00:00:00:00:01", BROADCAST_MAC, "10.0.0.1", "10.0.0.2")
    assert arp_request(ends).hex() == (
        "ffffffffffff" "020000000001" "0806"
        "0001" "0800" "06" "04" "0001"
        "020000000001" "0a000001" "000000000000" "0a000002"
    )  # fmt: skip


def test_a_udp_frame() -> None:
    frame = udp_frame(V4, 1234, 53, b"abc")
    assert frame[:14].hex() == ETHERNET + "0800"
    header, datagram = frame[14:34], frame[34:]
    assert header[:4].hex() == "4500001f"
    assert header[9] == 17
    assert header[12:].hex() == "0a0000010a000002"
    assert folded(header) == 0xFFFF
    assert datagram[:6].hex() == "04d20035000b"
    assert datagram[8:] == b"abc"
    assert folded(pseudo_v4(17, 11) + datagram) == 0xFFFF


def test_a_udp_frame_over_ipv6() -> None:
    frame = udp_frame(V6, 1234, 53, b"abc")
    assert frame[:14].hex() == ETHERNET + "86dd"
    assert frame[14:22].hex() == "60000000000b1140"
    assert frame[22:54] == V6_ADDRESSES
    assert folded(pseudo_v6(17, 11) + frame[54:]) == 0xFFFF


def test_a_tcp_frame() -> None:
    segment = TCP(sport=1234, dport=80, seq=7, ack=9, flags="PA", window=1000)
    frame = tcp_frame(V4, segment, b"GET /")
    assert folded(frame[14:34]) == 0xFFFF
    assert frame[34:50].hex() == "04d200500000000700000009501803e8"
    assert frame[54:] == b"GET /"
    assert folded(pseudo_v4(6, 25) + frame[34:]) == 0xFFFF


def test_an_echo_frame() -> None:
    frame = echo_frame(V4, 0xABCD, 3, b"ping")
    assert frame[23] == 1
    assert frame[34:36].hex() == "0800"
    assert frame[38:].hex() == "abcd0003" + b"ping".hex()
    assert folded(frame[34:]) == 0xFFFF


def test_an_echo_frame_over_ipv6() -> None:
    frame = echo_frame(V6, 0xABCD, 3, b"ping")
    assert frame[20] == 58
    assert frame[54:56].hex() == "8000"
    assert frame[58:].hex() == "abcd0003" + b"ping".hex()
    assert folded(pseudo_v6(58, 12) + frame[54:]) == 0xFFFF


def test_an_echo_request_for_a_socket_has_no_ip_header() -> None:
    assert echo_request(4, 1, 2, b"x").hex() == "08007ffc0001000278"
    # The kernel fills the checksum of ICMPv6 in.
    assert echo_request(6, 1, 2, b"x").hex() == "800000000001000278"
