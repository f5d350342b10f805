"""What a host has begun lately: flows, and how many ports and hosts these went to.

Windows slide: the last 10 s and the last 60 s of a session's clock before each flow that begins,
that flow included. Every beginning is an event; it counts in three entries, of the source, of the
source and the port, of the source and the destination, until it leaves a window at its end. Where
the count of a pair goes from nothing to one the source has a port or a host more. The only event of
a source has one port and one host: its pairs get entries when the next one begins. Entries are
known by 64 mixed bits of what they stand for. If more flows begin within a minute than there is
room for, the oldest leave early.

Compiled, see :mod:`network_pipeline.interpreted`.
"""

from __future__ import annotations

import numpy as np

from network_pipeline.flows.fields import COUNTS, OF_KEY, PORTS
from network_pipeline.flows.keys import Key, mixed
from network_pipeline.flows.store import MOST_SESSIONS, Store

#: The two windows.
SHORT_NS = 10_000_000_000
LONG_NS = 60_000_000_000

_SHORT_NS = SHORT_NS
_LONG_NS = LONG_NS
_PORTS = PORTS
_FANOUT = COUNTS["fanout"] - OF_KEY

_NONE = -1
_SHORT = 0
_LONG = 1
_PORT_KIND = 1
_HOST_KIND = 2
_NEXT = 6
_ONLY = 7
_LATER = -2  # an entry that is yet to be made


