"""What each packet adds to the facts of its flow.

Everything is a running sum, so that a flow takes the same memory however long it is. Squared
deviations are summed as Youngs and Cramer do (Chan, Golub, LeVeque 1983, formula 1.5), from exact
sums of integers: equal values have a deviation of exactly 0.

Compiled, see :mod:`network_pipeline.interpreted`.
"""

from __future__ import annotations

from network_pipeline.flows.fields import (
    COUNTS,
    FIRST_PACKETS,
    FLAGS,
    NUMBERS,
    OF_BEGINNING,
    OF_KEY,
    OF_WHOLE,
    READ_NUMBERS,
    SERIES,
    SIDE,
    WORDS,
)
from network_pipeline.flows.keys import Key
from network_pipeline.flows.packets import Packets
from network_pipeline.flows.store import Store

(
    _TCP_SEQ, _TCP_ACK, _TCP_FLAGS, _TCP_WINDOW, _TCP_MSS, _TCP_WSCALE, _TCP_SACKOK, _TCP_TSVAL,
    _DNS_QR, _DNS_RCODE, _DNS_QTYPE,
) = map(
    READ_NUMBERS.index,
    (
        "tcp_seq", "tcp_ack", "tcp_flags", "tcp_window", "tcp_options_mss", "tcp_options_wscale",
        "tcp_options_sackok", "tcp_options_tsval", "dns_qr", "dns_rcode", "dns_qd_qtype",
    ),
)  # fmt: skip

_NUMBERS = NUMBERS["iats"] - OF_BEGINNING
_COUNTS = COUNTS["sides"] - OF_WHOLE

_FIRST_FRAME = NUMBERS["first_frame"]
_START = NUMBERS["start"]
(
    _END, _LAST, _LAST_OF, _OPENED, _ACTIVE_SINCE, _FIN_END, _HEADER_BYTES,
) = (
    NUMBERS[name] - OF_BEGINNING
    for name in ("end", "last", "last_of", "opened", "active_since", "fin_end", "header_bytes")
)  # fmt: skip
_ICMP_TYPE, _ICMP_CODE, _IS_LOW_FIRST, _PART, _FANOUT = (
    COUNTS[name] - OF_KEY for name in ("icmp_type", "icmp_code", "is_low_first", "part", "fanout")
)
(
    _IS_CLOSED, _ACKED, _OUT_OF_ORDER, _FRAGMENTS, _DUPLICATES, _SUBFLOWS, _DNS_QUERIES,
    _DNS_RESPONSES, _DNS_QTYPE_SEEN, _DNS_RCODE_SEEN,
) = (
    COUNTS[name] - OF_WHOLE
    for name in (
        "is_closed", "acked", "out_of_order", "fragments", "duplicates", "subflows", "dns_queries",
        "dns_responses", "dns_qtype", "dns_rcode",
    )
)  # fmt: skip
(
    _FLAGS, _PAYLOAD_PACKETS, _HEADER_MIN, _WINDOW, _MSS, _WSCALE, _SACK_OK, _TIMESTAMPS,
) = map(
    SIDE.__getitem__,
    (
        "flags", "payload_packets", "header_min", "window", "mss", "wscale", "sack_ok",
        "timestamps",
    ),
)  # fmt: skip
_SIDE = SIDE[""]
_SERIES = len(SERIES)
_LENGTH, _LENGTH_BWD, _PAYLOAD, _PAYLOAD_BWD, _IAT, _IAT_FWD, _IAT_BWD, _ACTIVE, _IDLE = range(
    _SERIES
)
_LAST_SEEN = WORDS["last_seen"]
_FIRST_PACKETS = FIRST_PACKETS
_FLAG_COUNT = len(FLAGS)

_FIN = 1
_SYN = 2
_RST = 4
_ACK = 16
_BOTH = 3  # bits of the two directions
_SEQUENCE = 0xFFFF_FFFF
_HALF = 1 << 31

#: Two packets alike within this time are one that was captured twice.
_TWICE_NS = 1_000_000
#: A pause in which CICFlowMeter begins a new subflow.
_SUBFLOW_NS = 1_000_000_000


