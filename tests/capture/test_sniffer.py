"""The sniffer on real devices: what was sent is what is captured, once and whole."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections.abc import Sequence

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether

from network_pipeline.capture.source import SourceCounts
from network_pipeline.frames import Frame, LinkType
from tests import netns
from tests.capture.sniffing import (
    ETHER,
    Cable,
    awaited,
    datagrams,
    rest,
    send,
    send_datagrams,
    sniffing,
    taken,
    udp,
)

RADIOTAP = 803


def test_bytes_captured_are_bytes_sent_at_both_ends(cable: Cable) -> None:
    chance = random.Random(7)
    sent = [bytes(ETHER) + chance.randbytes(chance.randint(0, 1500)) for _ in range(300)]
    before = time.time_ns()
    left, right = cable
    with sniffing(left, "veth0") as outgoing, sniffing(right, "veth0") as incoming:
        send(left, "veth0", sent)
        for sniffer in (outgoing, incoming):
            frames = taken(sniffer, len(sent))
            assert [frame.data for frame in frames] == sent
            assert [frame.number for frame in frames] == list(range(1, len(sent) + 1))
            assert all(frame.wire_len == len(frame.data) for frame in frames)
            assert {(frame.interface, frame.link_type) for frame in frames} == {
                ("veth0", LinkType.ETHERNET)
            }
            times = [frame.time_ns for frame in frames]
            assert before < times[0] <= times[-1] < time.time_ns()
            assert times == sorted(times)
            assert any(moment % 1000 for moment in times)
            assert sniffer.counts() == SourceCounts(len(sent), 0, 0)


@pytest.mark.parametrize(
    "packet",
    [
        ETHER / Dot1Q(vlan=100, prio=5) / IP(dst="10.99.0.2") / UDP(dport=9) / b"one tag",
        ETHER / Dot1Q(vlan=0, prio=0) / IP(dst="10.99.0.2") / UDP(dport=9) / b"priority tag",
        ETHER / Dot1AD(vlan=7) / Dot1Q(vlan=100) / IP(dst="10.99.0.2") / UDP() / b"two tags",
        ETHER / Dot1Q(vlan=4095, dei=1) / Dot1Q(vlan=3) / Dot1Q(vlan=2) / b"three tags",
        ETHER / Dot1Q(vlan=5) / b"\x88\xb5",
    ],
    ids=lambda packet: packet.summary()[:40],
)
def test_vlan_tags_are_put_back(cable: Cable, packet: Ether) -> None:
    left, right = cable
    with sniffing(left, "veth0") as outgoing, sniffing(right, "any") as incoming:
        send(left, "veth0", [bytes(packet)])
        for sniffer in (outgoing, incoming):
            (frame,) = taken(sniffer, 1)
            assert frame.data == bytes(packet)
            assert frame.wire_len == len(frame.data)


@pytest.mark.parametrize("device", ["lo", "any"])
def test_loopback_shows_each_frame_once(where: netns.Namespace, device: str) -> None:
    with sniffing(where, device, text="udp") as sniffer:
        send_datagrams(where, "127.0.0.1", 100)
        frames = taken(sniffer, 100)
    assert datagrams(frames) == list(range(100))
    assert {frame.interface for frame in frames} == {"lo"}


def test_the_largest_datagram_is_captured_whole(where: netns.Namespace) -> None:
    payload = random.Random(1).randbytes(65_507)
    with sniffing(where, "lo", text="udp") as sniffer:
        with where.udp_socket() as sender:
            sender.sendto(payload, ("127.0.0.1", 9))
        (frame,) = taken(sniffer, 1)
    assert frame.wire_len == len(frame.data) == 65_549
    assert frame.data.endswith(payload)


def test_joined_segments_are_captured_whole(cable: Cable) -> None:
    content = random.Random(2).randbytes(3_000_000)
    text = "tcp and src 10.99.0.1"
    left, right = cable
    with sniffing(left, "veth0", text=text) as sniffer:
        _transfer(left, right, content)
        sniffer.stop()
        frames = rest(sniffer)
    assert max(len(frame.data) for frame in frames) > 1514
    assert all(frame.wire_len == len(frame.data) for frame in frames)
    assert _tcp_content(frames) == content
    assert sniffer.counts() == SourceCounts(len(frames), 0, 0)


def _transfer(left: netns.Namespace, right: netns.Namespace, content: bytes) -> None:
    with right.entered():
        server = socket.create_server(("10.99.0.2", 7000))
    with left.entered():
        client = socket.socket()
    with server, client:
        client.connect(("10.99.0.2", 7000))
        sending = threading.Thread(target=client.sendall, args=(content,))
        sending.start()
        accepted, _ = server.accept()
        with accepted:
            received = 0
            while received < len(content):
                received += len(accepted.recv(1 << 20))
        sending.join()


def _tcp_content(frames: Sequence[Frame]) -> bytes:
    """Put segments together by their sequence numbers; retransmissions overlap."""
    content = bytearray()
    first = None
    for frame in frames:
        packet = Ether(frame.data)
        segment = packet[TCP]
        first = segment.seq + 1 if first is None else first
        payload = bytes(frame.data[54 + segment.dataofs * 4 - 20 :])
        at = (segment.seq - first) % 2**32
        if payload:
            content[at : at + len(payload)] = payload
    return bytes(content)


def test_tun_frames_begin_with_ip(where: netns.Namespace) -> None:
    sent = [
        bytes(IP(src="10.98.0.2", dst="10.98.0.1") / UDP(dport=9) / b"four"),
        bytes(IPv6(src="fd98::2", dst="fd98::1") / UDP(dport=9) / b"six"),
    ]
    with netns.tun(where) as descriptor, sniffing(where, "tun0", text="udp port 9") as sniffer:
        for packet in (*sent, bytes(IP(dst="10.98.0.1") / UDP(dport=10))):
            os.write(descriptor, packet)
        frames = taken(sniffer, 2)
    assert [frame.data for frame in frames] == sent
    assert {frame.link_type for frame in frames} == {LinkType.RAW}


def test_any_takes_all_devices_each_with_its_link_type(cable: Cable) -> None:
    packet = bytes(IP(src="10.98.0.2", dst="10.98.0.1") / UDP(dport=9) / b"tun")
    left, right = cable
    with netns.tun(right) as descriptor, sniffing(right, "any", "lo", text="udp port 9") as sniffer:
        send(left, "veth0", [udp()])
        assert awaited(lambda: sniffer.counts().captured == 1)
        os.write(descriptor, packet)
        send_datagrams(right, "127.0.0.1", 1)
        veth, tunnel, loopback = taken(sniffer, 3)
    assert (veth.interface, veth.link_type, veth.data) == ("veth0", LinkType.ETHERNET, udp())
    assert (tunnel.interface, tunnel.link_type, tunnel.data) == ("tun0", LinkType.RAW, packet)
    assert (loopback.interface, loopback.link_type) == ("lo", LinkType.ETHERNET)


def test_any_sees_devices_that_appear_later(where: netns.Namespace) -> None:
    packet = bytes(IP(src="10.98.0.2", dst="10.98.0.1") / UDP(dport=9) / b"tun")
    with sniffing(where, "any", text="udp") as sniffer, netns.tun(where, "late0") as descriptor:
        os.write(descriptor, packet)
        (frame,) = taken(sniffer, 1)
    assert (frame.interface, frame.data) == ("late0", packet)


def test_any_leaves_out_what_cannot_be_decoded_and_says_so(
    where: netns.Namespace,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with (
        netns.tun(where, "mon0", hardware_type=RADIOTAP) as monitor,
        sniffing(where, "any") as sniffer,
    ):
        os.write(monitor, bytes(IP(dst="10.98.0.1") / UDP()))
        send_datagrams(where, "127.0.0.1", 1)
        frames = taken(sniffer, 1)
    assert {frame.interface for frame in frames} == {"lo"}
    assert "device mon0 is left out: its frames cannot be decoded" in caplog.messages


def test_several_devices_share_one_session(cable: Cable) -> None:
    left, _ = cable
    with sniffing(left, "lo", "veth0", text="udp") as sniffer:
        for address in ("127.0.0.1", "10.99.0.2", "127.0.0.1"):
            send_datagrams(left, address, 10)
        frames = taken(sniffer, 30)
    assert [frame.number for frame in frames] == list(range(1, 31))
    assert sorted(frame.interface or "" for frame in frames) == ["lo"] * 20 + ["veth0"] * 10
