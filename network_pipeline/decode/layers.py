"""Where the layers of frames begin: one walk through each frame, with every length check.

A walk follows the same rules as :mod:`.nested`, whose docstring gives them. It decodes nothing but
notes places in the buffer, and -1 where a layer is absent: whatever is noted lies wholly within its
frame. So the columns of a layer can be gathered from its places without another check.

A place is not only the beginning of a layer but of anything that can be absent by itself, such as
identifier and sequence number of ICMP. A span is a place with an end. Compiled, see
:mod:`network_pipeline.interpreted`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from network_pipeline.decode.options import locate as locate_options
from network_pipeline.decode.places import LAYERS, PLACES, REASONS
from network_pipeline.frames import LinkType

if not TYPE_CHECKING:
    from network_pipeline.interpreted import nogil
else:
    from cython import nogil

# fmt: off
(
    _ETH, _VLAN, _VLAN2, _ARP, _IP, _IPV6, _ICMP, _ICMPV6, _TCP, _UDP, _DNS,
    _SLL, _SLL2, _NULL_FAMILY, _LOOP_FAMILY, _FRAME,
) = range(len(LAYERS))
(
    _ETH_TYPE, _VLAN_TYPE, _VLAN2_TYPE, _ARP_HWSRC, _ARP_PSRC, _ARP_HWDST, _ARP_PDST,
    _IPV6_PROTO, _IPV6_FRAGMENT, _ICMP_QUERY, _ICMPV6_ECHO, _ICMPV6_NEIGHBOUR,
    _TCP_PAYLOAD_LEN, _DNS_QUESTION, _DNS_ANSWERS,
    _TCP_MSS, _TCP_WSCALE, _TCP_SACKOK, _TCP_SACK, _TCP_TIMESTAMP,
    _IP_OPTIONS, _TCP_OPTIONS, _DNS_MESSAGE, _RAW, _PADDING,
) = range(11, len(PLACES))
_TRUNCATED, _VERSION, _IHL, _DATAOFS, _LENGTH, _MALFORMED_OPTIONS = map(
    REASONS.index, ("truncated", "version", "ihl", "dataofs", "length", "options")
)
# fmt: on
_FIRST_SPAN = _IP_OPTIONS

_LINK_NULL = int(LinkType.NULL)
_LINK_ETHERNET = int(LinkType.ETHERNET)
_LINK_RAW = int(LinkType.RAW)
_LINK_LOOP = int(LinkType.LOOP)
_LINK_SLL = int(LinkType.LINUX_SLL)
_LINK_IPV4 = int(LinkType.IPV4)
_LINK_IPV6 = int(LinkType.IPV6)
_LINK_SLL2 = int(LinkType.LINUX_SLL2)

_LEAST_ETHER_TYPE = 0x600  # IEEE 802.3: below it the field is a length, of 1500 at most
_MOST_LENGTH = 1500
_MOST_PAYLOAD = 65_535  # of IPv6; what needs more is a jumbogram

_FRAGMENT = 44
_AUTHENTICATION = 51
#: By protocol number: 1 for an IPv6 extension header.
_IS_EXTENSION = bytes(number in (0, 43, 44, 51, 60, 135, 139, 140) for number in range(256))
#: By ICMP type: 1 where it has identifier and sequence number.
_IS_QUERY = bytes(kind in (0, 8, 13, 14, 15, 16, 17, 18) for kind in range(256))


class Walk:
    """Where the walk through one frame stands, and where it notes what it finds.

    ``offset`` is the first byte not read yet, ``end`` the end of what was captured of the innermost
    layer, ``wire_end`` its end on the wire; all three are places in ``data``. One walk goes through
    all frames, one row after the other.
    """

    def __init__(
        self, data: memoryview, places: memoryview, ends: memoryview, payload_lens: memoryview
    ) -> None:
        self.data = data
        self.places = places
        self.ends = ends
        self.payload_lens = payload_lens
        self.row = 0
        self.offset = 0
        self.end = 0
        self.wire_end = 0
        self.fragment = 0
        self.error = 0

    def start(self, row: int, offset: int, length: int, wire_len: int) -> int:
        """Stand before the first byte of a frame."""
        self.row = row
        self.offset = offset
        self.end = offset + length
        self.wire_end = offset + max(wire_len, length)
        self.fragment = 0
        self.error = 0
        return 0

    def fail(self, layer: int, reason: int) -> int:
        """Note what is wrong; the first one counts. Returns 0."""
        if self.error == 0:
            self.error = layer << 4 | reason
        return 0

    def note(self, place: int, at: int) -> int:
        """Note where something begins."""
        self.places[place, self.row] = at
        return 0

    def note_span(self, place: int, at: int, end: int) -> int:
        """Note where something begins and ends."""
        self.places[place, self.row] = at
        self.ends[place - _FIRST_SPAN, self.row] = end
        return 0

    def skip(self, layer: int, size: int) -> int:
        """Pass by the next ``size`` bytes; return whether they are there."""
        if self.offset + size > self.end:
            return self.fail(layer, _TRUNCATED)
        self.offset += size
        return 1

    def read(self, layer: int, size: int) -> int:
        """Pass by a fixed header and note its layer; return whether it is there."""
        if self.offset + size > self.end:
            return self.fail(layer, _TRUNCATED)
        self.note(layer, self.offset)
        self.offset += size
        return 1

    def bound(self, layer: int, end: int) -> int:
        """Let the layer end at ``end``, or where the wire ended if that is less."""
        if end > self.wire_end:
            self.fail(layer, _LENGTH)
        self.wire_end = min(end, self.wire_end)
        self.end = min(self.end, self.wire_end)
        return 0

    def u16(self, at: int) -> int:
        """Return two bytes as a number."""
        return self.data[at] << 8 | self.data[at + 1]

    def u32(self, at: int) -> int:
        """Return four bytes as a number."""
        high = self.u16(at)
        return high << 16 | self.u16(at + 2)


def locate(
    walk: Walk,
    offsets: memoryview,
    lengths: memoryview,
    wire_lens: memoryview,
    link_types: memoryview,
    errors: memoryview,
) -> int:
    """Walk through the frame of every row; the place arrays of ``walk`` hold -1s before."""
    with nogil:
        for row in range(len(offsets)):
            walk.start(row, offsets[row], lengths[row], wire_lens[row])
            frame_end = walk.end
            _link(walk, link_types[row])
            if walk.end > walk.offset:
                walk.note_span(_RAW, walk.offset, walk.end)
            if frame_end > walk.end:
                walk.note_span(_PADDING, walk.end, frame_end)
            errors[row] = walk.error
    return 0


# -- link layers -----------------------------------------------------------------------------------


def _link(walk: Walk, link_type: int) -> int:
    start = walk.offset
    if link_type == _LINK_ETHERNET:
        return _read_ether_type(walk, _ETH, _ETH_TYPE, 14)
    if link_type == _LINK_SLL:
        return _ether_layer(walk, walk.u16(start + 14)) if walk.skip(_SLL, 16) else 0
    if link_type == _LINK_SLL2:
        return _ether_layer(walk, walk.u16(start)) if walk.skip(_SLL2, 20) else 0
    if link_type == _LINK_NULL:
        return _family(walk, _swapped(walk.u32(start))) if walk.skip(_NULL_FAMILY, 4) else 0
    if link_type == _LINK_LOOP:
        return _family(walk, walk.u32(start)) if walk.skip(_LOOP_FAMILY, 4) else 0
    if link_type == _LINK_IPV6:
        return _ipv6(walk)
    if link_type == _LINK_IPV4:
        return _ipv4(walk)
    return _raw(walk) if link_type == _LINK_RAW else 0


def _raw(walk: Walk) -> int:
    """Tell IPv6 from IPv4 by its first half byte; whatever is neither is no IPv4 either."""
    if walk.end > walk.offset and walk.data[walk.offset] >> 4 == 6:
        return _ipv6(walk)
    return _ipv4(walk)


def _swapped(number: int) -> int:
    """Return the lesser of a number of 32 bits and the one that its bytes make backwards."""
    other = number >> 24 | (number >> 8 & 0xFF00) | (number & 0xFF00) << 8 | (number & 0xFF) << 24
    return min(number, other)


def _family(walk: Walk, number: int) -> int:
    """Read what a BSD address family announces; that of IPv6 differs by system."""
    if number == 2:
        return _ipv4(walk)
    return _ipv6(walk) if number in (24, 28, 30) else 0


def _ether_layer(walk: Walk, number: int) -> int:
    if number == 0x0800:
        return _ipv4(walk)
    if number == 0x86DD:
        return _ipv6(walk)
    if number == 0x0806:
        return _arp(walk)
    if number in (0x8100, 0x88A8, 0x9100):
        return _vlan(walk)
    return 0


def _vlan(walk: Walk) -> int:
    """Read a tag; a third one is payload."""
    if walk.places[_VLAN, walk.row] < 0:
        return _read_ether_type(walk, _VLAN, _VLAN_TYPE, 4)
    if walk.places[_VLAN2, walk.row] < 0:
        return _read_ether_type(walk, _VLAN2, _VLAN2_TYPE, 4)
    return 0


def _read_ether_type(walk: Walk, layer: int, type_place: int, size: int) -> int:
    """Read a header that ends with an EtherType, or with a length, which is no column."""
    start = walk.offset
    if not walk.read(layer, size):
        return 0
    number = walk.u16(walk.offset - 2)
    if number >= _LEAST_ETHER_TYPE or number == 0:  # 0 bounds nothing: no length either
        walk.note(type_place, start)
        return _ether_layer(walk, number)
    if number <= _MOST_LENGTH:
        walk.bound(layer, walk.offset + number)
    return 0


def _arp(walk: Walk) -> int:
    """Read ARP (RFC 826); addresses have columns where they are MAC and IPv4 ones by length."""
    if not walk.read(_ARP, 8):
        return 0
    at = walk.offset
    hwlen = walk.data[at - 4]
    plen = walk.data[at - 3]
    if not walk.skip(_ARP, 2 * (hwlen + plen)):
        return 0
    if hwlen == 6:
        walk.note(_ARP_HWSRC, at)
        walk.note(_ARP_HWDST, at + hwlen + plen)
    if plen == 4:
        walk.note(_ARP_PSRC, at + hwlen)
        walk.note(_ARP_PDST, at + hwlen + plen + hwlen)
    return walk.bound(_ARP, walk.offset)


# -- IP --------------------------------------------------------------------------------------------


def _read_version(walk: Walk, layer: int, size: int, version: int) -> int:
    if walk.offset + size <= walk.end and walk.data[walk.offset] >> 4 != version:
        return walk.fail(layer, _VERSION)
    return walk.read(layer, size)


def _ipv4(walk: Walk) -> int:
    """Read IPv4 (RFC 791); a fragment that is not the first holds no header of another layer."""
    start = walk.offset
    if not _read_version(walk, _IP, 20, 4):
        return 0
    header_size = 4 * (walk.data[start] & 0xF)
    if header_size < 20:
        return walk.fail(_IP, _IHL)
    length = walk.wire_end - start
    if walk.u16(start + 2) > 0:
        length = walk.u16(start + 2)
    if length < header_size:
        return walk.fail(_IP, _LENGTH)
    walk.bound(_IP, start + length)
    if not walk.skip(_IP, header_size - 20):
        return 0
    if header_size > 20:
        walk.note_span(_IP_OPTIONS, start + 20, walk.offset)
    fragment = walk.u16(start + 6)
    walk.fragment = fragment >> 13 & 1
    return _transport(walk, walk.data[start + 9]) if fragment & 0x1FFF == 0 else 0


def _ipv6(walk: Walk) -> int:
    """Read IPv6 (RFC 8200) and pass by its extension headers."""
    start = walk.offset
    if not _read_version(walk, _IPV6, 40, 6):
        return 0
    walk.bound(_IPV6, walk.offset + _payload_length(walk, start))
    proto_at = start + 6
    number = walk.data[proto_at]
    later_fragment = 0
    while _IS_EXTENSION[number] and not later_fragment:
        at = walk.offset
        if not walk.skip(_IPV6, _extension_size(walk, number)):
            return 0
        if number == _FRAGMENT:
            later_fragment = _note_fragment(walk, at)
        proto_at = at
        number = walk.data[proto_at]
    walk.note(_IPV6_PROTO, proto_at)
    return 0 if later_fragment else _transport(walk, number)


def _payload_length(walk: Walk, start: int) -> int:
    """Return the payload length, that of a jumbogram from its hop-by-hop header (RFC 2675)."""
    if walk.u16(start + 4) > 0 or walk.data[start + 6] != 0:
        return walk.u16(start + 4)
    at = walk.offset + 2
    end = min(walk.offset + _extension_size(walk, 0), walk.end)
    while at + 1 < end:
        kind = walk.data[at]
        size = walk.data[at + 1]
        if kind == 0xC2 and size == 4 and at + 6 <= end:
            return walk.u32(at + 2) if walk.u32(at + 2) > _MOST_PAYLOAD else 0
        at += 1 if kind == 0 else 2 + size  # Pad1 has no length
    return 0


def _extension_size(walk: Walk, number: int) -> int:
    """Return the bytes of the extension header at the walk's offset, 8 at least."""
    units = walk.data[walk.offset + 1] if walk.offset + 1 < walk.end else 0
    if number == _FRAGMENT:
        return 8
    if number == _AUTHENTICATION:
        return 4 * (units + 2)
    return 8 * (units + 1)


