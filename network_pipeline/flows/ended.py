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
    NUMBERS,
    OF_BEGINNING,
    OF_WHOLE,
    SERIES,
    SIDE,
)
from network_pipeline.flows.store import Store

#: Flows that wait at most.
ROOM = 16_000

_OF_BEGINNING = OF_BEGINNING
_OF_WHOLE = OF_WHOLE
_IS_LOW_FIRST = COUNTS["is_low_first"]
_LAST = NUMBERS["last"]
_IS_CLOSED = COUNTS["is_closed"]
_IATS = NUMBERS["iats"]
_SERIES = NUMBERS["series"]
_COUNTS = COUNTS["sides"]
_LENGTHS = COUNTS["lengths"]
_SIDE = SIDE[""]
_SERIES_COUNT = len(SERIES)
_IAT = SERIES.index("iat")
_FIRST_PACKETS = FIRST_PACKETS
_ADDRESS_WORDS = 4


class Ended:
    """Flows that have ended, ``count`` of them, of which column ``i`` of four matrices has all.

    Those are ``words`` (addresses of source and destination), ``numbers``, ``counts`` and
    ``squares``, with a row for each field (:mod:`.fields`).
    """

    def __init__(self) -> None:
        self.count = 0
        self.words = np.empty((_ADDRESS_WORDS, ROOM), np.uint64).data
        self.numbers = np.empty((NUMBERS[""], ROOM), np.int64).data
        self.counts = np.empty((COUNTS[""], ROOM), np.int32).data
        self.squares: Any = np.empty((_SERIES_COUNT, ROOM), np.float64).data

    def take(self) -> int:
        """Return how many flows have ended since the last call; the next ones take their place."""
        count = self.count
        self.count = 0
        return count

    def give(self, store: Store, row: int, of: int) -> int:
        """Copy a flow that has ended: what it is from one row, what its packets made from another.

        Those are two rows where only a packet was kept of the flow.
        """
        at = self.count
        low = 0 if store.whole[row, _IS_LOW_FIRST] else 2
        for field in range(_ADDRESS_WORDS):
            self.words[field, at] = store.words[row, field ^ low]
        for field in range(_OF_BEGINNING):
            self.numbers[field, at] = store.begun[row, field]
        for field in range(_OF_WHOLE):
            self.counts[field, at] = store.whole[row, field]
        for field in range(_OF_BEGINNING, _LAST):
            self.numbers[field, at] = store.numbers[of, field - _OF_BEGINNING]
        for field in range(_OF_WHOLE, _IS_CLOSED):
            self.counts[field, at] = store.counts[of, field - _OF_WHOLE]
        for side in range(2):
            self._put_side(store, of, side)
        self._put_series(store, of)
        self._put_first_packets(store, of)
        self.count = at + 1
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
