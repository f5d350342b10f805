"""Packets into flows: finds the flow of each, begins it, adds to it and ends it.

A session has a clock, the latest time of its packets so far; only it ends flows. Before each packet
those end that have waited too long by it. So what a flow is depends on the packets and their order
alone, never on batches. A flow that TCP has closed stays for a while, so that late packets are its
own and no flow of leftovers; a new connection of the same ends takes its place at once.

``update`` stops where the room for ended flows is full: the caller takes them and calls it again.
Compiled, see :mod:`network_pipeline.interpreted`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from network_pipeline.flows import fields
from network_pipeline.flows.ended import ROOM, Ended
from network_pipeline.flows.fanout import Fanout, source_of
from network_pipeline.flows.features import (
    add,
    add_dns,
    add_tcp,
    begin,
    begin_part,
    begins_connection,
    end_period,
    is_duplicate,
)
from network_pipeline.flows.fields import (
    COUNTS,
    NUMBERS,
    OF_BEGINNING,
    OF_KEY,
    OF_WHOLE,
    READ_NUMBERS,
    SMALL,
)
from network_pipeline.flows.fragments import Fragments
from network_pipeline.flows.kept import is_plain, keep, no_packets, recall
from network_pipeline.flows.keys import Key
from network_pipeline.flows.packets import Packets
from network_pipeline.flows.store import MOST_SESSIONS, Store

if not TYPE_CHECKING:
    from network_pipeline.interpreted import nogil
else:
    from cython import nogil

_DNS_QR = READ_NUMBERS.index("dns_qr")
_FIRST_FRAME = NUMBERS["first_frame"]
_OPENED = NUMBERS["opened"] - OF_BEGINNING
_NAME = NUMBERS["name"] - OF_BEGINNING
_IS_LOW_FIRST = COUNTS["is_low_first"] - OF_KEY
_PART = COUNTS["part"] - OF_KEY
_IS_CLOSED = COUNTS["is_closed"] - OF_WHOLE
_REASON = COUNTS["reason"] - OF_WHOLE
_ICMP_ERRORS = COUNTS["icmp_errors"] - OF_WHOLE
_IS_ONLY = SMALL["is_only"]

_BY_IDLE = fields.IDLE
_BY_ACTIVE = fields.ACTIVE
_BY_END = fields.ENDED
_BY_FORCE = fields.FORCED
_BY_NO_ROOM = fields.NO_ROOM

_NO_IP = fields.WITHOUT_FLOW.index("no IP header")
_NO_TIME = fields.WITHOUT_FLOW.index("no time")

_NONE = -1
_NO_CLOCK = -(2**63)

_ROOM = ROOM
#: Packets whose flows are looked for at once, and flows that are looked for as they end.
_AHEAD = 32
#: Most flows that one packet ends besides those that waited.
_MOST_AT_ONCE = 2


class Meter:
    """Makes flows, of which those that have ended are in ``ended``; all times are nanoseconds.

    ``without_flow`` counts frames by :data:`.fields.WITHOUT_FLOW`; ``packets``, ``errors`` and
    ``duplicates`` count those that are in flows.
    """

    def __init__(
        self,
        most_flows: int,
        idle: int,
        active: int,
        linger: int,
        pause: int,
        drops_duplicates: int,
    ) -> None:
        self.idle = idle
        self.active = active
        self.linger = linger
        self.pause = pause
        self.drops_duplicates = drops_duplicates
        self.store = Store(most_flows)
        self.fanout = Fanout(most_flows)
        self.fragments = Fragments()
        self.key = Key()
        self.recalled = no_packets()
        self.hashes = np.zeros(_AHEAD, np.uint64).data
        self.sources = np.zeros(_AHEAD, np.uint64).data
        self.clocks = np.full(MOST_SESSIONS, _NO_CLOCK, np.int64).data
        self.first = 0  # no session before it has flows
        self.ended = Ended()
        self.named = 0
        self.without_flow = np.zeros(len(fields.WITHOUT_FLOW), np.int64).data
        self.packets = 0
        self.errors = 0
        self.duplicates = 0

    def take_named(self) -> int:
        """Return how many rows were noted as those that give a flow its DNS name."""
        named = self.named
        self.named = 0
        return named

    def update(
        self,
        packets: Packets,
        row: int,
        rows: int,
        before: int,
        first_frames: memoryview,
        named: memoryview,
    ) -> int:
        """Take packets from ``row`` on; return the next row, ``rows`` when all were taken.

        ``first_frames`` gets the first frame of each packet's flow, 0 where it has none; ``named``
        the rows of DNS names, by which flows know them: the row's number in all batches, of which
        there were ``before``, and one.
        """
        with nogil:
            seen = row if self.store.is_large() else rows
            while row < rows:
                if row == seen:
                    seen = min(row + _AHEAD, rows)
                    self._look(packets, row, seen)
                has_ip = packets.read(row)
                if not packets.has_time():
                    self.without_flow[_NO_TIME] += 1
                    first_frames[row] = 0
                elif not self._advance(packets.session, packets.time):
                    break
                elif not has_ip:
                    self.without_flow[_NO_IP] += 1
                    first_frames[row] = 0
                else:
                    first_frames[row] = self._add(packets, before, named)
                row += 1
        return row

    def _look(self, packets: Packets, row: int, rows: int) -> int:
        """Look where the flows of the next packets are, all at once.

        To wait for each from memory, as flows of a flood are found, takes half of the time.
        """
        count = 0
        for each in range(row, rows):
            if packets.read(each):
                packets.fill(self.key)
                self.hashes[count] = self.key.hash
                self.sources[count] = source_of(self.key, packets.session)
                count += 1
        self.store.look(self.hashes, count)
        return self.fanout.look(self.sources, count)

    def finish(self, session: int) -> int:
        """End flows of a session, those that are open first; return whether all of them have.

        No packet may come before all sessions that have flows are finished.
        """
        with nogil:
            done = self._end_list(2 * session, _BY_FORCE)
            if done:
                done = self._end_list(2 * session + 1, _BY_END)
        return done

    def _end_list(self, number: int, reason: int) -> int:
        row = self.store.heads[number]
        while row >= 0 and self.ended.count < _ROOM:
            self._give(row, reason)
            row = self.store.drop_first(number)
        return 1 if row < 0 else 0

    def _advance(self, session: int, time: int) -> int:
        """Set the clock and end what has waited too long; return whether there was room."""
        self.clocks[session] = max(self.clocks[session], time)
        clock = self.clocks[session]
        if not self._end_waiting(2 * session, clock - self.idle, _BY_IDLE):
            return 0
        return self._end_waiting(2 * session + 1, clock - self.linger, _BY_END)

    def _end_waiting(self, number: int, since: int, reason: int) -> int:
        row = self.store.heads[number]
        while row >= 0 and self.store.touched[row] < since:
            if self.ended.count >= _ROOM - _MOST_AT_ONCE:
                return 0
            self._end(row, reason)
            row = self.store.heads[number]
        return 1 if self.ended.count < _ROOM - _MOST_AT_ONCE else 0

    def _end(self, row: int, reason: int) -> int:
        if self.ended.count % _AHEAD == 0 and self.store.is_large():
            self.store.look_behind(row, _AHEAD)
        self._give(row, reason)
        return self.store.remove(row)

    def _give(self, row: int, reason: int) -> int:
        """Copy a flow to those that have ended."""
        if self.store.small[row, _IS_ONLY]:
            return self.ended.give_kept(self.store, row, reason)
        end_period(self.store, row)
        self.store.counts[row, _REASON] = reason
        return self.ended.give(self.store, row)

    def _add(self, packets: Packets, before: int, named: memoryview) -> int:
        """Add a packet to its flow; return the flow's first frame."""
        if packets.is_icmp_error() and packets.fill_quoted(self.key):
            row = self.store.find(self.key)
            if row >= 0:
                self._fill(row)
                self.store.counts[row, _ICMP_ERRORS] += 1
                self.errors += 1
                return self.store.begun[row, _FIRST_FRAME]
        packets.fill(self.key)
        row = _NONE
        direction = 0
        if packets.fragment > 0:
            clock = self.clocks[packets.session]
            place = self.fragments.find(self.key, packets.identification, clock)
            row = self._row_of_fragment(place) if place >= 0 else _NONE
            direction = self.fragments.directions[place] if row >= 0 else 0
        if row < 0:
            row = self._row(packets)
            is_forward = self.key.is_low_first == self.store.whole[row, _IS_LOW_FIRST]
            direction = 0 if is_forward else 1
        if packets.fragment == 0 and packets.more > 0:
            self._note_fragment(packets, row, direction)
        self._add_to(packets, row, direction, before, named)
        return self.store.begun[row, _FIRST_FRAME]

    def _add_to(
        self, packets: Packets, row: int, direction: int, before: int, named: memoryview
    ) -> int:
        """Add a packet; one that is plain and the first is kept as it is."""
        clock = self.clocks[packets.session]
        if self.store.lists[row] < 0:  # the flow has begun with it
            if is_plain(packets):
                self.packets += 1
                keep(self.store, row, packets)
                return self.store.touch(row, 2 * packets.session, clock)
            self.store.small[row, _IS_ONLY] = 0
            begin_part(self.store, row, packets, clock)
        if is_duplicate(self.store, row, packets, direction):
            self.duplicates += 1
            if self.drops_duplicates:
                return 0
        else:
            self.packets += 1
        add(self.store, row, packets, direction, self.pause)
        if packets.has_tcp:
            add_tcp(self.store, row, packets, direction)
        if packets.number(_DNS_QR) >= 0 and add_dns(self.store, row, packets):
            self.store.numbers[row, _NAME] = before + packets.row + 1
            named[self.named] = packets.row
            self.named += 1
        number = 2 * packets.session + self.store.counts[row, _IS_CLOSED]
        return self.store.touch(row, number, clock)

    def _fill(self, row: int) -> int:
        """Make a flow of which a packet is kept as any other."""
        if self.store.small[row, _IS_ONLY]:
            self.store.small[row, _IS_ONLY] = 0
            recall(self.store, row, self.recalled)
            begin_part(self.store, row, self.recalled, self.store.touched[row])
            add(self.store, row, self.recalled, 0, self.pause)
            if self.recalled.has_tcp:
                add_tcp(self.store, row, self.recalled, 0)
        return 0

    def _row_of_fragment(self, place: int) -> int:
        """Return the row of a datagram's flow, -1 where another flow has it by now."""
        row = self.fragments.rows[place]
        if self.store.lists[row] < 0:
            return _NONE
        if self.fragments.first_frames[place] != self.store.begun[row, _FIRST_FRAME]:
            return _NONE
        self._fill(row)
        return row

    def _note_fragment(self, packets: Packets, row: int, direction: int) -> int:
        clock = self.clocks[packets.session]
        first_frame = self.store.begun[row, _FIRST_FRAME]
        return self.fragments.note(
            self.key, packets.identification, row, first_frame, direction, clock
        )

    def _row(self, packets: Packets) -> int:
        """Return the row of the flow of the key; what it was may end here."""
        row = self.store.find(self.key)
        if row < 0:
            return self._begin(packets)
        self._fill(row)
        is_closed = self.store.counts[row, _IS_CLOSED]
        if is_closed and begins_connection(packets):
            self._end(row, _BY_END)
            return self._begin(packets)
        clock = self.clocks[packets.session]
        if clock - self.store.numbers[row, _OPENED] > self.active:
            self._give(row, _BY_END if is_closed else _BY_ACTIVE)
            self.store.whole[row, _PART] += 1
            begin_part(self.store, row, packets, clock)
        return row

    def _begin(self, packets: Packets) -> int:
        self.first = min(self.first, packets.session)
        if not self.store.has_room():
            self._make_room()
        clock = self.clocks[packets.session]
        row = self.store.add(self.key)
        begin(self.store, row, packets, self.key)
        self.fanout.begin(self.store, row, self.key, packets.session, clock)
        return row

    def _make_room(self) -> int:
        """End the flow that waits longest of the first session that has any, closed ones first."""
        while self.store.heads[2 * self.first] < 0 and self.store.heads[2 * self.first + 1] < 0:
            self.first += 1
        row = self.store.heads[2 * self.first + 1]
        if row >= 0:
            return self._end(row, _BY_END)
        return self._end(self.store.heads[2 * self.first], _BY_NO_ROOM)
