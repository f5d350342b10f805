"""The columns of a row, as one table.

The CSV header, the Arrow schema, the validation of messages, the columnar decoder's fixed fields,
the schema's version and the data dictionary derive from it. A column's place in a nested dict is
its layer's name and the rest of its own: ``tcp_options_mss`` is ``{"tcp": {"options": {"mss":
...}}}``.
"""

from __future__ import annotations

import functools
import hashlib
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa


class Field(NamedTuple):
    """Where a fixed field stands: ``width`` bytes at ``offset``, in network byte order.

    A number is what is left of them after ``shift`` and ``mask``. The offset counts from the place
    with this name, of those that :mod:`network_pipeline.decode.layers` notes for every frame; an
    empty name stands for the beginning of the column's layer.
    """

    offset: int
    width: int
    shift: int = 0
    mask: int = 0xFFFFFFFF
    place: str = ""


class Column(NamedTuple):
    """One column: its name, stored type, layer, tshark's name for it and its meaning.

    ``field`` is where a frame has the value, if that is a fixed field of a header.
    """

    name: str
    type: str
    layer: str
    tshark: str
    meaning: str
    field: Field | None = None

    @property
    def role(self) -> Role:
        """What a model may do with the column."""
        return ROLES.get(self.name, "feature")

    @property
    def path(self) -> tuple[str, ...]:
        """Where the value stands in a nested dict, outermost key first."""
        if self.layer == "message":
            return (self.name,)
        parts = self.name.removeprefix(self.layer + "_")
        for group in _GROUPS:
            if self.name.startswith(f"{self.layer}_{group}_"):
                return (self.layer, group, parts.removeprefix(group + "_"))
        return (self.layer, parts)


#: What a column is to a model. ``identity`` names hosts, connections, moments or single packets, or
#: is computed from such a name; ``context`` is a fact about the capture or its place in the
#: network; a ``feature`` is behaviour. A ``label`` is what is to be learned: no column of a row.
Role = Literal["identity", "context", "feature", "label"]

#: Dicts inside a layer's dict, by name: TCP options, the DNS question and the DNS answers.
_GROUPS = ("options", "qd", "an")

#: Largest value of each integer type.
INTEGER_LIMITS = {"uint8": 2**8 - 1, "uint16": 2**16 - 1, "uint32": 2**32 - 1, "uint64": 2**64 - 1}

