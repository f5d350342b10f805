"""Where decoded rows differ from tshark on purpose: the whole list.

A rule says when a difference is one of these, as narrowly as it can, and why. Rules are tried in
order; ``ours`` and ``theirs`` are ``None`` where the value is absent.
"""

from __future__ import annotations

import re

from tests.decode.expected import protocols
from tests.decode.tshark import Cell, Rule

_ABOVE_IP = ("tcp_sport", "udp_sport", "icmp_type", "icmpv6_type")
_ETHERNET = 1
_IEEE_802 = 6
_ATM = 19
_IPV4 = 0x0800
_RST = 4
_PROVIDER_TAG = 0x88A8


def _error(cell: Cell) -> str:
    return str(cell.row.get("frame_error", ""))


#: The last field of the fixed headers.
_LAST_FIELDS = {
    "arp": "arp.opcode",
    "dns": "dns.count.add_rr",
    "icmp": "icmp.checksum",
    "icmpv6": "icmpv6.checksum",
    "ip": "ip.dst",
    "ipv6": "ipv6.dst",
    "tcp": "tcp.urgent_pointer",
    "udp": "udp.checksum",
}


def _is_cut_header(cell: Cell) -> bool:
    layer = cell.column.layer
    absent = not any(name.startswith(f"{layer}_") for name in cell.row)
    return absent and _LAST_FIELDS.get(layer, "frame.len") not in cell.seen and bool(_error(cell))


def _is_cut_rest(cell: Cell) -> bool:
    return cell.ours is None and _error(cell) == f"{cell.column.layer}:truncated"


def _is_cut_icmp(cell: Cell) -> bool:
    return cell.column.layer == "icmp" and cell.theirs is None and _error(cell) == "icmp:truncated"


def _is_cut_second_provider_tag(cell: Cell) -> bool:
    cut = _error(cell) == "vlan2:truncated" and cell.row["vlan_type"] == _PROVIDER_TAG
    return cell.column.layer == "vlan" and cell.theirs is None and cut


def _is_undecoded_header(cell: Cell) -> bool:
    layer, _, reason = _error(cell).partition(":")
    stops = reason in ("truncated", "version", "ihl", "dataofs")
    stops = stops or (reason == "length" and not any(name in cell.row for name in _ABOVE_IP))
    return cell.column.name == "raw_load" and cell.theirs is None and stops and layer != "dns"


def _is_after_bad_ip_length(cell: Cell) -> bool:
    stops = _error(cell) in ("ip:ihl", "ip:length") and "ip.src" not in cell.seen
    return cell.column.layer == "ip" and cell.theirs is None and stops


def _is_wrong_version(cell: Cell) -> bool:
    layer, _, reason = _error(cell).partition(":")
    return reason == "version" and cell.column.name == f"{layer}_version" and cell.ours is None


def _is_destination_before_cut_options(cell: Cell) -> bool:
    cut = _error(cell) == "ip:truncated" and cell.row.get("ip_ihl", 5) > 5
    return cell.column.name == "ip_dst" and cell.theirs is None and cut


def _is_offloaded_length(cell: Cell) -> bool:
    return cell.column.name == "ip_len" and cell.ours == 0


def _is_first_fragment(cell: Cell) -> bool:
    more = cell.row.get("ip_flags", 0) & 1 or cell.row.get("ipv6_more")
    return cell.column.name == "tcp_payload_len" and cell.theirs is None and bool(more)


def _is_length_0_behind_tag(cell: Cell) -> bool:
    tag = cell.row.get("vlan2_type", cell.row.get("vlan_type"))
    return tag == 0 and cell.column.name in ("vlan_type", "vlan2_type", "raw_load", "padding_load")


def _is_arp_of_other_types(cell: Cell) -> bool:
    if cell.theirs is not None:
        return False
    if cell.column.name in ("arp_hwsrc", "arp_hwdst"):
        return cell.row["arp_hwtype"] not in (_ETHERNET, _IEEE_802)
    return cell.column.name in ("arp_psrc", "arp_pdst") and cell.row["arp_ptype"] != _IPV4


