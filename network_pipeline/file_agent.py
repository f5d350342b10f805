"""The agent of capture files: publishes their frames as if they were captured now.

Files are read one after another, each a session of its own, which its content gives: published
twice, its frames are known to the processor. A frame keeps the number and the time it has in its
file. A file can wait, unlike a socket: it is read no faster than the publisher takes messages.
Frames are lost only by a stop while the broker takes none, and if no message can hold them::

    captured = published + refused + shed

``captured`` are the frames that were handed to the publisher, and those ``refused`` because
nothing here decodes their link type.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from network_pipeline import agent
from network_pipeline.capture.pcap import CaptureFile, DamagedCapture
from network_pipeline.capture.raw_file import file_session
from network_pipeline.capture.replay import paced
from network_pipeline.errors import NetworkPipelineError
from network_pipeline.frames import FrameBatch
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
    """What was published of one file: its session, and its frames, refused ones among them."""

    name: str
    session: str
    frames: int
    damage: DamagedCapture | None


class FileAgent:
    """Publishes capture files through a publisher that was started; it is stopped in the end.

    ``counters`` has the names captured, published, refused and shed. ``speed`` is a multiple of
    the capture's own, or infinity. With ``stop_after_num`` it ends after that many frames.
    """

    def __init__(
        self,
        encode: Encoder,
        publisher: Publisher,
        counters: Counters,
        *,
        speed: float,
        stop_after_num: int = 0,
    ) -> None:
        self._encode = encode
        self._publisher = publisher
        self._counters = counters
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
            self._publisher.stop(agent.DRAIN_SECONDS)
        if self._counters["shed"]:
            raise NetworkPipelineError(
                f"{self._counters['shed']} frames that were read are not published; publish the "
                "files again: rows of those that are will not come twice"
            )
        return published

    def _publish_file(self, path: str, stop: threading.Event) -> Published:
        before = self._counters["captured"]
        damage = None
        with CaptureFile(path, stop=stop) as capture:
            try:
                for batch in paced(capture, self._speed, stop):
                    self._publish(batch, capture.session, stop)
                    if self._left() == 0:
                        break
            except DamagedCapture as error:
                _log.error("%s", error)
                damage = error
            self._count_refused(capture)
        frames = self._counters["captured"] - before
        return Published(capture.name, capture.session, frames, damage)

    def _publish(self, batch: FrameBatch, session: str, stop: threading.Event) -> None:
        left = self._left()
        if left is not None and left < len(batch):
            batch = batch.take(slice(left))
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
        if not self._stop_after_num:
            return None
        return self._stop_after_num - self._counters["captured"] + self._counters["refused"]

    def _count_refused(self, capture: CaptureFile) -> None:
        refused = capture.refused()
        self._counters.add("captured", refused.total())
        self._counters.add("refused", refused.total())
        for name, count in refused.items():
            _log.warning("%s: %d frames of link type %s left out", capture.name, count, name)