def _note_fragment(walk: Walk, at: int) -> int:
    """Note the outermost fragment header; return whether it is not the first fragment."""
    fragment = walk.u16(at + 2)
    walk.fragment = walk.fragment | (fragment & 1)
    if walk.places[_IPV6_FRAGMENT, walk.row] < 0:
        walk.note(_IPV6_FRAGMENT, at)
    return 1 if fragment >> 3 > 0 else 0


# -- transport -------------------------------------------------------------------------------------


def _transport(walk: Walk, number: int) -> int:
    if number == 6:
        return _tcp(walk)
    if number == 17:
        return _udp(walk)
    if number == 1:
        return _icmp(walk)
    return _icmpv6(walk) if number == 58 else 0


def _icmp(walk: Walk) -> int:
    """Read ICMP (RFC 792), whose header has eight bytes whatever the type."""
    start = walk.offset
    if walk.read(_ICMP, 4) and walk.skip(_ICMP, 4) and _IS_QUERY[walk.data[start]]:
        walk.note(_ICMP_QUERY, start)
    return 0


def _icmpv6(walk: Walk) -> int:
    """Read ICMPv6: errors with one word more (RFC 4443), neighbour messages (RFC 4861)."""
    start = walk.offset
    if not walk.read(_ICMPV6, 4):
        return 0
    kind = walk.data[start]
    if 1 <= kind <= 4:
        walk.skip(_ICMPV6, 4)
    elif kind in (128, 129) and walk.skip(_ICMPV6, 4):
        walk.note(_ICMPV6_ECHO, start)
    elif kind in (135, 136) and walk.skip(_ICMPV6, 20):
        walk.note(_ICMPV6_NEIGHBOUR, start)
    return 0


