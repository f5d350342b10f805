"""Flows recomputed from rows of packets, from the definitions in ``docs/flows.rst`` alone.

Nothing of the package's own computation is used: packets of a flow are kept in a list, and every
column is computed from it when the flow has ended.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import itertools
import math
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]

SECOND = 1_000_000_000
LINGER = 10 * SECOND
FIRST = 8
FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns")
ANSWERS = {
    4: {8: 0, 0: 8, 13: 14, 14: 13, 15: 16, 16: 15, 10: 9, 9: 10, 17: 18, 18: 17},
    6: {128: 129, 129: 128, 133: 134, 134: 133, 135: 136, 136: 135, 130: 131, 131: 130,
        139: 140, 140: 139, 144: 145, 145: 144},
}  # fmt: skip
ERRORS = {4: (3, 4, 5, 11, 12), 6: (1, 2, 3, 4)}


@dataclass
class Limits:
    idle: int = 120 * SECOND
    active: int = 1800 * SECOND
    gap: int = 5 * SECOND
    seed: int = 0
    drops: bool = False


@dataclass
class Ends:
    """Addresses as packed bytes, ports (None: none), whether only one direction has the key."""

    src: bytes
    dst: bytes
    protocol: int
    ports: tuple[int, int] | None
    one_way: bool
    place: tuple[Any, ...]

    @property
    def is_low_first(self) -> bool:
        ports = self.ports or (0, 0)
        return self.one_way or (self.src, ports[0]) <= (self.dst, ports[1])

    @property
    def key(self) -> tuple[Any, ...]:
        ports = self.ports or (0, 0)
        ends = [(self.src, ports[0]), (self.dst, ports[1])]
        kind = (self.ports is None, self.one_way)
        both = tuple(ends) if self.one_way else tuple(sorted(ends))
        return (both, self.protocol, kind, self.place)


@dataclass
class Packet:
    row: Row
    time: int
    direction: int
    length: int
    payload: int
    header: int
    fragment: bool


@dataclass
class Flow:
    ends: Ends
    first: Row
    opened: int
    part: int = 1
    packets: list[Packet] = field(default_factory=list)
    touched: int = 0
    closed: bool = False
    fins: dict[int, int] = field(default_factory=dict)
    acked: set[int] = field(default_factory=set)
    errors: int = 0
    duplicates: int = 0
    traces: dict[int, tuple[Any, int]] = field(default_factory=dict)
    fanout: dict[str, int] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return f"{self.first['session']}-{self.first['frame_number']}"


class Oracle:
    """Takes rows in order; ``flows`` are those that ended, ``ids`` the flow of each row."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.live: dict[Any, Flow] = {}
        self.flows: list[Row] = []
        self.ids: list[str | None] = []
        self.clocks: dict[str, int] = {}
        self.begun: list[tuple[str, int, Ends]] = []
        self.fragments: dict[Any, tuple[int, Flow, int]] = {}

    def run(self, rows: Iterable[Row]) -> list[Row]:
        for row in rows:
            flow = self._take(row)
            self.ids.append(flow.id if flow else None)
        for flow in list(self.live.values()):
            if not self._is_over(flow):
                self._end(flow, 3 if flow.closed else 4)
        return self.flows

    def _take(self, row: Row) -> Flow | None:
        time, session = row["frame_time"], row["session"]
        if time is None or not -(2**62) < time < 2**62:
            return None
        self.clocks[session] = max(self.clocks.get(session, time), time)
        if row["ip_ihl"] is None and row["ipv6_plen"] is None:
            return None
        version = 4 if row["ip_ihl"] is not None else 6
        kind = row["icmp_type"] if row["icmp_type"] is not None else row["icmpv6_type"]
        if kind in ERRORS[version]:
            quoted = self._quoted(row, version)
            flow = quoted and self._find(quoted)
            if flow:
                flow.errors += 1
                return flow
        ends = self._ends(row, version)
        flow, direction = self._flow_of_fragment(row, version, ends)
        if flow is None:
            flow = self._flow(row, ends)
            direction = int(ends.is_low_first != flow.ends.is_low_first)
        if self._offset(row, version) == 0 and self._more(row, version):
            name = self._datagram(row, version, ends)
            self.fragments[name] = (self.clocks[session], flow, direction)
        self._add(flow, row, version, direction)
        return flow

    # -- which flow ------------------------------------------------------------------------------

    def _place(self, row: Row) -> tuple[Any, ...]:
        return (row["session"], row["vlan_id"], row["vlan2_id"])

    def _ends(self, row: Row, version: int) -> Ends:
        name = "ip" if version == 4 else "ipv6"
        src, dst = (ipaddress.ip_address(row[f"{name}_{end}"]).packed for end in ("src", "dst"))
        protocol = row[f"{name}_proto"]
        if protocol is None:
            protocol = 59
        ports, one_way = None, False
        if row["tcp_sport"] is not None:
            ports = (row["tcp_sport"], row["tcp_dport"])
        elif row["udp_sport"] is not None:
            ports = (row["udp_sport"], row["udp_dport"])
        elif row["icmp_type"] is not None or row["icmpv6_type"] is not None:
            icmp = "icmp" if row["icmp_type"] is not None else "icmpv6"
            ports, one_way = self._icmp(version, row[f"{icmp}_type"], row[f"{icmp}_code"])
        elif protocol == 132 and not self._offset(row, version):
            load = row["raw_load"] or b""
            if len(load) >= 12:
                ports = struct.unpack(">HH", load[:4])
        return Ends(src, dst, protocol, ports, one_way, self._place(row))

    @staticmethod
    def _icmp(version: int, kind: int, code: int) -> tuple[tuple[int, int], bool]:
        if kind in ANSWERS[version]:
            return (kind, ANSWERS[version][kind]), False
        return (kind, code), True

    def _quoted(self, row: Row, version: int) -> Ends | None:
        load = (row["raw_load"] or b"")[:128]
        if version == 4:
            if len(load) < 20 or load[0] >> 4 != 4 or load[0] & 15 < 5:
                return None
            size, protocol = 4 * (load[0] & 15), load[9]
            if struct.unpack(">H", load[6:8])[0] & 0x1FFF:
                return None
            src, dst = load[12:16], load[16:20]
        else:
            if len(load) < 40 or load[0] >> 4 != 6:
                return None
            size, protocol, src, dst = 40, load[6], load[8:24], load[24:40]
        ports, one_way = None, False
        if protocol in (1, 6, 17, 58, 132):
            if len(load) < size + 4:
                return None
            ports = struct.unpack(">HH", load[size : size + 4])
            if protocol in (1, 58):
                ports, one_way = self._icmp(version, load[size], load[size + 1])
        return Ends(src, dst, protocol, ports, one_way, self._place(row))

    def _find(self, ends: Ends) -> Flow | None:
        flow = self.live.get(ends.key)
        return None if flow is None or self._is_over(flow) else flow

    def _is_over(self, flow: Flow) -> bool:
        """End a flow that has waited too long; return whether it has."""
        limit = min(LINGER, self.limits.idle) if flow.closed else self.limits.idle
        if self.clocks[flow.first["session"]] - flow.touched <= limit:
            return False
        self._end(flow, 3 if flow.closed else 1)
        return True

    def _flow(self, row: Row, ends: Ends) -> Flow:
        flow = self._find(ends)
        clock = self.clocks[row["session"]]
        if flow and flow.closed and row["tcp_flags"] is not None and row["tcp_flags"] & 23 == 2:
            self._end(flow, 3)
            flow = None
        if flow and clock - flow.opened > self.limits.active:
            self._end(flow, 3 if flow.closed else 2)
            flow = Flow(flow.ends, row, clock, flow.part + 1, fanout=flow.fanout)
            self.live[ends.key] = flow
        if not flow:
            flow = Flow(ends, row, clock, fanout=self._fanout(row["session"], clock, ends))
            self.live[ends.key] = flow
        return flow

    def _fanout(self, session: str, clock: int, ends: Ends) -> dict[str, int]:
        self.begun.append((session, clock, ends))
        found = {}
        for seconds in (10, 60):
            mine = self._begun_since(session, clock - seconds * SECOND, ends.src)
            ports = {
                (each.protocol, each.ports[1])
                for each in mine
                if each.ports and each.protocol in (6, 17, 132)
            }
            found[f"fanout_flows_{seconds}s"] = len(mine)
            found[f"fanout_ports_{seconds}s"] = len(ports)
            found[f"fanout_hosts_{seconds}s"] = len({each.dst for each in mine})
        return found

    def _begun_since(self, session: str, since: int, src: bytes) -> list[Ends]:
        found = []
        for name, when, ends in reversed(self.begun):
            if name == session and when <= since:
                break  # clocks only move on
            if name == session and ends.src == src:
                found.append(ends)
        return found

    # -- fragments -------------------------------------------------------------------------------

    @staticmethod
    def _offset(row: Row, version: int) -> int:
        return (row["ip_frag"] if version == 4 else row["ipv6_frag"]) or 0

    @staticmethod
    def _more(row: Row, version: int) -> bool:
        return bool(row["ip_flags"] & 1 if version == 4 else row["ipv6_more"])

    def _datagram(self, row: Row, version: int, ends: Ends) -> tuple[Any, ...]:
        name = row["ip_id"] if version == 4 else row["ipv6_frag_id"]
        return (ends.src, ends.dst, ends.protocol if version == 4 else 0, name, ends.place)

    def _flow_of_fragment(self, row: Row, version: int, ends: Ends) -> tuple[Flow | None, int]:
        if self._offset(row, version):
            known = self.fragments.get(self._datagram(row, version, ends))
            if known and self.clocks[row["session"]] - known[0] <= 60 * SECOND:
                _, flow, direction = known
                if self.live.get(flow.ends.key) is flow and not self._is_over(flow):
                    return flow, direction
        return None, 0

    # -- packets of a flow -----------------------------------------------------------------------

    def _add(self, flow: Flow, row: Row, version: int, direction: int) -> None:
        clock = self.clocks[row["session"]]
        packet = self._packet(row, version, direction)
        is_twice = self._is_twice(flow, packet, version)
        flow.duplicates += is_twice
        if is_twice and self.limits.drops:
            return
        flow.touched = clock
        flow.traces[direction] = (self._trace(row, version, packet.length), packet.time)
        flow.packets.append(packet)
        if row["tcp_flags"] is not None:
            self._follow(flow, packet)

    @staticmethod
    def _trace(row: Row, version: int, length: int) -> Any:
        if version == 6 or not row["ip_id"]:
            return None
        checksum = max(row["tcp_chksum"] or 0, row["udp_chksum"] or 0)
        return (row["ip_id"], checksum, row["ip_frag"], row["ip_flags"] & 1, length % 65_536)

    def _is_twice(self, flow: Flow, packet: Packet, version: int) -> bool:
        trace = self._trace(packet.row, version, packet.length)
        before, time = flow.traces.get(packet.direction, (None, 0))
        return trace is not None and trace == before and 0 <= packet.time - time <= 1_000_000

    def _packet(self, row: Row, version: int, direction: int) -> Packet:
        ip_header = 4 * row["ip_ihl"] if version == 4 else 40
        length = row["ip_len"] if version == 4 else row["ipv6_plen"]
        if version == 6 and length:
            length += 40
        payload, header = row["raw_len"] or 0, 0
        is_fragment = bool(self._offset(row, version)) or self._more(row, version)
        if row["tcp_sport"] is not None:
            header = max(4 * row["tcp_dataofs"], 20)
            if row["tcp_payload_len"] is not None:
                payload = row["tcp_payload_len"]
        elif row["udp_sport"] is not None:
            header = 8
            if not is_fragment and row["udp_len"] >= 8:
                payload = row["udp_len"] - 8
        elif row["icmp_type"] is not None or row["icmpv6_type"] is not None:
            header = 8
        length = min(length or ip_header + header + payload, row["frame_len"])
        payload = min(payload, max(length - ip_header - header, 0))
        return Packet(row, row["frame_time"], direction, length, payload, header, is_fragment)

    def _follow(self, flow: Flow, packet: Packet) -> None:
        row, direction, flags = packet.row, packet.direction, packet.row["tcp_flags"]
        if flags & 1 and direction not in flow.fins:
            syn = flags >> 1 & 1
            flow.fins[direction] = (row["tcp_seq"] + packet.payload + syn + 1) % 2**32
        awaited = flow.fins.get(1 - direction)
        if flags & 16 and awaited is not None and (row["tcp_ack"] - awaited) % 2**32 < 2**31:
            flow.acked.add(1 - direction)
        if flags & 4 or flow.acked == {0, 1}:
            flow.closed = True

    # -- columns ---------------------------------------------------------------------------------

    def _end(self, flow: Flow, reason: int) -> None:
        del self.live[flow.ends.key]
        self.flows.append(columns(flow, reason, self.limits))


