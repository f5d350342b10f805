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


class FrameQueue:
    """Frames in the order of their numbers, bounded by their count and their bytes.

    ``last`` is the number of the session's last frame, 0 for a session without end: frames after
    it do not belong to the session and are not counted.
    """

    def __init__(self, max_frames: int, max_bytes: int, last: int = 0) -> None:
        self._max_frames = max_frames
        self._max_bytes = max_bytes
        self._last = last
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
            self._filled.notify()

    def get(self, timeout: float) -> list[Frame]:
        """Return up to :data:`BATCH_FRAMES`; waits up to ``timeout`` seconds for the first one."""
        with self._filled:
            self._filled.wait_for(lambda: self._frames, timeout)
            count = min(len(self._frames), BATCH_FRAMES)
            batch = [self._frames.popleft() for _ in range(count)]
            self._bytes -= sum(len(frame.data) for frame in batch)
        return batch

    def _has_room(self, frame: Frame) -> bool:
        return (
            len(self._frames) < self._max_frames
            and self._bytes + len(frame.data) <= self._max_bytes
        )
