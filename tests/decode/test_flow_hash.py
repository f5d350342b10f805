"""Flows have numbers that do not depend on direction, host, or what else is in a batch."""

from __future__ import annotations

import numpy as np
import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet

from network_pipeline.decode.flow_hash import flow_hashes
from network_pipeline.frames import Frame, LinkType
from tests.decode import batches

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
V4, V4_BACK = IP(src="192.0.2.1", dst="192.0.2.2"), IP(src="192.0.2.2", dst="192.0.2.1")
V6, V6_BACK = IPv6(src="fd00::1:2", dst="fd00::3"), IPv6(src="fd00::3", dst="fd00::1:2")


def hashes(*packets: Packet) -> list[int]:
    frames = [
        Frame(number, 0, None, len(data), LinkType.ETHERNET, data)
        for number, data in enumerate(map(bytes, packets), 1)
    ]
    found: list[int] = flow_hashes(batches.batch_of(frames)).tolist()
    return found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (V4 / TCP(sport=1, dport=80), V4_BACK / TCP(sport=80, dport=1)),
        (V4 / UDP(sport=5, dport=53), V4_BACK / UDP(sport=53, dport=5)),
        (V6 / TCP(sport=1, dport=80), V6_BACK / TCP(sport=80, dport=1)),
        (V4 / ICMP(type=8), V4_BACK / ICMP(type=0)),
        (V4 / UDP(sport=1, dport=2), Dot1Q(vlan=7) / V4 / UDP(sport=1, dport=2)),
        (ARP(psrc="192.0.2.1", pdst="192.0.2.2"), ARP(psrc="192.0.2.2", pdst="192.0.2.1", op=2)),
        (
            IP(src="192.0.2.1", dst="192.0.2.2", flags="MF") / UDP(sport=1, dport=2),
            IP(src="192.0.2.1", dst="192.0.2.2", frag=9, proto=17) / b"\1\2\3\4\5\6\7\10",
        ),
        (
            V6 / IPv6ExtHdrFragment(m=1, nh=17) / UDP(sport=1, dport=2),
            V6 / IPv6ExtHdrFragment(offset=9, nh=17) / b"\1\2\3\4\5\6\7\10",
        ),
    ],
    ids=lambda packet: packet.__class__.__name__,
)
def test_both_belong_to_one_flow(one: Packet, other: Packet) -> None:
    first, second = hashes(ETHER / one, ETHER / other)
    assert first == second


def test_flows_differ_by_each_of_their_five_parts() -> None:
    found = hashes(
        ETHER / V4 / TCP(sport=1, dport=80),
        ETHER / V4 / UDP(sport=1, dport=80),
        ETHER / V4 / TCP(sport=2, dport=80),
        ETHER / V4 / TCP(sport=1, dport=81),
        ETHER / V4 / TCP(sport=80, dport=1),
        ETHER / IP(src="192.0.2.3", dst="192.0.2.2") / TCP(sport=1, dport=80),
        ETHER / IP(src="192.0.2.1", dst="192.0.2.3") / TCP(sport=1, dport=80),
        ETHER / V6 / TCP(sport=1, dport=80),
        ETHER / IPv6(src="fd00::2:1", dst="fd00::3") / TCP(sport=1, dport=80),
    )
    assert len(set(found)) == 9


def test_a_number_is_the_same_on_every_host_and_in_every_batch() -> None:
    packet = ETHER / V4 / TCP(sport=1, dport=80)
    [alone] = hashes(packet)
    assert (
        hashes(Ether(src=ETHER.src, dst=ETHER.dst, type=0x88B5) / b"x", packet, ETHER / V6 / UDP())[
            1
        ]
        == alone
    )
    assert alone == 14_291_569_016_142_747_523


def test_one_flow_in_ten_is_one_in_ten() -> None:
    packets = [ETHER / V4 / UDP(sport=port, dport=53) for port in range(1_000, 3_000)]
    kept = np.count_nonzero(np.array(hashes(*packets), np.uint64) % 10 == 0)
    assert 150 < kept < 250


def test_no_frames_have_no_numbers() -> None:
    assert hashes() == []
