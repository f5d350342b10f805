"""Capture files and pipes as batches of frames: pcap and pcapng, plain, gzip, zstd or xz.

A window (:mod:`.window`) holds some MiB of the stream. A scan (:mod:`.records`) finds the frames in
it, which stay where they are: a batch is the window's buffer and arrays that say where in it each
frame lies. Only headers are read in Python, one for each file, section or interface. So memory is
bounded whatever the file's size.

A file that is damaged or cut gives every whole frame before that, then :class:`DamagedCapture`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from network_pipeline.capture import pcap_format, pcapng_format
from network_pipeline.capture.byte_stream import ByteStream
from network_pipeline.capture.raw_file import STDIN, RawFile
from network_pipeline.capture.window import Damage, Window
from network_pipeline.errors import CaptureError
from network_pipeline.frames import FrameBatch

BATCH_FRAMES = 65_536


class DamagedCapture(CaptureError):
    """A capture file is damaged or cut; all whole frames before that were given.

    ``offset`` is where in the file, decompressed, the first thing begins that cannot be used.
    """

    def __init__(self, name: str, offset: int, reason: str) -> None:
        super().__init__(name, offset, reason)  # so that it can be told from process to process
        self.name = name
        self.offset = offset
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name}: damaged at byte {self.offset}: {self.reason}"


class CaptureFile:
    """A capture file, or with the path ``-`` standard input: ``tcpdump -w - | ...``.

    Open, it can be iterated over once::

        with CaptureFile(path) as capture:
            for batch in capture:
                ...

    A batch has up to ``batch_frames`` frames, fewer where the memory for one window ends, a section
    does, or a slow pipe has had nothing for a second. The order and the numbers of frames do not
    depend on how they are batched. Frames are numbered from 1 by their place in the file. Those of
    link types that cannot be decoded are in no batch; they use up their numbers and are counted
    in :meth:`refused`. A frame of a simple packet block, which says no time, and one whose time
    64 bits of nanoseconds cannot say, have :data:`~network_pipeline.frames.NO_TIME`.

    Once ``stop`` is set, the iteration ends after what is in memory, as if the file ended there;
    where a pipe is silent too, within a tenth of a second.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        batch_frames: int = BATCH_FRAMES,
        stop: threading.Event | None = None,
    ) -> None:
        if batch_frames < 1:
            raise ValueError(f"batch_frames={batch_frames}: must be at least 1")
        self.name = "standard input" if str(path) == STDIN else str(path)
        self._batch_frames = batch_frames
        self._file = RawFile(path)
        self._window = Window(ByteStream(self._file), stop or threading.Event())
        self._format: _Format | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def open(self) -> None:
        """Open the file; nothing is read of a pipe yet.

        Raises:
            UsageError: there is no such file, or it cannot be read.
        """
        self._file.open()

    def close(self) -> None:
        """Close the file; batches that were given stay as they are."""
        self._file.close()

    @property
    def session(self) -> str:
        """The UUID of this file's content, or of this run where it is a pipe; set by opening."""
        return self._file.session

    @property
    def frames(self) -> int:
        """How many frames were found so far: those in batches, and those refused."""
        return self._format.frames if self._format else 0

    @property
    def position(self) -> int:
        """How many bytes of the file were read, as they lie on the disk."""
        return self._file.position

    def refused(self) -> Counter[str]:
        """Return how many frames have a link type that cannot be decoded, by its name."""
        return self._format.refused() if self._format else Counter()

    def __iter__(self) -> Iterator[FrameBatch]:
        """Yield the frames of the file.

        Raises:
            DamagedCapture: the file is no capture file, or damaged, or cut.
        """
        window = self._window
        try:
            self._format = self._recognised()
            if self._format is None:
                return
            yield from self._format.batches(window)
            while window.fill():
                yield from self._format.batches(window)
            if window.left and not window.is_stopped:
                rest = self._format.unfinished(window)
                raise Damage(window.offset(window.position), f"the file ends within {rest}")
        except Damage as damage:
            raise DamagedCapture(self.name, damage.offset, str(damage)) from None

    def _recognised(self) -> _Format | None:
        """Return the file's format, None where the iteration was stopped before it was known."""
        window = self._window
        while window.left < pcap_format.HEADER_BYTES and window.fill():
            pass
        if window.is_stopped and window.left < pcap_format.HEADER_BYTES:
            return None
        begin = bytes(window.data[: pcap_format.HEADER_BYTES][: window.left])
        if pcap_format.recognises(begin):
            return pcap_format.PcapFormat(window, self._batch_frames)
        if pcapng_format.recognises(begin):
            return pcapng_format.PcapngFormat(self._batch_frames)
        found = f"it begins with {begin[:4].hex()}" if begin else "it is empty"
        raise Damage(0, f"the file is neither pcap nor pcapng: {found}")


class _Format(Protocol):
    """What the two formats have in common."""

    @property
    def frames(self) -> int:
        """How many frames were found so far, refused ones among them."""

    def batches(self, window: Window) -> Iterator[FrameBatch]:
        """Take the whole records that are in a window; raises Damage after them."""

    def refused(self) -> Counter[str]:
        """Return how many frames are not in batches, by link type."""

    def unfinished(self, window: Window) -> str:
        """Say what the rest of a window would be if the file went on."""
