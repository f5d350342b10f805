"""The only packet of a flow, kept until there is a second one or the flow has ended.

What one packet makes of a flow is mostly nothing, or the packet once more; in a flood that nobody
answers all flows are such. So the packet is kept as it was read: it is added to a flow when there
is a second one, and a flow that ends with it is written from what was kept (:mod:`.ended`).

Compiled, see :mod:`network_pipeline.interpreted`.
"""

from __future__ import annotations

import numpy as np

from network_pipeline.flows.fields import KEPT, NUMBERS, READ_NUMBERS, SMALL, WORDS
from network_pipeline.flows.packets import Packets
from network_pipeline.flows.store import Store

_LENGTH, _PAYLOAD_LEN, _WINDOW, _MSS = map(
    KEPT.__getitem__, ("length", "payload_len", "window", "mss")
)
_IS_ONLY, _HEADER, _IS_FRAGMENT, _FLAGS, _WSCALE, _SACK_OK, _TIMESTAMPS = map(
    SMALL.__getitem__,
    ("is_only", "header", "is_fragment", "flags", "wscale", "sack_ok", "timestamps"),
)
_FIRST_FRAME = NUMBERS["first_frame"]
_START = NUMBERS["start"]
_LAST_SEEN = WORDS["last_seen"]
_DNS_QR = READ_NUMBERS.index("dns_qr")
_TCP_FLAGS, _TCP_WINDOW, _TCP_MSS, _TCP_WSCALE, _TCP_SACKOK, _TCP_TSVAL = map(
    READ_NUMBERS.index,
    (
        "tcp_flags", "tcp_window", "tcp_options_mss", "tcp_options_wscale", "tcp_options_sackok",
        "tcp_options_tsval",
    ),
)  # fmt: skip
_SYN = 2
#: FIN, RST, and bits that are none of the nine flags: there is no room for them.
_NOT_KEPT = 0xFFFF_FE05


def no_packets() -> Packets:
    """Return a batch of no packets, for those that are recalled."""
    numbers = np.full((len(READ_NUMBERS), 1), -1, np.int64).data
    words = np.zeros((8, 1), np.uint64).data
    begins, payload = np.zeros(2, np.int32).data, np.zeros(1, np.uint8).data
    return Packets(numbers, words, np.zeros(1, np.int64).data, begins, payload)


def is_plain(packets: Packets) -> int:
    """Return whether all that a flow needs of a packet can be kept: no DNS, and no end of TCP."""
    if packets.number(_DNS_QR) >= 0:
        return 0
    return 0 if packets.has_tcp and packets.number(_TCP_FLAGS) & _NOT_KEPT else 1


def keep(store: Store, row: int, packets: Packets) -> int:
    """Keep the plain packet that a flow has begun with."""
    store.words[row, _LAST_SEEN] = packets.trace
    store.kept[row, _LENGTH] = packets.length
    store.kept[row, _PAYLOAD_LEN] = packets.payload_len
    store.kept[row, _WINDOW] = packets.number(_TCP_WINDOW) if packets.has_tcp else -1
    store.kept[row, _MSS] = -1
    store.small[row, _IS_ONLY] = 1
    store.small[row, _HEADER] = packets.header
    store.small[row, _IS_FRAGMENT] = 1 if packets.fragment > 0 or packets.more > 0 else 0
    store.small[row, _FLAGS] = packets.number(_TCP_FLAGS) if packets.has_tcp else -1
    for field in range(_WSCALE, _TIMESTAMPS + 1):
        store.small[row, field] = -1
    if packets.has_tcp and packets.number(_TCP_FLAGS) & _SYN:
        store.kept[row, _MSS] = packets.number(_TCP_MSS)
        store.small[row, _WSCALE] = packets.number(_TCP_WSCALE)
        store.small[row, _SACK_OK] = 1 if packets.number(_TCP_SACKOK) > 0 else 0
        store.small[row, _TIMESTAMPS] = 1 if packets.number(_TCP_TSVAL) >= 0 else 0
    return 0


def recall(store: Store, row: int, packets: Packets) -> int:
    """Read the packet that was kept of a flow."""
    packets.frame_number = store.begun[row, _FIRST_FRAME]
    packets.time = store.begun[row, _START]
    packets.trace = store.words[row, _LAST_SEEN]
    packets.length = store.kept[row, _LENGTH]
    packets.payload_len = store.kept[row, _PAYLOAD_LEN]
    packets.header = store.small[row, _HEADER]
    packets.more = store.small[row, _IS_FRAGMENT]
    packets.has_tcp = 1 if store.small[row, _FLAGS] >= 0 else 0
    packets.numbers[_TCP_FLAGS, 0] = store.small[row, _FLAGS]
    packets.numbers[_TCP_WINDOW, 0] = store.kept[row, _WINDOW]
    packets.numbers[_TCP_MSS, 0] = store.kept[row, _MSS]
    packets.numbers[_TCP_WSCALE, 0] = store.small[row, _WSCALE]
    packets.numbers[_TCP_SACKOK, 0] = store.small[row, _SACK_OK]
    packets.numbers[_TCP_TSVAL, 0] = 0 if store.small[row, _TIMESTAMPS] > 0 else -1
    return 0