def columns(flow: Flow, reason: int, limits: Limits) -> Row:
    """Return the row of a flow."""
    packets, first, ends = flow.packets, flow.first, flow.ends
    times = [packet.time for packet in packets]
    is_v4 = len(ends.src) == 4
    ports: tuple[int | None, int | None] = (None, None)
    if ends.ports and ends.protocol not in (1, 58):
        ports = ends.ports
    row: Row = {
        "flow_id": flow.id, "source": first["source"], "session": first["session"],
        "community_id": community_id(ends, limits.seed), "first_frame": first["frame_number"],
        "start_time": min(times), "end_time": max(times),
        "vlan_id": first["vlan_id"], "vlan2_id": first["vlan2_id"],
        "src_ip": str(ipaddress.ip_address(ends.src)),
        "dst_ip": str(ipaddress.ip_address(ends.dst)),
        "src_port": ports[0], "dst_port": ports[1],
        "ip_version": 4 if is_v4 else 6, "protocol": ends.protocol,
        "part": flow.part, "end_reason": reason,
        "out_of_order": sum(after < before for before, after in itertools.pairwise(times)),
        "duplicates": flow.duplicates, "icmp_errors": flow.errors,
        "fragments": sum(packet.fragment for packet in packets),
        "duration": max(times) - min(times),
        **flow.fanout,
    }  # fmt: skip
    row |= counts(packets)
    row |= statistics("length", packets, lambda chosen: [each.length for each in chosen])
    row |= statistics("payload", packets, lambda chosen: [each.payload for each in chosen])
    row |= statistics("iat", packets, gaps)
    row["subflows"] = 1 + sum(gap > SECOND for gap in gaps(packets))
    row |= periods(times, limits.gap)
    row |= tcp(packets)
    row |= dns(packets)
    some = packets[:FIRST]
    row["first_lengths"] = [each.length for each in some]
    row["first_directions"] = [each.direction for each in some]
    row["first_iats"] = [0, *gaps(some)]
    return row


