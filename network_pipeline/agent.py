"""The agent: takes frames from a source and hands them, as messages, to the publisher.

Neither side makes it wait: the source queues frames in a thread of its own, the publisher sends
messages in another. It ends in the order of a frame's life: the source stops, the frames that
wait are published, the publisher sends what it holds. Every frame that was captured is then
published, or on disk for the next run to publish, or it is in exactly one count of losses::

    captured = published + spooled + shed + kernel_dropped + not_sampled

Frames count as captured before they are decoded: were this process killed then, whoever sees its
counts could tell how many frames went with it.

It says so behind the frames, every few seconds and at the end, with the numbers of those that were
shed: the session's ledger (see :mod:`network_pipeline.sessions`). A last one that cannot be
published stays in the session's file, for the next run to publish.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence, Sized
from typing import Generic, Protocol, TypeVar

from network_pipeline.capture.source import Source, SourceCounts
from network_pipeline.errors import NetworkPipelineError
from network_pipeline.frames import FrameBatch
from network_pipeline.losses import Gaps, Losses, frames_in
from network_pipeline.message import Message
from network_pipeline.metrics import Counters, Histogram
from network_pipeline.ranges import Numbers
from network_pipeline.sessions import SessionBook

#: Longest time that a frame waits for others, until a signal to stop is seen, and between two
#: readings of the source's counts.
READ_SECONDS = 0.25
#: How long the publisher may take at the end to send what it holds.
DRAIN_SECONDS = 30.0
#: How much of that is for the last ledger.
LAST_WORD_SECONDS = 5.0
#: Losses are reported at most this often.
LOSS_REPORT_SECONDS = 10.0

#: A list of frames, or a batch.
Frames = TypeVar("Frames", bound=Sized)

#: Makes messages of one or more frames: of each its own, or of many one.
Encoder = Callable[[Frames], Iterable[Message]]

#: Bounds of the histograms of messages: frames in them, and bytes of their bodies.
MESSAGE_SIZES = {
    "message_frames": (1, 10, 100, 1_000, 10_000, 65_536),
    "message_bytes": (1_000, 10_000, 100_000, 1_000_000, 10_000_000),
}

_log = logging.getLogger(__name__)


class Publisher(Protocol):
    """What the agent needs of :class:`network_pipeline.broker.publisher.Publisher`."""

    @property
    def losses(self) -> Losses:
        """Which frames were shed."""

    def check(self) -> None:
        """Raise what the broker refused the start with, or what has ended the sending since."""

    def publish(self, message: Message) -> bool:
        """Take a message without waiting; False: its frames were shed, and counted so."""

    def drain(self, timeout: float) -> bool:
        """Wait until the broker has what was published; return whether so."""

    def stop(self, timeout: float) -> int:
        """Send or spool what waits, within ``timeout`` seconds; return how many frames are lost."""


def new_session() -> str:
    """Return the id of a new capture run."""
    return str(uuid.uuid4())


class Agent(Generic[Frames]):
    """Runs one capture session.

    ``counters`` has the names captured, kernel_dropped, shed and published, not_sampled if the
    source samples, and with a spool spooled, adopted and damaged; the publisher adds to those that
    the source does not know. The source is open before :meth:`run` (it needs root, which is then
    given up) and the publisher started (it needs none); run stops both::

        source.open(); drop_root(user); publisher.start(); agent.run(stop)

    With ``stop_after_num`` the session ends after that many frames; the source takes in no more.
    ``beat`` is called in each turn, a few times a second at least, as long as all goes well.
    """

    def __init__(  # noqa: PLR0913  one of each
        self,
        source: Source[Frames],
        encode: Encoder[Frames],
        publisher: Publisher,
        book: SessionBook,
        counters: Counters,
        *,
        stop_after_num: int = 0,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._source = source
        self._encode = encode
        self._publisher = publisher
        self._book = book
        self._counters = counters
        self._gaps = Gaps(publisher.losses)
        self._stop_after_num = stop_after_num
        self._beat = beat
        self._counted = SourceCounts(0, 0, 0)
        self.histograms = {name: Histogram(*bounds) for name, bounds in MESSAGE_SIZES.items()}
        #: Bytes on the wire of the frames that the source gave.
        self.captured_bytes = 0
        self._reported_losses = 0
        self._report_due = 0.0

    def run(self, stop: threading.Event) -> None:
        """Capture until ``stop`` is set, the session is complete, or no device is left.

        Raises:
            CaptureError: no device is left. What was captured before is published.
            BrokerRefused: the broker said no, late. What was captured before is in the spool.
            NetworkPipelineError: frames could not be published before the time to end was over.
        """
        for word in self._book.start():
            self._publisher.publish(word)
        try:
            while not (stop.is_set() or self._is_complete()):
                self._publisher.check()
                self._publish(self._source.read(READ_SECONDS))
                self._beat()
                if self._book.is_due():
                    self._tell()
        finally:
            self._finish()

    def _last(self) -> int:
        """Return the highest number that a frame was given."""
        counted = self._counted
        return counted.captured - counted.kernel_dropped - counted.not_sampled

    def _is_complete(self) -> bool:
        return 0 < self._stop_after_num <= self._last()

    def _publish(self, frames: Frames) -> None:
        self._count()
        if frames:
            self._gaps.see(_numbers(frames))
            self.captured_bytes += _wire_bytes(frames)
            for message in self._encode(frames):
                self._publisher.publish(message)
                self.histograms["message_frames"].observe(frames_in(message))
                self.histograms["message_bytes"].observe(len(message.body))

    def _count(self) -> None:
        """Add what the source counted since the last time."""
        counts = self._source.counts()
        for name, count, before in zip(counts._fields, counts, self._counted, strict=True):
            if count != before:
                self._counters.add(name, count - before)
        self._counted = counts
        self._report_losses()

    def _report_losses(self) -> None:
        losses = self._counters["shed"] + self._counters["kernel_dropped"]
        if losses > self._reported_losses and time.monotonic() >= self._report_due:
            _log.warning("frames are being lost, too many to keep up with: %s", self._counters)
            self._reported_losses = losses
            self._report_due = time.monotonic() + LOSS_REPORT_SECONDS

    def _tell(self, *, is_over: bool = False) -> bool:
        """Keep the ledger as it stands, and publish it if it is time; return whether so."""
        losses = self._publisher.losses
        self._book.note(
            self._counters.snapshot(),
            self._last(),
            losses.pairs(),
            is_incomplete=losses.is_incomplete,
            is_over=is_over,
        )
        word = self._book.news()
        if word:
            self._publisher.publish(word)
        return word is not None

    def _finish(self) -> None:
        end = time.monotonic() + DRAIN_SECONDS
        try:
            self._source.stop()
            while frames := self._source.read(0):
                self._publish(frames)
            self._count()
        finally:  # whatever became of the source, what was captured is settled
            left = self._settle(end)
        self._publisher.check()
        if left:
            raise NetworkPipelineError(
                f"{left} captured frames are lost: the broker did not take them within "
                f"{DRAIN_SECONDS:g} seconds"
            )

    def _settle(self, end: float) -> int:
        """Have all sent or kept until ``end``, say so, and close; return how many are lost."""
        is_told = False
        try:
            self._gaps.end(self._last())
            is_told = self._publisher.drain(DRAIN_SECONDS - LAST_WORD_SECONDS)
            if is_told:
                self._tell(is_over=True)
                is_told = self._publisher.drain(LAST_WORD_SECONDS)
            return self._publisher.stop(max(0.0, end - time.monotonic()))
        finally:
            if self._tell(is_over=True):  # what waited is on disk now, or shed
                is_told = False
            self._book.close(is_published=is_told)


def _numbers(frames: Sized) -> Sequence[int] | Numbers:
    if isinstance(frames, FrameBatch):
        return frames.numbers
    assert isinstance(frames, list)
    return [frame.number for frame in frames]


def _wire_bytes(frames: Sized) -> int:
    if isinstance(frames, FrameBatch):
        return int(frames.wire_lens.sum())
    assert isinstance(frames, list)
    return sum(frame.wire_len for frame in frames)
