"""The bounded queue between a source that must not wait and a reader that may.

What does not fit is shed and counted; its numbers are used up, so the session's numbers show the
gap.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from network_pipeline.frames import Frame

#: Most frames that one get returns, so that few are out of the queue and not yet published.
BATCH_FRAMES = 512

#: A part of the queue's bytes that is worth to be taken, however few frames they are.
_ENOUGH_PART = 1 / 8


class FrameQueue:
    """Frames in the order of their numbers, bounded by their count and their bytes.

    ``last`` is the number of the session's last frame, 0 for a session without end: frames after
    it do not belong to the session and are not counted. A reader that is better off with many
    frames at once waits for ``enough`` of them.
    """

    def __init__(self, max_frames: int, max_bytes: int, last: int = 0, enough: int = 1) -> None:
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._last = last
        self._enough_frames = min(enough, max_frames)
        self._enough_bytes = max_bytes * _ENOUGH_PART
        self._frames: deque[Frame] = deque()
        self._bytes = 0
        self._filled = threading.Condition()
        self.taken = 0
        self.shed = 0

    def put(self, burst: Sequence[Frame]) -> None:
        """Queue frames, or shed them; never waits."""
        with self._filled:
            for frame in burst:
                if self._last and frame.number > self._last:
                    break
                self.taken += 1
                if self._has_room(frame):
                    self._frames.append(frame)
                    self._bytes += len(frame.data)
                else:
                    self.shed += 1
            if self._has_enough():
                self._filled.notify()

    def get(self, timeout: float) -> list[Frame]:
        """Return the oldest frames, after up to ``timeout`` seconds for enough of them.

        They are at most :data:`BATCH_FRAMES`, or as many as are enough if that is more.
        """
        with self._filled:
            self._filled.wait_for(self._has_enough, timeout)
            count = min(len(self._frames), max(BATCH_FRAMES, self._enough_frames))
            batch = [self._frames.popleft() for _ in range(count)]
            self._bytes -= sum(len(frame.data) for frame in batch)
        return batch

    def _has_enough(self) -> bool:
        return len(self._frames) >= self._enough_frames or self._bytes >= self._enough_bytes

    def _has_room(self, frame: Frame) -> bool:
        return (
            len(self._frames) < self._max_frames
            and self._bytes + len(frame.data) <= self._max_bytes
        )
