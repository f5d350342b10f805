"""Rows that tshark's fields amount to: one plain conversion for each column.

Only the outermost layers are expected: ``frame.protocols`` tells where the first tunnel, embedded
datagram or unknown protocol begins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any, NamedTuple

from network_pipeline.schema import COLUMNS, Column

#: What tshark printed for one frame: field name to its values, in order.
Fields = dict[str, list[str]]

_LINKS = ("eth", "sll", "null", "raw")
_TAGS = ("vlan", "ieee8021ad")
_ABOVE_LINKS = ("arp", "ip", "ipv6")
_EXTENSIONS = (
    *("ipv6.hopopts", "ipv6.routing", "ipv6.dstopts", "ipv6.fraghdr"),
    *("ah", "hip", "mipv6", "shim6"),
)
_ABOVE_IP = ("icmp", "icmpv6", "tcp", "udp")
_DNS = ("dns", "mdns", "llmnr")

_MORE_FIELDS = (
    "frame.encap_type",
    "frame.protocols",
    "data.data",
    "dns.count.prerequisites",
    "dns.count.updates",
    "dns.count.zones",
    "dns.dname",
    "dns.flags",
    "dns.ns",
    "dns.ptr.domain_name",
    "dns.qry.qu",
    "dns.resp.len",
    "dns.srv.name",
    "dns.srv.proto",
    "dns.srv.service",
    "icmp.data_time",
    "icmpv6.nd.na.target_address",
    "ieee8021ad.cvid",
    "ieee8021ad.dei",
    "ieee8021ad.id",
    "ieee8021ad.priority",
    "ieee8021ad.svid",
    "ieee8021ah.etype",
    "sll.trailer",
    "tcp.options.sack_re",
    "vlan.trailer",
)

#: Every field that a conversion needs.
FIELD_NAMES = list(
    dict.fromkeys(
        [name for column in COLUMNS for name in column.tshark.split(", ") if name]
        + list(_MORE_FIELDS)
    )
)

#: A protocol must lie above the one before it, or beside it where its level is repeatable.
_LEVELS = {
    **dict.fromkeys(_LINKS, 0),
    **dict.fromkeys(_TAGS, 1),
    **dict.fromkeys(_ABOVE_LINKS, 2),
    **dict.fromkeys(_EXTENSIONS, 3),
    **dict.fromkeys(_ABOVE_IP, 4),
    **dict.fromkeys(_DNS, 5),
}
#: Protocols that a profile must leave on: the others have no columns.
PROTOCOLS = {*_LEVELS, "frame", "ethertype", "data", "_ws.malformed", "_ws.short"}

_REPEATABLE = (1, 3)
_MOST_TAGS = 2


def protocols(fields: Fields) -> str:
    """Return the stack that tshark decoded, such as ``eth:ethertype:ip:udp:dns``."""
    return fields.get("frame.protocols", [""])[0]


def outermost(fields: Fields) -> list[str]:
    """Return the protocols of ``frame.protocols`` that have columns, without what they carry."""
    stack: list[str] = []
    level = -1
    for protocol in protocols(fields).split(":"):
        if protocol in ("ethertype", "frame"):
            continue
        here = _LEVELS.get(protocol, -1)
        depth = sum(name in _TAGS for name in stack)
        if here < level or (here == level and here not in _REPEATABLE):
            break
        if (here == 1 and depth == _MOST_TAGS) or (here == 3 and "ipv6" not in stack):
            break
        if (here > 2 and "arp" in stack) or (here == 5 and stack[-1] not in ("tcp", "udp")):
            break
        stack.append(protocol)
        level = here
    return stack


class Seen(NamedTuple):
    """One frame in tshark's eyes: its fields and its outermost protocols."""

    fields: Fields
    stack: list[str]

    def first(self, name: str) -> str | None:
        values = self.fields.get(name)
        return values[0] if values else None

    def number(self, name: str) -> int | None:
        value = self.first(name)
        return None if value is None else int(value, 0)


def expected_row(fields: Fields) -> dict[str, Any]:
    """Return the row that tshark's fields amount to; columns without a field are left out."""
    seen = Seen(fields, outermost(fields))
    layers = {"frame", "raw", "padding", *seen.stack} - {"vlan"}
    layers |= {"dns"} if layers & {"mdns", "llmnr"} else set()
    layers |= set(("vlan", "vlan2")[: len(tags(seen))])
    row = {}
    for name, layer, convert in _CONVERSIONS:
        value = convert(seen) if layer in layers else None
        if value is not None:
            row[name] = value
    return row


def _plain(column: Column) -> Callable[[Seen], Any]:
    if column.type.startswith("uint"):
        return lambda seen: seen.number(column.tshark)
    return lambda seen: _text(seen.first(column.tshark))


def _text(value: str | None) -> str | None:
    """Return a value without tshark's words for one that is not there."""
    return None if value in ("<MISSING>", "unknown") else value


