"""One connection to a broker: confirmed sending, a channel for all else, and the end.

A message counts as sent when the broker says so: RabbitMQ by a publisher confirm, for up to
:data:`WINDOW` messages in flight; Redis by the reply to XADD, for as many in one round trip.
RabbitMQ sends a message back that no queue takes (``mandatory``), refuses one (nack) when the
queue is full, and stops listening when it runs out of memory or disk, which is no reason to
reconnect: it says so, and the wait goes on.

A link never comes back once it broke; whoever uses it opens another.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from network_pipeline.broker import topology
from network_pipeline.broker.backoff import BackOff
from network_pipeline.broker.failures import FAILURES, as_broker_error
from network_pipeline.errors import BrokerError, BrokerLost, BrokerUnreachable
from network_pipeline.message import Message
from network_pipeline.settings import BrokerSettings

log = logging.getLogger(__name__)

#: Messages sent before their confirms are awaited.
WINDOW = 32

_POLL_SECONDS = 1.0
_START_SECONDS = 3.0


def open_link(
    settings: BrokerSettings,
    *,
    publishing: bool,
    heartbeat: float = 0,
    options: Mapping[str, Any] | None = None,
) -> Link:
    """Connect, declare, and open a channel.

    Raises:
        BrokerUnreachable, BrokerRefused: it failed, and nothing is left open.
    """
    connection = topology.connect(settings, heartbeat=heartbeat, options=options)
    try:
        topology.declare(connection, settings, publishing=publishing)
        link = Link(connection, settings)
        link.open()
        return link
    except (BrokerError, *FAILURES) as error:
        connection.collect()
        raise as_broker_error(error, settings) from None


def patiently(attempt: Callable[[], Any]) -> Any:
    """Return what ``attempt`` returns; for three seconds, try again when nobody answers.

    Raises:
        BrokerUnreachable, BrokerRefused: of the last attempt.
    """
    deadline = time.monotonic() + _START_SECONDS
    back_off = BackOff()
    while True:
        try:
            return attempt()
        except BrokerUnreachable:
            delay = back_off.next()
            if time.monotonic() + delay > deadline:
                raise
            time.sleep(delay)


class Link:
    """A channel to a broker."""

    def __init__(self, connection: Any, settings: BrokerSettings) -> None:
        """Store a connection, which this link owns from now on."""
        self._connection = connection
        self._peer = connection.connection
        self.is_amqp = settings.is_amqp
        self.channel: Any = None
        #: Why the broker did not take some of the messages of the last :meth:`send`.
        self.refusal = ""
        self._publishing: Any = None
        self._was_refused = False
        self._sent = 0
        self._answers: list[tuple[int, bool, bool]] = []
        self._returned = ""
        self._blocked = False
        self._given_up = False

    def open(self) -> None:
        """Open the channel.

        Raises:
            One of FAILURES: the connection broke.
        """
        self.channel = self._connection.channel()
        if self.is_amqp:
            self._peer.on_blocked = self._on_blocked
            self._peer.on_unblocked = self._on_unblocked
            self._open_publishing()

    def send(self, messages: Sequence[Message], exchange: str, routing_key: str) -> Iterator[int]:
        """Send messages in order; yield the index of each that the broker took, as it says so.

        Those it did not take are not yielded, and :attr:`refusal` says why.

        Raises:
            BrokerLost: no answer in time, or no queue takes the messages any more.
            One of FAILURES: the connection broke.
        """
        self.refusal = ""
        raw = [self._prepared(message) for message in messages]
        if self.is_amqp:
            yield from self._send_amqp(raw, exchange, routing_key)
            return
        for index, refusal in enumerate(self.channel.publish_many(raw, exchange, routing_key)):
            if refusal is None:
                yield index
            else:
                self.refusal = refusal

    def queue_length(self, name: str) -> int:
        """Return how many messages a queue holds; on Redis also the unacknowledged ones.

        Raises:
            One of FAILURES: the connection broke, or there is no such queue.
        """
        return int(self.channel.queue_declare(name, passive=True).message_count)

    def drain(self, timeout: float) -> None:
        """Read what arrives until one event was dispatched.

        Raises:
            TimeoutError: nothing arrived in time.
            One of FAILURES: the connection broke.
        """
        # Through the transport: kombu's Connection would reconnect behind our back.
        self._connection.transport.drain_events(self._peer, timeout=timeout)

    def heartbeat(self) -> None:
        """Send a sign of life where one is due; on Redis, renew the leases."""
        self._connection.transport.heartbeat_check(self._peer)

    def give_up(self) -> None:
        """Make a :meth:`send` that waits in another thread end soon."""
        self._given_up = True

    def close(self) -> None:
        """Close in good order; what was delivered and not acknowledged goes back."""
        with suppress(*FAILURES):
            self._connection.release()

    def discard(self) -> None:
        """Close a link that broke, without a word to the broker."""
        with suppress(*FAILURES):
            self._connection.collect()

    def _prepared(self, message: Message) -> Any:
        return self.channel.prepare_message(
            message.body,
            content_type=message.content_type or None,
            headers=dict(message.headers),
            properties={"delivery_mode": 2},
        )

    # -- RabbitMQ

    def _open_publishing(self) -> None:
        self._publishing = self._connection.channel()
        self._sent = 0
        events = self._publishing.events
        events["basic_ack"].add(lambda tag, many: self._answers.append((tag, many, True)))
        events["basic_nack"].add(lambda tag, many: self._answers.append((tag, many, False)))
        events["basic_return"].add(self._on_return)
        self._publishing.confirm_select()

    def _on_blocked(self, reason: str) -> None:
        log.warning("the broker takes no messages for now: %s", reason)
        self._blocked = True

    def _on_unblocked(self) -> None:
        log.info("the broker takes messages again")
        self._blocked = False

    def _on_return(self, error: Any, _exchange: str, _routing_key: str, _message: Any) -> None:
        self._returned = str(error.reply_text)

    def _send_amqp(self, raw: Sequence[Any], exchange: str, routing_key: str) -> Iterator[int]:
        if self._was_refused:
            # A channel that met a queue without a leader may refuse for ever, though one is
            # elected soon (RabbitMQ 3.10). A new channel finds it.
            self._publishing.close()
            self._open_publishing()
            self._was_refused = False
        waiting: dict[int, int] = {}
        for index, message in enumerate(raw):
            self._publishing.basic_publish(
                message, exchange=exchange, routing_key=routing_key, mandatory=True
            )
            self._sent += 1
            waiting[self._sent] = index
        while waiting:
            for tag, many, taken in self._await_answers():
                for each in [key for key in waiting if key <= tag] if many else [tag]:
                    index = waiting.pop(each)
                    if taken:
                        yield index
                    else:
                        self.refusal = "the queue is full or has no leader"
                        self._was_refused = True

    def _await_answers(self) -> list[tuple[int, bool, bool]]:
        deadline = time.monotonic() + topology.ANSWER_SECONDS
        while not self._answers:
            if self._blocked:
                deadline = time.monotonic() + topology.ANSWER_SECONDS
            if self._given_up or time.monotonic() > deadline:
                raise BrokerLost(f"no confirm within {topology.ANSWER_SECONDS:g} s")
            with suppress(TimeoutError):
                self.drain(_POLL_SECONDS)
        if self._returned:
            raise BrokerLost(f"no queue takes the messages: {self._returned}")
        answers, self._answers = self._answers, []
        return answers
