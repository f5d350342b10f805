"""Every column of every flow equals what the oracle computes, whatever the batches are."""

from __future__ import annotations

import functools
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6TimeExceeded, IPv6
from scapy.layers.l2 import ARP, Dot1Q
from scapy.packet import Packet

from network_pipeline.capture.pcap import CaptureFile, DamagedCapture
from network_pipeline.decode.columnar import decode_batch
from network_pipeline.flows import recording
from network_pipeline.flows.recording import FlowSettings, Recording, Targets
from network_pipeline.flows.schema import arrow_schema
from network_pipeline.frames import Frame
from network_pipeline.metrics import Counters
from tests.decode import captures
from tests.flows import making, oracle
from tests.flows.making import ETHER, SECOND, Timed

#: Columns of which the oracle has its own: the first packet's.
_FIRST = {"icmp_type": ("icmp_type", "icmpv6_type"), "icmp_code": ("icmp_code", "icmpv6_code")}


def plain(rows: pa.RecordBatch) -> list[oracle.Row]:
    """Return rows as dicts, times as nanoseconds."""
    place = rows.schema.get_field_index("frame_time")
    times = rows.column(place).cast(pa.int64())
    found: list[oracle.Row] = rows.set_column(place, "frame_time", times).to_pylist()
    return found


def check(
    rows: pa.RecordBatch, settings: FlowSettings, limits: oracle.Limits, at_once: int = 1 << 20
) -> making.Made:
    made = making.flows_of_rows(rows, settings, at_once=at_once)
    told = oracle.Oracle(limits)
    expected = {flow["flow_id"]: flow for flow in told.run(plain(rows))}
    assert made.ids == told.ids
    assert {flow["flow_id"] for flow in made.flows} == set(expected)
    assert len(made.flows) == len(expected)
    always = [field.name for field in arrow_schema() if not field.nullable]
    for flow in made.flows:
        _compare(flow, expected[flow["flow_id"]])
        assert all(flow[name] is not None for name in always)
    return made


def _compare(flow: making.Row, expected: oracle.Row) -> None:
    found = {name: value for name, value in flow.items() if name not in _FIRST}
    for name in ("start_time", "end_time"):
        found[name] = flow[name].value
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, float):
            # Running sums are rounded at every packet; a deviation near 0 has few digits left.
            mean = expected.get(name.replace("_std", "_mean")) or 0
            near = math.isclose(found[name], value, rel_tol=1e-9, abs_tol=1e-7 * abs(mean))
            assert near, (flow["flow_id"], name, found[name], value)
        else:
            assert found[name] == value, (flow["flow_id"], name)


# -- traffic of all kinds, at random ---------------------------------------------------------------

_V4 = ("192.0.2.1", "192.0.2.2", "198.51.100.7")
_ARP = ARP(hwsrc=ETHER.src, psrc=_V4[0], hwdst=ETHER.dst, pdst=_V4[1])
_OTHER_SESSION = "0c0ffee0-0000-4000-8000-000000000000"
_V6 = ("2001:db8::1", "2001:db8::2", "fe80::3")


def _ip(rng: random.Random) -> Packet:
    if rng.random() < 0.3:
        src, dst = rng.choices(_V6, k=2)
        return IPv6(src=src, dst=dst)
    src, dst = rng.choices(_V4, k=2)
    return IP(src=src, dst=dst, id=rng.choice((0, 7, rng.randrange(65_536))))


def _ports(rng: random.Random) -> dict[str, Any]:
    return {"sport": rng.choice((80, 443, 5000)), "dport": rng.choice((80, 443, 5000))}


def _tcp(rng: random.Random, ip: Packet) -> Packet:
    flags = rng.choice(("S", "SA", "A", "PA", "FA", "FA", "R", "PAU", "AEC", "SF"))
    options = [("MSS", 1400), ("WScale", 5), ("SAckOK", b""), ("Timestamp", (1, 2))]
    chosen = rng.sample(options, rng.randrange(5)) if "S" in flags else []
    numbers: dict[str, Any] = {"seq": rng.choice((1, 2**32 - 1)), "ack": rng.choice((1, 2, 40))}
    return ip / TCP(**_ports(rng), flags=flags, options=chosen, **numbers) / bytes(rng.randrange(9))


def _udp(rng: random.Random, ip: Packet) -> Packet:
    return ip / UDP(**_ports(rng)) / bytes(rng.randrange(40))


