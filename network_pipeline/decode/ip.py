"""IPv4, and IPv6 with its extension headers."""

from __future__ import annotations

from scapy.layers import inet, inet6

from network_pipeline.decode import transport
from network_pipeline.decode.headers import Header
from network_pipeline.decode.walk import Layer, Walk
from network_pipeline.message import Nested

_IP = Header("ip", inet.IP, 20)
_IPV6 = Header("ipv6", inet6.IPv6, 40)
_FRAGMENT = Header(
    "ipv6",
    inet6.IPv6ExtHdrFragment,
    8,
    {"offset": "frag", "m": "more", "id": "frag_id", "nh": ""},  # the column is the fixed header's
)

_MORE_FRAGMENTS = 1
_MOST_PAYLOAD = 65_535  # what needs more is a jumbogram

_PAD1 = 0
_JUMBO = 0xC2

_HOP_BY_HOP = 0
_FRAGMENT_NUMBER = 44
_AUTHENTICATION = 51
#: IPv6 extension headers, all of which begin with what follows them and their own length.
_EXTENSIONS = frozenset((_HOP_BY_HOP, 43, _FRAGMENT_NUMBER, _AUTHENTICATION, 60, 135, 139, 140))


def ipv4(walk: Walk) -> Layer | None:
    """Read IPv4 (RFC 791); a fragment that is not the first holds no header of another layer."""
    start = walk.offset
    fields = _read_version(walk, _IP, 4)
    if fields is None:
        return None
    header_size = 4 * fields["ihl"]
    if header_size < _IP.size:
        walk.fail("ip", "ihl")
        return None
    length = fields["len"] or walk.wire_end - start
    if length < header_size:
        walk.fail("ip", "length")
        return None
    walk.bound("ip", start + length)
    options_at = walk.offset
    if not walk.skip("ip", header_size - _IP.size):
        return None
    if walk.offset > options_at:
        fields["options"] = walk.data[options_at : walk.offset].hex()
    walk.fragment = bool(fields["flags"] & _MORE_FRAGMENTS)
    return None if fields["frag"] else transport.LAYERS.get(fields["proto"])


def ipv6(walk: Walk) -> Layer | None:
    """Read IPv6 (RFC 8200) and pass by its extension headers."""
    fields = _read_version(walk, _IPV6, 6)
    if fields is None:
        return None
    walk.bound("ipv6", walk.offset + _payload_length(walk, fields))
    number = fields["nh"]
    later_fragment = False
    while number in _EXTENSIONS and not later_fragment:
        size = _extension_size(walk, number)
        at = walk.offset
        if not walk.skip("ipv6", size):
            return None
        if number == _FRAGMENT_NUMBER:
            later_fragment = _note_fragment(walk, fields, at)
        number = walk.data[at]
    fields["proto"] = number
    return None if later_fragment else transport.LAYERS.get(number)


def _payload_length(walk: Walk, fields: Nested) -> int:
    """Return the payload length, that of a jumbogram from its hop-by-hop header (RFC 2675)."""
    if fields["plen"] or fields["nh"] != _HOP_BY_HOP:
        return int(fields["plen"])
    end = walk.offset + _extension_size(walk, _HOP_BY_HOP)
    return _jumbo_length(walk.data[walk.offset + 2 : min(end, walk.end)])


def _jumbo_length(options: bytes) -> int:
    """Return the value of the jumbo payload option, 0 where there is none."""
    at = 0
    while at + 1 < len(options):
        kind, size = options[at], options[at + 1]
        if kind == _JUMBO and size == 4 and at + 6 <= len(options):
            length = int.from_bytes(options[at + 2 : at + 6], "big")
            return length if length > _MOST_PAYLOAD else 0
        at += 1 if kind == _PAD1 else 2 + size
    return 0


def _extension_size(walk: Walk, number: int) -> int:
    """Return the bytes of the extension header at the walk's offset, 8 at least."""
    units = walk.data[walk.offset + 1] if walk.offset + 1 < walk.end else 0
    if number == _FRAGMENT_NUMBER:
        return _FRAGMENT.size
    if number == _AUTHENTICATION:
        return 4 * (units + 2)
    return 8 * (units + 1)


def _note_fragment(walk: Walk, fields: Nested, at: int) -> bool:
    """Add the fields of the outermost fragment header; return whether it is not the first one."""
    fragment = _FRAGMENT.read(walk.data, at)
    walk.fragment = walk.fragment or bool(fragment["more"])
    if "frag" not in fields:
        fields.update(fragment)
    return bool(fragment["frag"])


def _read_version(walk: Walk, header: Header, version: int) -> Nested | None:
    if walk.holds(header.layer, header.size) and walk.data[walk.offset] >> 4 != version:
        walk.fail(header.layer, "version")
        return None
    return walk.read(header)