# fmt: off
COLUMNS: tuple[Column, ...] = (
    Column("source", "string", "message", "",
           "name of the agent that captured the frame (SOURCE_HOST)"),
    Column("session", "string", "message", "",
           "UUID of one capture run; (session, frame_number) identifies a frame everywhere "
           "and for ever"),
    Column("frame_number", "uint64", "frame", "frame.number",
           "1-based position in the session, gaps only where frames were lost and counted"),
    Column("frame_time", "timestamp[ns, UTC]", "frame", "frame.time_epoch",
           "capture time given by the source, never the time of decoding"),
    Column("frame_interface", "string", "frame", "frame.interface_name",
           "device name, or null for a file that names none"),
    Column("frame_len", "uint32", "frame", "frame.len",
           "bytes on the wire"),
    Column("frame_caplen", "uint32", "frame", "frame.cap_len",
           "bytes captured"),
    Column("frame_error", "string", "frame", "",
           "null, or LAYER:REASON for the first layer that could not be decoded (for example"
           " tcp:truncated, ip:length)"),
    Column("eth_dst", "mac", "eth", "eth.dst",
           "destination address",
           Field(0, 6)),
    Column("eth_src", "mac", "eth", "eth.src",
           "source address",
           Field(6, 6)),
    Column("eth_type", "uint16", "eth", "eth.type",
           "EtherType as on the wire (0x8100 where a VLAN tag follows); null for an 802.3 "
           "length field",
           Field(12, 2, place="eth_type")),
    Column("vlan_prio", "uint8", "vlan", "vlan.priority",
           "outer 802.1Q/802.1ad tag: priority code point",
           Field(0, 1, 5)),
    Column("vlan_dei", "uint8", "vlan", "vlan.dei",
           "drop eligible indicator",
           Field(0, 1, 4, 0x1)),
    Column("vlan_id", "uint16", "vlan", "vlan.id",
           "VLAN identifier",
           Field(0, 2, 0, 0xFFF)),
    Column("vlan_type", "uint16", "vlan", "vlan.etype",
           "EtherType that follows the tag",
           Field(2, 2, place="vlan_type")),
    Column("vlan2_prio", "uint8", "vlan2", "vlan.priority",
           "inner tag (QinQ), same fields",
           Field(0, 1, 5)),
    Column("vlan2_dei", "uint8", "vlan2", "vlan.dei",
           "inner drop eligible indicator",
           Field(0, 1, 4, 0x1)),
    Column("vlan2_id", "uint16", "vlan2", "vlan.id",
           "inner VLAN identifier",
           Field(0, 2, 0, 0xFFF)),
    Column("vlan2_type", "uint16", "vlan2", "vlan.etype",
           "EtherType that follows the inner tag",
           Field(2, 2, place="vlan2_type")),
    Column("arp_hwtype", "uint16", "arp", "arp.hw.type",
           "hardware type",
           Field(0, 2)),
    Column("arp_ptype", "uint16", "arp", "arp.proto.type",
           "protocol type",
           Field(2, 2)),
    Column("arp_hwlen", "uint8", "arp", "arp.hw.size",
           "hardware address length",
           Field(4, 1)),
    Column("arp_plen", "uint8", "arp", "arp.proto.size",
           "protocol address length",
           Field(5, 1)),
    Column("arp_op", "uint16", "arp", "arp.opcode",
           "1 request, 2 reply",
           Field(6, 2)),
    Column("arp_hwsrc", "mac", "arp", "arp.src.hw_mac",
           "sender hardware address (null unless 6 bytes)",
           Field(0, 6, place="arp_hwsrc")),
    Column("arp_psrc", "ipv4", "arp", "arp.src.proto_ipv4",
           "sender protocol address (null unless 4 bytes)",
           Field(0, 4, place="arp_psrc")),
    Column("arp_hwdst", "mac", "arp", "arp.dst.hw_mac",
           "target hardware address",
           Field(0, 6, place="arp_hwdst")),
    Column("arp_pdst", "ipv4", "arp", "arp.dst.proto_ipv4",
           "target protocol address",
           Field(0, 4, place="arp_pdst")),
    Column("ip_version", "uint8", "ip", "ip.version",
           "always 4",
           Field(0, 1, 4)),
    Column("ip_ihl", "uint8", "ip", "ip.hdr_len",
           "header length in 32-bit words (tshark prints bytes)",
           Field(0, 1, 0, 0xF)),
    Column("ip_tos", "uint8", "ip", "ip.dsfield",
           "DSCP and ECN byte",
           Field(1, 1)),
    Column("ip_len", "uint16", "ip", "ip.len",
           "total length in bytes, as in the header",
           Field(2, 2)),
    Column("ip_id", "uint16", "ip", "ip.id",
           "identification",
           Field(4, 2)),
    Column("ip_flags", "uint8", "ip", "ip.flags",
           "3 bits: reserved 4, DF 2, MF 1",
           Field(6, 1, 5)),
    Column("ip_frag", "uint16", "ip", "ip.frag_offset",
           "fragment offset in 8-byte units (tshark prints bytes)",
           Field(6, 2, 0, 0x1FFF)),
    Column("ip_ttl", "uint8", "ip", "ip.ttl",
           "time to live",
           Field(8, 1)),
    Column("ip_proto", "uint8", "ip", "ip.proto",
           "protocol number",
           Field(9, 1)),
    Column("ip_chksum", "uint16", "ip", "ip.checksum",
           "header checksum as on the wire",
           Field(10, 2)),
    Column("ip_src", "ipv4", "ip", "ip.src",
           "source address",
           Field(12, 4)),
    Column("ip_dst", "ipv4", "ip", "ip.dst",
           "destination address",
           Field(16, 4)),
    Column("ip_options", "hex", "ip", "",
           "raw option bytes, null when there are none"),
    Column("ipv6_version", "uint8", "ipv6", "ipv6.version",
           "always 6",
           Field(0, 1, 4)),
    Column("ipv6_tc", "uint8", "ipv6", "ipv6.tclass",
           "traffic class",
           Field(0, 2, 4, 0xFF)),
    Column("ipv6_fl", "uint32", "ipv6", "ipv6.flow",
           "flow label",
           Field(0, 4, 0, 0xFFFFF)),
    Column("ipv6_plen", "uint16", "ipv6", "ipv6.plen",
           "payload length",
           Field(4, 2)),
    Column("ipv6_nh", "uint8", "ipv6", "ipv6.nxt",
           "next header of the fixed header",
           Field(6, 1)),
    Column("ipv6_hlim", "uint8", "ipv6", "ipv6.hlim",
           "hop limit",
           Field(7, 1)),
    Column("ipv6_src", "ipv6", "ipv6", "ipv6.src",
           "source address (RFC 5952 text)",
           Field(8, 16)),
    Column("ipv6_dst", "ipv6", "ipv6", "ipv6.dst",
           "destination address",
           Field(24, 16)),
    Column("ipv6_proto", "uint8", "ipv6", "",
           "upper-layer protocol after the extension headers",
           Field(0, 1, place="ipv6_proto")),
    Column("ipv6_frag", "uint16", "ipv6", "ipv6.fraghdr.offset",
           "fragment offset in 8-byte units, null without a fragment header",
           Field(2, 2, 3, place="ipv6_fragment")),
    Column("ipv6_more", "uint8", "ipv6", "ipv6.fraghdr.more",
           "more-fragments bit, null without a fragment header",
           Field(3, 1, 0, 0x1, "ipv6_fragment")),
    Column("ipv6_frag_id", "uint32", "ipv6", "ipv6.fraghdr.ident",
           "fragment identification",
           Field(4, 4, place="ipv6_fragment")),
    Column("icmp_type", "uint8", "icmp", "icmp.type",
           "ICMPv4 type",
           Field(0, 1)),
    Column("icmp_code", "uint8", "icmp", "icmp.code",
           "code",
           Field(1, 1)),
    Column("icmp_chksum", "uint16", "icmp", "icmp.checksum",
           "checksum",
           Field(2, 2)),
    Column("icmp_id", "uint16", "icmp", "icmp.ident",
           "identifier, for types that carry one (0, 8, 13-18)",
           Field(4, 2, place="icmp_query")),
    Column("icmp_seq", "uint16", "icmp", "icmp.seq",
           "sequence number, likewise",
           Field(6, 2, place="icmp_query")),
    Column("icmpv6_type", "uint8", "icmpv6", "icmpv6.type",
           "ICMPv6 type",
           Field(0, 1)),
    Column("icmpv6_code", "uint8", "icmpv6", "icmpv6.code",
           "code",
           Field(1, 1)),
    Column("icmpv6_chksum", "uint16", "icmpv6", "icmpv6.checksum",
           "checksum",
           Field(2, 2)),
    Column("icmpv6_id", "uint16", "icmpv6", "icmpv6.echo.identifier",
           "identifier, for types 128 and 129",
           Field(4, 2, place="icmpv6_echo")),
    Column("icmpv6_seq", "uint16", "icmpv6", "icmpv6.echo.sequence_number",
           "sequence number, likewise",
           Field(6, 2, place="icmpv6_echo")),
    Column("icmpv6_target", "ipv6", "icmpv6", "icmpv6.nd.ns.target_address",
           "target address of a neighbour solicitation or advertisement (136: "
           "icmpv6.nd.na.target_address)",
           Field(8, 16, place="icmpv6_neighbour")),
    Column("tcp_sport", "uint16", "tcp", "tcp.srcport",
           "source port",
           Field(0, 2)),
    Column("tcp_dport", "uint16", "tcp", "tcp.dstport",
           "destination port",
           Field(2, 2)),
    Column("tcp_seq", "uint32", "tcp", "tcp.seq_raw",
           "sequence number as on the wire",
           Field(4, 4)),
    Column("tcp_ack", "uint32", "tcp", "tcp.ack_raw",
           "acknowledgment number as on the wire",
           Field(8, 4)),
    Column("tcp_dataofs", "uint8", "tcp", "tcp.hdr_len",
           "header length in 32-bit words (tshark prints bytes)",
           Field(12, 1, 4)),
    Column("tcp_reserved", "uint8", "tcp", "tcp.flags.res",
           "3 reserved bits",
           Field(12, 1, 1, 0x7)),
    Column("tcp_flags", "uint16", "tcp", "tcp.flags",
           "9 bits: FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128, NS 256",
           Field(12, 2, 0, 0x1FF)),
    Column("tcp_window", "uint16", "tcp", "tcp.window_size_value",
           "window, unscaled",
           Field(14, 2)),
    Column("tcp_chksum", "uint16", "tcp", "tcp.checksum",
           "checksum",
           Field(16, 2)),
    Column("tcp_urgptr", "uint16", "tcp", "tcp.urgent_pointer",
           "urgent pointer",
           Field(18, 2)),
    Column("tcp_payload_len", "uint32", "tcp", "tcp.len",
           "payload bytes by the IP length, also where fewer were captured"),
    Column("tcp_options_mss", "uint16", "tcp", "tcp.options.mss_val",
           "maximum segment size",
           Field(0, 2, place="tcp_mss")),
    Column("tcp_options_wscale", "uint8", "tcp", "tcp.options.wscale.shift",
           "window scale shift",
           Field(0, 1, place="tcp_wscale")),
    Column("tcp_options_sackok", "uint8", "tcp", "tcp.options.sack_perm",
           "1 where SACK-permitted is present",
           Field(-2, 1, 2, 0x1, "tcp_sackok")),  # the option's kind, 4, stands before its place
    Column("tcp_options_sack", "string", "tcp", "tcp.options.sack_le",
           "SACK blocks as left-right;left-right"),
    Column("tcp_options_tsval", "uint32", "tcp", "tcp.options.timestamp.tsval",
           "timestamp value",
           Field(0, 4, place="tcp_timestamp")),
    Column("tcp_options_tsecr", "uint32", "tcp", "tcp.options.timestamp.tsecr",
           "timestamp echo reply",
           Field(4, 4, place="tcp_timestamp")),
    Column("tcp_options_raw", "hex", "tcp", "tcp.options",
           "all option bytes, null when there are none"),
    Column("udp_sport", "uint16", "udp", "udp.srcport",
           "source port",
           Field(0, 2)),
    Column("udp_dport", "uint16", "udp", "udp.dstport",
           "destination port",
           Field(2, 2)),
    Column("udp_len", "uint16", "udp", "udp.length",
           "length in the header",
           Field(4, 2)),
    Column("udp_chksum", "uint16", "udp", "udp.checksum",
           "checksum",
           Field(6, 2)),
    Column("dns_id", "uint16", "dns", "dns.id",
           "transaction id",
           Field(0, 2)),
    Column("dns_qr", "uint8", "dns", "dns.flags.response",
           "0 query, 1 response",
           Field(2, 1, 7)),
    Column("dns_opcode", "uint8", "dns", "dns.flags.opcode",
           "opcode",
           Field(2, 1, 3, 0xF)),
    Column("dns_aa", "uint8", "dns", "dns.flags.authoritative",
           "authoritative answer",
           Field(2, 1, 2, 0x1)),
    Column("dns_tc", "uint8", "dns", "dns.flags.truncated",
           "truncated",
           Field(2, 1, 1, 0x1)),
    Column("dns_rd", "uint8", "dns", "dns.flags.recdesired",
           "recursion desired",
           Field(2, 1, 0, 0x1)),
    Column("dns_ra", "uint8", "dns", "dns.flags.recavail",
           "recursion available",
           Field(3, 1, 7)),
    Column("dns_z", "uint8", "dns", "dns.flags.z",
           "reserved bit",
           Field(3, 1, 6, 0x1)),
    Column("dns_ad", "uint8", "dns", "dns.flags.authenticated",
           "authentic data",
           Field(3, 1, 5, 0x1)),
    Column("dns_cd", "uint8", "dns", "dns.flags.checkdisable",
           "checking disabled",
           Field(3, 1, 4, 0x1)),
    Column("dns_rcode", "uint8", "dns", "dns.flags.rcode",
           "response code (low 4 bits)",
           Field(3, 1, 0, 0xF)),
    Column("dns_qdcount", "uint16", "dns", "dns.count.queries",
           "questions",
           Field(4, 2)),
    Column("dns_ancount", "uint16", "dns", "dns.count.answers",
           "answers",
           Field(6, 2)),
    Column("dns_nscount", "uint16", "dns", "dns.count.auth_rr",
           "authority records",
           Field(8, 2)),
    Column("dns_arcount", "uint16", "dns", "dns.count.add_rr",
           "additional records",
           Field(10, 2)),
    Column("dns_qd_qname", "string", "dns", "dns.qry.name",
           "name of the first question, without the trailing dot, non-printable bytes as "
           r"\DDD"),
    Column("dns_qd_qtype", "uint16", "dns", "dns.qry.type",
           "its type",
           Field(0, 2, place="dns_question")),
    Column("dns_qd_qclass", "uint16", "dns", "dns.qry.class",
           "its class, as on the wire",
           Field(2, 2, place="dns_question")),
    Column("dns_an_rrname", "string", "dns", "dns.resp.name",
           "names of the answers, joined by ;"),
    Column("dns_an_type", "string", "dns", "dns.resp.type",
           "types of the answers as numbers, joined by ;"),
    Column("dns_an_ttl", "string", "dns", "dns.resp.ttl",
           "time to live of the answers, joined by ;"),
    Column("dns_an_rdata", "string", "dns", "dns.a, dns.aaaa, dns.cname",
           "data of the answers, joined by ; (addresses and names as text, other types as "
           "hex)"),
    Column("raw_len", "uint32", "raw", "",
           "payload bytes captured above the last decoded header of layers 2 to 4 (DNS bytes"
           " count as payload)"),
    Column("raw_load", "hex", "raw", "tcp.payload, udp.payload, data",
           "those bytes, cut to the payload limit that the user set"),
    Column("padding_load", "hex", "padding", "eth.padding, eth.trailer",
           "bytes after the end that the IP or ARP length gives"),
)
# fmt: on

