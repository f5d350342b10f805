"""Filters, in the kernel: of many frames sent, only those that match are captured."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether

from network_pipeline.capture.source import SourceCounts
from network_pipeline.errors import CaptureError
from tests import netns
from tests.capture.sniffing import (
    ETHER,
    LEFT,
    RIGHT,
    Cable,
    datagrams,
    send,
    send_datagrams,
    sniffing,
    taken,
    udp,
)

ANSWER = Ether(src=RIGHT, dst=LEFT)


def test_only_what_the_filter_matches_leaves_the_kernel(cable: Cable) -> None:
    others = [udp(dport=port) for port in range(10, 60)] + [bytes(ETHER / ARP())]
    left, right = cable
    with sniffing(right, "veth0", text="udp dst port 9") as sniffer:
        send(left, "veth0", [*others, udp(b"wanted")])
        (frame,) = taken(sniffer, 1)
    assert frame.data == udp(b"wanted")
    assert sniffer.counts() == SourceCounts(1, 0, 0)


@pytest.mark.parametrize("device", ["veth0", "any"])
def test_filters_on_vlan_tags_see_tags_that_the_kernel_took_off(cable: Cable, device: str) -> None:
    inner = IP(dst="10.99.0.2") / UDP(dport=9)
    wanted = bytes(ETHER / Dot1Q(vlan=100) / inner)
    others = [bytes(ETHER / Dot1Q(vlan=101) / inner), bytes(ETHER / inner)]
    left, right = cable
    with sniffing(right, device, text="vlan 100 and udp port 9") as sniffer:
        send(left, "veth0", [*others, wanted])
        (frame,) = taken(sniffer, 1)
    assert frame.data == wanted


def test_filters_on_vlan_tags_need_the_device_up(cable: Cable) -> None:
    left, _ = cable
    left.ip("link", "set", "veth0", "down")
    with (
        pytest.raises(CaptureError, match="filter 'vlan' on veth0: That device is not up"),
        sniffing(left, "veth0", text="vlan"),
    ):
        pass


def _broker_frames(tag: Sequence[Dot1Q]) -> list[bytes]:
    def under(header: Ether, packet: IP | IPv6) -> bytes:
        for one in tag:
            header = header / one.copy()
        return bytes(header / packet)

    client4, broker4 = "10.99.0.1", "10.99.0.2"
    client6, broker6 = "fd99::1", "fd99::2"
    return [
        under(ETHER, IP(src=client4, dst=broker4) / TCP(sport=40000, dport=6379) / b"to"),
        under(ANSWER, IP(src=broker4, dst=client4) / TCP(sport=6379, dport=40000) / b"from"),
        under(ETHER, IPv6(src=client6, dst=broker6) / TCP(sport=40000, dport=6379) / b"to"),
        under(ANSWER, IPv6(src=broker6, dst=client6) / TCP(sport=6379, dport=40000) / b"from"),
    ]


def _other_frames() -> list[bytes]:
    return [
        bytes(ETHER / IP(src="10.99.0.1", dst="10.99.0.3") / TCP(sport=40000, dport=6379)),
        bytes(ETHER / IP(src="10.99.0.1", dst="10.99.0.2") / TCP(sport=40000, dport=6380)),
        bytes(ETHER / IP(src="10.99.0.1", dst="10.99.0.2") / UDP(sport=40000, dport=6379)),
        bytes(ETHER / IPv6(src="fd99::1", dst="fd99::3") / TCP(sport=40000, dport=6379)),
        bytes(ETHER / Dot1Q(vlan=9) / IP(dst="10.99.0.2") / TCP(dport=80)),
    ]


@pytest.mark.parametrize(
    "tag", [[], [Dot1Q(vlan=9)], [Dot1AD(vlan=8), Dot1Q(vlan=9)]], ids=["bare", "tag", "tags"]
)
@pytest.mark.parametrize("device", ["veth0", "any"])
@pytest.mark.parametrize("text", ["", "tcp or udp or vlan", "(tcp or udp or vlan) or not ip"])
def test_the_brokers_traffic_is_left_out(
    cable: Cable, tag: list[Dot1Q], device: str, text: str
) -> None:
    broker = [("10.99.0.2", 6379), ("fd99::2", 6379)]
    others = _other_frames()
    left, right = cable
    for end in cable:  # so that nobody answers
        end.ip("address", "flush", "dev", "veth0")
    with (
        sniffing(left, device, text=text, endpoints=broker) as outgoing,
        sniffing(right, device, text=text, endpoints=broker) as incoming,
    ):
        send(left, "veth0", [*_broker_frames(tag), *others])
        for sniffer in (outgoing, incoming):
            assert [frame.data for frame in taken(sniffer, len(others))] == others


@pytest.mark.parametrize("device", ["tun0", "any"])
def test_the_brokers_traffic_is_left_out_of_tunnels_too(
    where: netns.Namespace, device: str
) -> None:
    broker = bytes(IP(src="10.98.0.2", dst="10.98.0.1") / TCP(sport=6379, dport=4000))
    other = bytes(IP(src="10.98.0.2", dst="10.98.0.1") / TCP(sport=80, dport=4000))
    endpoints = [("10.98.0.2", 6379)]
    with (
        netns.tun(where) as descriptor,
        sniffing(where, device, text="tcp", endpoints=endpoints) as sniffer,
    ):
        for packet in (broker, other):
            os.write(descriptor, packet)
        (frame,) = taken(sniffer, 1)
    assert frame.data == other


def test_the_brokers_own_connection_is_left_out(where: netns.Namespace) -> None:
    with where.entered():
        server = socket.create_server(("127.0.0.1", 0))
        client = socket.socket()
    port = server.getsockname()[1]
    broker = [("localhost", port)]
    with server, client, sniffing(where, "lo", text="tcp or udp", endpoints=broker) as sniffer:
        client.connect(("127.0.0.1", port))
        accepted, _ = server.accept()
        with accepted:
            client.sendall(b"question")
            accepted.sendall(accepted.recv(100))
            assert client.recv(100) == b"question"
        send_datagrams(where, "127.0.0.1", 1)
        assert datagrams(taken(sniffer, 1)) == [0]
    assert sniffer.counts() == SourceCounts(1, 0, 0)