def _is_arp_of_atm(cell: Cell) -> bool:
    return cell.row.get("arp_hwtype") == _ATM and cell.column.layer in ("arp", "raw", "padding")


def _is_icmp_message(cell: Cell) -> bool:
    """Return whether tshark reads the message's own fields, a ping's time or a datagram in it."""
    icmp = "icmp_type" in cell.row or "icmpv6_type" in cell.row
    if cell.column.name != "raw_load" or not icmp:
        return False
    inner = re.search(r"icmp(v6)?:ip", protocols(cell.seen)) or "icmp.data_time" in cell.seen
    return cell.theirs is None or (bool(inner) and _is_inner(cell))


def _is_tunnel(cell: Cell) -> bool:
    inner = re.search(
        r"\bip:(ip|ipv6|ah)\b|\bipv6:ip(v6)?(:|$)|vlan:ethertype:vlan:ethertype:vlan",
        protocols(cell.seen),
    )
    return cell.column.name == "raw_load" and inner is not None and _is_inner(cell)


def _is_inner(cell: Cell) -> bool:
    return cell.theirs is None or (cell.ours or "").endswith(cell.theirs)


def _is_bytes_after_udp(cell: Cell) -> bool:
    size = cell.row.get("udp_len", 0) - 8
    if cell.column.name != "raw_load" or cell.ours is None or size < 0:
        return False
    within_ip = len(cell.ours) // 2 + 8 <= _ip_payload(cell)
    return within_ip and (cell.theirs or "") == cell.ours[: 2 * size]


def _ip_payload(cell: Cell) -> int:
    """Return the bytes above IP, 0 where there are extension headers between."""
    if cell.row.get("ipv6_nh") != cell.row.get("ipv6_proto"):
        return 0
    header = 4 * cell.row.get("ip_ihl", 0)
    return int(cell.row.get("ipv6_plen", cell.row.get("ip_len", 0) - header))


def _is_reset_cause(cell: Cell) -> bool:
    reset = cell.row.get("tcp_flags", 0) & _RST
    return cell.column.name == "raw_load" and cell.theirs is None and bool(reset)


def _is_cut_dns_in_tcp(cell: Cell) -> bool:
    cut = cell.row["frame_caplen"] < cell.row["frame_len"] and "dns_id" not in cell.row
    return cell.column.layer == "dns" and "tcp:dns" in protocols(cell.seen) and cut


def _is_bad_tcp_option(cell: Cell) -> bool:
    option = cell.column.name.startswith("tcp_options_") and cell.ours is None
    payload = cell.column.name == "raw_load" and cell.theirs is None
    return (option or payload) and _error(cell) == "tcp:options"


def _is_after_bad_transport_length(cell: Cell) -> bool:
    if _error(cell) == "udp:length" and cell.row["udp_len"] < 8:
        return cell.column.name in ("udp_chksum", "raw_load") and cell.theirs is None
    if _error(cell) != "tcp:dataofs":
        return False
    bounds = cell.column.name in ("tcp_payload_len", "tcp_options_raw") and cell.ours is None
    return bounds or (cell.column.layer == "tcp" and cell.theirs is None)


def _is_after_last_extension(cell: Cell) -> bool:
    """Return whether tshark ends at a header that others may follow (RFC 7045), or at CFTP (62)."""
    ends = re.search(r"(mipv6|hip|shim6)$", protocols(cell.seen))
    return ends is not None and cell.theirs is None and cell.column.layer in ("udp", "tcp", "raw")


def _is_trailer_without_ethernet(cell: Cell) -> bool:
    return cell.column.name == "padding_load" and cell.theirs is None and "eth_src" not in cell.row


def _is_after_bad_ipv6_option(cell: Cell) -> bool:
    stops = re.search(r"ipv6\.(hopopts|dstopts)$", protocols(cell.seen))
    return stops is not None and cell.theirs is None and "ipv6_proto" in cell.row


def _is_name_with_other_bytes(cell: Cell) -> bool:
    if cell.column.layer != "dns" or cell.column.type != "string":
        return False
    return cell.theirs is not None and _as_tshark(cell.ours or "") == _joined(cell.theirs)