#: Of the columns that are not features. Checksums cover addresses; the TTL tells a host by its
#: distance and its system; payloads and names are content, which features may be made of.
# fmt: off
ROLES: dict[str, Role] = {
    **dict.fromkeys((
        "source", "session", "frame_number", "frame_time", "eth_dst", "eth_src", "arp_hwsrc",
        "arp_psrc", "arp_hwdst", "arp_pdst", "ip_id", "ip_chksum", "ip_src", "ip_dst", "ip_options",
        "ipv6_fl", "ipv6_src", "ipv6_dst", "ipv6_frag_id", "icmp_chksum", "icmp_id", "icmp_seq",
        "icmpv6_chksum", "icmpv6_id", "icmpv6_seq", "icmpv6_target", "tcp_sport", "tcp_dport",
        "tcp_seq", "tcp_ack", "tcp_chksum", "tcp_options_sack", "tcp_options_tsval",
        "tcp_options_tsecr", "tcp_options_raw", "udp_sport", "udp_dport", "udp_chksum", "dns_id",
        "dns_qd_qname", "dns_an_rrname", "dns_an_rdata", "raw_load", "padding_load",
    ), "identity"),
    **dict.fromkeys((
        "frame_interface", "frame_caplen", "frame_error", "vlan_prio", "vlan_dei", "vlan_id",
        "vlan_type", "vlan2_prio", "vlan2_dei", "vlan2_id", "vlan2_type", "ip_ttl", "ipv6_hlim",
        "dns_an_ttl",
    ), "context"),
}
# fmt: on

