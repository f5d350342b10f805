"""A kombu transport on Redis Streams that delivers at least once.

A queue is a stream with one consumer group. A message is an entry with three fields: ``body`` as
it is, ``content_type``, and ``headers`` as a JSON object, so that any program can publish with
``XADD``. What a consumer read stays in the group's list of pending entries, on the server, from
the moment of reading: there is no step at which a killed consumer could lose it.

- **Acknowledge**: XDEL, then XACK, for many entries in one write. Not in MULTI: Redis refuses
  that at its memory limit, when consumers are what it needs most. Cut off between the two, the
  entry is gone and what is left of it in the pending list goes with the next take-over.
- **Lease**: an entry that was idle for ``visibility_timeout`` belongs to whoever claims it. The
  holder renews (XCLAIM, idle 0) in :meth:`Transport.heartbeat_check`, which kombu programs call
  anyway for AMQP; call it every third of that time, from another thread if need be.
- **Take-over**: every second XPENDING IDLE finds abandoned entries and XCLAIM takes them. Not
  XAUTOCLAIM, which does not tell how often they were delivered. One that was delivered
  ``delivery_limit`` times goes to ``<queue>.rejected``.
- **Probation**: an entry whose consumer ended without a word may be what ended it. Each time that
  happens again to the same entries, half as many are taken at once, down to one: what crashes
  a consumer ends up alone and reaches the limit alone.
- **Release**: a consumer that stops marks what it holds as long idle, so that another one has it
  within a second. A new connection does the same for the one it replaces (``predecessor``).

Exchanges live in the process that declares them: they lead to queues, Redis does not know them.
A channel consumes from one queue.
"""

# kombu and redis-py leave parts of their interfaces untyped.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from itertools import count
from queue import Empty
from typing import Any

import redis.exceptions as redis_errors
from kombu.transport import virtual

from network_pipeline.broker.entries import Entry, decode_entry, encode_entry, with_reason
from network_pipeline.broker.leases import Leases
from network_pipeline.broker.wire import Wire

log = logging.getLogger(__name__)

#: The consumer group of every queue.
GROUP = "processors"

#: Seconds after which the entries of a silent consumer are taken over.
VISIBILITY_SECONDS = 60.0

#: Longest wait in one XREADGROUP; also the pause between looks for abandoned entries.
_BLOCK_SECONDS = 1.0
#: XREADGROUP waits by itself; this much passes while the prefetch count allows no reading.
_PAUSE_SECONDS = 0.01
_CLAIM_COUNT = 1000
#: Entries of one reading, since a message may be large.
_READ_COUNT = 256
#: The idle time given to released entries: more than any visibility timeout.
_LONG_IDLE_MS = 30 * 24 * 3600 * 1000
#: Who holds entries that were released.
_NOBODY = "released"


