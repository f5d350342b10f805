"""Messages from the broker to a processor, which acknowledges them when their rows are safe.

At least once: a message that was delivered stays the broker's until ``ack``. When the connection
breaks, everything unacknowledged will come again, so one :class:`BrokerLost` tells the caller to
drop what it holds; ``receive`` then reconnects by itself, waiting 0.1 to 5 s between tries, and
returns nothing meanwhile.

A processor may write for minutes, on a slow disk, without calling anything here. A second thread,
the keeper, therefore shows the broker every few seconds that this consumer lives: heartbeats to
RabbitMQ and a question that it must answer, renewed leases to Redis. It takes the same lock as
every call, so that only one thread uses the connection at a time; a call that holds the lock for
long does the keeper's work itself.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from network_pipeline.broker import link, topology
from network_pipeline.broker.backoff import BackOff
from network_pipeline.broker.failures import FAILURES, as_broker_error, is_ours, reason
from network_pipeline.broker.streams import VISIBILITY_SECONDS
from network_pipeline.broker.subscription import Delivery, Subscription
from network_pipeline.errors import BrokerError, BrokerLost, NetworkPipelineError
from network_pipeline.message import Message
from network_pipeline.settings import BrokerSettings

__all__ = ["Consumer", "Delivery"]

log = logging.getLogger(__name__)

#: Longest wait between two looks at the keeper's work, within one receive.
_SLICE_SECONDS = 1.0
_RETRY_REJECT_SECONDS = 1.0
_REASON_CHARACTERS = 200

#: Bytes of messages on their way from RabbitMQ, if not said otherwise.
_PREFETCH_BYTES = 32 * 1024 * 1024


class Consumer:
    """Takes messages from the queue, side by side with other consumers."""

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        prefetch: int,
        prefetch_bytes: int = _PREFETCH_BYTES,
        visibility_seconds: float = VISIBILITY_SECONDS,
    ) -> None:
        """Store the settings.

        Args:
            settings: the broker and the queue.
            prefetch: how many messages may be unacknowledged at a time, at least 1.
            prefetch_bytes: about how many bytes of them RabbitMQ may send ahead, where that is
                less. (Redis is asked for a few at a time.)
            visibility_seconds: on Redis, how long a consumer may be silent before others take
                over what it holds; all consumers of a queue should agree on it.
        """
        self._settings = settings
        self._prefetch = prefetch
        self._prefetch_bytes = prefetch_bytes
        self._visibility_seconds = visibility_seconds
        silence = min(visibility_seconds, topology.HEARTBEAT_SECONDS)
        #: The keeper does its work twice as often.
        self._keep_seconds = min(silence / 3, 2 * topology.ANSWER_SECONDS)
        self._lock = threading.Lock()
        self._subscription: Subscription | None = None
        self._predecessor = ""
        #: What the next call raises.
        self._loss: Exception | None = None
        self._back_off = BackOff()
        self._next_try = self._next_keep = self._next_reject = 0.0
        self._unmoved: list[tuple[Delivery, str]] = []
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def start(self) -> None:
        """Connect, declare the queues, subscribe, and start the keeper.

        Raises:
            BrokerUnreachable: nobody answers, for a few seconds.
            BrokerRefused: the broker says no.
        """
        self._subscription = link.patiently(self._open)
        self._keeper.start()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to the broker, as far as is known."""
        return self._subscription is not None

    def receive(self, timeout: float) -> list[Delivery]:
        """Return what is there, or what arrives first within ``timeout`` seconds.

        A Redis that does not answer at all is noticed five seconds later, a RabbitMQ after ten.

        Raises:
            BrokerLost: the connection broke; all that was not acknowledged is void.
        """
        with self._using() as held:
            subscription = held or self._reconnect(timeout)
            if subscription is None:
                return []
            deliveries = self._await_deliveries(subscription, timeout)
            self._back_off.reset()  # not before: who may connect need not be allowed to read
            return deliveries

    def ack(self, deliveries: Iterable[Delivery]) -> None:
        """Acknowledge deliveries, in any order; void ones are skipped.

        Raises:
            BrokerLost: the connection broke, see :meth:`receive`.
        """
        with self._using() as subscription:
            if subscription:
                subscription.ack(deliveries)

    def reject(self, delivery: Delivery, reason: str) -> None:
        """Move a message to the rejected queue, with reason and time (ns) among its headers.

        Where the broker takes no messages now (a Redis at its memory limit), the message stays
        unacknowledged, and later calls of :meth:`receive` try again.

        Raises:
            BrokerLost: the connection broke, see :meth:`receive`.
        """
        with self._using() as subscription:
            if subscription and not self._move(subscription, delivery, reason):
                self._unmoved.append((delivery, reason))

    def stop(self) -> None:
        """Close; what was not acknowledged goes back to the queue at once."""
        self._stopping.set()
        with self._lock:
            if self._subscription:
                self._subscription.link.close()
                self._subscription = None
        if self._keeper.ident is not None:
            self._keeper.join()

    @contextmanager
    def _using(self) -> Iterator[Subscription | None]:
        """Hold the lock; raise a loss, noted before or met in the block, as BrokerLost."""
        with self._lock:
            self._raise_loss()
            try:
                yield self._subscription
            except (BrokerError, *FAILURES) as error:
                if is_ours(error):
                    raise
                self._lose(error)
                self._raise_loss()

    def _await_deliveries(self, subscription: Subscription, timeout: float) -> list[Delivery]:
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            subscription.pull(max(0.0, min(left, _SLICE_SECONDS)))
            self._keep_if_due(subscription)
            self._reject_again(subscription)
            deliveries = subscription.take()
            if deliveries or left <= _SLICE_SECONDS:
                return deliveries

    # -- connecting

    def _open(self) -> Subscription:
        name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        options = {
            "visibility_timeout": self._visibility_seconds,
            "predecessor": self._predecessor,
        }
        channel = link.open_link(
            self._settings,
            publishing=False,
            heartbeat=topology.HEARTBEAT_SECONDS,
            options=options,
        )
        subscription = Subscription(
            channel, prefetch=self._prefetch, prefetch_bytes=self._prefetch_bytes, name=name
        )
        try:
            subscription.start(self._settings.queue)
        except FAILURES as error:
            channel.discard()
            raise as_broker_error(error, self._settings) from None
        self._predecessor = name
        return subscription

    def _reconnect(self, timeout: float) -> Subscription | None:
        """Try to connect, if the next try is due within ``timeout``; else wait that long."""
        delay = self._next_try - time.monotonic()
        if self._stopping.wait(max(0.0, min(delay, timeout))) or delay > timeout:
            return None
        try:
            self._subscription = self._open()
        except NetworkPipelineError as error:
            log.debug("%s", error)
            self._next_try = time.monotonic() + self._back_off.next()
            return None
        log.info("connected to the broker at %s again", self._settings.safe_url)
        return self._subscription

    def _lose(self, error: Exception) -> None:
        """Drop the connection, and note the loss for the caller's next call."""
        text = f"lost the broker at {self._settings.safe_url} ({reason(error)})"
        log.warning("%s; trying again", text)
        if self._subscription:
            self._subscription.link.discard()
        self._subscription = None
        self._unmoved = []
        self._loss = BrokerLost(text)
        self._next_try = time.monotonic() + self._back_off.next()

    def _raise_loss(self) -> None:
        loss, self._loss = self._loss, None
        if loss:
            raise loss

    # -- signs of life

    def _keep(self) -> None:
        while not self._stopping.wait(self._keep_seconds / 2):
            with self._lock:
                if self._subscription is None:
                    continue
                try:
                    self._keep_if_due(self._subscription)
                except Exception as error:
                    if isinstance(error, FAILURES) and not is_ours(error):
                        self._lose(error)
                    else:  # a mistake of ours, which ends the processor
                        self._loss = error
                        return

    def _keep_if_due(self, subscription: Subscription) -> None:
        now = time.monotonic()
        if now >= self._next_keep:
            self._next_keep = now + self._keep_seconds / 2
            subscription.keep_alive()

    # -- rejecting

    def _move(self, subscription: Subscription, delivery: Delivery, reason: str) -> bool:
        """Copy to the rejected queue, then acknowledge; return False if it was not taken."""
        if not subscription.holds(delivery):
            return True
        headers = {
            **delivery.headers,
            "reason": reason[:_REASON_CHARACTERS],
            "rejected_at": time.time_ns(),
        }
        message = Message(delivery.body, delivery.content_type or "", headers)
        if not list(subscription.link.send([message], "", self._settings.rejected_queue)):
            return False
        subscription.ack([delivery])
        return True

    def _reject_again(self, subscription: Subscription) -> None:
        if not self._unmoved or time.monotonic() < self._next_reject:
            return
        self._next_reject = time.monotonic() + _RETRY_REJECT_SECONDS
        log.warning(
            "%d messages wait to be moved to %s: %s",
            len(self._unmoved), self._settings.rejected_queue, subscription.link.refusal,
        )  # fmt: skip
        self._unmoved = [
            (delivery, text)
            for delivery, text in self._unmoved
            if not self._move(subscription, delivery, text)
        ]
