"""How much a queue may hold before agents keep to their spools: the broker's memory is finite.

With every processor stopped a queue would grow until the broker fails. Agents look at its length:
a passive declaration on RabbitMQ, XLEN on Redis. That needs no policy, no argument of the queue
(which could not be changed later), and no permission beyond what publishing takes. Within a second
an agent sends at most what there was room for at its last look, so one agent alone never exceeds
the limit, and N agents exceed it by what they send in that second.

Bytes are taken as the queue's messages times the mean size of what this agent sent: RabbitMQ tells
agents none, and Redis would ask for a further permission.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from network_pipeline.broker.failures import FORBIDDEN
from network_pipeline.broker.link import Link
from network_pipeline.message import Message
from network_pipeline.settings import BrokerSettings, PublisherSettings

log = logging.getLogger(__name__)

_LOOK_SECONDS = 1.0


class QueueLimit:
    """Tells how many messages may be sent."""

    def __init__(self, broker: BrokerSettings, limits: PublisherSettings) -> None:
        self._queue = broker.queue
        self._max_messages = limits.queue_max_messages
        self._max_bytes = limits.queue_max_bytes
        self._is_on = bool(self._max_messages or self._max_bytes) and not broker.is_memory
        self._room = 0
        self._next_look = 0.0
        self._sent = self._sent_bytes = 0
        #: Messages in the queue at the last look.
        self.held = 0
        #: Why nothing may be sent now.
        self.refusal = ""

    def allowed(self, channel: Link, messages: Sequence[Message]) -> int:
        """Return how many of the messages may be sent, in order.

        Raises:
            One of FAILURES: the connection broke.
        """
        if not self._is_on:
            return len(messages)
        if time.monotonic() >= self._next_look or self._room <= 0:
            try:
                self._look(channel, self._mean_bytes(messages))
            except FORBIDDEN:
                log.warning("no permission to look at queue %s: it may grow without limit",
                            self._queue)  # fmt: skip
                self._is_on = False
                return len(messages)
        return max(0, min(len(messages), self._room))

    def note(self, sent: Sequence[Message]) -> None:
        """Count what was sent."""
        self._room -= len(sent)
        self._sent += len(sent)
        self._sent_bytes += sum(len(message.body) for message in sent)

    def _mean_bytes(self, messages: Sequence[Message]) -> float:
        size = self._sent_bytes + sum(len(message.body) for message in messages)
        return max(1.0, size / (self._sent + len(messages)))

    def _look(self, channel: Link, mean: float) -> None:
        self.held = channel.queue_length(self._queue)
        self._next_look = time.monotonic() + _LOOK_SECONDS
        limits = [self._max_messages] if self._max_messages else []
        if self._max_bytes:  # which may be less than one message has
            limits.append(max(1, int(self._max_bytes / mean)))
        most = min(limits)
        self._room = most - self.held
        self.refusal = f"the queue holds {self.held} messages, its limit is {most}"