class Channel(virtual.Channel):
    """One connection to Redis, its consumer and what that holds."""

    QoS = Leases
    body_encoding = None  # type: ignore[assignment]
    from_transport_options = (  # type: ignore[assignment]
        *virtual.Channel.from_transport_options,
        "visibility_timeout",
        "delivery_limit",
        "predecessor",
    )
    visibility_timeout = VISIBILITY_SECONDS
    delivery_limit = 20
    #: The consumer tag of a broken connection whose entries this one shall release.
    predecessor: str | None = None

    def __init__(self, connection: Transport) -> None:
        super().__init__(connection)
        self._tags = count(1)
        self._queue = self._owner = ""
        self._next_look = 0.0
        self._wire = Wire(connection.client)
        self._wire.connect()

    # -- queues

    def _new_queue(self, queue: str, **_: Any) -> None:
        """Create stream and group; look first, since creating is refused at the memory limit."""
        if self._has_queue(queue):
            return
        try:
            self._wire.call("XGROUP", "CREATE", queue, GROUP, "0", "MKSTREAM")
        except redis_errors.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def _has_queue(self, queue: str, **_: Any) -> bool:
        try:
            groups = self._wire.call("XINFO", "GROUPS", queue)
        except redis_errors.ResponseError as error:
            if "no such key" in str(error):
                return False
            raise
        return any(group[1] == GROUP.encode() for group in groups)

    def _size(self, queue: str) -> int:
        return int(self._wire.call("XLEN", queue))

    def _purge(self, queue: str) -> int:
        return int(self._wire.call("XTRIM", queue, "MAXLEN", 0))

    def queue_delete(
        self, queue: str, if_unused: bool = False, if_empty: bool = False, **_: Any
    ) -> None:
        """Delete a queue; kombu's own deletes only those bound to an exchange with a name."""
        if not (if_empty and self._size(queue)):
            self._delete(queue)

    def _delete(self, queue: str, *_: Any, **__: Any) -> None:
        self._wire.call("DEL", queue)

    # -- publishing

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:
        self._wire.call("XADD", queue, "*", *encode_entry(message))

    def publish_many(
        self, messages: Sequence[dict[str, Any]], exchange: str, routing_key: str
    ) -> list[str | None]:
        """Add messages in one round trip; return for each None, or why Redis did not take it."""
        [queue] = self._lookup(exchange, routing_key)
        replies = self._wire.calls([("XADD", queue, "*", *encode_entry(m)) for m in messages])
        return [str(reply) if isinstance(reply, Exception) else None for reply in replies]

    # -- consuming

    def basic_consume(
        self, queue: str, no_ack: bool, callback: Any, consumer_tag: str, **options: Any
    ) -> None:
        """Consume as the group's consumer ``consumer_tag``, a name never used before."""
        if self._queue:
            raise NotImplementedError("a channel consumes from one queue")
        self._wire.call("XPENDING", queue, GROUP, "IDLE", 0, "-", "+", 1)
        self._queue, self._owner = queue, consumer_tag
        if self.predecessor:
            self._release_all_of(self.predecessor)
        super().basic_consume(queue, no_ack, callback, consumer_tag, **options)

    def drain_events(self, timeout: float = math.inf, callback: Any = None) -> None:
        """Deliver what is there, or what arrives within ``timeout`` or a second.

        Raises:
            Empty: nothing arrived, or the prefetch count allows no more.
        """
        if not self._consumers or not self.qos.can_consume():
            raise Empty
        if self._look_is_due() and self._take_over():
            return
        if not self._read(min(timeout, _BLOCK_SECONDS)):
            raise Empty

    def _read(self, wait: float) -> int:
        block = ("BLOCK", max(1, int(wait * 1000))) if wait > 0 else ()
        reply = self._wire.call(
            "XREADGROUP", "GROUP", GROUP, self._owner, "COUNT",
            min(self.qos.room(), _READ_COUNT), *block, "STREAMS", self._queue, ">",
        )  # fmt: skip
        entries = reply[0][1] if reply else ()
        for entry in entries:
            self._deliver(decode_entry(*entry), redelivered=False)
        return len(entries)

    def _deliver(self, entry: Entry, *, redelivered: bool) -> None:
        tag = next(self._tags)
        self.qos.held[tag] = entry.id
        if redelivered:
            self.qos.on_probation.add(tag)
        place = {"exchange": "", "routing_key": self._queue, "redelivered": redelivered}
        message = {
            "body": entry.body,
            "content-type": entry.content_type,
            "headers": entry.headers,
            "properties": {"delivery_tag": tag, "delivery_info": place},
        }
        self.connection._deliver(message, self._queue)

    def basic_ack(self, delivery_tag: int, multiple: bool = False) -> None:
        """Acknowledge one delivery, or with ``multiple`` all up to it, in one round trip."""
        held = self.qos.held
        tags = [tag for tag in held if tag <= delivery_tag] if multiple else [delivery_tag]
        self._remove(self.qos.forget(tags))

    def basic_reject(self, delivery_tag: int, requeue: bool = False) -> None:
        """Give one delivery back, or drop it."""
        entries = self.qos.forget([delivery_tag])
        if requeue:
            self._claim_for(_NOBODY, entries, "IDLE", _LONG_IDLE_MS)
        else:
            self._remove(entries)

    def _remove(self, entries: Sequence[bytes]) -> None:
        for ids in _chunks(entries):
            self._wire.call_all(("XDEL", self._queue, *ids), ("XACK", self._queue, GROUP, *ids))

    # -- leases

    def renew(self) -> None:
        """Tell Redis that the held entries are being worked on."""
        self._claim_for(self._owner, list(self.qos.held.values()))

    def _claim_for(self, owner: str, entries: Sequence[bytes], *options: str | int) -> None:
        """Make ``owner`` hold the entries, without counting that as a delivery."""
        for ids in _chunks(entries):
            self._wire.call("XCLAIM", self._queue, GROUP, owner, 0, *ids, *options, "JUSTID")

    def _look_is_due(self) -> bool:
        now = time.monotonic()
        if self.qos.on_probation or now < self._next_look:
            return False
        self._next_look = now + min(_BLOCK_SECONDS, self.visibility_timeout / 3)
        return True

    def _take_over(self) -> int:
        """Claim and deliver abandoned entries; return how many were delivered."""
        idle = int(self.visibility_timeout * 1000)
        room = self.qos.room()
        abandoned = self._wire.call("XPENDING", self._queue, GROUP, "IDLE", idle, "-", "+", room)
        exhausted = [entry[0] for entry in abandoned if entry[3] >= self.delivery_limit]
        if exhausted:
            self._set_aside(self._claim(exhausted, idle))
        others = [entry for entry in abandoned if entry[3] < self.delivery_limit]
        if not others:
            return 0
        most_deliveries = max(entry[3] for entry in others)
        group = max(1, room >> (most_deliveries - 1))
        claimed = self._claim([entry[0] for entry in others[:group]], idle)
        for entry in claimed:
            self._deliver(entry, redelivered=True)
        return len(claimed)

    def _claim(self, ids: Sequence[bytes], idle: int) -> list[Entry]:
        """Take entries unless another consumer was quicker; the server counts the delivery."""
        reply = self._wire.call("XCLAIM", self._queue, GROUP, self._owner, idle, *ids)
        return [decode_entry(*entry) for entry in reply if entry]

    def _set_aside(self, entries: Sequence[Entry]) -> None:
        reason = f"delivered {self.delivery_limit} times without an acknowledgement"
        fields = [with_reason(entry, reason) for entry in entries]
        rejected = f"{self._queue}.rejected"
        replies = self._wire.calls([("XADD", rejected, "*", *each) for each in fields])
        moved = [
            entry.id
            for entry, reply in zip(entries, replies, strict=True)
            if not isinstance(reply, Exception)
        ]
        log.warning("%d messages went to %s: %s", len(moved), rejected, reason)
        self._remove(moved)

    # -- the end

    def release(self) -> None:
        """Give back what is held, and take this consumer's name off the group."""
        self.qos.forget(list(self.qos.held))
        # Deleting a consumer deletes its pending entries from the group: never with any left.
        if self._owner and self._release_all_of(self._owner):
            self._wire.call("XGROUP", "DELCONSUMER", self._queue, GROUP, self._owner)
        self._owner = ""

    def _release_all_of(self, owner: str) -> bool:
        """Give back what ``owner`` holds according to Redis; return whether that was all."""
        for _ in range(_CLAIM_COUNT):
            query = ("XPENDING", self._queue, GROUP, "-", "+", _CLAIM_COUNT, owner)
            pending = self._wire.call(*query)
            if not pending:
                return True
            self._claim_for(_NOBODY, [entry[0] for entry in pending], "IDLE", _LONG_IDLE_MS)
        return False

    def close(self) -> None:
        """Release what is held and disconnect."""
        try:
            super().close()
        finally:
            self._wire.disconnect()

    def abandon(self) -> None:
        """Disconnect without a word, for a connection that broke."""
        self._owner = ""
        self._wire.disconnect()


