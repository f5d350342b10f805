"""Conditions against the same said in plain Python, for any rows."""

from __future__ import annotations

import ipaddress
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from network_pipeline.labelled import conditions
from network_pipeline.labelled.conditions import End
from tests.labelled import traffic

ADDRESSES = ["192.0.2.1", "192.0.2.200", "198.51.100.7", "0.0.0.0", "255.255.255.255"]
ADDRESSES_6 = ["2001:db8::1", "2001:db8:0:1::", "::", "::ffff:192.0.2.1"]
NETWORKS = [
    "0.0.0.0/0", "192.0.2.0/24", "192.0.2.128/25", "198.51.100.7", "::/0", "2001:db8::/64",
    "2001:db8::/32", "::ffff:0:0/96",
]  # fmt: skip


def packet(
    src: str | None, dst: str | None, sport: int | None, dport: int | None
) -> dict[str, Any]:
    version = "ipv6" if src and ":" in src else "ip"
    return {f"{version}_src": src, f"{version}_dst": dst, "udp_sport": sport, "udp_dport": dport}


hosts = st.one_of(st.none(), st.sampled_from([*ADDRESSES, *ADDRESSES_6]))
numbers = st.one_of(st.none(), st.integers(0, 5))
packets = st.builds(packet, hosts, hosts, numbers, numbers)
ends = st.builds(
    End,
    st.lists(st.sampled_from(NETWORKS).map(conditions.network), max_size=2),
    st.lists(
        st.tuples(numbers, numbers).filter(all).map(lambda each: tuple(sorted(each))), max_size=2
    ),
)


def is_end(end: End, address: str | None, port: int | None) -> bool:
    parsed = ipaddress.ip_address(address) if address else None
    inside = any(parsed is not None and parsed in network for network in end.networks)
    fits = any(port is not None and first <= port <= last for first, last in end.ports)
    return (inside or not end.networks) and (fits or not end.ports)


def sides(row: dict[str, Any]) -> list[tuple[str | None, int | None]]:
    src = row.get("ip_src") or row.get("ipv6_src")
    dst = row.get("ip_dst") or row.get("ipv6_dst")
    return [(src, row["udp_sport"]), (dst, row["udp_dport"])]


@given(st.lists(packets, min_size=1), ends, ends)
def test_ends_as_in_plain_python(rows: list[dict[str, Any]], one: End, other: End) -> None:
    frame = traffic.rows(rows)
    assert conditions.end_is(one, "src")(frame).tolist() == [
        is_end(one, *sides(row)[0]) for row in rows
    ]
    assert conditions.end_is(one, "dst")(frame).tolist() == [
        is_end(one, *sides(row)[1]) for row in rows
    ]
    assert conditions.between([one, other])(frame).tolist() == [
        (is_end(one, *src) and is_end(other, *dst)) or (is_end(one, *dst) and is_end(other, *src))
        for row in rows
        for src, dst in [sides(row)]
    ]


@given(st.lists(packets, min_size=1))
def test_both_directions_are_one_connection(rows: list[dict[str, Any]]) -> None:
    turned = [
        packet(dst, src, dport, sport)
        for row in rows
        for (src, sport), (dst, dport) in [sides(row)]
    ]
    assert traffic.rows(rows).connections.to_list() == traffic.rows(turned).connections.to_list()
    assert traffic.rows(rows).pairs.to_list() == traffic.rows(turned).pairs.to_list()


def test_protocols_and_arp() -> None:
    rows = traffic.rows([{"ip_proto": 6}, {"ipv6_proto": 17}, {"arp_op": 1}, {"frame_len": 60}])
    numbers = [conditions.protocol_number(each) for each in ("tcp", "arp", "99")]
    assert numbers == [6, 256, 99]
    assert conditions.protocol(numbers)(rows).tolist() == [True, False, True, False]


def test_arp_has_addresses() -> None:
    rows = traffic.rows([{"arp_psrc": "192.0.2.1", "arp_pdst": "192.0.2.2"}])
    condition = conditions.end_is(End([conditions.network("192.0.2.2")], []), "dst")
    assert condition(rows).tolist() == [True]


def test_texts_match_as_a_whole() -> None:
    rows = traffic.rows(
        [{"session": "s1", "source": "edge-1"}, {"session": "s2", "source": "edge-10"}, {}],
        {"s1": "atk-ssh.pcap"},
        "all.parquet",
    )
    assert conditions.matches("file", ["atk-*"])(rows).tolist() == [True, False, False]
    assert conditions.matches("file", ["all.parquet"])(rows).tolist() == [False, True, True]
    assert conditions.matches("source", ["edge-?", "x"])(rows).tolist() == [True, False, False]
    assert conditions.matches("session", ["*"])(rows).tolist() == [True, True, False]


def test_a_window_has_its_begin_and_not_its_end() -> None:
    first = conditions.time_ns("2023-11-14T23:13:20+01:00")
    assert first == traffic.START_NS
    times = [first - 1, first, first + 9, first + 10, None]
    frame = traffic.rows([{"frame_number": 1}] * 5)
    values = pl.Series("frame_time", times, pl.Int64).cast(pl.Datetime("ns", "UTC"))
    rows = type(frame)(frame.frame.with_columns(values), {}, "x")
    windows = [(first, first + 10)]
    assert conditions.starts_in(windows)(rows).tolist() == [False, True, True, False, False]


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31t23:59:59.5z", -500_000_000),
        ("2018-01-27T17:40:04.123456789-00:30", 1_517_076_604_123_456_789),
    ],
)
def test_times(text: str, nanoseconds: int) -> None:
    assert conditions.time_ns(text) == nanoseconds


@pytest.mark.parametrize("text", ["2018-01-27", "2018-13-27T00:00:00Z", "now", "", "0"])
def test_no_times(text: str) -> None:
    with pytest.raises(ValueError, match="must be a time with its offset"):
        conditions.time_ns(text)


def test_an_expression_is_true_where_it_is_not_unknown() -> None:
    rows = traffic.rows([{"tcp_flags": 2, "frame_len": 60}, {"tcp_flags": 2}, {"frame_len": 60}])
    expression = pl.sql_expr("tcp_flags = 2 AND frame_len >= 60")
    assert conditions.where(expression)(rows).tolist() == [True, False, False]
    with pytest.raises(ValueError, match="neither true nor false"):
        conditions.where(pl.sql_expr("frame_len + 1"))(rows)
    for text in ("MAX(frame_len) > 1", "TRUE"):
        with pytest.raises(ValueError, match="each row by itself"):
            conditions.where(pl.sql_expr(text))(rows)
