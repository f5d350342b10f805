"""The agent of capture files: publishes their frames as if they were captured now.

Files are read one after another, each a session of its own, which its content gives: published
twice, its frames are known to the processor. A frame keeps the number and the time it has in its
file. A file can wait, unlike a socket: it is read no faster than the publisher takes messages.
Frames are lost only by a stop while the broker takes none, and if no message can hold them: they
are ``shed``. Every frame that was found is published or counted, as ``filtered`` where the filter
did not select it, as ``refused`` where nothing here decodes its link type or the filter cannot be
applied to it::

    captured = published + filtered + refused + shed

Once the broker has all of them, the ledger of each session says so behind its frames.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from network_pipeline import agent, ledger
from network_pipeline.capture.file_filter import FileFilter, Selection
from network_pipeline.capture.inputs import Input
from network_pipeline.capture.pcap import CaptureFile, DamagedCapture
from network_pipeline.capture.replay import paced
from network_pipeline.frames import FrameBatch
from network_pipeline.message import Message
from network_pipeline.metrics import Counters
from network_pipeline.range_sets import RangeSet, Tally

COUNTED = ("captured", "published", "filtered", "refused", "shed")

#: Longest time until a stop is noticed while the publisher takes nothing.
ROOM_SECONDS = 0.25

#: Makes the messages of a batch's frames, which belong to the session in the second place.
Encoder = Callable[[FrameBatch, str], Iterable[Message]]

_log = logging.getLogger(__name__)


class Publisher(agent.Publisher, Protocol):
    """What this agent needs of :class:`network_pipeline.broker.publisher.Publisher`."""

    def await_room(self, message: Message, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until ``message`` would be taken; return whether so."""


@dataclass(frozen=True)
class Plan:
    """What is published, and how fast.

    ``source`` is the name of this agent, ``speed`` a multiple of the capture's own, or infinity.
    The agent ends after ``stop_after_num`` frames that the filter selected; 0: after all of them.
    """

    source: str
    speed: float
    stop_after_num: int = 0
    filter: FileFilter | None = None


@dataclass(frozen=True)
class Published:
    """What came of one file: its session, all of its frames that were found, those published."""

    name: str
    session: str
    frames: int
    published: RangeSet
    damage: DamagedCapture | None


class FileAgent:
    """Publishes capture files through a publisher that was started; it is stopped in the end.

    ``counters`` must have those of :data:`COUNTED`.
    """

    def __init__(
        self, encode: Encoder, publisher: Publisher, counters: Counters, plan: Plan
    ) -> None:
        self._encode = encode
        self._publisher = publisher
        self._counters = counters
        self._plan = plan

    def run(self, inputs: Sequence[Input], stop: threading.Event) -> list[Published]:
        """Publish the files, or what of them comes before ``stop``; return what came of each.

        Raises:
            UsageError: a file is not there or cannot be read.
        """
        published = []
        try:
            for path, _ in inputs:
                if stop.is_set() or self._left() == 0:
                    break
                published.append(self._publish_file(path, stop))
        finally:
            self._finish(published)
        return published

    def _finish(self, published: Sequence[Published]) -> None:
        end = time.monotonic() + agent.DRAIN_SECONDS
        if self._publisher.drain(agent.DRAIN_SECONDS - agent.LAST_WORD_SECONDS):
            for file in published:
                word = ledger.of_file(self._plan.source, file.session, file.frames, file.published)
                self._publisher.publish(word.message())
        self._publisher.stop(max(0.0, end - time.monotonic()))
        self._publisher.check()

    def _publish_file(self, path: str, stop: threading.Event) -> Published:
        before, damage = self._counters["captured"], None
        published = Tally()
        with CaptureFile(path, stop=stop) as capture:
            try:
                for batch in paced(capture, self._plan.speed, stop):
                    for numbers in self._publish(self._selected(batch), capture.session, stop):
                        published.add(numbers)
                    if self._left() == 0:
                        break
            except DamagedCapture as error:
                _log.error("%s", error)
                damage = error
            self._count_refused(capture)
        frames = self._counters["captured"] - before
        return Published(capture.name, capture.session, frames, published.numbers, damage)

    def _selected(self, batch: FrameBatch) -> FrameBatch:
        """Return the frames to publish, up to the last that is wanted, and count the others."""
        selection = self._select(batch)
        left = self._left()
        if left is not None and left < len(selection.batch):
            last = np.searchsorted(batch.numbers, selection.batch.numbers[left - 1])
            selection = self._select(batch.take(slice(int(last) + 1)))
        self._counters.add("captured", selection.filtered + selection.refused.total())
        self._counters.add("filtered", selection.filtered)
        self._counters.add("refused", selection.refused.total())
        return selection.batch

    def _select(self, batch: FrameBatch) -> Selection:
        return (
            self._plan.filter.select(batch) if self._plan.filter else Selection(batch, 0, Counter())
        )

    def _publish(
        self, batch: FrameBatch, session: str, stop: threading.Event
    ) -> Iterator[NDArray[np.uint64]]:
        """Publish a batch; yield the numbers of the frames of every message."""
        handed = 0
        try:
            for message in self._encode(batch, session):
                while not (self._publisher.await_room(message, ROOM_SECONDS) or stop.is_set()):
                    self._publisher.check()
                self._publisher.publish(message)
                first, count = int(message.headers["first"]), int(message.headers["count"])
                handed += count
                place = int(np.searchsorted(batch.numbers, np.uint64(first)))
                yield batch.numbers[place : place + count]
            if too_large := len(batch) - handed:
                _log.error("%d frames are larger than a message may be", too_large)
        finally:
            self._counters.add("captured", len(batch))
            self._counters.add("shed", len(batch) - handed)

    def _left(self) -> int | None:
        """Return how many frames are still wanted, None for all."""
        if not self._plan.stop_after_num:
            return None
        counts = self._counters.snapshot()
        wanted = counts["captured"] - counts["filtered"] - counts["refused"]
        return self._plan.stop_after_num - wanted

    def _count_refused(self, capture: CaptureFile) -> None:
        refused = capture.refused()
        self._counters.add("captured", refused.total())
        self._counters.add("refused", refused.total())
        for name, count in refused.items():
            _log.warning("%s: %d frames of link type %s left out", capture.name, count, name)
