"""The part of a stream that lies in memory.

Each filling begins a new buffer, since frames in the last one are still in use: what was not taken
from that is copied to the front of the new one, then the stream is read. So memory is bounded by
the longest record that is believed, and grows to it only as its bytes really come.
"""

from __future__ import annotations

import threading
import time

import numpy as np

from network_pipeline.capture.byte_stream import ByteStream, StreamDamage

#: Small enough for a processor's last cache, large enough that what a batch costs by itself is
#: little beside its frames.
WINDOW_BYTES = 6 * 1024 * 1024

#: A slow pipe's bytes wait at most this long for more.
PATIENCE_S = 1.0


class Damage(Exception):
    """The stream is damaged at ``offset``; the text says how."""

    def __init__(self, offset: int, text: str) -> None:
        super().__init__(text)
        self.offset = offset


class Window:
    """Bytes of a stream: ``data[position:end]`` are those not taken yet.

    Whoever takes some moves ``position``. Once ``stop`` is set no more are read.
    """

    def __init__(self, stream: ByteStream, stop: threading.Event, size: int = WINDOW_BYTES) -> None:
        self._stream = stream
        self._stop = stop
        self._size = size
        self._begin = 0  # where data begins in the stream
        self._ended = False
        self._damage = ""
        self.data = memoryview(b"")
        self.position = 0
        self.end = 0

    @property
    def left(self) -> int:
        """How many bytes were not taken yet."""
        return self.end - self.position

    def offset(self, position: int) -> int:
        """Return where in the stream a position in ``data`` is."""
        return self._begin + position

    @property
    def is_stopped(self) -> bool:
        """Whether no more are read because that was asked for."""
        return self._stop.is_set()

    def fill(self) -> bool:
        """Read more bytes, and wait for them; False: there are none any more.

        Raises:
            Damage: the stream is damaged at its end; all bytes before that were given.
        """
        if self._damage:
            raise Damage(self.offset(self.end), self._damage)
        if self._ended or self.is_stopped:
            return False
        before = self.left
        self._move()
        try:
            self._read()
        except StreamDamage as damage:
            self._damage = str(damage)
        return bool(self._damage) or self.left > before

    def _move(self) -> None:
        """Put what was not taken at the front of a new buffer, with room behind it."""
        left = self.left
        # For a long record not much more than it takes: the frames behind it are one batch.
        room = min(left, self._size + left // 8)
        data = np.empty(max(self._size, left + room), np.uint8).data
        data[:left] = self.data[self.position : self.end]
        self._begin += self.position
        self.data, self.position, self.end = data, 0, left

    def _read(self) -> None:
        """Read until the buffer is full, the stream ends, or patience does."""
        deadline = float("inf")
        while self.end < len(self.data) and not self.is_stopped:
            size = self._stream.read_into(self.data[self.end :])
            if size == 0:
                self._ended = True
                return
            if size is not None:
                self.end += size
                deadline = min(deadline, time.monotonic() + PATIENCE_S)
            if time.monotonic() >= deadline:
                return
