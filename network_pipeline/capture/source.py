"""What every source of frames offers: four methods, in the order in which an agent calls them."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from network_pipeline.frames import Frame


class SourceCounts(NamedTuple):
    """What happened to the frames that passed the filter.

    ``captured = read + kernel_dropped + shed``. Frames that were read or ``shed`` have a number in
    the session, ``kernel_dropped`` ones never got one.
    """

    captured: int
    kernel_dropped: int
    shed: int


class Source(Protocol):
    """A source of frames with a bounded queue between it and whoever reads."""

    def open(self) -> None:
        """Open what needs privileges and begin to take frames in.

        Raises:
            CaptureError: no such device, or the filter does not compile.
            CapturePermissionError: CAP_NET_RAW is missing.
        """

    def read(self, timeout: float) -> list[Frame]:
        """Return the frames that wait, oldest first, after up to ``timeout`` seconds for them.

        Raises:
            CaptureError: no device is left to take frames from, and none waits.
        """

    def stop(self) -> None:
        """Take no more frames in; those that wait can still be read."""

    def counts(self) -> SourceCounts:
        """Return the counts since ``open``."""
