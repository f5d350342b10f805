"""Flows that have ended, as they wait to be written: a row for each fact, a column for each flow.

Compiled, see :mod:`network_pipeline.interpreted`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from network_pipeline.flows.features import absent
from network_pipeline.flows.fields import (
    COUNTS,
    FIRST_PACKETS,
    FLAGS,
    KEPT,
    NUMBERS,
    OF_BEGINNING,
    OF_KEY,
    OF_WHOLE,
    SERIES,
    SIDE,
    SMALL,
)
from network_pipeline.flows.store import Store

#: Flows that wait at most: a group of a Parquet file.
ROOM = 65_536
#: What a row has more, or the fields of a flow would all lie in the same few places of a cache.
_APART = 24

_OF_BEGINNING = OF_BEGINNING
_OF_KEY = OF_KEY
_OF_WHOLE = OF_WHOLE
_SESSION, _VERSION, _PROTOCOL, _SRC_PORT, _DST_PORT, _KIND, _VLAN, _VLAN2 = map(
    COUNTS.__getitem__,
    ("session", "version", "protocol", "src_port", "dst_port", "kind", "vlan", "vlan2"),
)
_IS_LOW_FIRST = COUNTS["is_low_first"] - OF_KEY
_START = NUMBERS["start"]
_END = NUMBERS["end"]
_HEADER_BYTES = NUMBERS["header_bytes"]
_LAST = NUMBERS["last"]
_REASON = COUNTS["reason"]
_FRAGMENTS = COUNTS["fragments"]
_IS_CLOSED = COUNTS["is_closed"]
_IATS = NUMBERS["iats"]
_SERIES = NUMBERS["series"]
_COUNTS = COUNTS["sides"]
_LENGTHS = COUNTS["lengths"]
_SIDE = SIDE[""]
_FLAGS = _COUNTS + SIDE["flags"]
_PAYLOAD_PACKETS = _COUNTS + SIDE["payload_packets"]
_HEADER_MIN = _COUNTS + SIDE["header_min"]
_WINDOW = _COUNTS + SIDE["window"]  # and MSS
_WSCALE = _COUNTS + SIDE["wscale"]  # and SACK, time stamps
_SERIES_COUNT = len(SERIES)
_LENGTH = _SERIES + 4 * SERIES.index("length_fwd")
_PAYLOAD = _SERIES + 4 * SERIES.index("payload_fwd")
_IAT = SERIES.index("iat")
_FIRST_PACKETS = FIRST_PACKETS
_FLAG_COUNT = len(FLAGS)
_ADDRESS_WORDS = 4
_KEPT_LENGTH, _KEPT_PAYLOAD, _KEPT_WINDOW = map(
    KEPT.__getitem__, ("length", "payload_len", "window")
)
_KEPT_HEADER, _KEPT_FRAGMENT, _KEPT_FLAGS, _KEPT_WSCALE = map(
    SMALL.__getitem__, ("header", "is_fragment", "flags", "wscale")
)

#: The fields of a flow of one packet that are not 0 and the same of every one, with their values.
_NUMBERS_OF_ONE = {
    NUMBERS["series"] + 4 * SERIES.index(name): 1
    for name in ("length_fwd", "payload_fwd", "active")
}
_COUNTS_OF_ONE = {
    COUNTS["subflows"]: 1,
    COUNTS["dns_qtype"]: -1,
    COUNTS["dns_rcode"]: -1,
    **{
        COUNTS["sides"] + SIDE[""] + field: absent(field)
        for field in range(SIDE[""])
        if absent(field)
    },
}


class Ended:
    """Flows that have ended, ``count`` of them, of which column ``i`` of four matrices has all.

    Those are ``words`` (addresses of source and destination), ``numbers``, ``counts`` and
    ``squares``, with a row for each field (:mod:`.fields`).
    """

    def __init__(self) -> None:
        self.count = 0
        columns = ROOM + _APART
        self.words = np.empty((_ADDRESS_WORDS, columns), np.uint64).data
        self.numbers = np.zeros((NUMBERS[""], columns), np.int64).data
        self.counts = np.zeros((COUNTS[""], columns), np.int32).data
        self.squares: Any = np.zeros((_SERIES_COUNT, columns), np.float64).data
        self.is_filled = 1
        self._fill(ROOM)

    def clear(self) -> None:
        """Make room; what flows of one packet have in common stands there already."""
        if not self.is_filled:
            np.asarray(self.numbers)[_OF_BEGINNING:, : self.count] = 0
            np.asarray(self.counts)[_OF_WHOLE:, : self.count] = 0
            np.asarray(self.squares)[:, : self.count] = 0
            self._fill(self.count)
        self.is_filled = 1
        self.count = 0

    def _fill(self, count: int) -> None:
        for field, value in _NUMBERS_OF_ONE.items():
            np.asarray(self.numbers)[field, :count] = value
        for field, value in _COUNTS_OF_ONE.items():
            np.asarray(self.counts)[field, :count] = value

    def give(self, store: Store, row: int) -> int:
        """Copy a flow that has ended."""
        self.is_filled = 0
        at = self._put_beginning(store, row)
        for field in range(_OF_BEGINNING, _LAST):
            self.numbers[field, at] = store.numbers[row, field - _OF_BEGINNING]
        for field in range(_OF_WHOLE, _IS_CLOSED):
            self.counts[field, at] = store.counts[row, field - _OF_WHOLE]
        for side in range(2):
            self._put_side(store, row, side)
        self._put_series(store, row)
        self._put_first_packets(store, row)
        self.count = at + 1
        return 0

    def give_kept(self, store: Store, row: int, reason: int) -> int:
        """Write a flow of which a packet was kept and nothing else."""
        at = self._put_beginning(store, row)
        header, flags = store.small[row, _KEPT_HEADER], store.small[row, _KEPT_FLAGS]
        self.numbers[_END, at] = store.begun[row, _START]
        self.numbers[_HEADER_BYTES, at] = header
        for part in range(1, 4):
            self.numbers[_LENGTH + part, at] = store.kept[row, _KEPT_LENGTH]
            self.numbers[_PAYLOAD + part, at] = store.kept[row, _KEPT_PAYLOAD]
        self.counts[_REASON, at] = reason
        self.counts[_FRAGMENTS, at] = store.small[row, _KEPT_FRAGMENT]
        for bit in range(_FLAG_COUNT):
            self.counts[_FLAGS + bit, at] = flags >> bit & 1 if flags > 0 else 0
        self.counts[_PAYLOAD_PACKETS, at] = 1 if store.kept[row, _KEPT_PAYLOAD] > 0 else 0
        self.counts[_HEADER_MIN, at] = header
        for field in range(2):
            self.counts[_WINDOW + field, at] = store.kept[row, _KEPT_WINDOW + field]
        for field in range(3):
            self.counts[_WSCALE + field, at] = store.small[row, _KEPT_WSCALE + field]
        self.counts[_LENGTHS, at] = store.kept[row, _KEPT_LENGTH]
        self.count = at + 1
        return 0

    def _put_beginning(self, store: Store, row: int) -> int:
        """Copy what a flow is from its first packet on; return its place."""
        at = self.count
        low = 0 if store.whole[row, _IS_LOW_FIRST] else 2
        for field in range(_ADDRESS_WORDS):
            self.words[field, at] = store.words[row, field ^ low]
        for field in range(_OF_BEGINNING):
            self.numbers[field, at] = store.begun[row, field]
        self._put_key(store.words[row, 4], store.words[row, 5], low)
        for field in range(_OF_KEY, _OF_WHOLE):
            self.counts[field, at] = store.whole[row, field - _OF_KEY]
        return at

    def _put_key(self, ends: int, place: int, low: int) -> int:
        """Write what the last two words of a key are made of (:meth:`Key.close`)."""
        at = self.count
        self.counts[_SESSION, at] = place >> 32
        self.counts[_VLAN, at] = place >> 16 & 0xFFFF
        self.counts[_VLAN2, at] = place & 0xFFFF
        self.counts[_VERSION, at] = ends >> 48
        self.counts[_KIND, at] = ends >> 40 & 0xFF
        self.counts[_PROTOCOL, at] = ends >> 32 & 0xFF
        self.counts[_DST_PORT if low else _SRC_PORT, at] = ends >> 16 & 0xFFFF
        self.counts[_SRC_PORT if low else _DST_PORT, at] = ends & 0xFFFF
        return 0

    def _put_side(self, store: Store, row: int, side: int) -> int:
        """Copy what is known of a direction, if it has a packet."""
        place = _COUNTS + _SIDE * side
        is_seen = store.series[side, row, 0]
        for field in range(_SIDE):
            value = store.sides[side, row, field] if is_seen else absent(field)
            self.counts[place + field, self.count] = value
        return 0

    def _put_series(self, store: Store, row: int) -> int:
        """Copy series; what was not written is 0 of lengths and payloads, of others anything."""
        at = self.count
        for series in range(_SERIES_COUNT):
            count = store.series[series, row, 0]
            self.numbers[_SERIES + 4 * series, at] = count
            if count == 0 and series >= _IAT:
                continue
            for part in range(1, 4):
                value = store.series[series, row, part] if count > 0 else 0
                self.numbers[_SERIES + 4 * series + part, at] = value
            squares = store.squares[series, row] if count > 1 else 0.0
            self.squares[series, at] = squares
        return 0

    def _put_first_packets(self, store: Store, row: int) -> int:
        """Copy lengths and inter-arrivals of the packets that there are; the first one has none."""
        seen = min(store.series[0, row, 0] + store.series[1, row, 0], _FIRST_PACKETS)
        self.numbers[_IATS, self.count] = 0
        for place in range(seen):
            self.counts[_LENGTHS + place, self.count] = store.lengths[place, row]
            if place > 0:
                self.numbers[_IATS + place, self.count] = store.iats[row, place]
        return 0