def _dns(rng: random.Random, ip: Packet) -> Packet:
    name = rng.choice(("example.org", "a.example", ""))
    message = DNS(qd=DNSQR(qname=name, qtype=rng.choice(("A", "AAAA"))))
    if rng.random() < 0.5:
        message.qr, message.rcode = 1, rng.choice((0, 3))
        message.an = DNSRR(rrname=name, rdata="192.0.2.9")
    return ip / UDP(sport=5000, dport=53) / message


def _icmp(rng: random.Random, ip: Packet) -> Packet:
    if isinstance(ip, IPv6):
        return ip / rng.choice((ICMPv6EchoRequest, ICMPv6EchoReply))()
    return ip / ICMP(type=rng.choice((0, 8, 13, 14, 17, 40)))


def _icmp_error(rng: random.Random, ip: Packet) -> Packet:
    quoted = bytes(_packet(rng))[: rng.choice((8, 28, 60))]
    if isinstance(ip, IPv6):
        return ip / ICMPv6TimeExceeded() / quoted
    return ip / ICMP(type=rng.choice((3, 11))) / quoted


def _other(rng: random.Random, ip: Packet) -> Packet:
    return _ARP if rng.random() < 0.5 else ip / bytes(rng.randrange(40))


def _packet(rng: random.Random) -> Packet:
    kinds = (_tcp, _tcp, _tcp, _tcp, _udp, _dns, _icmp, _icmp_error, _other)
    return rng.choice(kinds)(rng, _ip(rng))


def _fragments(rng: random.Random) -> list[Packet]:
    whole: Any = IP(src=_V4[0], dst=_V4[1], id=rng.randrange(1, 9)) / UDP(sport=80, dport=443)
    whole = IP(bytes(whole / bytes(rng.randrange(200))))
    pieces = list(whole.fragment(fragsize=64))
    return pieces if rng.random() < 0.7 else pieces[::-1]


@functools.cache
def rows_of_traffic(seed: int, count: int, step: float) -> pa.RecordBatch:
    """Return rows of packets a step apart in the mean; some are late, some come twice."""
    return making.rows_of(making.frames(traffic(seed, count, step)))


def traffic(seed: int, count: int, step: float) -> Iterator[Timed]:
    rng = random.Random(seed)
    time = 0.0
    for _ in range(count):
        time += rng.expovariate(1 / step)
        ether = ETHER / Dot1Q(vlan=rng.choice((1, 2))) if rng.random() < 0.1 else ETHER
        packets = _fragments(rng) if rng.random() < 0.05 else [_packet(rng)]
        for packet in packets:
            data = bytes(ether / packet)
            yield time - (rng.random() if rng.random() < 0.1 else 0), data
            if rng.random() < 0.05:
                yield time + 0.0005, data