def begin(store: Store, row: int, packets: Packets, key: Key) -> int:
    """Note what a flow is, of its first packet."""
    store.begun[row, _FIRST_FRAME] = packets.frame_number
    store.begun[row, _START] = packets.time
    store.whole[row, _ICMP_TYPE] = packets.icmp_type
    store.whole[row, _ICMP_CODE] = packets.icmp_code
    store.whole[row, _IS_LOW_FIRST] = key.is_low_first
    store.whole[row, _PART] = 1
    for field in range(_FANOUT, _FANOUT + 6):
        store.whole[row, field] = 0
    return 0


def begin_part(store: Store, row: int, packets: Packets, clock: int) -> int:
    """Begin a flow, or its next part, with a packet that is yet to be added."""
    for field in range(_COUNTS):
        store.counts[row, field] = 0
    store.counts[row, _DNS_QTYPE_SEEN] = -1
    store.counts[row, _DNS_RCODE_SEEN] = -1
    store.counts[row, _SUBFLOWS] = 1
    for field in range(_NUMBERS):
        store.numbers[row, field] = 0
    store.begun[row, _FIRST_FRAME] = packets.frame_number
    store.begun[row, _START] = packets.time
    store.numbers[row, _END] = packets.time
    store.numbers[row, _ACTIVE_SINCE] = packets.time
    store.numbers[row, _OPENED] = clock
    store.numbers[row, _FIN_END] = -1
    store.numbers[row, _FIN_END + 1] = -1
    for series in range(_SERIES):
        if store.series[series, row, 0]:  # what was never written stays so
            store.series[series, row, 0] = 0
    store.words[row, _LAST_SEEN] = 0
    store.words[row, _LAST_SEEN + 1] = 0
    return 0


def is_duplicate(store: Store, row: int, packets: Packets, direction: int) -> int:
    """Return whether a packet is the one before it in its direction, captured once more."""
    if packets.trace == 0 or packets.trace != store.words[row, _LAST_SEEN + direction]:
        return 0
    age = packets.time - store.numbers[row, _LAST_OF + direction]
    if age < 0 or age > _TWICE_NS:
        return 0
    store.counts[row, _DUPLICATES] += 1
    return 1


def add(store: Store, row: int, packets: Packets, direction: int, pause: int) -> int:
    """Add a packet to its flow; after more than ``pause`` ns the flow was idle until then."""
    if store.series[_LENGTH + direction, row, 0] == 0:
        for field in range(_SIDE):
            store.sides[direction, row, field] = absent(field)
    seen = _add_times(store, row, packets.time, direction, pause)
    if seen < _FIRST_PACKETS:
        store.lengths[seen, row] = -packets.length if direction else packets.length
    _add_to_series(store, row, _LENGTH + direction, packets.length)
    _add_to_series(store, row, _PAYLOAD + direction, packets.payload_len)
    if packets.payload_len > 0:
        store.sides[direction, row, _PAYLOAD_PACKETS] += 1
    store.numbers[row, _HEADER_BYTES + direction] += packets.header
    least = store.sides[direction, row, _HEADER_MIN]
    if least < 0 or packets.header < least:
        store.sides[direction, row, _HEADER_MIN] = packets.header
    if packets.fragment > 0 or packets.more > 0:
        store.counts[row, _FRAGMENTS] += 1
    store.words[row, _LAST_SEEN + direction] = packets.trace
    return 0


def absent(field: int) -> int:
    """Return what a field of ``SIDE`` is of a direction that has no packet."""
    return 0 if field < _HEADER_MIN else -1


def _add_times(store: Store, row: int, time: int, direction: int, pause: int) -> int:
    """Add a packet's time; return how many packets were before it."""
    own = store.series[_LENGTH + direction, row, 0]
    seen = own + store.series[_LENGTH + 1 - direction, row, 0]
    if seen > 0:
        gap = time - store.numbers[row, _LAST]
        if gap < 0:
            store.counts[row, _OUT_OF_ORDER] += 1
        if gap > _SUBFLOW_NS:
            store.counts[row, _SUBFLOWS] += 1
        if seen < _FIRST_PACKETS:
            store.iats[row, seen] = gap
        _add_to_series(store, row, _IAT, gap)
        if time - store.numbers[row, _END] > pause:
            _add_to_series(store, row, _IDLE, time - store.numbers[row, _END])
            end_period(store, row)
            store.numbers[row, _ACTIVE_SINCE] = time
    if own > 0:
        _add_to_series(
            store, row, _IAT_FWD + direction, time - store.numbers[row, _LAST_OF + direction]
        )
    store.numbers[row, _LAST] = time
    store.numbers[row, _LAST_OF + direction] = time
    store.begun[row, _START] = min(store.begun[row, _START], time)
    store.numbers[row, _END] = max(store.numbers[row, _END], time)
    return seen


