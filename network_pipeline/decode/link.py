"""Link layers: Ethernet and its tags, Linux cooked, BSD loopback, raw IP; and ARP above them."""

from __future__ import annotations

from scapy.layers import l2

from network_pipeline.decode import ip, text
from network_pipeline.decode.headers import Header
from network_pipeline.decode.walk import Layer, Walk
from network_pipeline.frames import LinkType

_ETHERNET = Header("eth", l2.Ether, 14)
_TAGS = (
    Header("vlan", l2.Dot1Q, 4, {"vlan": "id"}),
    Header("vlan2", l2.Dot1Q, 4, {"vlan": "id"}),
)
_ARP = Header("arp", l2.ARP, 8)

_LEAST_ETHER_TYPE = 0x600  # IEEE 802.3: below it the field is a length, of 1500 at most
_MOST_LENGTH = 1500

#: BSD address families, of which the one of IPv6 differs by system.
_FAMILY_IP = 2
_FAMILIES_IPV6 = (24, 28, 30)


def _ethernet(walk: Walk) -> Layer | None:
    return _ether_type(walk, _ETHERNET)


def _vlan(walk: Walk) -> Layer | None:
    """Read a tag; a third one is payload."""
    depth = ("vlan" in walk.nested) + ("vlan2" in walk.nested)
    if depth == len(_TAGS):
        return None
    return _ether_type(walk, _TAGS[depth])


def _ether_type(walk: Walk, header: Header) -> Layer | None:
    """Read a header that ends with an EtherType, or with a length, which is no column."""
    fields = walk.read(header)
    if fields is None:
        return None
    number: int = fields["type"]
    if number >= _LEAST_ETHER_TYPE or number == 0:  # 0 bounds nothing: no length either
        return _ETHER_LAYERS.get(number)
    del fields["type"]
    if number <= _MOST_LENGTH:
        walk.bound(header.layer, walk.offset + number)
    return None


def _cooked(layer: str, size: int, protocol: int) -> Layer:
    """Return the layer of a Linux cooked header that holds an EtherType at ``protocol``."""

    def read(walk: Walk) -> Layer | None:
        number = int.from_bytes(walk.data[protocol : protocol + 2], "big")
        return _ETHER_LAYERS.get(number) if walk.skip(layer, size) else None

    return read


def _null(walk: Walk) -> Layer | None:
    """Pass by an address family in the byte order of the capturing host."""
    orders = (int.from_bytes(walk.data[:4], "little"), int.from_bytes(walk.data[:4], "big"))
    return _family(walk, "null", min(orders))


def _loop(walk: Walk) -> Layer | None:
    """Pass by an address family in network byte order."""
    return _family(walk, "loop", int.from_bytes(walk.data[:4], "big"))


def _family(walk: Walk, layer: str, number: int) -> Layer | None:
    if not walk.skip(layer, 4):
        return None
    if number == _FAMILY_IP:
        return ip.ipv4
    return ip.ipv6 if number in _FAMILIES_IPV6 else None


def _raw(walk: Walk) -> Layer | None:
    """Tell IPv6 from IPv4 by its first half byte; whatever is neither is no IPv4 either."""
    version = walk.data[0] >> 4 if walk.data else 4
    return ip.ipv6 if version == 6 else ip.ipv4


def _arp(walk: Walk) -> None:
    """Read ARP (RFC 826); addresses have columns where they are MAC and IPv4 ones by length."""
    fields = walk.read(_ARP)
    if fields is None:
        return
    hwlen, plen = fields["hwlen"], fields["plen"]
    start = walk.offset
    if not walk.skip("arp", 2 * (hwlen + plen)):
        return
    for end in ("src", "dst"):
        if hwlen == 6:
            fields["hw" + end] = text.mac(walk.data[start : start + 6])
        if plen == 4:
            fields["p" + end] = text.ipv4(walk.data[start + hwlen : start + hwlen + 4])
        start += hwlen + plen
    walk.bound("arp", walk.offset)


#: By EtherType.
_ETHER_LAYERS: dict[int, Layer] = {
    0x0800: ip.ipv4,
    0x0806: _arp,
    0x8100: _vlan,
    0x86DD: ip.ipv6,
    0x88A8: _vlan,
    0x9100: _vlan,
}

#: The layer that a frame of each link type begins with.
LAYERS: dict[LinkType, Layer] = {
    LinkType.ETHERNET: _ethernet,
    LinkType.LINUX_SLL: _cooked("sll", 16, 14),
    LinkType.LINUX_SLL2: _cooked("sll2", 20, 0),
    LinkType.RAW: _raw,
    LinkType.IPV4: ip.ipv4,
    LinkType.IPV6: ip.ipv6,
    LinkType.NULL: _null,
    LinkType.LOOP: _loop,
}