@pytest.mark.parametrize(
    ("settings", "limits"),
    [
        (FlowSettings(), oracle.Limits()),
        (
            FlowSettings(2, 5, 0.5, community_id_seed=7, drop_duplicates=True),
            oracle.Limits(2 * SECOND, 5 * SECOND, SECOND // 2, seed=7, drops=True),
        ),
        (FlowSettings(0, 0, 0), oracle.Limits(0, 0, 0)),
    ],
    ids=["usual", "short", "none"],
)
@pytest.mark.parametrize("step", [0.01, 0.5])
def test_traffic_of_all_kinds(settings: FlowSettings, limits: oracle.Limits, step: float) -> None:
    rows = rows_of_traffic(1, 1000, step)
    made = check(rows, settings, limits)
    if settings == FlowSettings() and step < 0.1:
        assert min(made.counts.values()) > 0
    counted = {name: count for name, count in made.counts.items() if name != "flows"}
    assert sum(counted.values()) == rows.num_rows


def test_batches_make_no_difference() -> None:
    rows = rows_of_traffic(1, 1000, 0.5)
    settings = FlowSettings(3, 10, 1)
    whole = making.flows_of_rows(rows, settings)
    for at_once in (1, 7, 64):
        part = making.flows_of_rows(rows, settings, at_once=at_once)
        assert (part.flows, part.ids, part.counts) == (whole.flows, whole.ids, whole.counts)


def _begun(rng: random.Random, port: int) -> list[Timed]:
    """Return a packet that begins a flow, alone or with one that makes more of the flow."""
    source, target = rng.sample(_V4, k=2)
    ip: Any = IP(src=source, dst=target, id=rng.randrange(9))
    packet = rng.choice((_tcp, _tcp, _udp, _dns))(rng, ip)
    packet.sport = port
    answer: Any = IP(src=target, dst=source) / packet.payload.copy()
    answer.sport, answer.dport = packet.dport, port
    error = IP(src=_V4[2], dst=source) / ICMP(type=3) / bytes(packet)[:28]
    more = rng.choice(((), ((0.0005, packet),), ((1, packet),), ((0.1, answer),),
                       ((0.1, error),), ((0.1, error), (0.2, answer)), ((6, packet),)))  # fmt: skip
    return [(delay, bytes(ETHER / each)) for delay, each in ((0, packet), *more)]


def test_flows_of_one_packet_and_of_one_more() -> None:
    rng = random.Random(11)
    timed = [
        (0.01 * (port - 1000) + delay, data)
        for port in range(1000, 1600)
        for delay, data in _begun(rng, port)
    ]
    rows = making.rows_of(making.frames(sorted(timed, key=lambda each: each[0])))
    limits = oracle.Limits(8 * SECOND, 5 * SECOND, SECOND)
    made = check(rows, FlowSettings(8, 5, 1), limits)
    assert made.counts["icmp_errors"] > 0
    assert any(flow["part"] == 2 for flow in made.flows)
    assert {1, 2} <= {flow["packets_fwd"] + flow["packets_bwd"] for flow in made.flows}


def test_flags_that_no_decoder_writes() -> None:
    rows = making.rows_of(making.frames([(0, making.tcp("S")), (1, making.tcp("SA", back=True))]))
    for many in (1, 2):
        for flags in (0x8002, 0xFFFF):
            some = rows.slice(0, many)
            place = some.schema.get_field_index("tcp_flags")
            forged = pa.array([flags] * many, pa.uint16())
            check(some.set_column(place, "tcp_flags", forged), FlowSettings(), oracle.Limits())


def test_what_was_written_before_leaves_nothing_behind() -> None:
    """Flows of one packet are written where others were: those of a session that ended before."""
    rng = random.Random(12)
    alone = [(float(port), bytes(ETHER / _ip(rng) / UDP(sport=port))) for port in range(300)]
    rows = making.rows_of(making.frames(alone))
    flows = making.Collected()
    made = Recording(Targets(flows), FlowSettings(), Counters(*recording.COUNTED), joins=True)
    for each in (making.rows_of(making.frames(traffic(4, 600, 0.1)), _OTHER_SESSION), rows):
        made.append(each)
        made.finish()
    assert flows.batches[-1].to_pylist() == making.flows_of_rows(rows).flows


def test_sessions_that_are_joined_in_one_another_are_flows_of_their_own() -> None:
    frames = making.frames(traffic(3, 400, 0.3))
    parts = [
        making.rows_of(frames[place : place + 5], session)
        for place in range(0, len(frames), 5)
        for session in (making.SESSION, _OTHER_SESSION)
    ]
    rows = pa.Table.from_batches(parts).unify_dictionaries().combine_chunks().to_batches()[0]
    made = check(rows, FlowSettings(3, 10, 1), oracle.Limits(3 * SECOND, 10 * SECOND, SECOND))
    sessions = [flow["session"] for flow in made.flows]
    assert sessions.count(making.SESSION) == sessions.count(_OTHER_SESSION) == len(sessions) / 2


# -- captures --------------------------------------------------------------------------------------


def shared() -> list[Path]:
    """Return the captures beside the checkout."""
    return sorted(path for path in captures.SHARED.glob("*.pcap*")) if captures.SHARED else []


def rows_of_capture(path: Path) -> pa.RecordBatch | None:
    parts: list[pa.RecordBatch] = []
    with CaptureFile(str(path), batch_frames=65_536) as capture:
        try:
            for batch in capture:
                parts.append(decode_batch(batch, source="edge", session=capture.session))
        except DamagedCapture:
            pass
    whole = pa.Table.from_batches(parts).combine_chunks().to_batches() if parts else []
    return whole[0] if whole else None


@pytest.mark.parametrize("path", shared(), ids=lambda path: path.name)
def test_captures(path: Path) -> None:
    rows = rows_of_capture(path)
    if rows is not None:
        check(rows, FlowSettings(), oracle.Limits())


def test_a_frame_number_is_no_place() -> None:
    # Frames that were lost leave gaps; ids are made of numbers, not of places.
    made = [Frame(frame.number * 1000, *frame[1:]) for frame in making.frames(making.connection())]
    assert set(making.flows_of_rows(making.rows_of(made)).ids) == {f"{making.SESSION}-1000"}
