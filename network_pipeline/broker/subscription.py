"""Deliveries on one link: what arrived, what is not acknowledged yet, and its tags.

Callbacks only append to a list, so that nothing of the caller's can be taken by kombu for a lost
connection. Acknowledging covers many deliveries at once where all older ones are settled too.

A message that was delivered :data:`SUSPECT_FAILURES` times in vain may be what ended its consumers.
RabbitMQ counts a failure for all that is in flight, so it must then be in flight alone: the window
is one message as long as suspects arrive. It begins with one, since what came back comes first, and
is as wide as asked for from the first message on that is no suspect. An AMQP consumer keeps its
window, so another one takes over, and what the last one has in flight is beside that. (On Redis
fewer are taken at once, see ``group``.)

A window counts messages, of which one may be a thousand times as large as another. Whoever asks
RabbitMQ something has to read all that is on its way before the answer: so the window is as wide as
messages of the size that arrived lately are ``prefetch_bytes``, where that is less. It is too wide
once where they grow all of a sudden, since RabbitMQ sent what it could by then.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import count
from typing import Any, NamedTuple

from network_pipeline.broker.link import Link

#: Failures from which on a message is handed out alone, and those after which it is set aside.
#: The broker sets it aside by itself, without a ledger that tells, at ``topology.DELIVERY_LIMIT``:
#: only if consumers end while they do.
SUSPECT_FAILURES = 5
MAX_FAILURES = 18

#: Bodies that one pull puts into the inbox, unless a single reading brings more.
_PULL_BYTES = 16 * 1024 * 1024

#: How much a message counts in what messages are taken to be like.
_WEIGHT = 1 / 8

#: How many times too wide or too narrow a window may be.
_LEEWAY = 2

#: How long to look for one more delivery once some have arrived.
_MORE_SECONDS = 0.001


class Delivery(NamedTuple):
    """A message as it arrived; ``tag`` is for :class:`Consumer` alone.

    ``failures`` is how often it was delivered before and not acknowledged.
    """

    body: bytes
    content_type: str | None
    headers: Mapping[str, Any]
    redelivered: bool
    tag: Any
    failures: int = 0

    @property
    def is_suspect(self) -> bool:
        """Whether it may be what ended its consumers: nothing else should wait beside it."""
        return self.failures >= SUSPECT_FAILURES

    @property
    def is_exhausted(self) -> bool:
        """Whether it was tried often enough, and is to be set aside."""
        return self.failures >= MAX_FAILURES


class Subscription:
    """A consumer on an open link."""

    def __init__(self, link: Link, *, prefetch: int, prefetch_bytes: int, name: str) -> None:
        """Store the arguments: at most ``prefetch`` messages are unacknowledged at a time.

        With RabbitMQ that is so as long as the window stays, and of bodies up to twice
        ``prefetch_bytes``, unless messages grew since it was chosen.
        """
        self.link = link
        self.name = name
        self._prefetch = self._window = prefetch
        self._prefetch_bytes = prefetch_bytes
        self._message_bytes = 0.0
        self._is_narrow = False
        self._queue = ""
        self._tags = count(1)
        self._tag = name
        self._inbox: list[Delivery] = []
        self._inbox_bytes = 0
        #: What is not acknowledged: our number, which grows → the channel's delivery tag, bytes.
        self._unsettled: dict[int, tuple[Any, int]] = {}
        self._unsettled_bytes = 0
        self._numbers = count(1)

    def start(self, queue: str) -> None:
        """Subscribe.

        Raises:
            One of FAILURES: the broker says no, or the connection broke.
        """
        self._queue = queue
        self._is_narrow = self.link.is_amqp
        self._consume(1 if self._is_narrow else self._prefetch)

    def _consume(self, window: int) -> None:
        """Have at most ``window`` messages unacknowledged from now on."""
        arrived = self._amqp_arrived if self.link.is_amqp else self._virtual_arrived
        channel, self._window = self.link.channel, window
        channel.basic_qos(0, window, False)
        channel.basic_consume(
            queue=self._queue, no_ack=False, callback=arrived, consumer_tag=self._tag
        )

    def pull(self, timeout: float) -> None:
        """Put into the inbox what arrives: wait for the first, and take what is there."""
        wait = timeout
        with suppress(TimeoutError):
            while not self._inbox or (
                len(self._unsettled) < self._prefetch and self._inbox_bytes < _PULL_BYTES
            ):
                self.link.drain(wait)
                if self._inbox:
                    wait = _MORE_SECONDS
        if self._inbox and self.link.is_amqp:
            self._adapt()

    def _adapt(self) -> None:
        """Narrow the window for suspects; widen it once nothing is in flight but what came now."""
        was_narrow = self._is_narrow
        if any(each.is_suspect for each in self._inbox):
            self._is_narrow = True
        elif len(self._unsettled) == 1:
            self._is_narrow = self._prefetch == 1
        window = 1 if self._is_narrow else self._wide()
        fits = self._window / _LEEWAY <= window <= self._window * _LEEWAY
        if self._is_narrow != was_narrow or not fits:
            self.link.channel.basic_cancel(self._tag)
            self._tag = f"{self.name}-{next(self._tags)}"
            self._consume(window)

    def _wide(self) -> int:
        """Return the window that is none of suspects; the last one has a message in flight."""
        message_bytes = max(1.0, self._message_bytes)
        if self._unsettled_bytes > _LEEWAY * self._prefetch_bytes:
            # They grew since the window was chosen, or it would be refilled with as many for ever.
            most = min(self._window, int(self._prefetch_bytes / message_bytes))
        else:
            left = max(0, self._prefetch_bytes - self._unsettled_bytes)
            most = len(self._unsettled) + int(left / message_bytes)
        return max(1, min(self._prefetch - 1, most))

    def take(self) -> list[Delivery]:
        """Empty the inbox."""
        inbox, self._inbox, self._inbox_bytes = self._inbox, [], 0
        return inbox

    def holds(self, delivery: Delivery) -> bool:
        """Whether the delivery came on this subscription and is not settled."""
        name, number = delivery.tag
        return bool(name == self.name and number in self._unsettled)

    def ack(self, deliveries: Iterable[Delivery]) -> None:
        """Acknowledge what is held of these; deliveries of an earlier connection are void."""
        numbers = sorted(each.tag[1] for each in deliveries if self.holds(each))
        settled = [self._unsettled.pop(number) for number in numbers]
        tags = [tag for tag, _ in settled]
        self._unsettled_bytes -= sum(size for _, size in settled)
        oldest_left = next(iter(self._unsettled), None)
        covered = len(numbers) if oldest_left is None else bisect(numbers, oldest_left)
        if covered:
            self.link.channel.basic_ack(tags[covered - 1], multiple=True)
        for tag in tags[covered:]:
            self.link.channel.basic_ack(tag)

    def keep_alive(self) -> None:
        """Show the broker that this consumer lives, and have the broker show the same.

        Raises:
            One of FAILURES: the broker does not answer in time, or the connection broke.
        """
        self.link.heartbeat()
        if self.link.is_amqp:
            # Heartbeats alone would take two minutes to miss a frozen broker. What is asked here
            # again is what was asked before, so it changes nothing; but it has an answer.
            self.link.channel.basic_qos(0, self._window, False)

    def _amqp_arrived(self, raw: Any) -> None:
        place = raw.delivery_info
        headers = raw.properties.get("application_headers") or {}
        failures = headers.get("x-delivery-count")
        if place.get("redelivered") and isinstance(failures, int):  # a publisher can write it too
            place["failures"] = failures
        self._add(raw.body, raw.properties.get("content_type"), headers, place)

    def _virtual_arrived(self, message: Any) -> None:
        place = {**message.delivery_info, "delivery_tag": message.delivery_tag}
        self._add(message.body, message.content_type, message.headers, place)

    def _add(
        self, body: Any, content_type: str | None, headers: Any, place: Mapping[str, Any]
    ) -> None:
        number = next(self._numbers)
        body = body.encode() if isinstance(body, str) else bytes(body or b"")
        self._unsettled[number] = place["delivery_tag"], len(body)
        self._unsettled_bytes += len(body)
        self._inbox_bytes += len(body)
        weight = _WEIGHT if self._message_bytes else 1.0
        self._message_bytes += weight * (len(body) - self._message_bytes)
        redelivered = bool(place.get("redelivered"))
        self._inbox.append(
            Delivery(
                body, content_type, headers or {}, redelivered, (self.name, number),
                place.get("failures", 0),
            )
        )  # fmt: skip
