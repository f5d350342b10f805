"""The messages that were set aside: looked at, put back into the queue, or dropped.

They are read oldest first, in small pages, and only those that were there at the start: what
a processor rejects anew meanwhile is not met again. Putting one back publishes it first, without
the headers that say why it was set aside, and removes it when the broker has confirmed that: cut
off in between, it is in both queues, never in none.

Redis shows stream entries without touching them; an entry's id names it. RabbitMQ shows a message
only by handing it out: what was looked at is given back at the end, and until then others do not
see it. It would come behind what was given back earlier; so up to :data:`IN_ORDER_MESSAGES` are all
taken out and given back in order. A digest of body and headers names a message there; two that are
the same in both are interchangeable.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from typing import Any, NamedTuple, Protocol, TypeVar

from network_pipeline.broker.entries import decode_entry
from network_pipeline.broker.failures import FAILURES, as_broker_error
from network_pipeline.broker.link import Link, open_link
from network_pipeline.errors import BrokerError, UsageError
from network_pipeline.message import Message
from network_pipeline.settings import BrokerSettings

#: Messages in one page: with the largest bodies 32 MiB.
_PAGE_MESSAGES = 16
#: Rejected messages on RabbitMQ up to which looking at some keeps the order of all.
IN_ORDER_MESSAGES = 1000

#: Messages given back at once, and how long their order is worth waiting for.
_GIVE_BACK_MESSAGES = 30
_GIVE_BACK_SECONDS = 60.0

#: What was added when a message was set aside, by us or by RabbitMQ.
_ADDED = ("reason", "rejected_at", "x-death", "x-delivery-count")
_ADDED_BEGINNINGS = ("x-first-death-", "x-last-death-")

_T = TypeVar("_T")


class RejectedMessage(NamedTuple):
    """A message as it was set aside; ``tag`` is for :class:`RejectedQueue` alone."""

    id: str
    when: datetime | None
    body: bytes
    content_type: str | None
    headers: Mapping[str, Any]
    tag: Any

    @property
    def reason(self) -> str:
        """Why it was set aside."""
        return str(self.headers.get("reason") or self.headers.get("x-first-death-reason") or "")

    def as_published(self) -> Message:
        """Return the message without what was added when it was set aside."""
        headers = {
            name: value
            for name, value in self.headers.items()
            if name not in _ADDED and not name.startswith(_ADDED_BEGINNINGS)
        }
        return Message(self.body, self.content_type or "", headers)


class RejectedQueue:
    """The rejected messages of one queue, over a connection of their own."""

    def __init__(self, settings: BrokerSettings) -> None:
        """Store the settings.

        Raises:
            UsageError: the broker keeps no rejected messages beyond a process.
        """
        if not (settings.is_amqp or settings.is_redis):
            raise UsageError(f"{settings.safe_url}: only Redis and RabbitMQ keep rejected messages")
        self._settings = settings
        self._link: Link | None = None
        self._place: _Place | None = None

    def start(self) -> None:
        """Connect.

        Raises:
            BrokerUnreachable, BrokerRefused: it failed.
        """
        link = open_link(self._settings, publishing=True)
        kind = _AmqpPlace if link.is_amqp else _StreamPlace
        self._link, self._place = link, kind(link.channel, self._settings.rejected_queue)

    def stop(self) -> None:
        """Give back what was looked at, and disconnect."""
        if self._link and self._place:
            with suppress(*FAILURES):
                self._place.give_back()
            self._link.close()
        self._link = self._place = None

    def count(self) -> int:
        """Return how many messages there are.

        Raises:
            BrokerError: the connection broke, or the broker refuses.
        """
        return self._ask(self._open()[1].count)

    def messages(self) -> Iterator[RejectedMessage]:
        """Yield those that are there now, oldest first; on RabbitMQ only once per :meth:`start`.

        Raises:
            BrokerError: the connection broke, or the broker refuses.
        """
        pages = self._open()[1].pages()
        while page := self._ask(lambda: next(pages, ())):
            yield from page

    def requeue(self, messages: Sequence[RejectedMessage]) -> int:
        """Put messages back into the queue; return how many it took. The others stay.

        Raises:
            BrokerError: the connection broke; some may be in both queues now.
        """
        link, place = self._open()

        def move() -> int:
            sending = [message.as_published() for message in messages]
            taken = [messages[index] for index in link.send(sending, "", self._settings.queue)]
            place.remove(taken)
            return len(taken)

        return self._ask(move)

    def drop(self, messages: Sequence[RejectedMessage]) -> int:
        """Remove messages for good; return how many.

        Raises:
            BrokerError: the connection broke; some may be there still.
        """
        place = self._open()[1]
        self._ask(lambda: place.remove(messages))
        return len(messages)

    def refusal(self) -> str:
        """Return why the queue did not take some of the messages of the last requeue."""
        return self._open()[0].refusal

    def _open(self) -> tuple[Link, _Place]:
        if self._link is None or self._place is None:
            raise BrokerError("the rejected queue is not open")
        return self._link, self._place

    def _ask(self, question: Callable[[], _T]) -> _T:
        try:
            return question()
        except (BrokerError, *FAILURES) as error:
            raise as_broker_error(error, self._settings) from None


class _Place(Protocol):
    """What differs between the brokers."""

    def __init__(self, channel: Any, name: str) -> None: ...
    def count(self) -> int: ...
    def pages(self) -> Iterator[Sequence[RejectedMessage]]: ...
    def remove(self, messages: Sequence[RejectedMessage]) -> None: ...
    def give_back(self) -> None: ...


class _StreamPlace:
    def __init__(self, channel: Any, name: str) -> None:
        self._wire = channel.wire
        self._key = channel.key(name)

    def count(self) -> int:
        return int(self._wire.call("XLEN", self._key))

    def pages(self) -> Iterator[Sequence[RejectedMessage]]:
        newest = self._wire.call("XREVRANGE", self._key, "+", "-", "COUNT", 1)
        if not newest:
            return
        first, last = b"-", newest[0][0]
        while page := self._wire.call("XRANGE", self._key, first, last, "COUNT", _PAGE_MESSAGES):
            yield [_from_entry(*entry) for entry in page]
            first = b"(" + page[-1][0]

    def remove(self, messages: Sequence[RejectedMessage]) -> None:
        if messages:
            self._wire.call("XDEL", self._key, *(message.tag for message in messages))

    def give_back(self) -> None:
        """Do nothing: looking took nothing out."""


class _AmqpPlace:
    def __init__(self, channel: Any, name: str) -> None:
        self._channel = channel
        self._name = name
        #: The delivery tags of what is out, oldest first.
        self._out: dict[int, None] = {}

    def count(self) -> int:
        return int(self._channel.queue_declare(self._name, passive=True).message_count)

    def pages(self) -> Iterator[Sequence[RejectedMessage]]:
        for _ in range(self.count()):
            raw = self._channel.basic_get(self._name)
            if raw is None:
                return
            message = _from_amqp(raw)
            self._out[message.tag] = None
            yield [message]

    def remove(self, messages: Sequence[RejectedMessage]) -> None:
        for message in messages:
            self._channel.basic_ack(message.tag)
            del self._out[message.tag]

    def give_back(self) -> None:
        # A queue puts more than 32 messages that come back in one command into the order of a
        # hash, and merges commands that wait: so few at a time, and await that they are there.
        deadline = time.monotonic() + _GIVE_BACK_SECONDS
        if self._out and self.count() + len(self._out) <= IN_ORDER_MESSAGES:
            for _ in self.pages():
                pass
        there = self.count()
        while self._out:
            tags = list(islice(self._out, _GIVE_BACK_MESSAGES))
            for tag in tags:
                self._channel.basic_reject(tag, requeue=True)
                del self._out[tag]
            there += len(tags)
            while self.count() < there and time.monotonic() < deadline:
                pass


def _from_entry(identity: bytes, flat: Sequence[bytes]) -> RejectedMessage:
    entry = decode_entry(identity, flat)
    milliseconds = int(identity.partition(b"-")[0])
    return RejectedMessage(
        identity.decode(), _time(milliseconds / 1000), entry.body, entry.content_type,
        entry.headers, identity,
    )  # fmt: skip


def _from_amqp(raw: Any) -> RejectedMessage:
    body = raw.body.encode() if isinstance(raw.body, str) else bytes(raw.body or b"")
    headers = raw.properties.get("application_headers") or {}
    lasting = sorted((name, str(headers[name])) for name in headers if name != "x-delivery-count")
    digest = hashlib.sha256(repr(lasting).encode() + body).hexdigest()[:12]
    content_type = raw.properties.get("content_type")
    return RejectedMessage(
        digest, _death(headers), body, content_type, headers, raw.delivery_info["delivery_tag"]
    )


def _death(headers: Mapping[str, Any]) -> datetime | None:
    nanoseconds = headers.get("rejected_at")
    if isinstance(nanoseconds, int):
        return _time(nanoseconds / 1e9)
    deaths = headers.get("x-death") or [{}]
    died = deaths[0].get("time")
    return died.replace(tzinfo=UTC) if isinstance(died, datetime) else None


def _time(seconds: float) -> datetime | None:
    """Return the time; None where another program wrote a number that is none."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