COLUMN_NAMES: tuple[str, ...] = tuple(column.name for column in COLUMNS)

#: Changes when a column's name, type or place changes; a message and its reader must agree on it.
SCHEMA_VERSION = hashlib.sha256(
    "\n".join(f"{column.name}\t{column.type}" for column in COLUMNS).encode()
).hexdigest()[:16]

#: Columns with few values, which Arrow keeps once each.
_DICTIONARIES = frozenset(("source", "session", "frame_interface", "frame_error"))


@functools.cache
def arrow_schema() -> pa.Schema:
    """Return the schema of a RecordBatch with all columns, in order.

    Texts are ``string`` (those with few values as a dictionary), ``hex`` is ``binary``: the bytes
    themselves. Its metadata holds ``schema``, the version. pyarrow is imported here, and not by
    commands that only need the table.
    """
    import pyarrow as pa  # noqa: PLC0415

    few_values = pa.dictionary(pa.int32(), pa.string())
    types: dict[str, pa.DataType] = {
        "uint8": pa.uint8(),
        "uint16": pa.uint16(),
        "uint32": pa.uint32(),
        "uint64": pa.uint64(),
        "timestamp[ns, UTC]": pa.timestamp("ns", "UTC"),
        "hex": pa.binary(),
    }
    fields = [
        pa.field(name, few_values if name in _DICTIONARIES else types.get(kind, pa.string()))
        for name, kind, *_ in COLUMNS
    ]
    return pa.schema(fields, {"schema": SCHEMA_VERSION})