class Fanout:
    """Beginnings of flows in the last minute; there is room for ``most``.

    ``buckets`` hold the number of their first entry and one, so that memory as the system gives it
    is a table of none. An entry's ``counts`` are its flows in the short and the long window, then
    for a source the ports in both and the hosts in both, the next entry of its bucket, and the
    source's event if that is its only one so far. ``pairs`` are what an event's pairs are known by.
    """

    def __init__(self, most: int) -> None:
        size = 1 << (3 * most - 1).bit_length()
        self.mask = size - 1
        self.buckets = np.zeros(size, np.int32).data
        self.keys = np.empty(3 * most, np.uint64).data
        self.counts = np.empty((3 * most, 8), np.int32).data  # half a line of the cache
        self.free_entry = _NONE
        self.used_entries = 0
        self.most = most
        self.clocks = np.empty(most, np.int64).data
        self.entries = np.empty((most, 3), np.int32).data
        self.pairs = np.empty((most, 2), np.uint64).data
        self.behind = np.empty(most, np.int32).data
        self.free_event = _NONE
        self.used_events = 0
        self.firsts = np.full((2, MOST_SESSIONS), _NONE, np.int32).data
        self.lasts = np.full(MOST_SESSIONS, _NONE, np.int32).data
        self.looked = 0

    def look(self, sources: memoryview, count: int) -> int:
        """Read the buckets of some sources, as :meth:`Store.look` reads places."""
        found = self.looked
        for at in range(count):
            found ^= self.buckets[sources[at] & self.mask]
        self.looked = found
        return 0

    def begin(self, store: Store, row: int, key: Key, session: int, clock: int) -> int:
        """Count a flow that begins, and write into its row what its source has begun."""
        self._leave_until(session, clock)
        event = self._event(session)
        if event < 0:
            return 0
        source = source_of(key, session)
        host = mixed(mixed(source ^ _HOST_KIND, key.dst_high), key.dst_low)
        port = mixed(source ^ _PORT_KIND, key.protocol << 16 | key.dst_port)
        entry = self._entry(source)
        self.clocks[event] = clock
        self.pairs[event, 0] = port
        self.pairs[event, 1] = host
        self.entries[event, 0] = entry
        self.entries[event, 1] = _LATER if key.kind == _PORTS else _NONE
        self.entries[event, 2] = _LATER
        if self.counts[entry, _LONG] == 0:
            self.counts[entry, _ONLY] = event
        else:
            if self.counts[entry, _ONLY] >= 0:
                self._make_pairs(self.counts[entry, _ONLY], 1)
                self.counts[entry, _ONLY] = _NONE
            self._make_pairs(event, 0)
        for window in range(2):
            self._enter(event, window)
        self._append(event, session)
        for field in range(6):
            store.whole[row, _FANOUT + field] = self.counts[self.entries[event, 0], field]
        return 0

    def _make_pairs(self, event: int, is_counted: int) -> int:
        """Find the entries of an event's pairs; one that is counted is the source's only one."""
        source = self.entries[event, 0]
        for kind in range(1, 3):
            if self.entries[event, kind] == _LATER:
                entry = self._entry(self.pairs[event, kind - 1])
                self.entries[event, kind] = entry
                for window in range(2):
                    if is_counted:
                        self.counts[entry, window] = self.counts[source, window]
        return 0

    # -- events ----------------------------------------------------------------------------------

    def _event(self, session: int) -> int:
        """Return a free event, at the cost of the session's oldest one where there is none."""
        if self.free_event < 0 and self.used_events == self.most:
            if self.firsts[_LONG, session] < 0:
                return _NONE
            self._forget_oldest(session)
        event = self.free_event
        if event >= 0:
            self.free_event = self.behind[event]
        else:
            event = self.used_events
            self.used_events += 1
        return event

    def _append(self, event: int, session: int) -> int:
        last = self.lasts[session]
        if last >= 0:
            self.behind[last] = event
        for window in range(2):
            if self.firsts[window, session] < 0:
                self.firsts[window, session] = event
        self.behind[event] = _NONE
        self.lasts[session] = event
        return 0

    def _leave_until(self, session: int, clock: int) -> int:
        """Let events leave that are as old as a window; the short one comes first."""
        event = self.firsts[_SHORT, session]
        while event >= 0 and self.clocks[event] <= clock - _SHORT_NS:
            self._leave(event, _SHORT)
            event = self.behind[event]
        self.firsts[_SHORT, session] = event
        while (
            self.firsts[_LONG, session] >= 0
            and self.clocks[self.firsts[_LONG, session]] <= clock - _LONG_NS
        ):
            self._forget_oldest(session)
        return 0

    def _forget_oldest(self, session: int) -> int:
        event = self.firsts[_LONG, session]
        if self.firsts[_SHORT, session] == event:
            self._leave(event, _SHORT)
            self.firsts[_SHORT, session] = self.behind[event]
        self._leave(event, _LONG)
        self.firsts[_LONG, session] = self.behind[event]
        if self.behind[event] < 0:
            self.lasts[session] = _NONE
        self.behind[event] = self.free_event
        self.free_event = event
        return 0

    def _enter(self, event: int, window: int) -> int:
        source = self.entries[event, 0]
        self.counts[source, window] += 1
        for kind in range(1, 3):
            entry = self.entries[event, kind]
            if entry >= 0:
                self.counts[entry, window] += 1
                if self.counts[entry, window] == 1:
                    self.counts[source, 2 * kind + window] += 1
            elif entry == _LATER:
                self.counts[source, 2 * kind + window] += 1
        return 0

    def _leave(self, event: int, window: int) -> int:
        source = self.entries[event, 0]
        for kind in range(1, 3):
            entry = self.entries[event, kind]
            if entry >= 0:
                self.counts[entry, window] -= 1
                if self.counts[entry, window] == 0:
                    self.counts[source, 2 * kind + window] -= 1
                    if window == _LONG:
                        self._free(entry)
            elif entry == _LATER:
                self.counts[source, 2 * kind + window] -= 1
        self.counts[source, window] -= 1
        if window == _LONG and self.counts[source, window] == 0:
            self._free(source)
        return 0

    # -- entries ---------------------------------------------------------------------------------

    def _entry(self, key: int) -> int:
        """Return the entry of a key, a new one where there is none."""
        bucket = key & self.mask
        entry = self.buckets[bucket] - 1
        while entry >= 0:
            if self.keys[entry] == key:
                return entry
            entry = self.counts[entry, _NEXT]
        entry = self.free_entry
        if entry >= 0:
            self.free_entry = self.counts[entry, _NEXT]
        else:
            entry = self.used_entries
            self.used_entries += 1
        for field in range(6):
            self.counts[entry, field] = 0
        self.keys[entry] = key
        self.counts[entry, _NEXT] = self.buckets[bucket] - 1
        self.buckets[bucket] = entry + 1
        return entry

    def _free(self, entry: int) -> int:
        bucket = self.keys[entry] & self.mask
        before = self.buckets[bucket] - 1
        if before == entry:
            self.buckets[bucket] = self.counts[entry, _NEXT] + 1
        else:
            while self.counts[before, _NEXT] != entry:
                before = self.counts[before, _NEXT]
            self.counts[before, _NEXT] = self.counts[entry, _NEXT]
        self.counts[entry, _NEXT] = self.free_entry
        self.free_entry = entry
        return 0


def source_of(key: Key, session: int) -> int:
    """Return what a source is known by."""
    # Shifted, so that no session with one version is another with the other.
    return mixed(mixed(mixed(session << 3, key.version), key.src_high), key.src_low)
