"""The columns of a flow, as one table: the Arrow schema, the exports and ``docs/flows.rst``.

``role`` says what a column may be used for: ``identity`` names hosts, flows and times, which a
model would only learn by heart, ``context`` says how the flow was measured, ``feature`` what it was
like. ``_fwd`` is the direction of the flow's first packet, ``_bwd`` the other one, a column without
either is of both. A value that is not defined is absent: absent is not zero.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from network_pipeline.flows.fields import FIRST_PACKETS, FLAGS

if TYPE_CHECKING:
    import pyarrow as pa


class FlowColumn(NamedTuple):
    """One column: its name, stored type, role, unit and definition."""

    name: str
    type: str
    role: str
    unit: str
    meaning: str


_DIRECTIONS = (("fwd", "forward"), ("bwd", "backward"))
#: Of what there are statistics: packets of both directions and of each, or all there is.
_ALL_SIDES = (("", "all"), ("_fwd", "forward"), ("_bwd", "backward"))
_NO_SIDES = (("", ""),)


def _series(
    name: str, kind: str, unit: str, of: str, sides: Sequence[tuple[str, str]]
) -> Iterator[FlowColumn]:
    """Yield least, mean, standard deviation and largest value, for each of some directions."""
    for suffix, which in sides:
        yield FlowColumn(f"{name}_min{suffix}", kind, "feature", unit,
                         "least " + of.format(which=which))  # fmt: skip
        yield FlowColumn(f"{name}_mean{suffix}", "float64", "feature", unit,
                         f"mean of the values of {name}_min{suffix}: sum / n")  # fmt: skip
        yield FlowColumn(f"{name}_std{suffix}", "float64", "feature", unit,
                         "their standard deviation, sqrt(sum((x - mean)^2) / (n - 1)); "
                         "absent below two values")  # fmt: skip
        yield FlowColumn(f"{name}_max{suffix}", kind, "feature", unit, "largest of them")


def _each_way(name: str, kind: str, unit: str, meaning: str) -> Iterator[FlowColumn]:
    for short, long in _DIRECTIONS:
        yield FlowColumn(f"{name}_{short}", kind, "feature", unit, meaning.format(which=long))


def _fanout() -> Iterator[FlowColumn]:
    for what, meaning in (
        ("flows", "flows that src_ip began"),
        ("ports", "pairs of protocol and dst_port that they went to"),
        ("hosts", "dst_ip that they went to"),
    ):
        for seconds in (10, 60):
            yield FlowColumn(f"fanout_{what}_{seconds}s", "uint32", "feature", what,
                             f"{meaning} in the {seconds} s up to this flow's first packet, by the "
                             "session's clock, this flow included")  # fmt: skip


# fmt: off
FLOW_COLUMNS: tuple[FlowColumn, ...] = (
    FlowColumn("flow_id", "string", "identity", "",
               "session, '-' and first_frame: the same packets always give the same id"),
    FlowColumn("source", "string", "identity", "", "agent that captured the packets"),
    FlowColumn("session", "string", "identity", "", "capture run; a flow lies within one"),
    FlowColumn("community_id", "string", "identity", "",
               "Corelight's community id, version 1, which other tools give the flow too"),
    FlowColumn("first_frame", "uint64", "identity", "", "frame_number of the first packet"),
    FlowColumn("start_time", "timestamp[ns, UTC]", "identity", "",
               "earliest capture time of its packets"),
    FlowColumn("end_time", "timestamp[ns, UTC]", "identity", "",
               "latest capture time of its packets"),
    FlowColumn("vlan_id", "uint16", "identity", "", "outer VLAN, absent without a tag"),
    FlowColumn("vlan2_id", "uint16", "identity", "", "inner VLAN, absent without one"),
    FlowColumn("src_ip", "string", "identity", "", "sender of the first packet"),
    FlowColumn("dst_ip", "string", "identity", "", "its receiver"),
    FlowColumn("src_port", "uint16", "identity", "",
               "port of the sender: TCP, UDP, and SCTP where the payload is known"),
    FlowColumn("dst_port", "uint16", "identity", "", "port of the receiver"),
    FlowColumn("ip_version", "uint8", "context", "", "4 or 6"),
    FlowColumn("protocol", "uint8", "feature", "",
               "IP protocol number; of IPv6 the one after the extension headers"),
    FlowColumn("icmp_type", "uint8", "feature", "", "of the first packet, ICMP or ICMPv6"),
    FlowColumn("icmp_code", "uint8", "feature", "", "of the first packet, ICMP or ICMPv6"),
    FlowColumn("part", "uint16", "context", "",
               "1, or which part of a flow this is that the active time-out has cut"),
    FlowColumn("end_reason", "uint8", "context", "",
               "why it ended (IPFIX flowEndReason): 1 idle, 2 active time-out, 3 end of TCP, 4 the "
               "input ended, 5 no room for more flows"),
    FlowColumn("out_of_order", "uint64", "context", "packets",
               "packets captured before the one before them in the flow"),
    FlowColumn("duplicates", "uint64", "context", "packets",
               "packets captured twice: direction, IPv4 identification (not 0), fragment, length "
               "and checksum of TCP or UDP are those of the one before, at most 1 ms earlier"),
    FlowColumn("icmp_errors", "uint64", "feature", "packets",
               "ICMP errors that quote a packet of the flow; they count nowhere else"),
    FlowColumn("fragments", "uint64", "feature", "packets", "packets that are IP fragments"),
    FlowColumn("duration", "int64", "feature", "ns", "end_time - start_time"),
    *_each_way("packets", "uint64", "packets", "packets {which}"),
    *_each_way("bytes", "uint64", "bytes", "sum of the lengths of IP packets {which}"),
    *_each_way("payload_bytes", "uint64", "bytes", "sum of the payload lengths {which}"),
    *_each_way("header_bytes", "uint64", "bytes",
               "sum of the transport headers' lengths {which}: TCP 4 tcp_dataofs, UDP 8, ICMP 8"),
    *_each_way("header_min", "uint16", "bytes",
               "least transport header {which}; absent without a packet"),
    *_each_way("payload_packets", "uint64", "packets", "packets {which} with a payload"),
    *_series("length", "uint32", "bytes", "length of the IP packets, {which}", _ALL_SIDES),
    *_series("payload", "uint32", "bytes", "payload above the transport header, {which} packets",
             _ALL_SIDES),
    *_series("iat", "int64", "ns",
             "inter-arrival time: capture time less that of the packet before, {which}; negative "
             "where the order is not that of time; absent below two packets", _ALL_SIDES),
    FlowColumn("subflows", "uint32", "feature", "",
               "1 and one more for each inter-arrival time above 1 s"),
    FlowColumn("active_periods", "uint32", "feature", "",
               "periods in which no packet was later than the activity gap after those before"),
    *_series("active", "int64", "ns", "duration of an active period, first to last packet",
             _NO_SIDES),
    *_series("idle", "int64", "ns", "time between two active periods, absent if there is one",
             _NO_SIDES),
    *(
        FlowColumn(f"tcp_{flag}_{short}", "uint32", "feature", "packets",
                   f"packets {long} with the TCP flag {flag.upper()}; absent without TCP")
        for short, long in _DIRECTIONS
        for flag in FLAGS
    ),
    *_each_way("tcp_window", "uint16", "",
               "window of the first TCP packet {which}, unscaled; absent without one"),
    *_each_way("tcp_mss", "uint16", "bytes",
               "maximum segment size of the first SYN {which}; absent without the option"),
    *_each_way("tcp_wscale", "uint8", "",
               "window scale shift of the first SYN {which}; absent without the option"),
    *_each_way("tcp_sack_ok", "uint8", "",
               "1 where the first SYN {which} permits SACK, 0 where not; absent without a SYN"),
    *_each_way("tcp_timestamps", "uint8", "",
               "1 where the first SYN {which} has timestamps, 0 where not; absent without a SYN"),
    FlowColumn("dns_queries", "uint32", "feature", "messages", "DNS queries; absent without DNS"),
    FlowColumn("dns_responses", "uint32", "feature", "messages",
               "DNS responses; absent without DNS"),
    FlowColumn("dns_qname", "string", "identity", "",
               "name of the first question, of a query or its response"),
    FlowColumn("dns_qtype", "uint16", "feature", "", "type of that question"),
    FlowColumn("dns_rcode", "uint8", "feature", "", "response code of the first response"),
    *_fanout(),
    FlowColumn("first_lengths", "list<uint32>", "feature", "bytes",
               f"IP lengths of the first {FIRST_PACKETS} packets"),
    FlowColumn("first_directions", "list<uint8>", "feature", "",
               "their directions: 0 forward, 1 backward"),
    FlowColumn("first_iats", "list<int64>", "feature", "ns",
               "their inter-arrival times; the first is 0"),
)
# fmt: on

#: Changes when a column's name, type or place changes.
FLOW_SCHEMA_VERSION = hashlib.sha256(
    "\n".join(f"{column.name}\t{column.type}" for column in FLOW_COLUMNS).encode()
).hexdigest()[:16]


#: Columns that every flow has a value of, besides those of its first packets, which are lists.
_ALWAYS = frozenset((
    "flow_id", "source", "session", "community_id", "first_frame", "start_time", "end_time",
    "src_ip", "dst_ip", "ip_version", "protocol", "part", "end_reason", "out_of_order",
    "duplicates", "icmp_errors", "fragments", "duration", "subflows", "active_periods",
    *(f"{name}_{side}" for side, _ in _DIRECTIONS
      for name in ("packets", "bytes", "payload_bytes", "header_bytes", "payload_packets")),
    *(f"{name}_{what}" for name in ("length", "payload", "active")
      for what in ("min", "mean", "max")),
    *(column.name for column in _fanout()),
))  # fmt: skip


@functools.cache
def arrow_schema() -> pa.Schema:
    """Return the schema of flows; the metadata of a field has its ``role`` and ``unit``.

    What every flow has a value of is not nullable: that need not be said of every row.
    """
    import pyarrow as pa  # noqa: PLC0415

    types = {
        "string": pa.string(),
        "timestamp[ns, UTC]": pa.timestamp("ns", "UTC"),
        **{f"list<{kind}>": _list_of(kind) for kind in ("uint32", "uint8", "int64")},
    }
    fields = [
        pa.field(
            column.name,
            types.get(column.type) or pa.type_for_alias(column.type),
            nullable=not (column.name in _ALWAYS or column.type.startswith("list")),
            metadata={"role": column.role, "unit": column.unit},
        )
        for column in FLOW_COLUMNS
    ]
    return pa.schema(fields, {"schema": FLOW_SCHEMA_VERSION})


def _list_of(kind: str) -> pa.DataType:
    import pyarrow as pa  # noqa: PLC0415

    return pa.list_(pa.field("element", pa.type_for_alias(kind), nullable=False))
