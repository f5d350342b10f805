"""To which flow the later fragments of a datagram belong: that of the first, where it was seen.

Datagrams are known by their key without ports and their identification (RFC 791, RFC 8200 section
4.5), each at one place of a small table: a newer one takes the place of an older one.

Compiled, see :mod:`network_pipeline.interpreted`.
"""

from __future__ import annotations

import numpy as np

from network_pipeline.flows.keys import Key, mixed

#: Datagrams that are known at a time, at most.
DATAGRAMS = 8_192

#: For how long they are, by the session's clock: RFC 8200 gives up after 60 s.
KNOWN_NS = 60_000_000_000

_DATAGRAMS = DATAGRAMS
_KNOWN_NS = KNOWN_NS

_NONE = -1


class Fragments:
    """Datagrams of which the first fragment was seen."""

    def __init__(self) -> None:
        self.names = np.zeros(_DATAGRAMS, np.uint64).data
        self.first_frames = np.zeros(_DATAGRAMS, np.int64).data
        self.rows = np.full(_DATAGRAMS, _NONE, np.int32).data
        self.directions = np.zeros(_DATAGRAMS, np.int32).data
        self.clocks = np.zeros(_DATAGRAMS, np.int64).data

    def _name(self, key: Key, identification: int) -> int:
        """Return what a datagram is known by, of the sender's and the receiver's address."""
        state = mixed(mixed(key.src_high, key.src_low), key.version << 40 | identification)
        state = mixed(mixed(state, key.dst_high), key.dst_low)
        return mixed(state, key.place << 8 | (key.protocol if key.version == 4 else 0))

    def note(
        self, key: Key, identification: int, row: int, first_frame: int, direction: int, clock: int
    ) -> int:
        """Note the flow of a datagram's first fragment, by its row in the store."""
        name = self._name(key, identification)
        place = name & _DATAGRAMS - 1
        self.names[place] = name
        self.rows[place] = row
        self.first_frames[place] = first_frame
        self.directions[place] = direction
        self.clocks[place] = clock
        return 0

    def find(self, key: Key, identification: int, clock: int) -> int:
        """Return the place of a datagram, -1 where it is not known."""
        name = self._name(key, identification)
        place = name & _DATAGRAMS - 1
        if self.rows[place] < 0 or self.names[place] != name:
            return _NONE
        return place if clock - self.clocks[place] <= _KNOWN_NS else _NONE
