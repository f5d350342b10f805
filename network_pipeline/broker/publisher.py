"""Messages from a capture to the broker, through one thread and a buffer.

``publish`` only appends to the buffer (see :mod:`.buffer`). The thread takes the oldest messages,
sends them, and lets the buffer forget them once the broker has confirmed them; until then they stay
where they are. Whatever breaks is one case: drop the connection, wait (0.1 to 5 s, more each time),
connect, declare, and send everything unconfirmed again, in order, with an ``attempt`` header, since
the broker may have got it the first time. Three things end a message for this run: a confirm
(``published``), a full buffer (``shed``), and the end of the run while it is on disk (``spooled``;
the next run sends it). All count the frames in it.

A mistake of our own in one of the threads ends that thread, and :meth:`Publisher.check` raises it
for whoever captures, who then stops: what waits is spooled or shed, as at any other end.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack

from network_pipeline.broker import buffer, link, topology
from network_pipeline.broker.backoff import BackOff
from network_pipeline.broker.buffer import Buffer, Outgoing
from network_pipeline.broker.failures import FAILURES, is_ours, reason
from network_pipeline.broker.queue_limit import QueueLimit
from network_pipeline.broker.spool import Spool
from network_pipeline.errors import BrokerUnreachable, NetworkPipelineError
from network_pipeline.losses import Losses
from network_pipeline.message import Message
from network_pipeline.metrics import Counters
from network_pipeline.settings import BrokerSettings, PublisherSettings

log = logging.getLogger(__name__)

_BATCH_BYTES = 1024 * 1024
_REFUSAL_LOG_SECONDS = 30.0
#: How long a start with a spool waits for a broker that says nothing: no longer than a message
#: may wait in memory, so that a kill costs no more then than later.
_START_SECONDS = 1.0


class Publisher:
    """Publishes messages in order, at least once, without ever blocking its caller."""

    def __init__(
        self,
        settings: BrokerSettings,
        counters: Counters,
        limits: PublisherSettings | None = None,
        *,
        buffer_messages: int = buffer.MAX_MESSAGES,
        buffer_bytes: int = buffer.MAX_BYTES,
    ) -> None:
        """Store the settings.

        Args:
            settings: the broker and the queue.
            counters: gets ``published`` and ``shed``, in frames; with a spool, ``spooled`` (which
                goes down again), ``adopted`` and ``damaged`` too.
            limits: of the spool and of the queue; by default there is no spool and no limit.
            buffer_messages: how many messages may wait in memory.
            buffer_bytes: how many bytes their bodies may have together.
        """
        limits = limits or PublisherSettings()
        self._settings = settings
        self._limit = QueueLimit(settings, limits)
        self._spool = Spool(settings, limits, counters) if limits.has_spool else None
        self._buffer = Buffer(
            counters, self._spool, max_messages=buffer_messages, max_bytes=buffer_bytes
        )
        self._stop_at: float | None = None
        self._is_ending = self._is_closed = False
        self._has_begun = threading.Event()
        self._failure: Exception | None = None
        self._link: link.Link | None = None
        self._is_lost = False
        self._is_refused = False
        self._back_off = BackOff()
        self._next_refusal_log = 0.0
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    @property
    def losses(self) -> Losses:
        """Which frames were shed; complete once :meth:`stop` has returned."""
        return self._buffer.losses

    def start(self) -> None:
        """Connect, declare the queue, open the spool, and start the threads.

        With a spool, a broker that is away is not waited for, and one that says nothing for a
        second at most: the sender goes on trying, and :meth:`check` tells what came of it.

        Raises:
            BrokerUnreachable: nobody answers, for a few seconds, and there is no spool.
            BrokerRefused: the broker says no.
            UsageError: the spool's directory cannot be used.
        """
        self._buffer.start()
        with ExitStack() as failing:
            failing.callback(self._buffer.close)
            if self._spool is None:
                self._link = link.patiently(self._open)
            self._thread.start()
            self._has_begun.wait(_START_SECONDS)
            self.check()
            failing.pop_all()

    def check(self) -> None:
        """Raise what made the first attempt to connect fail for good, or ended a thread since.

        Raises:
            BrokerRefused: the broker said no; nothing was sent.
            Exception: a mistake of ours; nothing more is sent, or moved to disk before the end.
        """
        if self._failure:
            raise self._failure
        self._buffer.check()

    def publish(self, message: Message) -> bool:
        """Take a message to send; return False where the buffer is full and it was shed."""
        return self._buffer.add(message)

    def await_room(self, message: Message, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until a message would not be shed; return whether so."""
        return self._buffer.await_room(message, timeout)

    def waiting(self) -> int:
        """Return how many messages wait in memory for the broker's confirm."""
        return self._buffer.waiting()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection to the broker, as far as is known."""
        return self._link is not None

    @property
    def queue_messages(self) -> int:
        """How many messages were in the queue when it was looked at last."""
        return self._limit.held

    def drain(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until the broker has every message that was published.

        With a spool, a broker that is away or refuses is not waited for, once all is on disk.

        Returns:
            Whether it has them, apart from those that were shed.
        """
        self._end()
        self._buffer.pause(timeout, lambda: self._is_pointless() or not self._buffer.has_own())
        return not self._buffer.has_own()

    def stop(self, timeout: float) -> int:
        """Send what waits, for up to ``timeout`` seconds, spool what is left, and close.

        With a spool, a broker that is away or refuses is not waited for, once all is on disk.

        Returns:
            How many frames were left without a place on disk; they are counted as shed.
        """
        self._stop_at = time.monotonic() + timeout
        self._end()
        self._buffer.wake()
        if self._thread.ident is not None:
            self._thread.join(timeout + 0.1)
        self._is_closed = True
        channel = self._link
        if channel:
            channel.give_up()
        return self._buffer.close()

    # -- the thread

    def _run(self) -> None:
        try:
            if self._link is None:
                self._begin()
            self._has_begun.set()
            if self._failure is None:
                self._send_all()
        except Exception as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        """End the sending; :meth:`check` says why."""
        self._failure = error
        self._drop_link()
        self._has_begun.set()
        self._hurry()
        self._buffer.wake()

    def _begin(self) -> None:
        """Try once to connect; without a broker, what comes waits on disk."""
        assert self._spool
        try:
            self._link = self._open()
        except (BrokerUnreachable, *FAILURES) as error:
            self._is_lost = True
            log.warning("%s; meanwhile packets wait in %s", error, self._spool.place)
        except NetworkPipelineError as error:
            self._failure = error
        self._hurry()

    def _send_all(self) -> None:
        while batch := self._buffer.take(link.WINDOW, _BATCH_BYTES, self._is_over):
            try:
                if self._link is None:
                    self._link = self._open()
                    self._say_back()
                refusal = self._send(self._link, batch)
            except (NetworkPipelineError, *FAILURES) as error:
                if is_ours(error):
                    raise
                self._lose(error)
            else:
                self._consider(refusal)
        if self._link:
            self._link.close()

    def _open(self) -> link.Link:
        return link.open_link(self._settings, publishing=True)

    def _is_over(self) -> bool:
        if self._is_closed:
            return True
        if self._stop_at is None:
            return False
        is_late = time.monotonic() >= self._stop_at
        return is_late or self._is_pointless() or not self._buffer.has_own()

    def _is_away(self) -> bool:
        return self._is_lost or self._is_refused or self._failure is not None

    def _is_pointless(self) -> bool:
        """Whether all that waits is on disk, and may as well wait there for the next run."""
        is_kept = self._spool is not None and not self._buffer.waiting()
        return self._failure is not None or (is_kept and self._is_away())

    def _end(self) -> None:
        self._is_ending = True
        self._hurry()

    def _hurry(self) -> None:
        """In the end, have the disk take what the broker does not, as far as it has room."""
        if self._is_ending and self._is_away():
            self._buffer.hurry()

    def _send(self, channel: link.Link, batch: Sequence[Outgoing]) -> str:
        """Send the batch; return why the broker did not take all of it, or ''."""
        messages = [outgoing.to_send() for outgoing in batch]
        allowed = self._limit.allowed(channel, messages)
        if not allowed:
            return self._limit.refusal
        confirmed: set[int] = set()
        exchange, key = self._settings.exchange, topology.routing_key(self._settings)
        try:
            confirmed.update(channel.send(messages[:allowed], exchange, key))
        finally:
            self._limit.note([messages[index] for index in confirmed])
            self._buffer.settle(batch[:allowed], confirmed)
        return channel.refusal

    def _consider(self, refusal: str) -> None:
        """After a batch: wait where the broker did not take all of it."""
        self._is_refused = bool(refusal)
        if not refusal:
            self._back_off.reset()
            return
        self._hurry()
        self._buffer.wake()
        if time.monotonic() >= self._next_refusal_log:
            self._next_refusal_log = time.monotonic() + _REFUSAL_LOG_SECONDS
            log.warning(
                "%s takes no messages: %s; %d wait in memory",
                self._settings.safe_url, refusal, self.waiting(),
            )  # fmt: skip
        self._pause()

    def _lose(self, error: Exception) -> None:
        if not self._is_lost:
            self._is_lost = True
            log.warning(
                "lost the broker at %s (%s); %d messages wait, trying again",
                self._settings.safe_url, reason(error), self.waiting(),
            )  # fmt: skip
        self._drop_link()
        self._hurry()
        self._buffer.wake()
        self._pause()

    def _drop_link(self) -> None:
        if self._link:
            self._link.discard()
            self._link = None

    def _say_back(self) -> None:
        self._is_lost = False
        log.info("connected to the broker at %s again", self._settings.safe_url)

    def _pause(self) -> None:
        """Back off, or until it is over."""
        self._buffer.pause(self._back_off.next(), self._is_over)
