"""Frames of every kind that the decoder tells apart, well formed and not, made with scapy."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from scapy.layers.dns import DNS, DNSQR, DNSRR, DNSRRMX, DNSRROPT, DNSRRSRV
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_Router_Alert
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6PacketTooBig,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    RouterAlert,
)
from scapy.layers.l2 import ARP, GRE, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Padding, Raw

from network_pipeline.frames import Frame, LinkType


class Sample(NamedTuple):
    """A frame's name, link type and bytes."""

    name: str
    link_type: LinkType
    data: bytes

    def frame(self, number: int = 1, size: int | None = None) -> Frame:
        """Return the frame, cut to ``size`` bytes as a snap length does."""
        time_ns = 1_700_000_000_123_456_789 + number
        return Frame(number, time_ns, None, len(self.data), self.link_type, self.data[:size])


_MACS: dict[str, Any] = {"dst": "02:00:00:00:00:02", "src": "02:00:00:00:00:01"}


def _ether(**fields: Any) -> Ether:
    return Ether(**_MACS, **fields)


def _ipv4(**fields: Any) -> IP:
    return IP(src="192.0.2.1", dst="198.51.100.2", id=0x1234, ttl=63, **fields)


def _ipv6(**fields: Any) -> IPv6:
    return IPv6(**{"src": "2001:db8::1", "dst": "2001:db8:0:0:1::2", "hlim": 63, **fields})


def _tcp(**fields: Any) -> TCP:
    return TCP(
        **{"sport": 49152, "dport": 8080, "seq": 0xFFFFFFF0, "ack": 7, "flags": "PA", **fields}
    )


def _udp(**fields: Any) -> UDP:
    return UDP(**{"sport": 49153, "dport": 17000, **fields})


