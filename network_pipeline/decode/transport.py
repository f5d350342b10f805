"""ICMP, ICMPv6, TCP and UDP, and DNS above the latter two."""

from __future__ import annotations

from scapy.layers import inet, inet6

from network_pipeline.decode import dns, options
from network_pipeline.decode.headers import Header
from network_pipeline.decode.walk import Layer, Walk
from network_pipeline.message import Nested

_ICMP = Header("icmp", inet.ICMP, 4)
_ICMP_QUERY = Header("icmp", inet.ICMP, 8)
_ICMPV6 = Header("icmpv6", inet6.ICMPv6Unknown, 4, {"cksum": "chksum"})
_ICMPV6_ECHO = Header("icmpv6", inet6.ICMPv6EchoRequest, 8, {"cksum": "chksum"})
_NEIGHBOUR = Header("icmpv6", inet6.ICMPv6ND_NS, 24, {"cksum": "chksum", "tgt": "target"})
_TCP = Header("tcp", inet.TCP, 20)
_UDP = Header("udp", inet.UDP, 8)

#: ICMP types with identifier and sequence number: echo, timestamp, information, address mask.
_QUERIES = frozenset((0, 8, 13, 14, 15, 16, 17, 18))

#: ICMPv6 types whose header is longer than four bytes: errors have one word more before the
#: datagram that caused them (RFC 4443), neighbour messages have flags and a target (RFC 4861).
_ICMPV6_ERRORS = frozenset((1, 2, 3, 4))
_ICMPV6_HEADERS = {128: _ICMPV6_ECHO, 129: _ICMPV6_ECHO, 135: _NEIGHBOUR, 136: _NEIGHBOUR}

_DNS_TCP_PORT = 53
_DNS_UDP_PORTS = frozenset((53, 5353, 5355))


def _icmp(walk: Walk) -> None:
    """Read ICMP (RFC 792), whose header has eight bytes whatever the type."""
    start = walk.offset
    fields = walk.read(_ICMP)
    if fields is None or not walk.skip("icmp", _ICMP_QUERY.size - _ICMP.size):
        return
    if fields["type"] in _QUERIES:
        fields.update(_ICMP_QUERY.read(walk.data, start))


def _icmpv6(walk: Walk) -> None:
    """Read ICMPv6 (RFC 4443, RFC 4861)."""
    start = walk.offset
    fields = walk.read(_ICMPV6)
    if fields is None:
        return
    if fields["type"] in _ICMPV6_ERRORS:
        walk.skip("icmpv6", 4)
    header = _ICMPV6_HEADERS.get(fields["type"])
    if header is not None and walk.skip("icmpv6", header.size - _ICMPV6.size):
        fields.update(header.read(walk.data, start))


def _tcp(walk: Walk) -> None:
    """Read TCP (RFC 9293), its options, and DNS where the segment holds the whole message."""
    start = walk.offset
    fields = walk.read(_TCP)
    if fields is None:
        return
    header_size = 4 * fields["dataofs"]
    payload_len = walk.wire_end - start - header_size
    if header_size < _TCP.size or payload_len < 0:
        cut = walk.fragment and header_size >= _TCP.size  # the next fragment has the rest
        walk.fail("tcp", "truncated" if cut else "dataofs")
        return
    fields["payload_len"] = payload_len
    if not walk.skip("tcp", header_size - _TCP.size):
        return
    if header_size > _TCP.size:
        _tcp_options(walk, fields, walk.data[start + _TCP.size : walk.offset])
    if _DNS_TCP_PORT in (fields["sport"], fields["dport"]):
        _dns_in_tcp(walk)


def _tcp_options(walk: Walk, fields: Nested, data: bytes) -> None:
    values = options.parse(data)._asdict()
    if values.pop("error"):
        walk.fail("tcp", "options")
    fields["options"] = {name: value for name, value in values.items() if value is not None}
    fields["options"]["raw"] = data.hex()


def _udp(walk: Walk) -> None:
    """Read UDP (RFC 768), and DNS by port; in IPv6 length 0 is a jumbogram's (RFC 2675)."""
    start = walk.offset
    fields = walk.read(_UDP)
    if fields is None:
        return
    length = fields["len"]
    if length == 0 and "ipv6" in walk.nested:
        length = walk.wire_end - start
    if length < _UDP.size or (length > walk.wire_end - start and not walk.fragment):
        walk.fail("udp", "length")
    is_dns = not _DNS_UDP_PORTS.isdisjoint((fields["sport"], fields["dport"]))
    if is_dns and length > _UDP.size:
        _dns(walk, walk.data[walk.offset : min(start + length, walk.end)])


# -- DNS -------------------------------------------------------------------------------------------


def _dns_in_tcp(walk: Walk) -> None:
    """Read the message behind its length (RFC 1035 section 4.2.2), where it is there as a whole."""
    segment = walk.data[walk.offset : walk.end]
    length = int.from_bytes(segment[:2], "big")
    if dns.HEADER_BYTES <= length <= len(segment) - 2:
        _dns(walk, segment[2 : 2 + length])


def _dns(walk: Walk, message: bytes) -> None:
    found = dns.parse(message)
    if found is None:
        walk.fail("dns", "truncated")
        return
    fields: Nested = found.header._asdict()
    if found.question is not None:
        fields["qd"] = found.question._asdict()
    if found.answers:
        columns = zip(dns.Answer._fields, zip(*found.answers, strict=True), strict=True)
        fields["an"] = {name: ";".join(map(str, values)) for name, values in columns}
    if found.error:
        walk.fail("dns", found.error)
    walk.nested["dns"] = fields


#: By protocol number, the same for both versions of IP.
LAYERS: dict[int, Layer] = {1: _icmp, 6: _tcp, 17: _udp, 58: _icmpv6}
