"""The flows that go on: rows of matrices, found by their keys, in the order of their last packets.

An open-addressing hash table (linear probing, a removal moves back what follows) holds the rows'
numbers, each behind half of its hash, so that hardly any other flow is looked at; it uses as many
of its places as the flows need, so that they stay in the processor's cache. Every session has two
lists, of flows that are open and of those that TCP has closed, each with the flow that waits
longest at its head; so what is to end is always found there. Memory is that of ``most`` flows, but
the system gives it page by page when it is first written, and rows that became free are used first.
A flow of one packet has only ``words``, ``begun``, ``whole`` and its packet, ``kept`` and
``small``: all else, four fifths of it, is first written when there is a second one
(:mod:`.meter`).

Compiled, see :mod:`network_pipeline.interpreted`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from network_pipeline.flows.fields import (
    COUNTS,
    FIRST_PACKETS,
    KEPT,
    NUMBERS,
    OF_BEGINNING,
    OF_KEY,
    OF_WHOLE,
    SERIES,
    SIDE,
    SMALL,
    WORDS,
)
from network_pipeline.flows.keys import Key

#: Sessions that one store can have.
MOST_SESSIONS = 65_536

_NONE = -1
_LEAST_PLACES = 1 << 12
#: Of 1 MiB and more.
_LARGE = 1 << 17
_ROW = 0xFFFF_FFFF


class Store:
    """Room for ``most`` flows."""

    def __init__(self, most: int) -> None:
        size = 1 << (2 * most - 1).bit_length()
        self.most = most
        self.live = 0
        self.mask = min(size, _LEAST_PLACES) - 1
        self.index = np.zeros(size, np.uint64).data
        self.tags = np.empty(most, np.uint32).data
        self.words = np.empty((most, WORDS[""]), np.uint64).data
        self.begun = np.empty((most, OF_BEGINNING), np.int64).data
        self.whole = np.empty((most, OF_WHOLE - OF_KEY), np.int32).data
        self.kept = np.empty((most, KEPT[""]), np.int32).data
        self.small = np.empty((most, SMALL[""]), np.int16).data
        self.numbers = np.empty((most, NUMBERS["iats"] - OF_BEGINNING), np.int64).data
        self.counts = np.empty((most, COUNTS["sides"] - OF_WHOLE), np.int32).data
        self.sides = np.empty((2, most, SIDE[""]), np.int32).data
        self.lengths = np.empty((FIRST_PACKETS, most), np.int32).data
        self.iats = np.empty((most, FIRST_PACKETS), np.int64).data
        self.series = np.zeros((len(SERIES), most, 4), np.int64).data
        self.squares: Any = np.empty((len(SERIES), most), np.float64).data
        self.before = np.empty(most, np.int32).data
        self.behind = np.empty(most, np.int32).data
        self.lists = np.empty(most, np.int32).data
        self.touched = np.empty(most, np.int64).data
        self.heads = np.full(2 * MOST_SESSIONS, _NONE, np.int32).data
        self.tails = np.full(2 * MOST_SESSIONS, _NONE, np.int32).data
        self.free = _NONE
        self.used = 0
        self.looked = 0  # so that what is read is used

    def find(self, key: Key) -> int:
        """Return the row of a key, -1 where there is none."""
        tag = key.hash >> 32
        at = tag & self.mask
        while self.index[at] != 0:
            if self.index[at] >> 32 == tag:
                row = (self.index[at] & _ROW) - 1
                if self._is(row, key):
                    return row
            at = at + 1 & self.mask
        return _NONE

    def is_large(self) -> int:
        """Return whether the table is larger than a processor's cache, so that looking pays."""
        return 1 if self.mask >= _LARGE else 0

    def look(self, hashes: memoryview, count: int) -> int:
        """Read the places of the table where some hashes begin, to have them in the cache.

        Nothing waits for one before it reads the next: the processor fetches several at once.
        """
        found = self.looked
        for at in range(count):
            found ^= self.index[hashes[at] >> 32 & self.mask]
        self.looked = found
        return 0

    def look_behind(self, row: int, count: int) -> int:
        """Read the places of rows in a list, from one on, as :meth:`look` does."""
        found = self.looked
        while row >= 0 and count > 0:
            found ^= self.index[self.tags[row] & self.mask]
            row = self.behind[row]
            count -= 1
        self.looked = found
        return 0

    def _is(self, row: int, key: Key) -> int:
        if self.words[row, 0] != key.low_high or self.words[row, 1] != key.low_low:
            return 0
        if self.words[row, 2] != key.high_high or self.words[row, 3] != key.high_low:
            return 0
        return 1 if self.words[row, 4] == key.ends and self.words[row, 5] == key.place else 0

    def has_room(self) -> int:
        """Return whether a row is free."""
        return 1 if self.free >= 0 or self.used < self.most else 0

    def add(self, key: Key) -> int:
        """Return a free row, in which the key is, for a flow that is not in the store."""
        row = self.free
        if row >= 0:
            self.free = self.behind[row]
        else:
            row = self.used
            self.used += 1
        self.words[row, 0] = key.low_high
        self.words[row, 1] = key.low_low
        self.words[row, 2] = key.high_high
        self.words[row, 3] = key.high_low
        self.words[row, 4] = key.ends
        self.words[row, 5] = key.place
        self.tags[row] = key.hash >> 32
        self.lists[row] = _NONE
        self.live += 1
        if 2 * self.live > self.mask and self.mask + 1 < len(self.index):
            self._widen()
        self._place(row)
        return row

    def _place(self, row: int) -> int:
        tag = self.tags[row]
        at = tag & self.mask
        while self.index[at] != 0:
            at = at + 1 & self.mask
        self.index[at] = tag << 32 | row + 1
        return 0

    def _widen(self) -> int:
        """Use twice as many places of the table; the rows in lists are those that have one."""
        for at in range(self.mask + 1):
            self.index[at] = 0
        self.mask = 2 * self.mask + 1
        for row in range(self.used):
            if self.lists[row] >= 0:
                self._place(row)
        return 0

    def remove(self, row: int) -> int:
        """Make a row free."""
        self._unlink(row)
        at = self.tags[row] & self.mask
        while self.index[at] & _ROW != row + 1:
            at = at + 1 & self.mask
        self._empty(at)
        self.live -= 1
        self.lists[row] = _NONE
        self.behind[row] = self.free
        self.free = row
        return 0

    def drop_first(self, number: int) -> int:
        """Take the first flow from a list; return the next one, -1 where there is none.

        It stays in the table, which is emptied with the last flow of all.
        """
        first = self.heads[number]
        row = self.behind[first]
        self.lists[first] = _NONE
        self.heads[number] = row
        if row < 0:
            self.tails[number] = _NONE
        self.live -= 1
        if self.live == 0:
            self._clear()
        return row

    def _clear(self) -> int:
        """Empty the table; all rows are free."""
        for at in range(self.mask + 1):
            self.index[at] = 0
        self.mask = min(len(self.index), _LEAST_PLACES) - 1
        self.free = _NONE
        self.used = 0
        return 0

    def _empty(self, at: int) -> int:
        """Empty a place of the table; what may be nearer to its own place moves there."""
        hole = at
        while True:
            at = at + 1 & self.mask
            if self.index[at] == 0:
                break
            home = self.index[at] >> 32 & self.mask
            if (at - home & self.mask) >= (at - hole & self.mask):
                self.index[hole] = self.index[at]
                hole = at
        self.index[hole] = 0
        return 0

    def touch(self, row: int, number: int, clock: int) -> int:
        """Put a flow at the end of a list: the session's number times two, and one if closed."""
        if self.lists[row] >= 0:
            self._unlink(row)
        last = self.tails[number]
        self.before[row] = last
        self.behind[row] = _NONE
        if last >= 0:
            self.behind[last] = row
        else:
            self.heads[number] = row
        self.tails[number] = row
        self.lists[row] = number
        self.touched[row] = clock
        return 0

    def _unlink(self, row: int) -> int:
        number = self.lists[row]
        before = self.before[row]
        behind = self.behind[row]
        if before >= 0:
            self.behind[before] = behind
        else:
            self.heads[number] = behind
        if behind >= 0:
            self.before[behind] = before
        else:
            self.tails[number] = before
        return 0
