"""What is known of a flow while it goes on, by its place in the rows of a store.

A store has matrices with a row for each flow: ``WORDS`` (uint64) are what it is found by,
``NUMBERS`` (int64) times in nanoseconds and sums, of which ``iats`` and ``series`` lie apart, and
``COUNTS`` (int32) all that is small, of which ``sides`` and ``lengths`` lie apart; sums of squared
deviations (float64) are of ``SERIES``. Names that end in ``*2`` are two fields, of the direction of
the flow's first packet and of the other one; ``sides`` are all fields of ``SIDE`` for each of them.
In ``COUNTS`` and ``SIDE`` -1 is a fact that was not seen; what stands before ``icmp_type`` there is
said by the key and not kept, what stands before ``reason`` is of the whole flow, the rest of the
part of it that goes on. From ``last`` and ``is_closed`` on, up to
what lies apart, are those that nobody needs of a flow that has ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

#: Of how many packets at a flow's beginning lengths, directions and inter-arrivals are kept.
FIRST_PACKETS: Final = 8

#: TCP's flags, from bit 0 on.
FLAGS: Final = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns")

#: Values of which a flow keeps number, least, largest, sum and squared deviations.
SERIES: Final = (
    "length_fwd", "length_bwd", "payload_fwd", "payload_bwd",
    "iat", "iat_fwd", "iat_bwd", "active", "idle",
)  # fmt: skip

#: Reasons of a flow's end (RFC 5102 section 5.11.3, flowEndReason).
IDLE: Final = 1
ACTIVE: Final = 2
ENDED: Final = 3
FORCED: Final = 4
NO_ROOM: Final = 5

#: Why a frame belongs to no flow.
WITHOUT_FLOW: Final = ("no IP header", "no time")


def _places(names: Iterable[str]) -> dict[str, int]:
    places: dict[str, int] = {}
    place = 0
    for name in names:
        bare, _, count = name.partition("*")
        places[bare] = place
        place += int(count or 1)
    places[""] = place  # how many there are
    return places


WORDS: Final = _places(("key*6", "last_seen*2"))

NUMBERS: Final = _places(
    (
        "first_frame", "start", "end", "name", "header_bytes*2",
        "last", "last_of*2", "opened", "active_since", "fin_end*2",
        f"iats*{FIRST_PACKETS}", f"series*{4 * len(SERIES)}",
    )
)  # fmt: skip

SIDE: Final = _places(
    (
        f"flags*{len(FLAGS)}", "payload_packets",
        "header_min", "window", "mss", "wscale", "sack_ok", "timestamps",
    )
)  # fmt: skip

COUNTS: Final = _places(
    (
        "session", "version", "protocol", "src_port", "dst_port", "kind", "vlan", "vlan2",
        "icmp_type", "icmp_code", "is_low_first", "part", "fanout*6",
        "reason", "out_of_order", "fragments", "icmp_errors", "duplicates", "subflows",
        "dns_queries", "dns_responses", "dns_qtype", "dns_rcode", "is_closed", "acked",
        f"sides*{2 * SIDE['']}", f"lengths*{FIRST_PACKETS}",
    )
)  # fmt: skip

#: Of ``NUMBERS`` and ``COUNTS``, how many at their beginning lie apart, of flows of any length.
OF_BEGINNING: Final = NUMBERS["end"]
OF_WHOLE: Final = COUNTS["reason"]
#: Of ``COUNTS``, how many before those are only of flows that have ended.
OF_KEY: Final = COUNTS["icmp_type"]

#: What is kept of a flow's only packet (:mod:`.kept`), in ``kept`` (int32) and, where ``is_only``,
#: ``small`` (int16); ``flags`` are -1 without TCP. From ``window`` and ``wscale`` on it is what the
#: direction's fields of the same names will be.
KEPT: Final = _places(("length", "payload_len", "window", "mss"))
SMALL: Final = _places(
    ("is_only", "header", "is_fragment", "flags", "wscale", "sack_ok", "timestamps")
)

#: Columns of packets that flows are made of: numbers, which are -1 where they are absent.
READ_NUMBERS: Final = (
    "frame_number", "frame_time", "frame_len", "vlan_id", "vlan2_id",
    "ip_ihl", "ip_len", "ip_id", "ip_flags", "ip_frag", "ip_proto",
    "ipv6_plen", "ipv6_proto", "ipv6_frag", "ipv6_more", "ipv6_frag_id",
    "icmp_type", "icmp_code", "icmpv6_type", "icmpv6_code",
    "tcp_sport", "tcp_dport", "tcp_seq", "tcp_ack", "tcp_dataofs", "tcp_flags", "tcp_window",
    "tcp_chksum", "tcp_payload_len", "tcp_options_mss", "tcp_options_wscale",
    "tcp_options_sackok", "tcp_options_tsval",
    "udp_sport", "udp_dport", "udp_len", "udp_chksum",
    "dns_qr", "dns_rcode", "dns_qd_qtype", "raw_len",
)  # fmt: skip

#: And texts.
READ_ADDRESSES: Final = ("ip_src", "ip_dst", "ipv6_src", "ipv6_dst")
READ_TEXTS: Final = ("source", "session", *READ_ADDRESSES, "dns_qd_qname")

#: What a flow's ports are: none, ports, an ICMP type and that of its answer, an ICMP type and code.
NO_PORTS: Final = 0
PORTS: Final = 1
ICMP_PAIR: Final = 2
ICMP_ONE_WAY: Final = 3
