"""When flows end, which packets are theirs, and what is told of that."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, Dot1Q
from scapy.packet import Packet

from network_pipeline.flows.recording import FlowSettings
from tests.flows import making
from tests.flows.making import CLIENT, ETHER, SERVER, Timed, connection, flows_of, tcp, udp


def reasons(made: making.Made) -> list[tuple[int, int]]:
    """Return the first frame and the reason of every flow, in the order of the rows."""
    return [(flow["first_frame"], flow["end_reason"]) for flow in made.flows]


# -- TCP -------------------------------------------------------------------------------------------


def test_a_connection_is_one_flow_that_tcp_ends() -> None:
    flow = flows_of(connection()).only
    assert (flow["end_reason"], flow["packets_fwd"], flow["packets_bwd"]) == (3, 4, 4)
    assert (flow["src_ip"], flow["src_port"]) == (CLIENT, 40_000)
    assert (flow["dst_ip"], flow["dst_port"]) == (SERVER, 443)
    assert (flow["payload_bytes_fwd"], flow["payload_bytes_bwd"]) == (8, 10)
    assert flow["duration"] == 700_000_000
    assert flow["first_directions"] == [0, 1, 0, 0, 1, 1, 0, 1]


def test_without_the_last_ack_a_connection_goes_on() -> None:
    assert flows_of(connection()[:-1]).only["end_reason"] == 4


def test_one_fin_is_no_end() -> None:
    half = [*connection()[:6], (0.6, tcp("A", seq=109, ack=512)), (0.7, tcp("PA", data=b"more"))]
    assert flows_of(half).only["end_reason"] == 4


def test_a_reset_is_an_end() -> None:
    made = flows_of([(0, tcp("S", seq=1)), (0.1, tcp("RA", back=True, ack=2))])
    assert made.only["end_reason"] == 3


def test_late_packets_stay_with_their_flow() -> None:
    late: list[Timed] = [
        (1, tcp("A", seq=110, ack=512)),
        (9, tcp("FA", back=True, seq=511, ack=110)),
    ]
    flow = flows_of(connection() + late).only
    assert (flow["packets_fwd"], flow["packets_bwd"], flow["end_reason"]) == (5, 5, 3)


def test_ten_seconds_later_they_are_a_flow_of_their_own() -> None:
    made = flows_of([*connection(), (10.8, tcp("A", seq=110, ack=512))])
    assert reasons(made) == [(1, 3), (9, 4)]


def test_a_syn_begins_the_next_connection_of_the_same_ends() -> None:
    made = flows_of(connection() + connection(start=1))
    assert reasons(made) == [(1, 3), (9, 3)]
    assert made.flows[0]["community_id"] == made.flows[1]["community_id"]


def test_a_syn_that_is_sent_again_begins_nothing() -> None:
    assert flows_of([(0, tcp("S", seq=1)), (1, tcp("S", seq=1))]).only["tcp_syn_fwd"] == 2


def test_sequence_numbers_wrap() -> None:
    steps = [
        (0.0, tcp("PA", seq=2**32 - 2, ack=5, data=b"ab")),
        (0.1, tcp("FA", seq=0, ack=5)),
        (0.2, tcp("FA", back=True, seq=5, ack=1)),
        (0.3, tcp("A", seq=1, ack=6)),
    ]
    assert flows_of(steps).only["end_reason"] == 3


# -- time-outs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gap", "flows"), [(120, 1), (120.000000001, 2)])
def test_idle(gap: float, flows: int) -> None:
    made = flows_of([(0, udp()), (gap, udp(back=True))])
    assert len(made.flows) == flows
    if flows == 2:
        assert [flow["end_reason"] for flow in made.flows] == [1, 4]
        assert made.flows[1]["src_ip"] == SERVER


def test_the_clock_of_others_ends_idle_flows() -> None:
    others = [(121, udp(ports=(1, 2))), (122, udp(ports=(3, 4)))]
    assert reasons(flows_of([(0, udp()), *others])) == [(1, 1), (2, 4), (3, 4)]


def test_active() -> None:
    steps = [(100.0 * step, udp(back=step == 19)) for step in range(21)]
    first, second = flows_of(steps).flows
    assert (first["end_reason"], first["part"], first["packets_fwd"]) == (2, 1, 19)
    assert (second["end_reason"], second["part"], second["first_frame"]) == (4, 2, 20)
    # The next part begins with a packet from the server; the client is its source all the same.
    assert (second["src_ip"], second["src_port"]) == (CLIENT, 40_000)
    assert (second["packets_fwd"], second["packets_bwd"]) == (1, 1)
    assert second["fanout_flows_60s"] == 1


def test_times_that_go_back_are_kept_and_counted() -> None:
    flow = flows_of([(5, udp()), (3, udp()), (6, udp())]).only
    assert (flow["out_of_order"], flow["iat_min"], flow["iat_max"]) == (1, -2 * 10**9, 3 * 10**9)
    assert flow["duration"] == 3 * 10**9
    assert flow["first_iats"] == [0, -2 * 10**9, 3 * 10**9]
    assert flow["start_time"].value == making.START_NS + 3 * 10**9


def test_a_late_packet_is_no_silence() -> None:
    # The clock stands at 200 when the second one comes, and moves by 1.
    others = [(200, udp(ports=(1, 2)))]
    made = flows_of([(100, udp()), *others, (90, udp()), (201, udp())])
    assert made.flows[-1]["packets_fwd"] + made.flows[0]["packets_fwd"] == 4


# -- room ------------------------------------------------------------------------------------------


def test_where_there_is_no_room_the_flow_that_waits_longest_ends() -> None:
    settings = FlowSettings(most_flows=2)
    steps = [
        (0, udp(ports=(1, 9))),
        (1, udp(ports=(2, 9))),
        (2, udp(ports=(1, 9))),
        (3, udp(ports=(3, 9))),
    ]
    assert reasons(flows_of(steps, settings)) == [(2, 5), (1, 4), (4, 4)]


def test_closed_flows_make_room_first() -> None:
    settings = FlowSettings(most_flows=2)
    steps = [(0, udp(ports=(1, 9))), (1, tcp("R")), (2, udp(ports=(3, 9)))]
    assert reasons(flows_of(steps, settings)) == [(2, 3), (1, 4), (3, 4)]


def test_more_flows_than_wait_to_be_written() -> None:
    steps = [(0.001 * port, making.datagram(port)) for port in range(1, 5001)]
    made = flows_of([*steps, (1000, udp())])
    assert len(made.flows) == 5001
    assert [flow["first_frame"] for flow in made.flows] == list(range(1, 5002))
    assert {flow["end_reason"] for flow in made.flows[:-1]} == {1}


def test_more_flows_than_a_cache_has_room_for() -> None:
    """Two hosts send from each of many ports, from every third one twice; later from some more."""
    ends = [(host, port) for host in (1, 2) for port in range(1, 60_001)]
    twice, late = ends[::3], ends[:100]
    steps = [(second, making.datagram(port, host))
             for second, those in ((0, ends), (1, twice), (200, late))
             for host, port in those]  # fmt: skip
    flows = making.table_of(steps)
    once = [number for number in range(len(ends)) if number % 3]
    firsts = [*once, *range(0, len(ends), 3), *range(len(steps) - 100, len(steps))]
    assert flows["first_frame"].to_pylist() == [number + 1 for number in firsts]
    packets = [1] * len(once) + [2] * len(twice) + [1] * 100
    assert flows["packets_fwd"].to_pylist() == packets
    gaps = [making.SECOND if count == 2 else None for count in packets]
    assert flows["iat_max"].to_pylist() == gaps
    assert flows["src_port"].to_pylist()[:-100] == [ends[number][1] for number in firsts[:-100]]
    begun = [ends[number][1] for number in firsts[:-100]] + list(range(1, 101))
    assert flows["fanout_flows_10s"].to_pylist() == begun


@pytest.mark.parametrize("most", [1, 7, 100, 5000])
def test_a_table_that_is_always_full_loses_nothing(most: int) -> None:
    steps = [(0.001 * step, making.datagram(1 + step * 7919 % 700)) for step in range(3000)]
    made = flows_of(steps, FlowSettings(most_flows=most))
    assert sum(flow["packets_fwd"] for flow in made.flows) == 3000
    assert sorted(flow["first_frame"] for flow in made.flows if flow["part"] == 1) == sorted(
        {int(str(each).rpartition("-")[2]) for each in made.ids}
    )
    if most >= 700:
        assert len(made.flows) == 700


# -- other protocols -------------------------------------------------------------------------------


def icmp(kind: int, code: int, *, back: bool = False, quoted: bytes = b"") -> Packet:
    src, dst = (SERVER, CLIENT) if back else (CLIENT, SERVER)
    return ETHER / IP(src=src, dst=dst, id=0) / ICMP(type=kind, code=code) / quoted


def test_a_ping_and_its_answer_are_one_flow() -> None:
    flow = flows_of([(0, icmp(8, 0)), (0.1, icmp(0, 0, back=True))]).only
    assert (flow["packets_fwd"], flow["packets_bwd"]) == (1, 1)
    assert (flow["src_port"], flow["icmp_type"], flow["icmp_code"]) == (None, 8, 0)
    assert (flow["tcp_syn_fwd"], flow["dns_queries"]) == (None, None)


def test_a_ping_over_ipv6() -> None:
    there, back = (
        IPv6(src="2001:db8::1", dst="2001:db8::2"),
        IPv6(src="2001:db8::2", dst="2001:db8::1"),
    )
    flow = flows_of(
        [(0, ETHER / there / ICMPv6EchoRequest()), (0.1, ETHER / back / ICMPv6EchoReply())]
    ).only
    assert (flow["packets_fwd"], flow["packets_bwd"], flow["ip_version"]) == (1, 1, 6)
    assert (flow["src_ip"], flow["protocol"]) == ("2001:db8::1", 58)


def test_a_type_that_nothing_answers_is_a_flow_of_one_direction() -> None:
    made = flows_of([(0, icmp(40, 1)), (0.1, icmp(40, 1, back=True)), (0.2, icmp(40, 2))])
    assert [flow["packets_fwd"] for flow in made.flows] == [1, 1, 1]


@pytest.mark.parametrize("size", [28, 60, 1000])
def test_an_error_is_counted_in_the_flow_that_it_quotes(size: int) -> None:
    asked = udp(data=bytes(1000))
    error = icmp(3, 3, back=True, quoted=bytes(asked)[14 : 14 + size])
    made = flows_of([(0, asked), (0.1, error)])
    assert (made.only["icmp_errors"], made.only["packets_fwd"], made.only["packets_bwd"]) == (
        1,
        1,
        0,
    )
    assert made.only["duration"] == 0
    assert made.ids == [f"{making.SESSION}-1"] * 2
    assert made.counts == {
        "flows": 1, "packets": 1, "icmp_errors": 1, "duplicates": 0, "without_flow": 0,
    }  # fmt: skip


@pytest.mark.parametrize("size", [0, 19, 23])
def test_an_error_that_quotes_too_little_is_a_packet(size: int) -> None:
    asked = udp()
    error = icmp(3, 3, back=True, quoted=bytes(asked)[14 : 14 + size])
    made = flows_of([(0, asked), (0.1, error)])
    assert [flow["protocol"] for flow in made.flows] == [17, 1]


def test_an_error_that_quotes_an_unknown_packet_is_a_packet() -> None:
    error = icmp(11, 0, back=True, quoted=bytes(udp())[14:])
    flow = flows_of([(0, error)]).only
    assert (flow["icmp_type"], flow["protocol"]) == (11, 1)


def fragments() -> list[Packet]:
    """Return a datagram of 3000 bytes in three pieces."""
    whole: Any = IP(src=CLIENT, dst=SERVER, id=77) / UDP(sport=40_000, dport=9) / bytes(3000)
    whole = IP(bytes(whole))
    return [ETHER / piece for piece in whole.fragment(fragsize=1400)]


def test_fragments_are_of_the_flow_of_the_first() -> None:
    pieces = fragments()
    flow = flows_of([(0, udp()), *((0.1, piece) for piece in pieces)]).only
    assert (len(pieces), flow["fragments"], flow["packets_fwd"]) == (3, 3, 4)
    assert flow["bytes_fwd"] == 28 + 3008 + 3 * 20
    assert flow["payload_bytes_fwd"] == 3000


def test_fragments_before_the_first_are_a_flow_without_ports() -> None:
    first, *later = fragments()
    made = flows_of([(0, later[0]), (0.1, first), (0.2, later[1])])
    assert [(flow["src_port"], flow["packets_fwd"]) for flow in made.flows] == [
        (None, 1),
        (40_000, 2),
    ]


def test_vlans_are_apart() -> None:
    inner = udp()[IP]
    tagged = [ETHER / Dot1Q(vlan=number) / inner for number in (5, 6)]
    made = flows_of([(0, tagged[0]), (0.1, tagged[1]), (0.2, udp()), (0.3, tagged[0])])
    assert [(flow["vlan_id"], flow["packets_fwd"]) for flow in made.flows] == [
        (6, 1),
        (None, 1),
        (5, 2),
    ]


def test_sctp_has_ports_where_its_header_is_there() -> None:
    header = bytes.fromhex("1f900050") + bytes(8)
    packet = ETHER / IP(src=CLIENT, dst=SERVER, proto=132) / header
    flow = flows_of([(0, packet)]).only
    assert (flow["src_port"], flow["dst_port"], flow["protocol"]) == (8080, 80, 132)
    cut = ETHER / IP(src=CLIENT, dst=SERVER, proto=132) / header[:11]
    assert flows_of([(0, cut)]).only["src_port"] is None


def test_what_has_no_flow_is_counted() -> None:
    arp = ETHER / ARP(hwsrc=ETHER.src, psrc=CLIENT, hwdst=ETHER.dst, pdst=SERVER)
    made = flows_of(
        [(0, arp), (1, udp()), (2, bytes(ETHER) + b"\x45"), (-2 * 10**9 - 2**33, udp())]
    )
    assert made.ids == [None, f"{making.SESSION}-2", None, None]
    assert (made.counts["without_flow"], made.counts["packets"]) == (3, 1)


def test_the_same_address_at_both_ends() -> None:
    there = ETHER / IP(src=CLIENT, dst=CLIENT) / TCP(sport=1, dport=2)
    back = ETHER / IP(src=CLIENT, dst=CLIENT) / TCP(sport=2, dport=1)
    flow = flows_of([(0, back), (0.1, there)]).only
    assert (flow["src_port"], flow["packets_fwd"], flow["packets_bwd"]) == (2, 1, 1)
