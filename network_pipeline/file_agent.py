"""The agent of capture files: publishes their frames as if they were captured now.

Files are read one after another, each a session of its own, which its content gives: published
twice, its frames are known to the processor. A frame keeps the number and the time it has in its
file. A file can wait, unlike a socket: it is read no faster than the publisher takes messages.
Frames are lost only by a stop while the broker takes none, and if no message can hold them: they
are ``shed``. Every frame that was found is published or counted, as ``filtered`` where the filter
did not select it, as ``refused`` where nothing here decodes its link type or the filter cannot be
applied to it::

    captured = published + filtered + refused + shed
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from network_pipeline import agent
from network_pipeline.capture.file_filter import FileFilter, Selection
from network_pipeline.capture.inputs import Input
from network_pipeline.capture.pcap import CaptureFile, DamagedCapture
from network_pipeline.capture.replay import paced
from network_pipeline.frames import FrameBatch
from network_pipeline.message import Message
from network_pipeline.metrics import Counters

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

    ``speed`` is a multiple of the capture's own, or infinity. The agent ends after
    ``stop_after_num`` frames that the filter selected; 0: after all of them.
    """

    speed: float
    stop_after_num: int = 0
    filter: FileFilter | None = None


@dataclass(frozen=True)
class Published:
    """What came of one file: its session, and all of its frames that were found."""

    name: str
    session: str
    frames: int
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
            self._publisher.stop(agent.DRAIN_SECONDS)
        return published

    def _publish_file(self, path: str, stop: threading.Event) -> Published:
        before = self._counters["captured"]
        damage = None
        with CaptureFile(path, stop=stop) as capture:
            try:
                for batch in paced(capture, self._plan.speed, stop):
                    self._publish(self._selected(batch), capture.session, stop)
                    if self._left() == 0:
                        break
            except DamagedCapture as error:
                _log.error("%s", error)
                damage = error
            self._count_refused(capture)
        frames = self._counters["captured"] - before
        return Published(capture.name, capture.session, frames, damage)

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

    def _publish(self, batch: FrameBatch, session: str, stop: threading.Event) -> None:
        handed = 0
        for message in self._encode(batch, session):
            while not (self._publisher.await_room(message, ROOM_SECONDS) or stop.is_set()):
                pass
            self._publisher.publish(message)
            handed += int(message.headers["count"])
        self._counters.add("captured", len(batch))
        if too_large := len(batch) - handed:
            self._counters.add("shed", too_large)
            _log.error("%d frames are larger than a message may be", too_large)

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