def sides(packets: Sequence[Packet]) -> Iterable[tuple[str, list[Packet]]]:
    for direction, suffix in enumerate(("_fwd", "_bwd")):
        yield suffix, [packet for packet in packets if packet.direction == direction]


def counts(packets: Sequence[Packet]) -> Row:
    row: Row = {}
    for suffix, chosen in sides(packets):
        row[f"packets{suffix}"] = len(chosen)
        row[f"bytes{suffix}"] = sum(each.length for each in chosen)
        row[f"payload_bytes{suffix}"] = sum(each.payload for each in chosen)
        row[f"header_bytes{suffix}"] = sum(each.header for each in chosen)
        row[f"header_min{suffix}"] = min((each.header for each in chosen), default=None)
        row[f"payload_packets{suffix}"] = sum(each.payload > 0 for each in chosen)
    return row


def gaps(packets: Sequence[Packet]) -> list[int]:
    return [after.time - before.time for before, after in itertools.pairwise(packets)]


def summary(name: str, values: Sequence[int], suffix: str = "") -> Row:
    count = len(values)
    mean = sum(values) / count if count else None
    std = None
    if count > 1:
        # Exact, and rounded once: count^2 times the variance is a whole number.
        squares = count * sum(value * value for value in values) - sum(values) ** 2
        std = math.sqrt(squares / (count * (count - 1)))
    return {
        f"{name}_min{suffix}": min(values, default=None),
        f"{name}_mean{suffix}": mean,
        f"{name}_std{suffix}": std,
        f"{name}_max{suffix}": max(values, default=None),
    }


