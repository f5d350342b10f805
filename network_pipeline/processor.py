"""From messages to rows: receive, decode, drop duplicates, write, acknowledge.

The algorithm that loses nothing:

1. A delivery that holds no frames is set aside (``reject``) once the ledger that says so is on
   disk. All others wait for a snapshot, in order of arrival, also those of frames already written.
   One may hold a frame or many, of which some may be written already, or an agent's ledger.
2. A snapshot is due after so many frames or seconds. Batches that have arrived by then join it:
   what it costs is mostly the wait for the disk.
3. A snapshot gives the rows that wait to the recorder. Only when it returns, and the rows thus are
   durable, are their deliveries acknowledged; a duplicate's after the rows that arrived before it,
   since one of those may be its original. An agent's ledger is in the dataset's, on disk, then.
4. A snapshot that fails changes nothing: the same deliveries wait and are tried again, later and
   later. Meanwhile nothing is received, and the broker sends no more than the prefetch allows.
5. When the connection breaks, what was not acknowledged is void: the broker delivers it again, here
   or elsewhere. So all that waits is dropped. Rows that were written but not yet acknowledged come
   again and are recognised as duplicates; what another worker of a crew wrote and was killed before
   it could acknowledge it, by that one's files.

6. A message that was delivered several times in vain may be what ended its processors: it gets a
   snapshot of its own, after all that arrived before it is acknowledged. One that was delivered too
   often is set aside unread, and the ledger says so.

Counters are of frames. ``received`` moves when a delivery begins to wait or was set aside. Each of
its frames ends as exactly one of ``written``, ``duplicate``, ``rejected``; deliveries that became
void while they waited, and those that go back to the queue at the end, are taken out of
``received`` again. So at the end ``received = written + duplicate + rejected``, and in between the
difference is what waits. How many frames a message held that could not be read is what its headers
say.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from network_pipeline import ledger, rows
from network_pipeline.backlog import Backlog
from network_pipeline.batch_message import ARROW_TYPE
from network_pipeline.errors import BrokerLost, DatasetError, MessageError
from network_pipeline.metrics import Counters, Histogram, Pulse
from network_pipeline.ranges import WrittenFrames
from network_pipeline.settings import ProcessorSettings

if TYPE_CHECKING:
    from network_pipeline.broker.consumer import Delivery
    from network_pipeline.dataset.recorder import Recorder
    from network_pipeline.range_sets import RangeSet

logger = logging.getLogger(__name__)

#: Messages that make a snapshot due, whatever their frames: AMQP counts unacknowledged deliveries
#: in 16 bits, and two snapshots of messages of one frame must fit.
MAX_SNAPSHOT_MESSAGES = 32_767

#: What may wait for a snapshot: bodies of JSON, which decoded take five to seven times as much
#: memory, and the memory of batches; more of these for a file of Parquet.
MAX_WAITING_BYTES = 16 * 1024 * 1024
MAX_PARQUET_BYTES = 128 * 1024 * 1024

#: How long one ``receive`` may take: ``stop`` is noticed after that.
POLL_SECONDS = 0.5

_SNAPSHOT_ROWS = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
_SNAPSHOT_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
_LAG_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600)

_RETRY_SECONDS = (0.5, 10.0)
_SAY_SECONDS = 10.0


class Consumer(Protocol):
    """What a processor needs of :class:`network_pipeline.broker.consumer.Consumer`."""

    def receive(self, timeout: float) -> list[Delivery]:
        """Return what has arrived; ``BrokerLost`` voids all that is not acknowledged."""

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        """Tell the broker that these are done; ``BrokerLost`` as in ``receive``."""

    def reject(self, delivery: Delivery, reason: str) -> None:
        """Set a message aside, then acknowledge it; ``BrokerLost`` as in ``receive``."""


def prefetch(settings: ProcessorSettings) -> int:
    """Return how many unacknowledged deliveries a processor needs: two snapshots."""
    return 2 * _snapshot_messages(settings)


def prefetch_bytes(settings: ProcessorSettings) -> int:
    """Return how many bytes they may have together: those of two snapshots."""
    return 2 * _most_bytes(settings)


def _most_bytes(settings: ProcessorSettings) -> int:
    return MAX_PARQUET_BYTES if settings.is_parquet else MAX_WAITING_BYTES


def _snapshot_messages(settings: ProcessorSettings) -> int:
    return min(settings.snapshot_rows, MAX_SNAPSHOT_MESSAGES)


class Processor:
    """Takes messages from a started consumer to a started recorder.

    ``counters`` must have received, written, duplicate and rejected.
    """

    def __init__(
        self,
        consumer: Consumer,
        recorder: Recorder,
        settings: ProcessorSettings,
        counters: Counters,
    ) -> None:
        self._consumer = consumer
        self._recorder = recorder
        self._settings = settings
        self._counters = counters
        self._written = WrittenFrames()
        self._arrived: deque[Delivery] = deque()
        self._backlog = Backlog()
        self._aside: deque[tuple[Delivery, str]] = deque()
        self._settled: list[Delivery] = []
        self._has_news = False
        self._retry_delay = 0.0
        self._retry_at = 0.0
        self.pulse = Pulse()
        self.histograms = {
            "snapshot_rows": Histogram(*_SNAPSHOT_ROWS),
            "snapshot_seconds": Histogram(*_SNAPSHOT_SECONDS),
            "lag_seconds": Histogram(*_LAG_SECONDS),
        }
        self._rejections = _Seldom(_SAY_SECONDS)
        self._failures = _Seldom(_SAY_SECONDS)

    def run(self, stop: threading.Event) -> None:
        """Write rows until ``stop`` is set or ``stop_after_num`` rows are written.

        Saves and acknowledges what waits before it returns.

        Raises:
            DatasetError: on stop, rows could not be written; they are not acknowledged.
        """
        self._know(self._recorder.earlier_frames())
        try:
            while not stop.is_set() and not self._is_complete():
                self._turn(stop)
            self._save()
            self._set_aside()
        except BrokerLost:
            logger.warning("rows are written but not acknowledged, they will come again")
        finally:
            self._drop()

    def _turn(self, stop: threading.Event) -> None:
        self.pulse.beat()
        try:
            self._receive(stop)
            while self._arrived and self._has_room(self._arrived[0]):
                self._take(self._arrived.popleft())
            if time.monotonic() >= self._retry_at:
                if self._is_due():
                    self._save()
                self._set_aside()
                self._recorder.finish_if_due()
        except BrokerLost:
            logger.warning(
                "the connection to the broker broke; %d rows that waited will come again",
                self._backlog.rows,
            )
            self._drop()
        except DatasetError as error:
            self._put_off(error)

    def _receive(self, stop: threading.Event) -> None:
        if self._is_due():  # and could not be saved
            stop.wait(min(POLL_SECONDS, max(0.0, self._retry_at - time.monotonic())))
        elif not self._arrived:
            self._arrived.extend(self._consumer.receive(self._seconds_to_wait()))
            if any(delivery.redelivered for delivery in self._arrived):
                self._know(self._recorder.frames_of_others())

    def _know(self, frames: Iterable[tuple[str, RangeSet]]) -> None:
        for session, numbers in frames:
            self._written.add_ranges(session, numbers.pairs())

    def _take(self, delivery: Delivery) -> None:
        try:
            if delivery.is_exhausted:
                raise MessageError(
                    f"delivered {delivery.failures} times without an acknowledgement"
                )
            if delivery.content_type == ledger.LEDGER_TYPE:
                self._hear(delivery)
                return
            found = rows.decode(delivery.body, delivery.content_type, delivery.headers)
        except MessageError as error:
            self._aside.append((delivery, str(error)))
            self._recorder.book.rejected(delivery.headers)
            return
        session, numbers = rows.session(found), rows.numbers(found)
        known = self._written.holds(session, numbers) | self._backlog.holds(session, numbers)
        self._backlog.add(delivery, found, session, numbers, ~known)
        self._counters.add("received", len(numbers))

    def _hear(self, delivery: Delivery) -> None:
        self._recorder.book.heard(ledger.of_message(delivery.body, delivery.headers))
        self._has_news = True
        self._backlog.add_word(delivery)

    def _set_aside(self) -> None:
        if self._aside:
            self._recorder.keep_ledger(is_durable=True)
        while self._aside:
            self._reject(*self._aside.popleft())

    def _reject(self, delivery: Delivery, reason: str) -> None:
        self._consumer.reject(delivery, reason)
        frames = rows.claimed_count(delivery.headers)
        self._counters.add("received", frames)
        self._counters.add("rejected", frames)
        if self._rejections.is_time():
            logger.warning("a message was set aside: %s", reason)

    def _is_enough(self) -> bool:
        """Whether no more rows are wanted than are written and wait."""
        limit = self._settings.stop_after_num
        return bool(limit) and self._counters["written"] + self._backlog.rows >= limit

    def _is_complete(self) -> bool:
        limit = self._settings.stop_after_num
        return bool(limit) and self._counters["written"] >= limit

    def _is_due(self) -> bool:
        if not self._backlog:
            return bool(self._settled)
        return (
            self._backlog.frames >= self._settings.snapshot_rows
            or len(self._backlog) >= _snapshot_messages(self._settings)
            or self._is_full()
            or self._is_enough()
            or self._is_probing()
            or time.monotonic() >= self._backlog.since + self._settings.snapshot_seconds
        )

    def _is_full(self) -> bool:
        """Whether what waits takes as much memory as it may."""
        return (
            self._backlog.memory >= _most_bytes(self._settings)
            or self._backlog.nested_memory >= MAX_WAITING_BYTES
        )

    def _is_probing(self) -> bool:
        """Whether what waits, or what comes next, is to have a snapshot of its own."""
        return self._backlog.is_suspect or (bool(self._arrived) and self._arrived[0].is_suspect)

    def _has_room(self, delivery: Delivery) -> bool:
        """Whether a delivery joins the snapshot; batches that are here do, also if it is due.

        Not where the snapshot is a file, which then is as large as was asked for.
        """
        if delivery.is_suspect or self._backlog.is_suspect:
            return not self._backlog
        if not self._is_due():
            return True
        joins = delivery.content_type == ARROW_TYPE and not self._settings.is_parquet
        return joins and not self._is_full() and not self._is_enough()

    def _seconds_to_wait(self) -> float:
        if not self._backlog:
            return POLL_SECONDS
        due = self._backlog.since + self._settings.snapshot_seconds
        return min(POLL_SECONDS, max(0.0, due - time.monotonic()))

    def _save(self) -> None:
        while self._backlog or self._settled:
            pieces = self._backlog.pieces()
            began = time.monotonic()
            written = self._recorder.append(pieces) if pieces else 0
            if written:
                self.histograms["snapshot_rows"].observe(written)
                self.histograms["snapshot_seconds"].observe(time.monotonic() - began)
            self._note(written)
            if written and self._retry_delay:
                logger.info("%s: writing again", self._recorder.path)
                self._retry_delay, self._retry_at = 0.0, 0.0
            self._recorder.keep_ledger(is_durable=self._has_news)
            self._has_news = False
            self._consumer.ack(self._settled)
            self._settled = []

    def _note(self, written: int) -> None:
        """Take the first rows for written, and what waited for them for settled."""
        for session, numbers in self._backlog.written(written):
            self._written.add(session, numbers)
        self._counters.add("written", written)
        settled, duplicates = self._backlog.settle()
        for session, count in duplicates.items():
            if count:
                self._recorder.book.dropped(session, count)
        self._counters.add("duplicate", duplicates.total())
        self._settled += settled
        self._observe_lag(settled)

    def _observe_lag(self, settled: Sequence[Delivery]) -> None:
        now = time.time_ns()
        for delivery in settled:
            created = delivery.headers.get("created")
            if type(created) is int and delivery.content_type != ledger.LEDGER_TYPE:
                lag = max(0, now - created) / 1e9
                self.histograms["lag_seconds"].observe(lag, rows.claimed_count(delivery.headers))

    def _drop(self) -> None:
        self._counters.add("received", -self._backlog.frames)
        self._arrived.clear()
        self._aside.clear()
        self._settled = []
        self._backlog.clear()

    def _put_off(self, error: DatasetError) -> None:
        least, most = _RETRY_SECONDS
        self._retry_delay = min(most, 2 * self._retry_delay) or least
        self._retry_at = time.monotonic() + self._retry_delay
        if self._failures.is_time():
            logger.error("%s; nothing is acknowledged until it can be written", error)


class _Seldom:
    """Says at most once per interval that it is time to say something."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = 0.0

    def is_time(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True
