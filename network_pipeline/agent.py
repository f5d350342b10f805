"""The agent: takes frames from a source and hands them, as messages, to the publisher.

Neither side makes it wait: the source queues frames in a thread of its own, the publisher sends
messages in another. It ends in the order of a frame's life: the source stops, the frames that
wait are published, the publisher sends what it holds. Every frame that was captured is then
published, or it is in exactly one count of losses::

    captured = published + shed + kernel_dropped + not_sampled

Frames count as captured before they are decoded: were this process killed then, whoever sees its
counts could tell how many frames went with it.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sized
from typing import Generic, Protocol, TypeVar

from network_pipeline.capture.source import Source, SourceCounts
from network_pipeline.errors import NetworkPipelineError
from network_pipeline.message import Message
from network_pipeline.metrics import Counters

#: Longest time that a frame waits for others, until a signal to stop is seen, and between two
#: readings of the source's counts.
READ_SECONDS = 0.25
#: How long the publisher may take at the end to send what it holds.
DRAIN_SECONDS = 30.0
#: Losses are reported at most this often.
LOSS_REPORT_SECONDS = 10.0

#: A list of frames, or a batch.
Frames = TypeVar("Frames", bound=Sized)

#: Makes messages of one or more frames: of each its own, or of many one.
Encoder = Callable[[Frames], Iterable[Message]]

_log = logging.getLogger(__name__)


class Publisher(Protocol):
    """What the agent needs of :class:`network_pipeline.broker.publisher.Publisher`."""

    def publish(self, message: Message) -> bool:
        """Take a message without waiting; False: its frames were shed, and counted so."""

    def stop(self, timeout: float) -> int:
        """Send what waits, for up to ``timeout`` seconds; return how many frames were shed then."""


def new_session() -> str:
    """Return the id of a new capture run."""
    return str(uuid.uuid4())


class Agent(Generic[Frames]):
    """Runs one capture session.

    ``counters`` has the names captured, kernel_dropped, shed and published, and not_sampled if the
    source samples; the publisher adds to shed and published of the same. The source is open before
    :meth:`run` (it needs root, which is then given up) and the publisher started (it needs none);
    run stops both::

        source.open(); drop_root(user); publisher.start(); agent.run(stop)

    With ``stop_after_num`` the session ends after that many frames; the source takes in no more.
    ``beat`` is called in each turn, a few times a second at least, as long as all goes well.
    """

    def __init__(  # noqa: PLR0913  wired by name, in one place
        self,
        source: Source[Frames],
        encode: Encoder[Frames],
        publisher: Publisher,
        counters: Counters,
        *,
        stop_after_num: int = 0,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._source = source
        self._encode = encode
        self._publisher = publisher
        self._counters = counters
        self._stop_after_num = stop_after_num
        self._beat = beat
        self._counted = SourceCounts(0, 0, 0)
        self._reported_losses = 0
        self._report_due = 0.0

    def run(self, stop: threading.Event) -> None:
        """Capture until ``stop`` is set, the session is complete, or no device is left.

        Raises:
            CaptureError: no device is left. What was captured before is published.
            NetworkPipelineError: frames could not be published before the time to end was over.
        """
        try:
            while not (stop.is_set() or self._is_complete()):
                self._publish(self._source.read(READ_SECONDS))
                self._beat()
        finally:
            self._finish()

    def _is_complete(self) -> bool:
        counted = self._counted
        numbered = counted.captured - counted.kernel_dropped - counted.not_sampled
        return 0 < self._stop_after_num <= numbered

    def _publish(self, frames: Frames) -> None:
        self._count()
        if frames:
            for message in self._encode(frames):
                self._publisher.publish(message)

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

    def _finish(self) -> None:
        self._source.stop()
        while frames := self._source.read(0):
            self._publish(frames)
        self._count()
        left = self._publisher.stop(DRAIN_SECONDS)
        if left:
            raise NetworkPipelineError(
                f"{left} captured frames are lost: the broker did not take them within "
                f"{DRAIN_SECONDS:g} seconds"
            )
