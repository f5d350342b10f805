"""A kombu transport on Redis Streams that delivers at least once.

A queue is a stream with one consumer group (:mod:`network_pipeline.broker.group`, where reading,
leases, take-over and probation are). A message is an entry with three fields: ``body`` as it is,
``content_type``, and ``headers`` as a JSON object, so that any program can publish with ``XADD``.
Here is what kombu asks for: channels that declare, publish, deliver and acknowledge.

The holder of messages renews its leases in :meth:`Transport.heartbeat_check`, which kombu programs
call anyway for AMQP; call it every third of ``visibility_timeout``, from another thread if need be.
A new connection gives back what the one it replaces held (``predecessor``).

With ``wait_replicas`` a message counts as published when that many replicas have it (WAIT). Those
that too few have in time are taken back, so that sending them again leaves no copies.

Exchanges live in the process that declares them: they lead to queues, Redis does not know them.
A channel consumes from one queue.
"""

# kombu and redis-py leave parts of their interfaces untyped.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from itertools import count
from queue import Empty
from typing import Any

import redis.exceptions as redis_errors
from kombu.transport import virtual

from network_pipeline.broker import group
from network_pipeline.broker.entries import Entry, encode_entry
from network_pipeline.broker.group import Group
from network_pipeline.broker.leases import Leases
from network_pipeline.broker.wire import Wire

#: Seconds after which the entries of a silent consumer are taken over.
VISIBILITY_SECONDS = 60.0

#: Longest wait in one XREADGROUP; also the pause between looks for abandoned entries.
_BLOCK_SECONDS = 1.0
#: XREADGROUP waits by itself; this much passes while the prefetch count allows no reading.
_PAUSE_SECONDS = 0.01
#: Entries of the first reading. Redis knows no limit in bytes, and a reply is in memory twice: so
#: the next one asks for as many as these bytes are of the last, where there is room for so many.
_FIRST_READ_COUNT = 16
_READ_BYTES = 16 * 1024 * 1024
#: Longest wait for replicas.
_REPLICA_MS = 2000