def end_period(store: Store, row: int) -> int:
    """Add the period in which the flow was active; the last one when the flow ends."""
    period = store.numbers[row, _END] - store.numbers[row, _ACTIVE_SINCE]
    return _add_to_series(store, row, _ACTIVE, period)


def _add_to_series(store: Store, row: int, series: int, value: int) -> int:
    """Add a value to number, least, largest and sum; deviations begin with the second value."""
    count = store.series[series, row, 0] + 1
    store.series[series, row, 0] = count
    if count == 1:
        for part in range(1, 4):
            store.series[series, row, part] = value
        return 0
    total = store.series[series, row, 3] + value
    store.series[series, row, 1] = min(store.series[series, row, 1], value)
    store.series[series, row, 2] = max(store.series[series, row, 2], value)
    store.series[series, row, 3] = total
    away = float(count) * value - total
    before = store.squares[series, row] if count > 2 else 0.0
    store.squares[series, row] = before + away * away / (float(count) * float(count - 1))
    return 0


# -- TCP -------------------------------------------------------------------------------------------


def begins_connection(packets: Packets) -> int:
    """Return whether a packet is the first of a TCP connection: SYN without ACK, RST or FIN."""
    if not packets.has_tcp:
        return 0
    return 1 if packets.number(_TCP_FLAGS) & (_FIN | _SYN | _RST | _ACK) == _SYN else 0


def add_tcp(store: Store, row: int, packets: Packets, direction: int) -> int:
    """Add what TCP says, and close the flow at its end: RST, or FIN both ways, acknowledged."""
    flags = packets.number(_TCP_FLAGS)
    if store.sides[direction, row, _WINDOW] < 0:
        store.sides[direction, row, _WINDOW] = packets.number(_TCP_WINDOW)
    if flags & _SYN and store.sides[direction, row, _FLAGS + 1] == 0:
        store.sides[direction, row, _MSS] = packets.number(_TCP_MSS)
        store.sides[direction, row, _WSCALE] = packets.number(_TCP_WSCALE)
        store.sides[direction, row, _SACK_OK] = 1 if packets.number(_TCP_SACKOK) > 0 else 0
        store.sides[direction, row, _TIMESTAMPS] = 1 if packets.number(_TCP_TSVAL) >= 0 else 0
    for bit in range(_FLAG_COUNT):
        store.sides[direction, row, _FLAGS + bit] += flags >> bit & 1
    _follow_end(store, row, packets, direction, flags)
    return 0


def _follow_end(store: Store, row: int, packets: Packets, direction: int, flags: int) -> int:
    if flags & _FIN and store.numbers[row, _FIN_END + direction] < 0:
        behind = packets.number(_TCP_SEQ) + packets.payload_len + 1 + (flags >> 1 & 1)
        store.numbers[row, _FIN_END + direction] = behind & _SEQUENCE
    awaited = store.numbers[row, _FIN_END + 1 - direction]
    # Sequence numbers are compared modulo 2^32 (RFC 9293 section 3.4).
    behind = packets.number(_TCP_ACK) - awaited & _SEQUENCE
    if flags & _ACK and awaited >= 0 and behind < _HALF:
        store.counts[row, _ACKED] |= 1 << direction
    if flags & _RST or store.counts[row, _ACKED] == _BOTH:
        store.counts[row, _IS_CLOSED] = 1
    return 0


# -- DNS -------------------------------------------------------------------------------------------


def add_dns(store: Store, row: int, packets: Packets) -> int:
    """Add a DNS message; return whether its question is the first one of the flow."""
    if packets.number(_DNS_QR) == 1:
        store.counts[row, _DNS_RESPONSES] += 1
        if store.counts[row, _DNS_RCODE_SEEN] < 0:
            store.counts[row, _DNS_RCODE_SEEN] = packets.number(_DNS_RCODE)
    else:
        store.counts[row, _DNS_QUERIES] += 1
    if store.counts[row, _DNS_QTYPE_SEEN] >= 0 or packets.number(_DNS_QTYPE) < 0:
        return 0
    store.counts[row, _DNS_QTYPE_SEEN] = packets.number(_DNS_QTYPE)
    return 1
