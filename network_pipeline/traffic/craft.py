"""Frames built by hand, for the simulators and the tests: addresses and values in, bytes out.

scapy's layers do the packing and the checksums. Every address is given by the caller, so no route,
device or name is ever looked up and the same arguments always give the same bytes.
"""

from __future__ import annotations

import ipaddress
from typing import NamedTuple

from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

BROADCAST_MAC = "ff:ff:ff:ff:ff:ff"
_UNKNOWN_MAC = "00:00:00:00:00:00"
_ETHERTYPES = {4: 0x0800, 6: 0x86DD}


class Ends(NamedTuple):
    """The two ends of a frame; both IP addresses are IPv4 or both are IPv6, as text."""

    source_mac: str
    destination_mac: str
    source: str
    destination: str


def arp_request(ends: Ends) -> bytes:
    """Return an Ethernet frame that asks who has ``ends.destination`` (RFC 826)."""
    question = ARP(
        op="who-has",
        hwsrc=ends.source_mac,
        psrc=ends.source,
        hwdst=_UNKNOWN_MAC,
        pdst=ends.destination,
    )
    return bytes(Ether(src=ends.source_mac, dst=ends.destination_mac, type=0x0806) / question)


def udp_frame(ends: Ends, sport: int, dport: int, payload: bytes = b"") -> bytes:
    """Return an Ethernet frame with a UDP datagram (RFC 768)."""
    return bytes(_network(ends) / UDP(sport=sport, dport=dport) / payload)


def tcp_frame(ends: Ends, segment: TCP, payload: bytes = b"") -> bytes:
    """Return an Ethernet frame with a TCP segment; ``segment`` holds the header (RFC 9293)."""
    return bytes(_network(ends) / segment / payload)


def echo_frame(ends: Ends, identifier: int, sequence: int, payload: bytes = b"") -> bytes:
    """Return an Ethernet frame with an echo request (RFC 792, RFC 4443 section 4.1)."""
    echo = _echo(_version(ends.destination), identifier, sequence)
    return bytes(_network(ends) / echo / payload)


def echo_request(version: int, identifier: int, sequence: int, payload: bytes = b"") -> bytes:
    """Return the ICMP message alone, for a socket that adds the IP header.

    The checksum of ICMPv6 covers addresses that only the kernel knows: it is left 0 and filled in
    by the socket (RFC 3542 section 3.1).
    """
    echo = _echo(version, identifier, sequence)
    if version == 6:
        echo.cksum = 0
    return bytes(echo / payload)


def _echo(version: int, identifier: int, sequence: int) -> Packet:
    layer = ICMP if version == 4 else ICMPv6EchoRequest
    return layer(id=identifier, seq=sequence)


def _network(ends: Ends) -> Packet:
    version = _version(ends.destination)
    ethernet = Ether(src=ends.source_mac, dst=ends.destination_mac, type=_ETHERTYPES[version])
    return ethernet / (IP if version == 4 else IPv6)(src=ends.source, dst=ends.destination)


def _version(address: str) -> int:
    return ipaddress.ip_address(address).version