def statistics(name: str, packets: Sequence[Packet], values: Any) -> Row:
    row = summary(name, values(packets))
    for suffix, chosen in sides(packets):
        row |= summary(name, values(chosen), suffix)
    return row


def periods(times: Sequence[int], gap: int) -> Row:
    active, idle = [], []
    since = latest = times[0]
    for time in times:
        if time - latest > gap:
            active.append(latest - since)
            idle.append(time - latest)
            since = time
        latest = max(latest, time)
    active.append(latest - since)
    return {"active_periods": len(active), **summary("active", active), **summary("idle", idle)}


def tcp(packets: Sequence[Packet]) -> Row:
    row: Row = {}
    is_tcp = any(packet.row["tcp_flags"] is not None for packet in packets)
    for suffix, chosen in sides(packets):
        mine = [each.row for each in chosen if each.row["tcp_flags"] is not None]
        for bit, flag in enumerate(FLAGS):
            total = sum(each["tcp_flags"] >> bit & 1 for each in mine)
            row[f"tcp_{flag}{suffix}"] = total if is_tcp else None
        syn = next((each for each in mine if each["tcp_flags"] & 2), None)
        row[f"tcp_window{suffix}"] = mine[0]["tcp_window"] if mine else None
        row[f"tcp_mss{suffix}"] = syn and syn["tcp_options_mss"]
        row[f"tcp_wscale{suffix}"] = syn and syn["tcp_options_wscale"]
        row[f"tcp_sack_ok{suffix}"] = syn and int(bool(syn["tcp_options_sackok"]))
        row[f"tcp_timestamps{suffix}"] = syn and int(syn["tcp_options_tsval"] is not None)
    return row


def dns(packets: Sequence[Packet]) -> Row:
    messages = [packet.row for packet in packets if packet.row["dns_qr"] is not None]
    asked = next((each for each in messages if each["dns_qd_qtype"] is not None), None)
    answered = next((each for each in messages if each["dns_qr"] == 1), None)
    return {
        "dns_queries": sum(each["dns_qr"] == 0 for each in messages) if messages else None,
        "dns_responses": sum(each["dns_qr"] == 1 for each in messages) if messages else None,
        "dns_qname": asked and asked["dns_qd_qname"],
        "dns_qtype": asked and asked["dns_qd_qtype"],
        "dns_rcode": answered and answered["dns_rcode"],
    }


def community_id(ends: Ends, seed: int) -> str:
    src, dst, ports = ends.src, ends.dst, ends.ports
    if not ends.is_low_first:
        src, dst, ports = dst, src, ports and (ports[1], ports[0])
    text = struct.pack(">H", seed) + src + dst + bytes((ends.protocol, 0))
    text += struct.pack(">HH", *ports) if ports else b""
    return "1:" + base64.b64encode(hashlib.sha1(text).digest()).decode()