class Channel(virtual.Channel):
    """One connection to Redis, its consumer and what that holds."""

    QoS = Leases
    body_encoding = None  # type: ignore[assignment]
    from_transport_options = (  # type: ignore[assignment]
        *virtual.Channel.from_transport_options,
        "visibility_timeout",
        "delivery_limit",
        "predecessor",
        "key_prefix",
        "wait_replicas",
    )
    visibility_timeout = VISIBILITY_SECONDS
    delivery_limit = 20
    #: The consumer tag of a broken connection whose entries this one shall release.
    predecessor: str | None = None
    key_prefix = ""
    wait_replicas = 0

    def __init__(self, connection: Transport) -> None:
        super().__init__(connection)
        self._tags = count(1)
        self._queue = ""
        self._group: Group | None = None
        self._next_look = 0.0
        self._read_count = _FIRST_READ_COUNT
        self.wire = Wire(connection.client)
        self.wire.connect()

    def key(self, queue: str) -> str:
        """Return the key of a queue's stream."""
        return f"{self.key_prefix}{queue}"

    # -- queues

    def _new_queue(self, queue: str, **_: Any) -> None:
        group.create(self.wire, self.key(queue))

    def _has_queue(self, queue: str, **_: Any) -> bool:
        return group.exists(self.wire, self.key(queue))

    def _size(self, queue: str) -> int:
        return int(self.wire.call("XLEN", self.key(queue)))

    def _purge(self, queue: str) -> int:
        return int(self.wire.call("XTRIM", self.key(queue), "MAXLEN", 0))

    def queue_delete(
        self, queue: str, if_unused: bool = False, if_empty: bool = False, **_: Any
    ) -> None:
        """Delete a queue; kombu's own deletes only those bound to an exchange with a name."""
        if not (if_empty and self._size(queue)):
            self._delete(queue)

    def _delete(self, queue: str, *_: Any, **__: Any) -> None:
        self.wire.call("DEL", self.key(queue))

    # -- publishing

    def _put(self, queue: str, message: dict[str, Any], **_: Any) -> None:
        self.wire.call("XADD", self.key(queue), "*", *encode_entry(message))

    def publish_many(
        self, messages: Sequence[dict[str, Any]], exchange: str, routing_key: str
    ) -> list[str | None]:
        """Add messages in one round trip; return for each None, or why Redis did not take it."""
        [queue] = self._lookup(exchange, routing_key)
        key = self.key(queue)
        adding = [("XADD", key, "*", *encode_entry(message)) for message in messages]
        if self.wait_replicas:
            return self._add_to_replicas(key, adding)
        return [_refusal(reply) for reply in self.wire.calls(adding)]

    def _add_to_replicas(self, key: str, adding: list[Any]) -> list[str | None]:
        waiting = ("WAIT", self.wait_replicas, _REPLICA_MS)
        *replies, replicas = self.wire.calls([*adding, waiting])
        if isinstance(replicas, Exception):
            raise replicas
        if replicas >= self.wait_replicas:
            return [_refusal(reply) for reply in replies]
        added = [reply for reply in replies if isinstance(reply, bytes)]
        if added:
            self.wire.call("XDEL", key, *added)
        return [f"{replicas} of {self.wait_replicas} replicas took them in time"] * len(adding)

    # -- consuming

    def basic_consume(
        self, queue: str, no_ack: bool, callback: Any, consumer_tag: str, **options: Any
    ) -> None:
        """Consume as the group's consumer ``consumer_tag``, a name never used before."""
        if self._group:
            raise NotImplementedError("a channel consumes from one queue")
        consumer = Group(
            self.wire, self.key(queue), consumer_tag,
            visibility_seconds=self.visibility_timeout, delivery_limit=self.delivery_limit,
        )  # fmt: skip
        consumer.check()
        self._queue, self._group = queue, consumer
        if self.predecessor:
            consumer.give_back_all_of(self.predecessor)
        super().basic_consume(queue, no_ack, callback, consumer_tag, **options)

    def drain_events(self, timeout: float = math.inf, callback: Any = None) -> None:
        """Deliver what is there, or what arrives within ``timeout`` or a second.

        Raises:
            Empty: nothing arrived, or the prefetch count allows no more.
        """
        if self._group is None or not self._consumers or not self.qos.can_consume():
            raise Empty
        room = self.qos.room()
        if self._look_is_due():
            taken = self._group.take_over(room, self._read_count)
            if self._deliver(taken, True):
                self._next_look = 0.0  # there may be more
                return
        entries = self._group.read(min(room, self._read_count), min(timeout, _BLOCK_SECONDS))
        if not self._deliver(entries, False):
            raise Empty

    def _look_is_due(self) -> bool:
        now = time.monotonic()
        if self.qos.on_probation or now < self._next_look:
            return False
        self._next_look = now + min(_BLOCK_SECONDS, self.visibility_timeout / 3)
        return True

    def _deliver(self, entries: Sequence[Entry], redelivered: bool) -> int:
        if entries:
            mean_bytes = 1 + sum(len(entry.body) for entry in entries) // len(entries)
            self._read_count = max(1, _READ_BYTES // mean_bytes)
        for entry in entries:
            tag = next(self._tags)
            self.qos.held[tag] = entry.id
            if redelivered:
                self.qos.on_probation.add(tag)
            self.connection._deliver(self._as_message(entry, tag, redelivered), self._queue)
        return len(entries)

    def _as_message(self, entry: Entry, tag: int, redelivered: bool) -> dict[str, Any]:
        place = {
            "exchange": "", "routing_key": self._queue,
            "redelivered": redelivered, "failures": entry.failures,
        }  # fmt: skip
        return {
            "body": entry.body,
            "content-type": entry.content_type,
            "headers": entry.headers,
            "properties": {"delivery_tag": tag, "delivery_info": place},
        }

    def basic_ack(self, delivery_tag: int, multiple: bool = False) -> None:
        """Acknowledge one delivery, or with ``multiple`` all up to it, in one round trip."""
        held = self.qos.held
        tags = [tag for tag in held if tag <= delivery_tag] if multiple else [delivery_tag]
        if self._group:
            self._group.acknowledge(self.qos.forget(tags))

    def basic_reject(self, delivery_tag: int, requeue: bool = False) -> None:
        """Give one delivery back, or drop it."""
        entries = self.qos.forget([delivery_tag])
        if self._group is None:
            return
        if requeue:
            self._group.give_back(entries)
        else:
            self._group.acknowledge(entries)

    def renew(self) -> None:
        """Tell Redis that the held entries are being worked on."""
        if self._group:
            self._group.renew(list(self.qos.held.values()))

    # -- the end

    def release(self) -> None:
        """Give back what is held, and take this consumer's name off the group."""
        self.qos.forget(list(self.qos.held))
        consumer, self._group = self._group, None
        if consumer:
            consumer.leave()

    def close(self) -> None:
        """Release what is held and disconnect."""
        try:
            super().close()
        finally:
            self.wire.disconnect()

    def abandon(self) -> None:
        """Disconnect without a word, for a connection that broke."""
        self._group = None
        self.wire.disconnect()


class Transport(virtual.Transport):
    """The transport of all URLs that begin with ``redis``."""

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


def _refusal(reply: Any) -> str | None:
    return str(reply) if isinstance(reply, Exception) else None
