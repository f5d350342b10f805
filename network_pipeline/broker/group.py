"""The consumer group of one queue on Redis Streams, as one of its consumers uses it.

What a consumer reads stays in the group's list of pending entries, on the server, from the moment
of reading: there is no step at which a killed consumer could lose it.

- **Acknowledge**: XDEL, then XACK, for many entries in one write. Not in MULTI: Redis refuses
  that at its memory limit, when consumers are what it needs most. Cut off between the two, the
  entry is gone and what is left of it in the pending list goes with the next take-over.
- **Lease**: an entry that was idle for ``visibility_seconds`` belongs to whoever claims it. The
  holder renews (XCLAIM, idle 0).
- **Take-over**: XPENDING IDLE finds abandoned entries and XCLAIM takes them. Not XAUTOCLAIM, which
  does not tell how often they were delivered. One that was delivered ``delivery_limit`` times goes
  to ``<queue>.rejected``.
- **Probation**: an entry whose consumer ended without a word may be what ended it. Each time that
  happens again to the same entries, half as many are taken at once, down to one: what crashes
  a consumer ends up alone and reaches the limit alone.
- **Release**: entries that are given back are marked as long idle, so that another consumer has
  them within a second.

Every command names one key, so that a queue can live on one node of a Redis Cluster.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import redis.exceptions as redis_errors

from network_pipeline.broker.entries import Entry, decode_entry, with_reason
from network_pipeline.broker.wire import Wire

log = logging.getLogger(__name__)

#: The consumer group of every queue.
GROUP = "processors"

_CLAIM_COUNT = 1000
#: The idle time given to released entries: more than any visibility timeout.
_LONG_IDLE_MS = 30 * 24 * 3600 * 1000
#: Who holds entries that were released.
_NOBODY = "released"


def exists(wire: Wire, key: str) -> bool:
    """Whether the stream is there with its group."""
    try:
        groups = wire.call("XINFO", "GROUPS", key)
    except redis_errors.ResponseError as error:
        if "no such key" in str(error):
            return False
        raise
    return any(group[1] == GROUP.encode() for group in groups)


def create(wire: Wire, key: str) -> None:
    """Create stream and group; look first, since creating is refused at the memory limit."""
    if exists(wire, key):
        return
    try:
        wire.call("XGROUP", "CREATE", key, GROUP, "0", "MKSTREAM")
    except redis_errors.ResponseError as error:
        if not str(error).startswith("BUSYGROUP"):
            raise


class Group:
    """One consumer of one queue."""

    def __init__(
        self, wire: Wire, key: str, owner: str, *, visibility_seconds: float, delivery_limit: int
    ) -> None:
        """Store the arguments; ``owner`` is a consumer's name that was never used before."""
        self._wire = wire
        self._key = key
        self._owner = owner
        self._idle_ms = int(visibility_seconds * 1000)
        self._delivery_limit = delivery_limit

    def check(self) -> None:
        """Ask what an old Redis does not know and another program's key does not allow."""
        self._wire.call("XPENDING", self._key, GROUP, "IDLE", 0, "-", "+", 1)

    def read(self, count: int, wait: float) -> list[Entry]:
        """Return up to ``count`` new entries, waiting up to ``wait`` seconds for the first."""
        block = ("BLOCK", max(1, int(wait * 1000))) if wait > 0 else ()
        reply = self._wire.call(
            "XREADGROUP", "GROUP", GROUP, self._owner, "COUNT", count, *block,
            "STREAMS", self._key, ">",
        )  # fmt: skip
        return [decode_entry(*entry) for entry in reply[0][1]] if reply else []

    def acknowledge(self, entries: Sequence[bytes]) -> None:
        """Remove entries from the queue."""
        for ids in _chunks(entries):
            self._wire.call_all(("XDEL", self._key, *ids), ("XACK", self._key, GROUP, *ids))

    def renew(self, entries: Sequence[bytes]) -> None:
        """Tell Redis that these entries are being worked on."""
        self._claim_for(self._owner, entries)

    def take_over(self, room: int, most: int) -> list[Entry]:
        """Return abandoned entries, which are this consumer's from now on.

        At most ``most``, and as a group no more than ``room`` halved for each failed delivery.
        """
        most = min(room, most)
        query = ("IDLE", self._idle_ms, "-", "+", most)
        abandoned = self._wire.call("XPENDING", self._key, GROUP, *query)
        exhausted = [entry[0] for entry in abandoned if entry[3] >= self._delivery_limit]
        if exhausted:
            self._set_aside(self._claim(exhausted))
        others = [entry for entry in abandoned if entry[3] < self._delivery_limit]
        if not others:
            return []
        most_deliveries = max(entry[3] for entry in others)
        group = max(1, min(most, room >> (most_deliveries - 1)))
        failures = {entry[0]: entry[3] for entry in others[:group]}
        return [each._replace(failures=failures[each.id]) for each in self._claim([*failures])]

    def give_back(self, entries: Sequence[bytes]) -> None:
        """Let other consumers have these entries at once."""
        self._claim_for(_NOBODY, entries, "IDLE", _LONG_IDLE_MS)

    def give_back_all_of(self, owner: str) -> bool:
        """Give back what ``owner`` holds according to Redis; return whether that was all."""
        for _ in range(_CLAIM_COUNT):
            query = ("XPENDING", self._key, GROUP, "-", "+", _CLAIM_COUNT, owner)
            pending = self._wire.call(*query)
            if not pending:
                return True
            self.give_back([entry[0] for entry in pending])
        return False

    def leave(self) -> None:
        """Give back everything, and take this consumer's name off the group."""
        # Deleting a consumer deletes its pending entries from the group: never with any left.
        if self.give_back_all_of(self._owner):
            self._wire.call("XGROUP", "DELCONSUMER", self._key, GROUP, self._owner)

    def _claim_for(self, owner: str, entries: Sequence[bytes], *options: str | int) -> None:
        """Make ``owner`` hold the entries, without counting that as a delivery."""
        for ids in _chunks(entries):
            self._wire.call("XCLAIM", self._key, GROUP, owner, 0, *ids, *options, "JUSTID")

    def _claim(self, ids: Sequence[bytes]) -> list[Entry]:
        """Take entries unless another consumer was quicker; the server counts the delivery."""
        reply = self._wire.call("XCLAIM", self._key, GROUP, self._owner, self._idle_ms, *ids)
        return [decode_entry(*entry) for entry in reply if entry]

    def _set_aside(self, entries: Sequence[Entry]) -> None:
        reason = f"delivered {self._delivery_limit} times without an acknowledgement"
        fields = [with_reason(entry, reason) for entry in entries]
        rejected = f"{self._key}.rejected"
        replies = self._wire.calls([("XADD", rejected, "*", *each) for each in fields])
        moved = [
            entry.id
            for entry, reply in zip(entries, replies, strict=True)
            if not isinstance(reply, Exception)
        ]
        log.warning("%d messages went to %s: %s", len(moved), rejected, reason)
        self.acknowledge(moved)


def _chunks(ids: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(ids), _CLAIM_COUNT):
        yield ids[start : start + _CLAIM_COUNT]
