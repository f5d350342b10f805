"""What a channel on Redis Streams holds: entries delivered and not acknowledged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kombu.transport import virtual

#: Entries in one reply. redis-py's parser takes longer per byte the longer the reply.
_READ_COUNT = 64


class Leases(virtual.QoS):
    """What one channel holds: delivery tag → entry id, oldest first."""

    def __init__(self, channel: Any, prefetch_count: int = 0) -> None:
        self.channel = channel
        self.prefetch_count = prefetch_count
        self.held: dict[int, bytes] = {}
        #: Tags of entries that were taken over from another consumer.
        self.on_probation: set[int] = set()

    def room(self) -> int:
        """Return how many more entries may be delivered now, at most one reply's worth."""
        free = self.prefetch_count - len(self.held) if self.prefetch_count else _READ_COUNT
        return max(0, min(free, _READ_COUNT))

    def can_consume(self) -> bool:
        """Whether there is room for an entry."""
        return self.room() > 0

    def append(self, message: Any, delivery_tag: int) -> None:
        """Do nothing: the channel notes what it holds before it delivers."""

    def forget(self, tags: Iterable[int]) -> list[bytes]:
        """Drop the tags; return their entries' ids."""
        known = [tag for tag in tags if tag in self.held]
        self.on_probation.difference_update(known)
        return [self.held.pop(tag) for tag in known]

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Release what is held; kombu calls this when a channel closes."""
        self.channel.release()