class Transport(virtual.Transport):
    """The transport of ``redis://``, ``rediss://`` and ``redis+socket://``."""

    Channel = Channel  # type: ignore[assignment]
    default_port = 6379  # type: ignore[assignment]
    driver_type = "redis"
    driver_name = "redis-streams"
    connection_errors = (  # type: ignore[assignment]
        redis_errors.ConnectionError,
        redis_errors.TimeoutError,
        OSError,
    )
    channel_errors = (redis_errors.ResponseError,)
    implements = virtual.Transport.implements.extend(
        exchange_type=frozenset({"direct"}), heartbeats=True
    )

    def drain_events(  # type: ignore[override]
        self, connection: Any, timeout: float | None = None
    ) -> None:
        """Wait until something was delivered.

        Raises:
            TimeoutError: nothing arrived within ``timeout`` seconds.
        """
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        channels: Any = self.cycle
        while True:
            left = max(0.0, deadline - time.monotonic())
            try:
                channels.get(self._deliver, timeout=left)
            except Empty:
                if time.monotonic() >= deadline:
                    raise TimeoutError from None
                time.sleep(min(left, _PAUSE_SECONDS))
            else:
                return

    def heartbeat_check(self, connection: Any, rate: int = 2) -> None:
        """Renew the leases of all channels."""
        for channel in list(self.channels):
            channel.renew()

    def get_heartbeat_interval(self, connection: Any) -> float:
        """Return the seconds between renewals."""
        client: Any = self.client
        seconds = client.transport_options.get("visibility_timeout", VISIBILITY_SECONDS)
        return float(seconds) / 3

    def _collect(self, connection: Any) -> None:
        """Drop a connection that broke; kombu calls this from ``Connection.collect``."""
        for channel in [*self.channels, *self._avail_channels]:
            channel.abandon()
        self.channels.clear()
        self._avail_channels.clear()


def _chunks(ids: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(ids), _CLAIM_COUNT):
        yield ids[start : start + _CLAIM_COUNT]
