"""What a host has begun lately."""

from __future__ import annotations

import pyarrow as pa
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6

from network_pipeline.flows.recording import FlowSettings
from tests.flows import making
from tests.flows.making import CLIENT, ETHER, Timed, udp

_NAMES = ("flows_10s", "flows_60s", "ports_10s", "ports_60s", "hosts_10s", "hosts_60s")


def fanout(packets: list[Timed], most: int = 1000) -> dict[int, list[int]]:
    """Return the six columns of each flow by its first frame."""
    made = making.flows_of(packets, FlowSettings(most_flows=most))
    return {flow["first_frame"]: [flow[f"fanout_{name}"] for name in _NAMES] for flow in made.flows}


def syn(host: int, port: int, sport: int = 1000) -> bytes:
    return bytes(ETHER / IP(src=CLIENT, dst=f"203.0.113.{host}") / TCP(sport=sport, dport=port))


def test_windows_slide() -> None:
    steps: list[Timed] = [(0, syn(1, 80)), (4, syn(1, 81)), (9, syn(2, 80)), (10, syn(3, 82)),
                          (69.5, syn(3, 83))]  # fmt: skip
    assert fanout(steps) == {
        1: [1, 1, 1, 1, 1, 1],
        2: [2, 2, 2, 2, 1, 1],
        3: [3, 3, 2, 2, 2, 2],
        4: [3, 4, 3, 3, 3, 3],  # the first one was 10 s ago
        5: [1, 2, 1, 2, 1, 1],  # of the last 60 s there is the one before
    }


def test_the_only_flow_of_a_source_counts_with_the_next_ones() -> None:
    steps: list[Timed] = [(0, syn(1, 80)), (30, syn(1, 80, 1001)), (65, syn(2, 80, 1002)),
                          (130, syn(1, 80, 1003)), (131, syn(1, 81))]  # fmt: skip
    assert fanout(steps) == {
        1: [1, 1, 1, 1, 1, 1],
        2: [1, 2, 1, 1, 1, 1],  # the same pairs as those of the one before, which is 30 s old
        3: [1, 2, 1, 1, 1, 2],
        4: [1, 1, 1, 1, 1, 1],  # alone again
        5: [2, 2, 2, 2, 1, 1],
    }


def test_a_port_counts_by_its_protocol() -> None:
    found = fanout([(0, syn(1, 9)), (1, udp())])
    assert found[2][:4] == [2, 2, 2, 2]


def test_others_do_not_count() -> None:
    found = fanout([(0, syn(1, 80)), (1, udp(back=True))])
    assert found[2] == [1, 1, 1, 1, 1, 1]


def test_where_there_is_no_room_the_oldest_leave_early() -> None:
    steps: list[Timed] = [(0.1 * step, syn(1 + step, 80)) for step in range(6)]
    assert fanout(steps, most=3)[6] == [3, 3, 1, 1, 3, 3]


def test_a_scan() -> None:
    steps: list[Timed] = [(0.01 * port, syn(1, port)) for port in range(1, 301)]
    assert fanout(steps)[300] == [300, 300, 300, 300, 1, 1]


def test_other_sessions_do_not_count() -> None:
    # 0 with IPv4 and 2 with IPv6 were one, for hosts that have no address yet.
    first = ETHER / IP(src="0.0.0.0", dst="255.255.255.255") / UDP(sport=68, dport=67)
    other = ETHER / IPv6(src="::", dst="ff02::16") / UDP(sport=546, dport=547)
    batches = [
        making.rows_of(making.frames([(0, each)]), session)
        for session, each in (("a", first), ("b", syn(1, 80)), ("c", other))
    ]
    rows = pa.Table.from_batches(batches).unify_dictionaries().combine_chunks().to_batches()[0]
    found = [
        [flow[f"fanout_{name}"] for name in _NAMES] for flow in making.flows_of_rows(rows).flows
    ]
    assert found == [[1, 1, 1, 1, 1, 1]] * 3