def _extension(following: int, size: int = 8) -> bytes:
    return bytes((following, size // 8 - 1)) + bytes((1, size - 4)) + bytes(size - 4)


def _layer_2() -> Iterator[tuple[str, Packet | bytes]]:
    tcp = _ipv4() / _tcp() / b"tagged"
    yield "empty", b""
    yield "ether type unknown", _ether(type=0x88CC) / Raw(b"\x02\x07\x04" + bytes(40))
    yield "ether type 0x05ff", _ether(type=0x05FF) / Raw(bytes(50))
    yield "length", _ether(type=38) / Raw(b"BB\x03" + bytes(35) + b"padding!")
    yield "length 0", _ether(type=0) / Raw(bytes(46))
    yield "length too long", _ether(type=100) / Raw(b"BB\x03" + bytes(35))
    yield "vlan", _ether() / Dot1Q(prio=5, dei=1, vlan=0xABC) / tcp
    yield "vlan and padding", _ether() / Dot1Q(vlan=1) / _ipv4() / _udp() / Raw(b"x") / _pad(9)
    yield "vlan and length", _ether() / Dot1Q(vlan=2, type=10) / Raw(b"BB\x03" + bytes(20))
    yield "vlan and length 0", _ether() / Dot1Q(vlan=2, type=0) / Raw(bytes(46))
    yield "vlan and unknown", _ether() / Dot1Q(vlan=2, type=0x9999) / Raw(b"whatever")
    yield "vlan in vlan", _ether() / Dot1Q(prio=1, vlan=1) / Dot1Q(prio=2, vlan=2) / tcp
    yield "vlan in 802.1ad", _ether() / Dot1AD(prio=1, vlan=1) / Dot1Q(prio=2, dei=1, vlan=2) / tcp
    yield "802.1ad twice", _ether() / Dot1AD(vlan=1, type=0x88A8) / Dot1AD(vlan=2) / tcp
    yield "vlan in 0x9100", _ether(type=0x9100) / Dot1Q(vlan=1) / Dot1Q(vlan=2) / tcp
    yield "three tags", _ether() / Dot1Q(vlan=1) / Dot1Q(vlan=2) / Dot1Q(vlan=3) / tcp


def _pad(size: int) -> Padding:
    return Padding(b"\xaa" * size)


def _arp() -> Iterator[tuple[str, Packet | bytes]]:
    who: dict[str, Any] = {"hwsrc": "02:00:00:00:00:01", "psrc": "192.0.2.1", "pdst": "192.0.2.9"}
    yield "arp request", _ether() / ARP(op=1, **who)
    yield "arp reply", _ether() / ARP(op=2, hwdst="02:00:00:00:00:09", **who) / _pad(18)
    other_types = struct.pack("!HHBBH", 0x1234, 0x5678, 6, 4, 1) + bytes(range(20))
    yield "arp of other types", bytes(_ether(type=0x0806)) + other_types
    yield "arp ieee 802", _ether() / ARP(hwtype=6, **who)
    yield "arp atm", _ether() / ARP(hwtype=19, **who)
    for name, hwlen, plen in (("long", 8, 4), ("ipv6", 6, 16), ("short", 2, 1), ("none", 0, 0)):
        header = struct.pack("!HHBBH", 1, 0x0800, hwlen, plen, 1)
        yield f"arp {name}", bytes(_ether(type=0x0806)) + header + bytes(range(2 * (hwlen + plen)))


def _internet_4() -> Iterator[tuple[str, Packet | bytes]]:
    tcp = _tcp() / b"content"
    yield "ipv4 fields", _ether() / _ipv4(tos=0xB9, flags=6) / tcp
    yield "ipv4 options", _ether() / _ipv4(options=[IPOption_Router_Alert()]) / _udp() / b"x"
    yield "ipv4 most options", _ether() / _ipv4(ihl=15) / Raw(b"\x01" * 40) / tcp
    yield "ipv4 padding", _ether() / _ipv4() / _tcp() / _pad(6)
    yield "ipv4 unknown protocol", _ether() / _ipv4(proto=253) / Raw(b"experiment")
    yield "ipv4 nothing above", _ether() / _ipv4(proto=253)
    yield "ipv4 first fragment", _ether() / _ipv4(flags="MF") / tcp
    yield "ipv4 first fragment, udp", _ether() / _ipv4(flags="MF") / _udp(len=900) / Raw(bytes(32))
    yield "ipv4 tiny fragment", _ether() / _ipv4(flags="MF", proto=6) / Raw(bytes(_tcp())[:8])
    options = bytes(_tcp(options=[("Timestamp", (1, 2))]))[:24]
    yield "ipv4 fragment in options", _ether() / _ipv4(flags="MF", proto=6) / Raw(options)
    yield "ipv4 later fragment", _ether() / _ipv4(frag=185, proto=6) / Raw(b"the middle")
    yield "ipv4 last fragment", _ether() / _ipv4(frag=0x1FFF, proto=17) / Raw(b"the end")
    yield "ipv4 length 0", _ether() / _ipv4(len=0) / tcp
    yield "ipv4 length 19", _ether() / _ipv4(len=19) / tcp
    yield "ipv4 length 20", _ether() / _ipv4(len=20) / tcp
    yield "ipv4 length 30", _ether() / _ipv4(len=30) / tcp
    yield "ipv4 length too long", _ether() / _ipv4(len=900) / tcp
    yield "ipv4 length within options", _ether() / _ipv4(ihl=8, len=24) / Raw(b"\x01" * 12) / tcp
    yield "ipv4 ihl 4", _ether() / _ipv4(ihl=4) / tcp
    yield "ipv4 ihl too long", _ether() / _ipv4(ihl=15) / Raw(b"short")
    yield "ipv4 version 5", _ether() / _ipv4(version=5) / tcp
    yield "ipv6 in type of ipv4", _ether(type=0x0800) / _ipv6() / tcp
    yield "ipv4 in ipv4", _ether() / _ipv4() / IP(src="10.0.0.1", dst="10.0.0.2") / tcp
    yield "ipv6 in ipv4", _ether() / _ipv4() / _ipv6() / tcp
    yield "gre", _ether() / _ipv4() / GRE() / IP(src="10.0.0.1", dst="10.0.0.2") / tcp
    yield (
        "icmpv6 in ipv4",
        _ether() / _ipv4(proto=58) / Raw(b"\x80\x00\x12\x34\x00\x01\x00\x02ping"),
    )
    yield "ah in ipv4", _ether() / _ipv4(proto=51) / Raw(b"\x06\x04" + bytes(22)) / tcp


def _internet_6() -> Iterator[tuple[str, Packet | bytes]]:
    udp = bytes(_udp(len=15, chksum=1)) + b"content"
    for address in (
        "::",
        "::1",
        "::ffff:192.0.2.1",
        "::192.0.2.1",
        "1:0:2:0:3:0:4:0",
        "fe80::1:0:0:1",
    ):
        yield f"ipv6 from {address}", _ether() / _ipv6(src=address, dst=address) / Raw(b"")
    yield "ipv6 fields", _ether() / _ipv6(tc=0xB9, fl=0xABCDE) / _tcp() / b"content"
    yield "ipv6 padding", _ether() / _ipv6() / _udp() / Raw(b"x") / _pad(5)
    yield "ipv6 unknown protocol", _ether() / _ipv6(nh=253) / Raw(b"experiment")
    yield (
        "ipv6 protocol 62",
        _ether() / _ipv6(nh=62) / Raw(b"\x3b\x00\x01\x00" + bytes(4) + b"more"),
    )
    yield "ipv6 none", _ether() / _ipv6(nh=59)
    yield "ipv6 none with bytes", _ether() / _ipv6(nh=59) / Raw(b"to be ignored")
    yield "ipv6 esp", _ether() / _ipv6(nh=50) / Raw(bytes(range(40)))
    for name, number in (("hop by hop", 0), ("destination", 60), ("mobility", 135), ("shim6", 140)):
        yield f"ipv6 {name}", _ether() / _ipv6(nh=number) / Raw(_extension(17)) / Raw(udp)
        yield f"ipv6 long {name}", _ether() / _ipv6(nh=number) / Raw(_extension(17, 24)) / Raw(udp)
        yield f"ipv6 {name} too long", _ether() / _ipv6(nh=number) / Raw(b"\x11\x20" + bytes(30))
    bad = b"\x11\x00\x1e\x20\x00\x00\x00\x00"
    yield "ipv6 option too long", _ether() / _ipv6(nh=60) / Raw(bad) / Raw(udp)
    hip = b"\x11\x04\x01\x21" + bytes(36)
    yield "ipv6 hip", _ether() / _ipv6(nh=139) / Raw(hip) / Raw(udp)
    yield "ipv6 routing", _ether() / _ipv6() / IPv6ExtHdrRouting(addresses=["2001:db8::9"]) / _udp()
    yield "ipv6 ah", _ether() / _ipv6(nh=51) / Raw(b"\x11\x04" + bytes(22)) / Raw(udp)
    yield "ipv6 short ah", _ether() / _ipv6(nh=51) / Raw(b"\x11\x00" + bytes(6)) / Raw(udp)
    chain = IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting() / IPv6ExtHdrDestOpt()
    yield "ipv6 chain", _ether() / _ipv6() / chain / _udp() / b"content"
    for name, offset, more in (
        ("atomic", 0, 0),
        ("first", 0, 1),
        ("later", 100, 1),
        ("last", 8191, 0),
    ):
        fragment = IPv6ExtHdrFragment(nh=17, offset=offset, m=more, id=0xDEADBEEF)
        yield f"ipv6 {name} fragment", _ether() / _ipv6() / fragment / Raw(udp)
        yield (
            f"ipv6 {name} fragment, tcp",
            _ether() / _ipv6() / fragment / Raw(bytes(_tcp(dport=53))),
        )
    twice = IPv6ExtHdrFragment(id=1) / IPv6ExtHdrFragment(nh=17, id=2, offset=3)
    yield "ipv6 fragment of a fragment", _ether() / _ipv6() / twice / Raw(udp)
    later = IPv6ExtHdrFragment(nh=60, offset=9)
    yield (
        "ipv6 later fragment, options",
        _ether() / _ipv6() / later / Raw(_extension(17)) / Raw(udp),
    )
    large = b"\x11\x00\xc2\x04" + struct.pack("!I", 66_000) + udp[:4] + bytes(66_000 - 12)
    yield "ipv6 jumbogram", _ether() / _ipv6(nh=0, plen=0) / Raw(large)
    yield (
        "ipv6 small jumbogram",
        _ether() / _ipv6(nh=0, plen=0) / Raw(b"\x11\x00\xc2\x04\0\0\0\x17" + udp),
    )
    yield "ipv6 length 0", _ether() / _ipv6(plen=0) / _udp() / b"content"
    yield "ipv6 length too long", _ether() / _ipv6(plen=900) / _udp() / b"content"
    yield "ipv6 length within udp", _ether() / _ipv6(plen=10) / _udp() / b"content"
    yield "ipv6 version 4", _ether(type=0x86DD) / _ipv4() / _tcp()
    yield "ipv4 in ipv6", _ether() / _ipv6() / _ipv4() / _tcp()
    yield "ipv6 in ipv6", _ether() / _ipv6() / _ipv6() / _tcp()
    yield "icmp in ipv6", _ether() / _ipv6(nh=1) / ICMP(id=1, seq=2) / b"ping"


def _icmp_messages() -> Iterator[tuple[str, Packet | bytes]]:
    inner = IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2) / b"the cause"
    inner_echo = IP(src="10.0.0.1", dst="10.0.0.2") / ICMP(id=9, seq=9) / b"the cause"
    for kind in (0, 8, 13, 14, 15, 16, 17, 18):
        body = struct.pack("!BBHHH", kind, 0, 0xABCD, 0x1122, 0x3344) + bytes(range(12))
        yield f"icmp {kind}", _ether() / _ipv4(proto=1) / Raw(body)
    ping = struct.pack("!BBHHHIIQ", 8, 0, 0xABCD, 1, 2, 1_700_000_000, 123_456, 7)
    yield "icmp 8 with its time", _ether() / _ipv4(proto=1) / Raw(ping)
    for kind, code in ((3, 1), (4, 0), (5, 1), (11, 0), (12, 0)):
        yield f"icmp {kind}", _ether() / _ipv4() / ICMP(type=kind, code=code) / inner
        yield f"icmp {kind}, echo", _ether() / _ipv4() / ICMP(type=kind, code=code) / inner_echo
    yield "icmp 9", _ether() / _ipv4(proto=1) / Raw(b"\x09\x00\x00\x00\x01\x02\x07\x08" + bytes(8))
    yield "icmp 200", _ether() / _ipv4(proto=1) / Raw(b"\xc8\x01\x12\x34\x00\x05\x00\x06unknown")
    cause = _ipv6() / _udp() / b"the cause"
    yield "icmpv6 1", _ether() / _ipv6() / ICMPv6DestUnreach(code=4) / cause
    yield "icmpv6 2", _ether() / _ipv6() / ICMPv6PacketTooBig(mtu=1280) / cause
    yield (
        "icmpv6 1, echo",
        _ether() / _ipv6() / ICMPv6DestUnreach() / _ipv6() / ICMPv6EchoReply(id=5),
    )
    yield "icmpv6 128", _ether() / _ipv6() / ICMPv6EchoRequest(id=0x1122, seq=3) / b"ping"
    yield "icmpv6 129", _ether() / _ipv6() / ICMPv6EchoReply(id=0x1122, seq=3) / b"pong"
    yield "icmpv6 133", _ether() / _ipv6() / ICMPv6ND_RS() / ICMPv6NDOptSrcLLAddr()
    yield "icmpv6 134", _ether() / _ipv6() / ICMPv6ND_RA()
    yield "icmpv6 135", _ether() / _ipv6() / ICMPv6ND_NS(tgt="fe80::1") / ICMPv6NDOptSrcLLAddr()
    yield "icmpv6 136", _ether() / _ipv6() / ICMPv6ND_NA(tgt="fe80::2")
    alert = IPv6ExtHdrHopByHop(options=[RouterAlert()])
    yield "icmpv6 143", _ether() / _ipv6() / alert / ICMPv6MLReport2()
    yield "icmpv6 200", _ether() / _ipv6(nh=58) / Raw(b"\xc8\x01\x12\x34")


def _transport() -> Iterator[tuple[str, Packet | bytes]]:
    every = [
        ("MSS", 1460),
        ("SAckOK", b""),
        ("Timestamp", (0xFFFFFFFF, 0)),
        ("NOP", None),
        ("WScale", 14),
    ]
    yield "tcp without payload", _ether() / _ipv4() / _tcp(flags="S")
    yield (
        "tcp fields",
        _ether() / _ipv4() / _tcp(flags=0x1FF, reserved=5, urgptr=9, window=0) / b"x",
    )
    yield "tcp options", _ether() / _ipv4() / _tcp(flags="S", options=every)
    sack = [("NOP", None), ("NOP", None), ("SAck", (1, 2, 0xFFFFFFFE, 0xFFFFFFFF))]
    yield "tcp sack", _ether() / _ipv4() / _tcp(options=sack) / b"x"
    yield "tcp reset with payload", _ether() / _ipv4() / _tcp(flags="R") / b"its cause"
    yield "tcp in ipv6", _ether() / _ipv6() / _tcp(flags="S", options=every) / b"content"
    for name, options in _OPTION_BYTES.items():
        header = bytes(_tcp(dataofs=5 + len(options) // 4))
        yield f"tcp options {name}", _ether() / _ipv4(proto=6) / Raw(header + options + b"content")
    for dataofs in (0, 4, 15):
        yield f"tcp dataofs {dataofs}", _ether() / _ipv4() / _tcp(dataofs=dataofs) / b"content"
    yield "tcp short", _ether() / _ipv4(proto=6) / Raw(bytes(_tcp())[:19])
    yield "udp without payload", _ether() / _ipv4() / _udp()
    yield "udp in ipv6", _ether() / _ipv6() / _udp() / b"content"
    for length in (0, 1, 7, 8, 10, 400):
        yield f"udp length {length}", _ether() / _ipv4() / _udp(len=length) / b"content"
        yield f"udp length {length} in ipv6", _ether() / _ipv6() / _udp(len=length) / b"content"
    yield "udp short", _ether() / _ipv4(proto=17) / Raw(b"\x01\x02\x03\x04\x05\x06\x07")


_OPTION_BYTES = {
    "end": b"\x00\x02\x04\x05\xb4\x00\x00\x00",
    "unknown": b"\xfd\x04\xaa\xbb\x02\x04\x05\xb4",
    "md5": b"\x13\x12" + bytes(range(16)) + b"\x01\x01",
    "twice": b"\x02\x04\x05\xb4\x02\x04\x00\x01",
    "long mss": b"\x02\x06\x05\xb4\x00\x00\x04\x02",
    "short mss": b"\x02\x03\x05\x01\x04\x02\x01\x01",
    "short timestamp": b"\x08\x08\x00\x00\x00\x01\x00\x00",
    "long sackok": b"\x04\x03\x00\x01",
    "length 0": b"\x03\x00\x07\x01",
    "length 1": b"\x03\x01\x07\x01",
    "length beyond": b"\x01\x01\x02\x40",
    "no length": b"\x01\x01\x01\x02",
    "no blocks": b"\x05\x02\x01\x01",
    "half a block": b"\x05\x08\x00\x00\x00\x01\x00\x02",
    "wscale 255": b"\x03\x03\xff\x01",
}


def _dns_messages() -> Iterator[tuple[str, Packet | bytes]]:
    for name, message in _well_formed_dns():
        yield f"dns {name}", _ether() / _ipv4() / UDP(sport=53, dport=49154) / message
    for name, raw in _malformed_dns():
        yield f"dns {name}", _ether() / _ipv4() / UDP(sport=53, dport=49154) / Raw(raw)
    query = bytes(DNS(id=1, qd=DNSQR(qname="example.org")))
    prefixed = struct.pack("!H", len(query)) + query
    yield "dns in ipv6", _ether() / _ipv6() / UDP(sport=49154, dport=53) / Raw(query)
    yield "mdns", _ether() / _ipv4() / UDP(sport=5353, dport=5353) / DNS(_mdns_query())
    yield "mdns answer", _ether() / _ipv4() / UDP(sport=5353, dport=5353) / DNS(_mdns_answer())
    yield "llmnr", _ether() / _ipv6() / UDP(sport=49154, dport=5355) / Raw(query)
    yield "dns in tcp", _ether() / _ipv4() / _tcp(dport=53) / Raw(prefixed)
    yield "dns in tcp twice", _ether() / _ipv4() / _tcp(sport=53) / Raw(prefixed + prefixed)
    yield "dns in tcp, nothing", _ether() / _ipv4() / _tcp(dport=53)
    yield "dns in udp, nothing", _ether() / _ipv4() / _udp(dport=53)
    yield "dns at another port", _ether() / _ipv4() / _udp() / Raw(query)
    yield "dns within udp length", _ether() / _ipv4() / _udp(dport=53, len=8 + 20) / Raw(query)


def _well_formed_dns() -> Iterator[tuple[str, DNS]]:
    question = DNSQR(qname="www.example.org", qtype="A")
    yield "query", DNS(id=0xABCD, rd=1, ad=1, qd=question, ar=DNSRROPT())
    yield (
        "flags",
        DNS(id=1, qr=1, opcode=5, aa=1, tc=1, rd=0, ra=1, z=1, ad=0, cd=1, rcode=9, qd=question),
    )
    answers = [
        DNSRR(rrname="www.example.org", type="CNAME", ttl=300, rdata="web.example.org"),
        DNSRR(rrname="web.example.org", type="A", ttl=0, rdata="192.0.2.7"),
        DNSRR(rrname="web.example.org", type="AAAA", ttl=0xFFFFFFFF, rdata="2001:db8::7"),
    ]
    yield "answers", DNS(id=2, qr=1, qd=question, an=answers)
    others = [
        DNSRR(rrname="example.org", type="NS", rdata="ns.example.org"),
        DNSRR(rrname="7.2.0.192.in-addr.arpa", type="PTR", rdata="web.example.org"),
        DNSRR(rrname="old.example.org", type=39, rdata=b"\x03new\x07example\x03org\x00"),
        DNSRR(rrname="example.org", type="TXT", rdata=[b"v=spf1 -all", b"; more"]),
        DNSRRMX(rrname="example.org", preference=10, exchange="mx.example.org"),
        DNSRRSRV(
            rrname="_sip._tcp.example.org", priority=1, weight=2, port=3, target="sip.example.org"
        ),
        DNSRR(rrname="example.org", type=65280, rdata=b"\x00\xff"),
    ]
    authority = DNSRR(rrname="example.org", type="NS", rdata="ns2.example.org")
    yield "other answers", DNS(id=3, qr=1, qd=question, an=others, ns=authority)
    yield "two questions", DNS(id=4, qd=[question, DNSQR(qname="two.example.org", qtype=255)])
    yield "root", DNS(id=5, qr=1, qd=DNSQR(qname="."), an=DNSRR(rrname=".", type="NS", rdata="."))
    yield "no question", DNS(id=6, qr=1, qd=[])


def _mdns_query() -> bytes:
    return b"\0\0\0\0\0\1\0\0\0\0\0\0\x04_ipp\x04_tcp\x05local\0\0\x0c\x80\x01"


def _mdns_answer() -> bytes:
    name = b"\x0bC\xc3\xa9line's 2nd\x04_ipp\xc0\x27"
    head = b"\0\0\x84\0\0\0\0\1\0\0\0\0\x04_ipp\x04_tcp\x05local\0\0\x0c\x80\x01\0\0\x11\x94"
    return head + struct.pack("!H", 18) + name[:12] + b"\x03_ab\xc0\x0c"


def _malformed_dns() -> Iterator[tuple[str, bytes]]:
    one_question = b"\x12\x34\x01\x00\0\1\0\0\0\0\0\0"
    one_answer = b"\x12\x34\x81\x80\0\0\0\1\0\0\0\0"
    end = b"\0\1\0\1"
    record = b"\x01a\0\0\1\0\1\0\0\0\x09"
    yield "bytes in a name", one_question + b"\x08a.b;c\\d \x04\x00\x7f\xff\xe9\0" + end
    yield "loop", one_question + b"\xc0\x0c" + end
    yield "forward", one_question + b"\xc0\x12" + end + b"\x01a\0"
    yield "pointer into header", one_question + b"\xc0\x00" + end
    yield "label type 0x40", one_question + b"\x41a\0" + end
    yield (
        "name of 255",
        one_question + (b"\x3f" + b"x" * 63) * 3 + b"\x3d" + b"y" * 61 + b"\0" + end,
    )
    yield (
        "name of 256",
        one_question + (b"\x3f" + b"x" * 63) * 3 + b"\x3e" + b"y" * 62 + b"\0" + end,
    )
    yield "name cut", one_question + b"\x03ab"
    yield "more questions than there are", b"\x12\x34\1\0\xff\xff\0\0\0\0\0\0" + b"\x01a\0" + end
    yield (
        "more answers than there are",
        one_answer[:6] + b"\0\x09\0\0\0\0" + record + b"\0\4\1\2\3\4",
    )
    yield "a of 3 bytes", one_answer + record + b"\0\3\1\2\3"
    yield "a of 0 bytes", one_answer + record + b"\0\0"
    yield "data cut", one_answer + record + b"\0\4\1\2"
    yield "cname too long", one_answer + b"\x01a\0\0\5\0\1\0\0\0\x09\0\4\x01b\0\0"
    yield "header cut", one_question[:11]


def _other_links() -> Iterator[tuple[str, LinkType, bytes]]:
    ipv4 = bytes(_ipv4() / _tcp(options=[("MSS", 1)]) / b"content")
    ipv6 = bytes(_ipv6() / _udp() / b"content")
    arp = bytes(ARP(op=1, hwsrc="02:00:00:00:00:01", psrc="192.0.2.1", pdst="192.0.2.9"))
    tagged = b"\x00\x07\x08\x00" + ipv4
    types = ((0x0800, ipv4), (0x86DD, ipv6), (0x0806, arp), (0x8100, tagged), (0x9999, b"what"))
    for number, above in types:
        cooked = struct.pack("!HHH8sH", 0, 1, 6, b"\x02\0\0\0\0\1", number)
        yield f"sll 0x{number:04x}", LinkType.LINUX_SLL, cooked + above
        cooked = struct.pack("!HHIHBB8s", number, 0, 2, 1, 0, 6, b"\x02\0\0\0\0\1")
        yield f"sll2 0x{number:04x}", LinkType.LINUX_SLL2, cooked + above
    for name, above in (("ipv4", ipv4), ("ipv6", ipv6), ("neither", b"\x50" + bytes(50))):
        yield f"raw {name}", LinkType.RAW, above
    yield "link ipv4", LinkType.IPV4, ipv4 + b"padding"
    yield "link ipv6", LinkType.IPV6, ipv6 + b"padding"
    for order in "<>":
        for family, above in (
            (2, ipv4),
            (10, ipv6),
            (24, ipv6),
            (28, ipv6),
            (30, ipv6),
            (7, b"what"),
        ):
            head = struct.pack(f"{order}I", family)
            yield f"null {family} {order}", LinkType.NULL, head + above
            if order == ">":
                yield f"loop {family}", LinkType.LOOP, head + above


def all_samples() -> list[Sample]:
    """Return the samples, each with a name of its own."""
    groups = (_layer_2, _arp, _internet_4, _internet_6, _icmp_messages, _transport, _dns_messages)
    found = [
        Sample(name, LinkType.ETHERNET, bytes(built)) for group in groups for name, built in group()
    ]
    return found + [Sample(*sample) for sample in _other_links()]
