"""The agent of capture files: publishes their frames as if they were captured now.

Files are read one after another, each a session of its own, which its content gives: published
twice, its frames are known to the processor. A frame keeps the number and the time it has in its
file. A file can wait, unlike a socket: it is read no faster than the publisher takes messages.
Frames are lost only by a stop while the broker takes none, and if no message can hold them::

    captured = published + refused + shed

``captured`` are the frames that were handed to the publisher, and those ``refused`` because
nothing here decodes their link type. Once the broker has all of them, the ledger of each session
says so, behind the frames: what was left out of a file is ``shed`` there, by its number.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from network_pipeline import agent
from network_pipeline.capture.pcap import CaptureFile, DamagedCapture
from network_pipeline.capture.raw_file import file_session
from network_pipeline.capture.replay import paced
from network_pipeline.errors import NetworkPipelineError
from network_pipeline.frames import FrameBatch
from network_pipeline.ledger import STOPPED, AgentLedger
from network_pipeline.losses import Gaps, Losses
from network_pipeline.message import Message
from network_pipeline.metrics import Counters

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
class Published:
    """What was published of one file: its session, and its frames, refused ones among them.

    ``published`` of them are in messages, and ``left_out`` has the numbers of the others.
    """

    name: str
    session: str
    frames: int
    published: int
    left_out: Losses
    damage: DamagedCapture | None

    def ledger(self, source: str) -> AgentLedger:
        """Return the ledger of the session, once the broker has its messages."""
        return AgentLedger(
            source,
            self.session,
            sequence=1,
            captured=self.frames,
            shed=self.frames - self.published,
            published=self.published,
            last=self.frames,
            lost=tuple(self.left_out.pairs()),
            is_incomplete=self.left_out.is_incomplete,
            ended=STOPPED,
            at=time.time_ns(),
        )


class FileAgent:
    """Publishes capture files through a publisher that was started; it is stopped in the end.

    ``counters`` has the names captured, published, refused and shed. ``source`` is the name of
    this agent, and ``speed`` is a multiple of
    the capture's own, or infinity. With ``stop_after_num`` it ends after that many frames.
    """

    def __init__(  # noqa: PLR0913  one of each
        self,
        encode: Encoder,
        publisher: Publisher,
        counters: Counters,
        *,
        source: str,
        speed: float,
        stop_after_num: int = 0,
    ) -> None:
        self._encode = encode
        self._publisher = publisher
        self._counters = counters
        self._source = source
        self._speed = speed
        self._stop_after_num = stop_after_num

    def run(self, paths: Sequence[str], stop: threading.Event) -> list[Published]:
        """Publish the files, or what of them comes before ``stop``; return what came of each.

        Raises:
            UsageError: a file is not there or cannot be read; known ones are read first.
            NetworkPipelineError: frames could not be published before the time to end was over.
        """
        published = []
        try:
            for path in paths:
                file_session(path)  # it is there
            for path in paths:
                if stop.is_set() or self._left() == 0:
                    break
                published.append(self._publish_file(path, stop))
        finally:
            self._finish(published)
        if self._counters["shed"]:
            raise NetworkPipelineError(
                f"{self._counters['shed']} frames that were read are not published; publish the "
                "files again: rows of those that are will not come twice"
            )
        return published

    def _finish(self, published: Sequence[Published]) -> None:
        end = time.monotonic() + agent.DRAIN_SECONDS
        if self._publisher.drain(agent.DRAIN_SECONDS - agent.LAST_WORD_SECONDS):
            for file in published:
                self._publisher.publish(file.ledger(self._source).message())
        self._publisher.stop(max(0.0, end - time.monotonic()))

    def _publish_file(self, path: str, stop: threading.Event) -> Published:
        before, damage, published = self._counters["captured"], None, 0
        gaps = Gaps(Losses())
        with CaptureFile(path, stop=stop) as capture:
            try:
                for batch in paced(capture, self._speed, stop):
                    published += self._publish(batch, capture.session, gaps, stop)
                    if self._left() == 0:
                        break
            except DamagedCapture as error:
                _log.error("%s", error)
                damage = error
            self._count_refused(capture)
        frames = self._counters["captured"] - before
        gaps.end(frames)
        return Published(capture.name, capture.session, frames, published, gaps.losses, damage)

    def _publish(self, batch: FrameBatch, session: str, gaps: Gaps, stop: threading.Event) -> int:
        """Publish the frames of a batch that are wanted; return how many messages could hold."""
        left = self._left()
        if left is not None and left < len(batch):
            batch = batch.take(slice(left))
        handed: list[int] = []
        for message in self._encode(batch, session):
            while not (self._publisher.await_room(message, ROOM_SECONDS) or stop.is_set()):
                pass
            self._publisher.publish(message)
            handed += _numbers(batch, message)
        gaps.see(handed)
        self._counters.add("captured", len(batch))
        if too_large := len(batch) - len(handed):
            self._counters.add("shed", too_large)
            _log.error("%d frames are larger than a message may be", too_large)
        return len(handed)

    def _left(self) -> int | None:
        """Return how many frames are still wanted, None for all."""
        if not self._stop_after_num:
            return None
        return self._stop_after_num - self._counters["captured"] + self._counters["refused"]

    def _count_refused(self, capture: CaptureFile) -> None:
        refused = capture.refused()
        self._counters.add("captured", refused.total())
        self._counters.add("refused", refused.total())
        for name, count in refused.items():
            _log.warning("%s: %d frames of link type %s left out", capture.name, count, name)


def _numbers(batch: FrameBatch, message: Message) -> list[int]:
    """Return the numbers of those frames of a batch that a message holds, all in order."""
    first, count = int(message.headers["first"]), int(message.headers["count"])
    place = int(np.searchsorted(batch.numbers, np.uint64(first)))
    return [int(number) for number in batch.numbers[place : place + count]]