def _tcp(walk: Walk) -> int:
    """Read TCP (RFC 9293), its options, and DNS where the segment holds the whole message."""
    start = walk.offset
    if not walk.read(_TCP, 20):
        return 0
    header_size = 4 * (walk.data[start + 12] >> 4)
    payload_len = walk.wire_end - start - header_size
    if header_size < 20:
        return walk.fail(_TCP, _DATAOFS)
    if payload_len < 0:  # in a fragment the next one has the rest
        return walk.fail(_TCP, _TRUNCATED if walk.fragment else _DATAOFS)
    walk.note(_TCP_PAYLOAD_LEN, start)
    walk.payload_lens[walk.row] = payload_len
    if not walk.skip(_TCP, header_size - 20):
        return 0
    if header_size > 20:
        _tcp_options(walk, start + 20)
    if walk.u16(start) == 53 or walk.u16(start + 2) == 53:
        _dns_in_tcp(walk)
    return 0


def _tcp_options(walk: Walk, at: int) -> int:
    walk.note_span(_TCP_OPTIONS, at, walk.offset)
    if locate_options(walk.data, at, walk.offset, walk.places, _TCP_MSS, walk.row):
        walk.fail(_TCP, _MALFORMED_OPTIONS)
    return 0


def _udp(walk: Walk) -> int:
    """Read UDP (RFC 768), and DNS by port; in IPv6 length 0 is a jumbogram's (RFC 2675)."""
    start = walk.offset
    if not walk.read(_UDP, 8):
        return 0
    wire_length = walk.wire_end - start
    length = walk.u16(start + 4)
    if length == 0 and walk.places[_IPV6, walk.row] >= 0:
        length = wire_length
    if length < 8 or (length > wire_length and not walk.fragment):
        walk.fail(_UDP, _LENGTH)
    if length > 8 and (_is_dns(walk.u16(start)) or _is_dns(walk.u16(start + 2))):
        _dns(walk, walk.offset, min(start + length, walk.end))
    return 0


def _is_dns(port: int) -> int:
    return port in (53, 5353, 5355)


def _dns_in_tcp(walk: Walk) -> int:
    """Note the message behind its length (RFC 1035 section 4.2.2), where all of it is there."""
    at = walk.offset
    if walk.end - at < 2:
        return 0
    length = walk.u16(at)
    if length < 12 or at + 2 + length > walk.end:
        return 0
    return _dns(walk, at + 2, at + 2 + length)


def _dns(walk: Walk, at: int, end: int) -> int:
    if end - at < 12:
        return walk.fail(_DNS, _TRUNCATED)
    walk.note(_DNS, at)
    return walk.note_span(_DNS_MESSAGE, at, end)
