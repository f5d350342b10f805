"""Frames as literal bytes and the nested dicts they are, whole and cut at every length."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from network_pipeline import message
from network_pipeline.decode import link
from network_pipeline.decode.nested import decode
from network_pipeline.frames import Frame, LinkType
from network_pipeline.message import Nested
from network_pipeline.schema import COLUMN_NAMES
from tests.decode.samples import Sample, all_samples
from tests.decode.tshark import row_of

TIME_NS = 1_700_000_000_123_456_789
TIME = "2023-11-14T22:13:20.123456789Z"

SAMPLES = all_samples()


class Case(NamedTuple):
    """A frame in hex (spaces are for the eye) and what its nested dict holds besides ``frame``."""

    name: str
    link_type: LinkType
    data: str
    expected: Nested
    error: str | None = None


MACS = "020000000002 020000000001"
ETH: Nested = {"dst": "02:00:00:00:00:02", "src": "02:00:00:00:00:01"}
IPV4 = f"{MACS} 0800"
IPV6 = f"{MACS} 86dd"
ADDRESSES_4 = "c0000201 c6336402"
ADDRESSES_6 = "20010db8000000000000000000000001 20010db8000000000000000000000002"


def eth(type_: int | None) -> Nested:
    return ETH | ({} if type_ is None else {"type": type_})


def ip(**fields: Any) -> Nested:
    return {
        **{"version": 4, "ihl": 5, "tos": 0, "len": 0, "id": 0x1234, "flags": 2, "frag": 0},
        **{"ttl": 64, "proto": 17, "chksum": 0xABCD, "src": "192.0.2.1", "dst": "198.51.100.2"},
        **fields,
    }


def ipv6(**fields: Any) -> Nested:
    return {
        **{"version": 6, "tc": 0, "fl": 0, "plen": 0, "nh": 17, "hlim": 64, "proto": 17},
        **{"src": "2001:db8::1", "dst": "2001:db8::2"},
        **fields,
    }


def tcp(**fields: Any) -> Nested:
    return {
        **{"sport": 49152, "dport": 80, "seq": 1, "ack": 2, "dataofs": 5, "reserved": 0},
        **{"flags": 24, "window": 512, "chksum": 0xBEEF, "urgptr": 0, "payload_len": 0},
        **fields,
    }


CASES = [
    Case("nothing", LinkType.ETHERNET, "", {}, "eth:truncated"),
    Case(
        "ethernet cut",
        LinkType.ETHERNET,
        "0200000000020200000000 0108",
        {"raw": {"len": 13, "load": "02000000000202000000000108"}},
        "eth:truncated",
    ),
    Case(
        "unknown ether type",
        LinkType.ETHERNET,
        f"{MACS} 88cc 020704",
        {"eth": eth(0x88CC), "raw": {"len": 3, "load": "020704"}},
    ),
    Case(
        "802.3 length",
        LinkType.ETHERNET,
        f"{MACS} 0003 424203 0000",
        {"eth": eth(None), "raw": {"len": 3, "load": "424203"}, "padding": {"load": "0000"}},
    ),
    Case(
        "802.3 length beyond the frame",
        LinkType.ETHERNET,
        f"{MACS} 0004 424203",
        {"eth": eth(None), "raw": {"len": 3, "load": "424203"}},
        "eth:length",
    ),
    Case(
        "two tags",
        LinkType.ETHERNET,
        f"{MACS} 88a8 e00a 8100 3fff 1234 beef",
        {
            "eth": eth(0x88A8),
            "vlan": {"prio": 7, "dei": 0, "id": 10, "type": 0x8100},
            "vlan2": {"prio": 1, "dei": 1, "id": 4095, "type": 0x1234},
            "raw": {"len": 2, "load": "beef"},
        },
    ),
    Case(
        "a third tag is payload",
        LinkType.ETHERNET,
        f"{MACS} 8100 0001 8100 0002 8100 0003 0800",
        {
            "eth": eth(0x8100),
            "vlan": {"prio": 0, "dei": 0, "id": 1, "type": 0x8100},
            "vlan2": {"prio": 0, "dei": 0, "id": 2, "type": 0x8100},
            "raw": {"len": 4, "load": "00030800"},
        },
    ),
    Case(
        "arp",
        LinkType.ETHERNET,
        f"{MACS} 0806 0001 0800 06 04 0001 020000000001 c0000201 000000000000 c0000209 ffff",
        {
            "eth": eth(0x0806),
            "arp": {
                **{"hwtype": 1, "ptype": 0x0800, "hwlen": 6, "plen": 4, "op": 1},
                **{"hwsrc": "02:00:00:00:00:01", "psrc": "192.0.2.1"},
                **{"hwdst": "00:00:00:00:00:00", "pdst": "192.0.2.9"},
            },
            "padding": {"load": "ffff"},
        },
    ),
    Case(
        "arp with other lengths",
        LinkType.ETHERNET,
        f"{MACS} 0806 0020 86dd 02 04 0002 aaaa c0000201 bbbb c0000209",
        {
            "eth": eth(0x0806),
            "arp": {
                **{"hwtype": 32, "ptype": 0x86DD, "hwlen": 2, "plen": 4, "op": 2},
                **{"psrc": "192.0.2.1", "pdst": "192.0.2.9"},
            },
        },
    ),
    Case(
        "ipv4 and udp, then padding",
        LinkType.ETHERNET,
        f"{IPV4} 45b9001e12344000 4011abcd {ADDRESSES_4} c0004268000acafe 6869 0000",
        {
            "eth": eth(0x0800),
            "ip": ip(tos=0xB9, len=30),
            "udp": {"sport": 49152, "dport": 17000, "len": 10, "chksum": 0xCAFE},
            "raw": {"len": 2, "load": "6869"},
            "padding": {"load": "0000"},
        },
    ),
    Case(
        "ipv4 options",
        LinkType.ETHERNET,
        f"{IPV4} 4600001c12344000 40fdabcd {ADDRESSES_4} 94040000 cafebabe",
        {
            "eth": eth(0x0800),
            "ip": ip(ihl=6, len=28, proto=253, options="94040000"),
            "raw": {"len": 4, "load": "cafebabe"},
        },
    ),
    Case(
        "ipv4 later fragment",
        LinkType.ETHERNET,
        f"{IPV4} 45000016123420b9 4006abcd {ADDRESSES_4} c000",
        {
            "eth": eth(0x0800),
            "ip": ip(len=22, flags=1, frag=185, proto=6),
            "raw": {"len": 2, "load": "c000"},
        },
    ),
    Case(
        "ipv4 total length 0",
        LinkType.ETHERNET,
        f"{IPV4} 4500000012344000 4011abcd {ADDRESSES_4} c0004268000acafe 6869",
        {
            "eth": eth(0x0800),
            "ip": ip(len=0),
            "udp": {"sport": 49152, "dport": 17000, "len": 10, "chksum": 0xCAFE},
            "raw": {"len": 2, "load": "6869"},
        },
    ),
    Case(
        "ipv4 total length below the header's",
        LinkType.ETHERNET,
        f"{IPV4} 4500001312344000 4011abcd {ADDRESSES_4} c000",
        {"eth": eth(0x0800), "ip": ip(len=19), "raw": {"len": 2, "load": "c000"}},
        "ip:length",
    ),
    Case(
        "ipv4 total length beyond the frame",
        LinkType.ETHERNET,
        f"{IPV4} 4500010012344000 40fdabcd {ADDRESSES_4} c000",
        {"eth": eth(0x0800), "ip": ip(len=256, proto=253), "raw": {"len": 2, "load": "c000"}},
        "ip:length",
    ),
    Case(
        "ipv4 header length below 5",
        LinkType.ETHERNET,
        f"{IPV4} 4400001612344000 4011abcd {ADDRESSES_4} c000",
        {"eth": eth(0x0800), "ip": ip(ihl=4, len=22), "raw": {"len": 2, "load": "c000"}},
        "ip:ihl",
    ),
    Case(
        "ipv4 of version 5",
        LinkType.ETHERNET,
        f"{IPV4} 5500001412344000 4011abcd {ADDRESSES_4}",
        {
            "eth": eth(0x0800),
            "raw": {"len": 20, "load": "55000014123440004011abcdc0000201c6336402"},
        },
        "ip:version",
    ),
    Case(
        "tcp with options",
        LinkType.ETHERNET,
        f"{IPV4} 4500003e12344000 4006abcd {ADDRESSES_4}"
        "c0000050 fffffff0 00000002 ab13 0200 beef 0007"
        "020405b4 0402 080a0000000100000002 01 030307 fffe",
        {
            "eth": eth(0x0800),
            "ip": ip(len=62, proto=6),
            "tcp": tcp(
                seq=0xFFFFFFF0,
                dataofs=10,
                reserved=5,
                flags=0x113,
                urgptr=7,
                payload_len=2,
                options={
                    **{"mss": 1460, "sackok": 1, "tsval": 1, "tsecr": 2, "wscale": 7},
                    "raw": "020405b40402080a000000010000000201030307",
                },
            ),
            "raw": {"len": 2, "load": "fffe"},
        },
    ),
    Case(
        "tcp option of a wrong length",
        LinkType.IPV4,
        f"4500002c12344000 4006abcd {ADDRESSES_4} c0000050 00000001 00000002 6018 0200 beef 0000"
        "02030500",
        {
            "ip": ip(len=44, proto=6),
            "tcp": tcp(dataofs=6, options={"raw": "02030500"}),
        },
        "tcp:options",
    ),
    Case(
        "tcp data offset beyond the segment",
        LinkType.IPV4,
        f"4500002a12344000 4006abcd {ADDRESSES_4} c0000050 00000001 00000002 6018 0200 beef 0000"
        "0203",
        {
            "ip": ip(len=42, proto=6),
            "tcp": {k: v for k, v in tcp(dataofs=6).items() if k != "payload_len"},
            "raw": {"len": 2, "load": "0203"},
        },
        "tcp:dataofs",
    ),
    Case(
        "udp length below the header's",
        LinkType.IPV4,
        f"4500001e12344000 4011abcd {ADDRESSES_4} c00042680007cafe 6869",
        {
            "ip": ip(len=30),
            "udp": {"sport": 49152, "dport": 17000, "len": 7, "chksum": 0xCAFE},
            "raw": {"len": 2, "load": "6869"},
        },
        "udp:length",
    ),
    Case(
        "ipv6 chain and first fragment",
        LinkType.ETHERNET,
        f"{IPV6} 6b9abcde 001a 00 40 {ADDRESSES_6} 2c00010400000000 1100000112345678"
        "c000426800ffcafe 6869",
        {
            "eth": eth(0x86DD),
            "ipv6": ipv6(tc=0xB9, fl=0xABCDE, plen=26, nh=0, frag=0, more=1, frag_id=0x12345678),
            "udp": {"sport": 49152, "dport": 17000, "len": 255, "chksum": 0xCAFE},
            "raw": {"len": 2, "load": "6869"},
        },
    ),
    Case(
        "ipv6 later fragment",
        LinkType.ETHERNET,
        f"{IPV6} 60000000 000a 2c 40 {ADDRESSES_6} 0600fff800000001 6869",
        {
            "eth": eth(0x86DD),
            "ipv6": ipv6(plen=10, nh=44, proto=6, frag=8191, more=0, frag_id=1),
            "raw": {"len": 2, "load": "6869"},
        },
    ),
    Case(
        "ipv6 chain cut",
        LinkType.ETHERNET,
        f"{IPV6} 60000000 0008 3c 40 {ADDRESSES_6} 1101000000000000",
        {
            "eth": eth(0x86DD),
            "ipv6": {name: value for name, value in ipv6(plen=8, nh=60).items() if name != "proto"},
            "raw": {"len": 8, "load": "1101000000000000"},
        },
        "ipv6:truncated",
    ),
    Case(
        "icmp echo",
        LinkType.IPV4,
        f"4500001e12344000 4001abcd {ADDRESSES_4} 0800f00d 0007 0009 6869",
        {
            "ip": ip(len=30, proto=1),
            "icmp": {"type": 8, "code": 0, "chksum": 0xF00D, "id": 7, "seq": 9},
            "raw": {"len": 2, "load": "6869"},
        },
    ),
    Case(
        "icmp error",
        LinkType.RAW,
        f"4500001e12344000 4001abcd {ADDRESSES_4} 0304f00d 000005dc 4500",
        {
            "ip": ip(len=30, proto=1),
            "icmp": {"type": 3, "code": 4, "chksum": 0xF00D},
            "raw": {"len": 2, "load": "4500"},
        },
    ),
    Case(
        "icmpv6 neighbour solicitation",
        LinkType.IPV6,
        f"60000000 0020 3a 40 {ADDRESSES_6} 8700f00d 00000000 {ADDRESSES_6[33:]} 0101020000000001",
        {
            "ipv6": ipv6(plen=32, nh=58, proto=58),
            "icmpv6": {"type": 135, "code": 0, "chksum": 0xF00D, "target": "2001:db8::2"},
            "raw": {"len": 8, "load": "0101020000000001"},
        },
    ),
    Case(
        "icmpv6 error",
        LinkType.RAW,
        f"60000000 000a 3a 40 {ADDRESSES_6} 0200f00d 000005dc 6000",
        {
            "ipv6": ipv6(plen=10, nh=58, proto=58),
            "icmpv6": {"type": 2, "code": 0, "chksum": 0xF00D},
            "raw": {"len": 2, "load": "6000"},
        },
    ),
    Case(
        "dns",
        LinkType.NULL,
        f"02000000 4500003912344000 4011abcd {ADDRESSES_4} 0035c0020025cafe"
        "1234 8580 0001 0001 0000 0000 00 0001 0001 c00c 0005 0001 00000e10 0000",
        {
            "ip": ip(len=57),
            "udp": {"sport": 53, "dport": 49154, "len": 37, "chksum": 0xCAFE},
            "dns": {
                **{"id": 0x1234, "qr": 1, "opcode": 0, "aa": 1, "tc": 0, "rd": 1, "ra": 1, "z": 0},
                **{"ad": 0, "cd": 0, "rcode": 0},
                **{"qdcount": 1, "ancount": 1, "nscount": 0, "arcount": 0},
                "qd": {"qname": ".", "qtype": 1, "qclass": 1},
                "an": {"rrname": ".", "type": "5", "ttl": "3600", "rdata": ""},
            },
            "raw": {
                "len": 29,
                "load": "1234858000010001000000000000010001c00c0005000100000e100000",
            },
        },
    ),
    Case(
        "dns cut",
        LinkType.LOOP,
        f"00000002 4500002712344000 4011abcd {ADDRESSES_4} 0035c0020013cafe 1234858000010001000000",
        {
            "ip": ip(len=39),
            "udp": {"sport": 53, "dport": 49154, "len": 19, "chksum": 0xCAFE},
            "raw": {"len": 11, "load": "1234858000010001000000"},
        },
        "dns:truncated",
    ),
    Case(
        "linux cooked",
        LinkType.LINUX_SLL,
        f"0000 0001 0006 0200000000010000 0800 4500001412344000 40fdabcd {ADDRESSES_4}",
        {"ip": ip(len=20, proto=253)},
    ),
    Case(
        "linux cooked, version 2",
        LinkType.LINUX_SLL2,
        f"86dd 0000 00000002 0001 00 06 0200000000010000 60000000 0000 3b 40 {ADDRESSES_6}",
        {"ipv6": ipv6(nh=59, proto=59)},
    ),
]


def _frame(data: bytes, link_type: LinkType, wire_len: int | None = None) -> Frame:
    size = len(data) if wire_len is None else wire_len
    return Frame(7, TIME_NS, "eth0", size, link_type, data)


def _sent(nested: Nested) -> Nested:
    """Return what arrives where a nested dict is published."""
    sent = message.encode(nested, source="agent", session="run")
    return message.decode(sent.body, sent.content_type, sent.headers)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_frames(case: Case) -> None:
    data = bytes.fromhex(case.data)
    about: Nested = {"number": 7, "time": TIME, "interface": "eth0"}
    about |= {"len": len(data), "caplen": len(data)}
    if case.error:
        about["error"] = case.error
    assert decode(_frame(data, case.link_type)) == {"frame": about, **case.expected}


def test_a_snap_length_leaves_the_lengths_on_the_wire() -> None:
    data = bytes.fromhex(
        f"{IPV4} 4500042812344000 4006abcd {ADDRESSES_4}"
        "c0000050 00000001 00000002 5018 0200 beef 0000 6869"
    )
    nested = decode(_frame(data, LinkType.ETHERNET, wire_len=1078))
    assert nested == {
        "frame": {"number": 7, "time": TIME, "interface": "eth0", "len": 1078, "caplen": 56},
        "eth": eth(0x0800),
        "ip": ip(len=1064, proto=6),
        "tcp": tcp(payload_len=1024),
        "raw": {"len": 2, "load": "6869"},
    }


def test_what_the_source_does_not_know_is_absent() -> None:
    frame = Frame(1, 2**63 * 1_000, None, 3, LinkType.ETHERNET, b"abc")
    about = {"number": 1, "len": 3, "caplen": 3, "error": "frame:time"}
    assert decode(frame) == {"frame": about, "raw": {"len": 3, "load": "616263"}}


def test_dns_over_tcp_is_read_where_it_is_whole() -> None:
    samples = {sample.name: decode(sample.frame()) for sample in SAMPLES}
    assert samples["dns in tcp"]["dns"]["qd"]["qname"] == "example.org"
    assert samples["dns in tcp"]["raw"]["len"] == 2 + 12 + 17
    assert samples["dns in tcp twice"]["dns"]["id"] == 1
    assert "dns" not in samples["dns at another port"]
    whole = next(sample for sample in SAMPLES if sample.name == "dns in tcp")
    assert "dns" not in decode(whole.frame(size=len(whole.data) - 1))


def test_a_jumbogram_has_its_length_from_an_option() -> None:
    sample = next(sample for sample in SAMPLES if sample.name == "ipv6 jumbogram")
    nested = decode(sample.frame())
    assert "error" not in nested["frame"]
    assert nested["raw"]["len"] == 66_000 - 8 - 8
    longer = sample._replace(data=sample.data + b"padding")
    assert decode(longer.frame())["padding"] == {"load": b"padding".hex()}


def test_every_link_type_has_a_layer() -> None:
    assert set(link.LAYERS) == set(LinkType)


def test_every_column_has_a_sample() -> None:
    seen = {name for sample in SAMPLES for name in row_of(decode(sample.frame()))}
    assert seen == set(COLUMN_NAMES) - {"source", "session", "frame_interface"}


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample.name for sample in SAMPLES])
def test_frames_cut_at_every_length(sample: Sample) -> None:
    whole = decode(sample.frame())
    layers = set(whole) - {"raw", "padding"}
    for size in range(min(len(sample.data), 400)):
        nested = decode(sample.frame(size=size))
        assert _sent(nested) == {"source": "agent", "session": "run", **nested}
        missing = layers - set(nested)
        assert "error" in nested["frame"] or missing <= {"dns"}, size
        if "error" not in nested["frame"]:
            assert "dns" not in missing or "tcp" in nested, size