def _divided(name: str, by: int) -> Callable[[Seen], int | None]:
    """Return the conversion of a field that tshark prints in bytes."""

    def convert(seen: Seen) -> int | None:
        value = seen.number(name)
        return None if value is None else value // by

    return convert


def _time(seen: Seen) -> str | None:
    value = seen.first("frame.time_epoch")
    if value is None:
        return None
    second, nanosecond = value.split(".")
    return f"{datetime.fromtimestamp(int(second), UTC):%Y-%m-%dT%H:%M:%S}.{nanosecond}Z"


def _tag(depth: int, part: str) -> Callable[[Seen], int | None]:
    """Return the conversion of a part of the outer (0) or inner (1) tag."""
    return lambda seen: tags(seen)[depth].get(part)


def tags(seen: Seen) -> list[dict[str, int]]:
    """Return the tags of either kind, outermost first; two 802.1ad ones are one protocol."""
    found: list[dict[str, int]] = []
    for protocol in dict.fromkeys(name for name in seen.stack if name in _TAGS):
        found += _TAGS_OF[protocol](seen.fields)
    return found[:_MOST_TAGS]


def _customer_tags(fields: Fields) -> list[dict[str, int]]:
    names = {"prio": "priority", "dei": "dei", "id": "id", "type": "etype"}
    return _rows({part: fields.get(f"vlan.{name}", []) for part, name in names.items()})


def _provider_tags(fields: Fields) -> list[dict[str, int]]:
    def values(name: str) -> list[str]:
        return fields.get(f"ieee8021ad.{name}", [])

    outer_types = ["0x88a8"] if values("cvid") else []
    columns = {
        "prio": values("priority"),
        "dei": values("dei"),
        "id": values("id") + values("svid") + values("cvid"),
        "type": outer_types + fields.get("ieee8021ah.etype", []),
    }
    return _rows(columns)


def _rows(columns: dict[str, list[str]]) -> list[dict[str, int]]:
    """Return the values of all columns by row, those that a row lacks left out."""
    rows = zip_longest(*columns.values())
    return [
        {part: int(value, 0) for part, value in zip(columns, row, strict=True) if value is not None}
        for row in rows
    ]


_TAGS_OF = {"vlan": _customer_tags, "ieee8021ad": _provider_tags}


def _within(protocol: str, name: str) -> Callable[[Seen], int | None]:
    """Return the conversion of a field of an outermost protocol that has no layer of its own."""
    return lambda seen: seen.number(name) if protocol in seen.stack else None


_QUERIES = (0, 8, 13, 14, 15, 16, 17, 18)


def _of_type(layer: str, types: tuple[int, ...], name: str) -> Callable[[Seen], int | None]:
    """Return the conversion of a field that some ICMP types have; embedded datagrams may too."""
    return lambda seen: seen.number(name) if seen.number(f"{layer}.type") in types else None


def _bits(name: str, shift: int, mask: int) -> Callable[[Seen], int | None]:
    """Return the conversion of a part of a field of flags."""

    def convert(seen: Seen) -> int | None:
        value = seen.number(name)
        return None if value is None else value >> shift & mask

    return convert


def _present(name: str) -> Callable[[Seen], int | None]:
    """Return the conversion of a field whose presence is its value."""
    return lambda seen: 1 if seen.first(name) is not None else None


def _sack(seen: Seen) -> str | None:
    left = seen.fields.get("tcp.options.sack_le", [])
    right = seen.fields.get("tcp.options.sack_re", [])
    return ";".join(f"{one}-{other}" for one, other in zip_longest(left, right)) or None


def _target(seen: Seen) -> str | None:
    kind = {135: "ns", 136: "na"}.get(seen.number("icmpv6.type") or 0)
    return seen.first(f"icmpv6.nd.{kind}.target_address")


def _joined(*names: str) -> Callable[[Seen], str | None]:
    """Return the conversion of bytes that tshark cuts into several fields."""
    return lambda seen: "".join(seen.first(name) or "" for name in names) or None


def _payload(seen: Seen) -> str | None:
    names = {"tcp": "tcp.payload", "udp": "udp.payload"}
    layers = [names[protocol] for protocol in seen.stack if protocol in names]
    return seen.first(layers[0] if layers else "data.data")


# -- DNS ----------------------------------------------------------------------------

_RDATA = {
    1: "dns.a",
    2: "dns.ns",
    5: "dns.cname",
    12: "dns.ptr.domain_name",
    28: "dns.aaaa",
    39: "dns.dname",
}
_LENGTHS = {1: 4, 28: 16}
_SRV = "33"
_SRV_PARTS = ("service", "proto", "name")


def _either(name: str, in_update: str) -> Callable[[Seen], int | None]:
    """Return the conversion of a count, which has another name in an UPDATE message."""
    return lambda seen: seen.number(name if name in seen.fields else in_update)


def _name(text: str) -> str:
    return "." if text == "<Root>" else text


