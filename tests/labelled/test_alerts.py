"""Alerts of Suricata and Zeek, joined to the rows that they are about."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from network_pipeline.errors import UsageError
from network_pipeline.labelled import conditions
from network_pipeline.labelled.alerts import Alerts, Signature
from network_pipeline.labelled.rows import Rows
from network_pipeline.labelled.rules_file import AlertFile
from tests.labelled import traffic

AT = conditions.time_ns("2018-01-27T17:40:04Z")
SECOND = traffic.SECOND_NS


def eve(**changes: Any) -> dict[str, Any]:
    event: dict[str, Any] = {
        "timestamp": "2018-01-27T18:40:04.000000+0100",
        "event_type": "alert",
        "src_ip": "203.0.113.9",
        "src_port": 40000,
        "dest_ip": "192.0.2.80",
        "dest_port": 80,
        "proto": "TCP",
        "alert": {"signature": "ET SCAN", "severity": 2},
    }
    return {**event, **changes}


def alerts(tmp_path: Path, lines: list[str], form: str = "suricata-eve") -> Alerts:
    path = tmp_path / "alerts.log"
    path.write_text("\n".join(lines) + "\n")
    found = Alerts(AlertFile("ids", 1, "attack", None, form, path, 10 * SECOND))
    found.load()
    return found


def packet(second: int, **cells: Any) -> Rows:
    """Return one packet, so many seconds after :data:`AT`."""
    time = pl.Series("frame_time", [AT + second * SECOND], pl.Int64)
    frame = traffic.rows([cells]).frame
    return Rows(frame.with_columns(time.cast(pl.Datetime("ns", "UTC"))), {}, "x")


def packets(*rows: tuple[str, str, int | None, int | None, int]) -> Rows:
    """Return TCP packets (source, destination, ports) at seconds after :data:`AT`."""
    found = [
        packet(second, ip_src=src, ip_dst=dst, tcp_sport=sport, tcp_dport=dport, ip_proto=6)
        for src, dst, sport, dport, second in rows
    ]
    return Rows(pl.concat([each.frame for each in found]), {}, "x")


def matched(found: Alerts, rows: Rows) -> list[tuple[int, int]]:
    places, at = found.matches(rows)
    return sorted(zip(at.tolist(), places.tolist(), strict=True))


ROWS = packets(
    ("203.0.113.9", "192.0.2.80", 40000, 80, 0),
    ("192.0.2.80", "203.0.113.9", 80, 40000, 10),
    ("203.0.113.9", "192.0.2.80", 40000, 80, 11),
    ("203.0.113.9", "192.0.2.80", 40001, 80, 0),
    ("203.0.113.9", "192.0.2.81", 40000, 80, 0),
)


def test_an_alert_is_about_both_directions_of_its_connection_for_a_time(tmp_path: Path) -> None:
    found = alerts(tmp_path, [json.dumps(eve()), json.dumps({"event_type": "flow", "alert": 1})])
    assert (found.count, found.signatures) == (1, [Signature(2, "ET SCAN")])
    assert matched(found, ROWS) == [(0, 0), (1, 0)]


def test_flows_are_matched_where_they_reach_into_the_time(tmp_path: Path) -> None:
    flows = pl.DataFrame(
        {
            "flow_id": ["a", "b", "c"],
            "src_ip": ["192.0.2.80"] * 3,
            "dst_ip": ["203.0.113.9"] * 3,
            "src_port": [80] * 3,
            "dst_port": [40000] * 3,
            "protocol": [6] * 3,
            "start_time": [AT - 99 * SECOND, AT - 99 * SECOND, AT + 11 * SECOND],
            "end_time": [AT - 11 * SECOND, AT - 10 * SECOND, AT + 12 * SECOND],
        }
    )
    found = alerts(tmp_path, [json.dumps(eve())])
    assert matched(found, Rows(flows, {}, "flows.parquet")) == [(1, 0)]


def test_the_most_severe_signature_comes_first(tmp_path: Path) -> None:
    lines = [json.dumps(eve()), json.dumps(eve(alert={"signature": "WORM", "severity": 1}))]
    found = alerts(tmp_path, lines)
    assert [each.name for each in found.signatures] == ["WORM", "ET SCAN"]
    assert matched(found, ROWS) == [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(
            {
                "timestamp": "2018-01-27T18:50:04+0100",
                "flow": {"start": "2018-01-27T18:40:14+0100"},
            },
            [(0, 0), (1, 0), (2, 0)],
            id="the begin of its flow is known",
        ),
        pytest.param(
            {"src_port": None, "dest_port": None}, [(0, 0), (1, 0), (3, 0)],
            id="without ports: all connections of the hosts",
        ),
        pytest.param(
            {"src_port": None, "dest_port": None, "proto": None}, [(0, 0), (1, 0), (3, 0)],
            id="without a protocol: all of them",
        ),
        pytest.param(
            {"src_port": None, "dest_port": None, "proto": "UDP"}, [],
            id="another protocol: none",
        ),
    ],
)  # fmt: skip
def test_what_an_alert_leaves_out_is_not_compared(
    tmp_path: Path, changes: dict[str, Any], expected: list[tuple[int, int]]
) -> None:
    event = {name: value for name, value in eve(**changes).items() if value is not None}
    for line in (eve(**changes), event):
        assert matched(alerts(tmp_path, [json.dumps(line)]), ROWS) == expected


PING = {"ip_src": "192.0.2.80", "ip_dst": "203.0.113.9", "ip_proto": 1, "icmp_type": 8}
SIX = {"ipv6_src": "2001:db8::1", "ipv6_dst": "2001:db8::2"}
PING_SIX = {**SIX, "ipv6_proto": 58, "icmpv6_type": 128}
TCP_SIX = {"ipv6_src": "2001:db8::2", "ipv6_dst": "2001:db8::1", "ipv6_proto": 6,
           "tcp_sport": 80, "tcp_dport": 40000}  # fmt: skip
BACK_SIX = {"src_ip": "2001:db8::2", "dest_ip": "2001:db8::1", "src_port": 129, "dest_port": 0}
LONG = {"src_ip": "2001:0db8:0000:0000:0000:0000:0000:0001", "dest_ip": "2001:0DB8::2"}
PORT_ZERO = {"ip_src": "203.0.113.9", "ip_dst": "192.0.2.80", "ip_proto": 6, "tcp_sport": 40000}


@pytest.mark.parametrize(
    ("cells", "changes", "is_matched"),
    [
        pytest.param(PING, {"src_port": 8, "dest_port": 0, "proto": "ICMP"}, True,
                     id="types of ICMP are no ports"),
        pytest.param(PING_SIX, {**BACK_SIX, "proto": "IPv6-ICMP"}, True, id="ICMPv6 by its name"),
        pytest.param(PING_SIX, {**BACK_SIX, "proto": "icmp"}, True, id="ICMPv6 called icmp"),
        pytest.param(PING_SIX, {**BACK_SIX, "proto": "058"}, True, id="ICMPv6 by its number"),
        pytest.param(TCP_SIX, LONG, True, id="addresses are compared as such"),
        pytest.param({**PORT_ZERO, "tcp_dport": 0}, {"dest_port": 0}, True, id="port 0"),
        pytest.param({**PORT_ZERO, "tcp_dport": 80}, {"dest_port": 0}, False, id="port 80, not 0"),
    ],
)  # fmt: skip
def test_an_alert_and_one_packet(
    tmp_path: Path, cells: dict[str, Any], changes: dict[str, Any], is_matched: bool
) -> None:
    found = alerts(tmp_path, [json.dumps(eve(**changes))])
    assert matched(found, packet(0, **cells)) == ([(0, 0)] if is_matched else [])


def test_a_protocol_that_nobody_knows_is_not_all_of_them(tmp_path: Path) -> None:
    event = eve(proto="NONSENSE")
    found = alerts(tmp_path, [json.dumps(event), json.dumps(eve(proto=None))])
    assert (found.count, found.without_connection) == (2, 1)
    assert matched(found, ROWS) == [(0, 0), (1, 0), (3, 0)]


NOTICES = f"""\
#separator \\x09
#fields\tts\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\tnote\tsrc\tdst
{AT // SECOND}.000\t203.0.113.9\t40000\t192.0.2.80\t80\ttcp\tHTTP::SQLi\t203.0.113.9\t(empty)
{AT // SECOND}.5\t-\t-\t-\t-\ttcp\tScan::Address\t203.0.113.9\t192.0.2.81
{AT // SECOND}\t-\t-\t-\t-\t-\tScan::Port\t203.0.113.9\t-
#close"""


def test_zeek_notices(tmp_path: Path) -> None:
    found = alerts(tmp_path, NOTICES.split("\n"), "zeek-notice")
    assert [each.name for each in found.signatures] == ["HTTP::SQLi", "Scan::Address"]
    assert (found.count, found.without_connection) == (3, 1)
    assert matched(found, ROWS) == [(0, 0), (1, 0), (4, 1)]


def test_zeek_notices_as_json(tmp_path: Path) -> None:
    notice = {
        "ts": AT / SECOND, "id.orig_h": "203.0.113.9", "id.orig_p": 40000, "proto": "tcp",
        "id.resp_h": "192.0.2.80", "id.resp_p": 80, "note": "HTTP::SQLi",
    }  # fmt: skip
    assert matched(alerts(tmp_path, [json.dumps(notice)], "zeek-notice"), ROWS) == [(0, 0), (1, 0)]


@pytest.mark.parametrize(
    ("line", "form", "error"),
    [
        ('{"event_type": "alert"', "suricata-eve", "alerts.log:1: no JSON object"),
        (json.dumps(eve(timestamp="then")), "suricata-eve", "1: must be a time with its offset"),
        (json.dumps(eve(timestamp=None)), "suricata-eve", "1: must be a time with its offset"),
        (json.dumps(eve(src_ip="host")), "suricata-eve", "1: 'host' does not appear to be"),
        ("1.0\tx", "zeek-notice", "alerts.log:1: 2 cells for 0 fields"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(
    tmp_path: Path, line: str, form: str, error: str
) -> None:
    with pytest.raises(UsageError) as caught:
        alerts(tmp_path, [line], form)
    assert error in str(caught.value)


def test_a_file_that_was_put_aside_is_compressed(tmp_path: Path) -> None:
    path = tmp_path / "notice.log.gz"
    path.write_bytes(gzip.compress(NOTICES.encode()))
    found = Alerts(AlertFile("ids", 1, "attack", None, "zeek-notice", path, 10 * SECOND))
    found.load()
    assert matched(found, ROWS) == [(0, 0), (1, 0), (4, 1)]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UsageError, match=r"notice\.log\.gz: the gzip data is cut short"):
        found.load()


def test_a_file_that_is_being_written_has_a_cut_last_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "eve.json"
    line = json.dumps(eve())
    path.write_text(f"{line}\n{line[:-9]}")
    found = Alerts(AlertFile("ids", 1, "attack", None, "suricata-eve", path, 10 * SECOND))
    found.load()
    assert (found.count, matched(found, ROWS)) == (1, [(0, 0), (1, 0)])
    assert "eve.json:2: no JSON object: the last line is cut, and left out" in caplog.text
    path.write_text(f"{line[:-9]}\n{line}\n")
    with pytest.raises(UsageError, match=r"eve\.json:1: no JSON object"):
        found.load()


def test_what_an_alert_need_not_say(tmp_path: Path) -> None:
    found = alerts(tmp_path, [json.dumps(eve(flow=1, alert={"signature_id": 7, "severity": "x"}))])
    assert found.signatures == [Signature(255, "7")]


def test_no_alerts_match_nothing(tmp_path: Path) -> None:
    found = alerts(tmp_path, [])
    assert matched(found, ROWS) == []