def _as_tshark(name: str) -> str:
    r"""Return how tshark prints the bytes of a name: UTF-8 as it is, control characters as \ooo."""
    raw = re.sub(r"\\(\d{3})", lambda match: chr(int(match[1])), name).encode("latin-1")
    text = _joined(raw.decode("utf-8", "replace"))
    return re.sub(r"[\x00-\x1f\x7f]", lambda match: f"\\{ord(match[0]):03o}", text)


def _joined(text: str) -> str:
    """Return a text with one U+FFFD for each run: tshark has its own idea of how many there are."""
    return re.sub("\ufffd+", "\ufffd", text)


def _is_data_as_hex(cell: Cell) -> bool:
    if cell.column.name != "dns_an_rdata" or cell.ours is None or cell.theirs is None:
        return False
    pairs = list(zip(cell.ours.split(";"), cell.theirs.split(";"), strict=False))
    same = all(
        _as_tshark(ours) == _joined(theirs) or f"<{len(ours) // 2} bytes>" == theirs
        for ours, theirs in pairs
    )
    return same and cell.ours.count(";") == cell.theirs.count(";")


def _is_bad_name(cell: Cell) -> bool:
    return (
        cell.column.layer == "dns"
        and cell.ours is None
        and _error(cell) in ("dns:pointer", "dns:name")
    )


def _is_time_of_simple_block(cell: Cell) -> bool:
    return cell.column.name == "frame_time" and cell.theirs is None and cell.ours.startswith("1970")


RULES = (
    Rule("no IP header of that version is no layer; tshark shows the version", _is_wrong_version),
    Rule("a header that is cut is absent; tshark shows its fields before the cut", _is_cut_header),
    Rule("options, addresses, words that are cut are absent, not read in part", _is_cut_rest),
    Rule("tshark shows no field of four bytes of ICMP", _is_cut_icmp),
    Rule("two 802.1ad tags are one header in tshark", _is_cut_second_provider_tag),
    Rule("bytes of a header that cannot be decoded are raw", _is_undecoded_header),
    Rule("tshark reads no field of IPv4 after a bad length", _is_after_bad_ip_length),
    Rule("tshark reads ip.dst only after whole options", _is_destination_before_cut_options),
    Rule("length 0 stays 0; tshark prints what it takes in its place", _is_offloaded_length),
    Rule("tshark gives a fragment no tcp.len", _is_first_fragment),
    Rule("length 0 is none; tshark takes it for one behind a tag", _is_length_0_behind_tag),
    Rule("ARP addresses go by their length, in tshark by type too", _is_arp_of_other_types),
    Rule("tshark reads ARP of hardware type 19 as ATM's, which has other fields", _is_arp_of_atm),
    Rule("what an ICMP message holds is raw; tshark decodes it", _is_icmp_message),
    Rule("what a tunnel, a third tag or AH in IPv4 holds is raw; tshark decodes it", _is_tunnel),
    Rule("bytes between the ends of UDP and IP are raw; tshark shows none", _is_bytes_after_udp),
    Rule(
        "a TCP option of a wrong length is passed by; tshark reads it or ends there",
        _is_bad_tcp_option,
    ),
    Rule("tshark reads no field of TCP or UDP after a bad length", _is_after_bad_transport_length),
    Rule(
        "tshark ends at mobility, HIP, Shim6 and at 62, once mobility's", _is_after_last_extension
    ),
    Rule("payload of a reset is raw; tshark takes it for its cause", _is_reset_cause),
    Rule("DNS over TCP is read where it is whole; tshark reads a part", _is_cut_dns_in_tcp),
    Rule("tshark has no trailer without Ethernet", _is_trailer_without_ethernet),
    Rule("tshark stops at an IPv6 option longer than its header", _is_after_bad_ipv6_option),
    Rule("names have other bytes as \\DDD, in tshark as they are", _is_name_with_other_bytes),
    Rule("data of other types is hex; tshark tells its length only", _is_data_as_hex),
    Rule("a name beyond the limits is absent; tshark follows it or says so", _is_bad_name),
    Rule("a simple packet block has no time", _is_time_of_simple_block),
)
