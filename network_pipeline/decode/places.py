"""What a walk through a frame can find and what can be wrong there, by their numbers."""

from __future__ import annotations

from typing import Final

# fmt: off
#: Layers that can be wrong. Those up to DNS have columns, and so places.
LAYERS: Final = (
    "eth", "vlan", "vlan2", "arp", "ip", "ipv6", "icmp", "icmpv6", "tcp", "udp", "dns",
    "sll", "sll2", "null", "loop", "frame",
)

#: Places with an end.
SPANS: Final = ("ip_options", "tcp_options", "dns_message", "raw", "padding")

#: Layers, what can be absent within them, TCP options in the order of their parser, and spans. All
#: but the addresses of ARP, IPv6's last next-header byte, the question's type, the options' values
#: and the spans are the places of whole headers.
PLACES: Final = (
    *LAYERS[:11],
    "eth_type", "vlan_type", "vlan2_type", "arp_hwsrc", "arp_psrc", "arp_hwdst", "arp_pdst",
    "ipv6_proto", "ipv6_fragment", "icmp_query", "icmpv6_echo", "icmpv6_neighbour",
    "tcp_payload_len", "dns_question", "dns_answers",
    "tcp_mss", "tcp_wscale", "tcp_sackok", "tcp_sack", "tcp_timestamp",
    *SPANS,
)
# fmt: on

#: What can be wrong with a layer.
REASONS: Final = (
    *("", "truncated", "name", "label", "pointer", "rdata", "size"),  # as the DNS reader has them
    *("version", "ihl", "dataofs", "length", "options", "time"),
)

_LAYERS_BY_REASON = {
    "truncated": LAYERS[:-1],
    "version": ("ip", "ipv6"),
    "ihl": ("ip",),
    "dataofs": ("tcp",),
    "length": ("eth", "vlan", "vlan2", "ip", "ipv6", "udp"),
    "options": ("tcp",),
    "time": ("frame",),
    **dict.fromkeys(("name", "label", "pointer", "rdata", "size"), ("dns",)),
}


def error(layer: str, reason: str) -> int:
    """Return the number, of one byte, that stands for ``layer:reason``; 0 is no error."""
    return LAYERS.index(layer) << 4 | REASONS.index(reason)


#: Texts of ``frame_error`` by number.
ERRORS: Final = {
    error(layer, reason): f"{layer}:{reason}"
    for reason, layers in _LAYERS_BY_REASON.items()
    for layer in layers
}
