"""What every source of frames offers: four methods, in the order in which an agent calls them."""

from __future__ import annotations

from collections.abc import Sized
from typing import NamedTuple, Protocol, TypeVar


class SourceCounts(NamedTuple):
    """What happened to the frames that passed the filter.

    ``captured = read + kernel_dropped + shed + not_sampled``. Frames that were read or ``shed``
    have a number in the session, ``kernel_dropped`` and ``not_sampled`` ones never got one.
    """

    captured: int
    kernel_dropped: int
    shed: int
    not_sampled: int = 0


#: Frames as a source gives them: a list, or a batch.
Frames_co = TypeVar("Frames_co", bound=Sized, covariant=True)


class Source(Protocol[Frames_co]):
    """A source of frames with something bounded, memory or a queue, between it and its reader."""

    def open(self) -> None:
        """Open what needs privileges and begin to take frames in.

        Raises:
            CaptureError: no such device, or the filter does not compile.
            CapturePermissionError: CAP_NET_RAW is missing.
        """

    def read(self, timeout: float) -> Frames_co:
        """Return the frames that wait, oldest first, after up to ``timeout`` seconds for them.

        They may be void when it is called again.

        Raises:
            CaptureError: no device is left to take frames from, and none waits.
        """

    def stop(self) -> None:
        """Take no more frames in; those that wait can still be read."""

    def counts(self) -> SourceCounts:
        """Return the counts since ``open``."""
