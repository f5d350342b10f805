"""Agreement with scapy's own dissection, on well-formed frames."""

from __future__ import annotations

from typing import Any

import pytest
from scapy.layers.dns import DNS
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, IPv6, IPv6ExtHdrFragment
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet

from network_pipeline.decode.headers import Header
from network_pipeline.decode.nested import decode
from network_pipeline.frames import LinkType
from network_pipeline.message import Nested
from tests.decode.samples import Sample, all_samples

#: Fields that are not scapy's, or that scapy has under another name or as an object.
_OWN_FIELDS = {"tcp": ("options", "payload_len"), "ip": ("options",), "ipv6": ("proto",)}
_SCAPY_NAMES = {
    ("vlan", "id"): "vlan",
    ("icmpv6", "chksum"): "cksum",
    ("icmpv6", "target"): "tgt",
    ("ipv6", "frag"): "offset",
    ("ipv6", "more"): "m",
    ("ipv6", "frag_id"): "id",
}
_LAYERS: dict[str, tuple[type[Packet], ...]] = {
    "eth": (Ether,),
    "vlan": (Dot1Q,),
    "arp": (ARP,),
    "ip": (IP,),
    "ipv6": (IPv6, IPv6ExtHdrFragment),
    "icmp": (ICMP,),
    "icmpv6": (ICMPv6EchoRequest, ICMPv6ND_NS, ICMPv6ND_NA),
    "tcp": (TCP,),
    "udp": (UDP,),
}
_NAMES = (
    *("vlan", "vlan in vlan", "arp request", "arp reply", "ipv4 fields", "ipv4 options"),
    *("ipv4 padding", "ipv4 first fragment", "ipv6 fields", "ipv6 padding", "ipv6 first fragment"),
    *("icmp 0", "icmp 8", "icmp 13", "icmpv6 128", "icmpv6 135", "icmpv6 136"),
    *("tcp fields", "tcp without payload", "tcp options", "tcp sack", "tcp in ipv6"),
    *("udp without payload", "udp in ipv6", "dns query", "dns answers", "dns in ipv6"),
)
SAMPLES = [sample for sample in all_samples() if sample.name in _NAMES]


def test_all_names_are_samples() -> None:
    assert len(SAMPLES) == len(_NAMES)
    assert {sample.link_type for sample in SAMPLES} == {LinkType.ETHERNET}


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample.name for sample in SAMPLES])
def test_header_fields(sample: Sample) -> None:
    nested = decode(sample.frame())
    dissected = Ether(sample.data)
    compared = 0
    for layer, scapy_layers in _LAYERS.items():
        for name, value in nested.get(layer, {}).items():
            if name not in _OWN_FIELDS.get(layer, ()):
                expected = _field(dissected, scapy_layers, _SCAPY_NAMES.get((layer, name), name))
                assert value == expected, (layer, name)
                compared += 1
    assert "error" not in nested["frame"]
    assert compared > 8


def _field(dissected: Packet, scapy_layers: tuple[type[Packet], ...], name: str) -> Any:
    for scapy_layer in scapy_layers:
        found = dissected.getlayer(scapy_layer)
        if found is not None and name in found.fields:
            value = found.fields[name]
            return value if isinstance(value, str) else int(value)
    return None


@pytest.mark.parametrize("name", ["tcp options", "tcp sack", "tcp in ipv6"])
def test_tcp_options(name: str) -> None:
    sample = next(sample for sample in SAMPLES if sample.name == name)
    found = decode(sample.frame())["tcp"]["options"]
    expected: Nested = {"raw": found["raw"]}
    for kind, value in Ether(sample.data)[TCP].options:
        if kind == "Timestamp":
            expected["tsval"], expected["tsecr"] = value
        elif kind == "SAck":
            pairs = zip(value[::2], value[1::2], strict=True)
            expected["sack"] = ";".join(f"{left}-{right}" for left, right in pairs)
        elif kind in ("MSS", "WScale", "SAckOK"):
            expected[kind.lower()] = 1 if kind == "SAckOK" else value
    assert found == expected


@pytest.mark.parametrize("name", ["dns query", "dns answers", "dns in ipv6"])
def test_dns(name: str) -> None:
    sample = next(sample for sample in SAMPLES if sample.name == name)
    found = decode(sample.frame())["dns"]
    dissected = Ether(sample.data)[DNS]
    plain = {key: value for key, value in found.items() if key not in ("qd", "an")}
    assert plain == {key: int(dissected.fields[key]) for key in plain}
    question = dissected.qd[0]
    assert found["qd"] == {
        "qname": _name(question.qname),
        "qtype": question.qtype,
        "qclass": question.unicastresponse << 15 | question.qclass,
    }
    records = dissected.an or []
    assert found.get("an", {}).get("rrname", "") == ";".join(_name(each.rrname) for each in records)
    assert found.get("an", {}).get("rdata", "") == ";".join(_name(each.rdata) for each in records)
    assert found.get("an", {}).get("ttl", "") == ";".join(str(each.ttl) for each in records)


def _name(value: bytes | str) -> str:
    return value if isinstance(value, str) else value.decode("ascii").rstrip(".")


def test_a_header_must_end_with_a_field() -> None:
    with pytest.raises(TypeError, match="IP does not begin with 24 bits"):
        Header("ip", IP, 3)