def _question_name(seen: Seen) -> str | None:
    name = seen.first("dns.qry.name")
    return None if name is None else _name(name)


def _question_class(seen: Seen) -> int | None:
    """Return the class as on the wire: tshark takes the top bit out in mDNS."""
    value = seen.number("dns.qry.class")
    return None if value is None else value | (seen.number("dns.qry.qu") or 0) << 15


def _answers(name: str) -> Callable[[Seen], str | None]:
    """Return the conversion of a field that every record has, of which answers come first."""

    def convert(seen: Seen) -> str | None:
        values = seen.fields.get(name, [])[: seen.number("dns.count.answers") or 0]
        return ";".join(values) or None

    return convert


def _answer_names(seen: Seen) -> str | None:
    """Return the names of the answers; that of an SRV record stands in three fields of its own."""
    plain = iter(seen.fields.get("dns.resp.name", []))
    services = iter(
        zip(*(seen.fields.get(f"dns.srv.{part}", []) for part in _SRV_PARTS), strict=True)
    )
    kinds = seen.fields.get("dns.resp.type", [])[: seen.number("dns.count.answers") or 0]
    names = [".".join(next(services)) if kind == _SRV else next(plain, "") for kind in kinds]
    return ";".join(map(_name, names)) or None


def _rdata(seen: Seen) -> str | None:
    """Return the data of the answers, hex that tshark has no field for as its length."""
    taken: Counter[str] = Counter()
    texts = []
    lengths = seen.fields.get("dns.resp.len", [])
    count = seen.number("dns.count.answers") or 0
    for kind, length in zip(seen.fields.get("dns.resp.type", [])[:count], lengths, strict=False):
        name = _RDATA.get(int(kind))
        if name is None or int(length) != _LENGTHS.get(int(kind), int(length)):
            texts.append(f"<{length} bytes>")
            continue
        values = seen.fields.get(name, [])
        texts.append(_name(values[taken[name]]) if taken[name] < len(values) else "<missing>")
        taken[name] += 1
    return ";".join(texts) or None


#: Parts of ``dns.flags``: tshark has fields of their own for all of them in responses only.
_DNS_FLAGS = {
    "qr": (15, 1),
    "opcode": (11, 0xF),
    "aa": (10, 1),
    "tc": (9, 1),
    "rd": (8, 1),
    "ra": (7, 1),
    "z": (6, 1),
    "ad": (5, 1),
    "cd": (4, 1),
    "rcode": (0, 0xF),
}

_SPECIAL: dict[str, Callable[[Seen], Any]] = {
    "frame_time": _time,
    **{f"vlan_{part}": _tag(0, part) for part in ("prio", "dei", "id", "type")},
    **{f"vlan2_{part}": _tag(1, part) for part in ("prio", "dei", "id", "type")},
    "ip_ihl": _divided("ip.hdr_len", 4),
    "ipv6_frag": _within("ipv6.fraghdr", "ipv6.fraghdr.offset"),
    "ipv6_more": _within("ipv6.fraghdr", "ipv6.fraghdr.more"),
    "ipv6_frag_id": _within("ipv6.fraghdr", "ipv6.fraghdr.ident"),
    "icmp_id": _of_type("icmp", _QUERIES, "icmp.ident"),
    "icmp_seq": _of_type("icmp", _QUERIES, "icmp.seq"),
    "icmpv6_id": _of_type("icmpv6", (128, 129), "icmpv6.echo.identifier"),
    "icmpv6_seq": _of_type("icmpv6", (128, 129), "icmpv6.echo.sequence_number"),
    "icmpv6_target": _target,
    "tcp_dataofs": _divided("tcp.hdr_len", 4),
    "tcp_flags": _bits("tcp.flags", 0, 0x1FF),
    "tcp_reserved": _bits("tcp.flags", 9, 7),
    "tcp_options_sack": _sack,
    "tcp_options_sackok": _present("tcp.options.sack_perm"),
    **{f"dns_{name}": _bits("dns.flags", *bits) for name, bits in _DNS_FLAGS.items()},
    "dns_qdcount": _either("dns.count.queries", "dns.count.zones"),
    "dns_ancount": _either("dns.count.answers", "dns.count.prerequisites"),
    "dns_nscount": _either("dns.count.auth_rr", "dns.count.updates"),
    "dns_qd_qname": _question_name,
    "dns_qd_qclass": _question_class,
    "dns_an_rrname": _answer_names,
    "dns_an_type": _answers("dns.resp.type"),
    "dns_an_ttl": _answers("dns.resp.ttl"),
    "dns_an_rdata": _rdata,
    "raw_load": _payload,
    "padding_load": _joined("eth.padding", "eth.trailer", "vlan.trailer", "sll.trailer"),
}

_CONVERSIONS = [
    (column.name, column.layer, _SPECIAL.get(column.name, _plain(column)))
    for column in COLUMNS
    if column.tshark
]
