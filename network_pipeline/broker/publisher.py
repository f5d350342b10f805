"""Messages from a capture to the broker, through one thread and a bounded buffer.

``publish`` only appends to the buffer. The thread takes the oldest messages, sends them, and
removes them once the broker has confirmed them; until then they stay where they are. Whatever
breaks is one case: drop the connection, wait (0.1 to 5 s, more each time), connect, declare, and
send everything unconfirmed again, in order, with an ``attempt`` header, since the broker may have
got it the first time. Only two things end a message: a confirm (``published``) or a full buffer,
now or at the end (``shed``). Both count the frames in it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from network_pipeline.broker import link, topology
from network_pipeline.broker.backoff import BackOff
from network_pipeline.broker.failures import FAILURES, reason
from network_pipeline.errors import NetworkPipelineError
from network_pipeline.message import Message
from network_pipeline.metrics import Counters
from network_pipeline.settings import BrokerSettings

log = logging.getLogger(__name__)

_BATCH_BYTES = 1024 * 1024
_REFUSAL_LOG_SECONDS = 30.0


@dataclass(slots=True, eq=False)
class _Outgoing:
    message: Message
    attempts: int = 0

    @property
    def frames(self) -> int:
        return int(self.message.headers.get("count", 1))

    def to_send(self) -> Message:
        if not self.attempts:
            return self.message
        headers = {**self.message.headers, "attempt": self.attempts}
        return Message(self.message.body, self.message.content_type, headers)


class Publisher:
    """Publishes messages in order, at least once, without ever blocking its caller."""

    def __init__(
        self,
        settings: BrokerSettings,
        counters: Counters,
        *,
        buffer_messages: int = 65_536,
        buffer_bytes: int = 64 * 1024 * 1024,
    ) -> None:
        """Store the settings.

        Args:
            settings: the broker and the queue.
            counters: gets ``published`` and ``shed``, in frames.
            buffer_messages: how many messages may wait.
            buffer_bytes: how many bytes their bodies may have together.
        """
        self._settings = settings
        self._counters = counters
        self._buffer_messages = buffer_messages
        self._buffer_bytes = buffer_bytes
        self._changed = threading.Condition()
        self._waiting: deque[_Outgoing] = deque()
        self._bytes = 0
        self._stop_at: float | None = None
        self._closed = False
        self._link: link.Link | None = None
        self._is_lost = False
        self._back_off = BackOff()
        self._next_refusal_log = 0.0
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        """Connect, declare the queue, and start the thread.

        Raises:
            BrokerUnreachable: nobody answers, for a few seconds.
            BrokerRefused: the broker says no.
        """
        self._link = link.patiently(self._open)
        self._thread.start()

    def publish(self, message: Message) -> bool:
        """Take a message to send; return False where the buffer is full and it was shed."""
        outgoing = _Outgoing(message)
        with self._changed:
            fits = self._has_room(message)
            if fits:
                self._waiting.append(outgoing)
                self._bytes += len(message.body)
                self._changed.notify_all()
        if not fits:
            self._counters.add("shed", outgoing.frames)
        return fits

    def await_room(self, message: Message, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until a message would not be shed; return whether so."""
        with self._changed:
            return self._changed.wait_for(lambda: self._has_room(message), timeout)

    def waiting(self) -> int:
        """Return how many messages the broker has not confirmed yet."""
        return len(self._waiting)

    def stop(self, timeout: float) -> int:
        """Send what waits, for up to ``timeout`` seconds, and close.

        Returns:
            How many frames were left; they are counted as shed.
        """
        with self._changed:
            self._stop_at = time.monotonic() + timeout
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout + 0.1)
        with self._changed:
            self._closed = True
            left = sum(outgoing.frames for outgoing in self._waiting)
            self._waiting.clear()
            self._bytes = 0
            if self._link:
                self._link.give_up()
        if left:
            self._counters.add("shed", left)
        return left

    def _has_room(self, message: Message) -> bool:
        return (
            not self._closed
            and len(self._waiting) < self._buffer_messages
            and self._bytes + len(message.body) <= self._buffer_bytes
        )

    # -- the thread

    def _run(self) -> None:
        while batch := self._next_batch():
            try:
                if self._link is None:
                    self._link = self._open()
                    self._say_back()
                refusal = self._send(self._link, batch)
            except (NetworkPipelineError, *FAILURES) as error:
                self._lose(error)
            else:
                self._consider(refusal)
        if self._link:
            self._link.close()

    def _open(self) -> link.Link:
        return link.open_link(self._settings, publishing=True)

    def _next_batch(self) -> list[_Outgoing]:
        """Wait for messages; return the oldest ones, or none when it is time to end."""
        with self._changed:
            while not self._waiting and self._stop_at is None and not self._closed:
                self._changed.wait()
            if self._is_over():
                return []
            batch: list[_Outgoing] = []
            size = 0
            for outgoing in self._waiting:
                if batch and (len(batch) == link.WINDOW or size > _BATCH_BYTES):
                    break
                batch.append(outgoing)
                size += len(outgoing.message.body)
            return batch

    def _is_over(self) -> bool:
        return self._closed or (self._stop_at is not None and time.monotonic() >= self._stop_at)

    def _send(self, channel: link.Link, batch: Sequence[_Outgoing]) -> str:
        """Send the batch; return why the broker did not take all of it, or ''."""
        confirmed: set[int] = set()
        messages = [outgoing.to_send() for outgoing in batch]
        exchange, key = self._settings.exchange, topology.routing_key(self._settings)
        try:
            confirmed.update(channel.send(messages, exchange, key))
        finally:
            self._settle(batch, confirmed)
        return channel.refusal

    def _settle(self, batch: Sequence[_Outgoing], confirmed: set[int]) -> None:
        """Take what was confirmed out of the buffer, which begins with the batch."""
        with self._changed:
            if self._closed:
                return
            unconfirmed = []
            published = 0
            for index in range(len(batch)):
                outgoing = self._waiting.popleft()
                if index in confirmed:
                    self._bytes -= len(outgoing.message.body)
                    published += outgoing.frames
                else:
                    outgoing.attempts += 1
                    unconfirmed.append(outgoing)
            self._waiting.extendleft(reversed(unconfirmed))
            if published:
                self._counters.add("published", published)
                self._changed.notify_all()

    def _consider(self, refusal: str) -> None:
        """After a batch: wait where the broker did not take all of it."""
        if not refusal:
            self._back_off.reset()
            return
        if time.monotonic() >= self._next_refusal_log:
            self._next_refusal_log = time.monotonic() + _REFUSAL_LOG_SECONDS
            log.warning(
                "%s takes no messages: %s; %d wait",
                self._settings.safe_url, refusal, len(self._waiting),
            )  # fmt: skip
        self._pause()

    def _lose(self, error: Exception) -> None:
        if not self._is_lost:
            self._is_lost = True
            log.warning(
                "lost the broker at %s (%s); %d messages wait, trying again",
                self._settings.safe_url, reason(error), len(self._waiting),
            )  # fmt: skip
        if self._link:
            self._link.discard()
            self._link = None
        self._pause()

    def _say_back(self) -> None:
        self._is_lost = False
        log.info("connected to the broker at %s again", self._settings.safe_url)

    def _pause(self) -> None:
        """Back off; a stop ends the wait where its time is over."""
        end = time.monotonic() + self._back_off.next()
        with self._changed:
            while (left := min(end, self._stop_at or end) - time.monotonic()) > 0:
                if self._closed:
                    return
                self._changed.wait(left)
