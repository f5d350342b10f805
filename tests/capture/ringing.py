"""What the tests of the ring share: one that is open in a namespace, and the frames it gave."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

from network_pipeline.capture.filters import programs
from network_pipeline.capture.ring import Ring, open_sockets
from network_pipeline.frames import Frame, FrameBatch, LinkType
from network_pipeline.settings import RingSettings
from tests.capture.sniffing import SECONDS
from tests.netns import Namespace

SMALL = RingSettings(block_bytes=16_384, blocks=4, retire_ms=20, snap_bytes=8_192)


@contextlib.contextmanager
def ringing(
    where: Namespace,
    *names: str,
    text: str = "",
    endpoints: Sequence[tuple[str, int]] = (),
    settings: RingSettings | None = None,
    last: int = 0,
) -> Iterator[Ring]:
    settings = settings or RingSettings(blocks=16, retire_ms=20)
    with where.entered():
        sockets = open_sockets(programs(names, text, endpoints), settings)
    ring = Ring(sockets, last=last, sample=settings.sample)
    ring.open()
    try:
        yield ring
    finally:
        ring.close()


def frames_of(batch: FrameBatch) -> list[Frame]:
    """Copy a batch: its memory is the kernel's again with the next read."""
    rows = range(len(batch))
    return [
        Frame(
            int(batch.numbers[row]),
            int(batch.times_ns[row]),
            batch.interface_names[batch.interfaces[row]],
            int(batch.wire_lens[row]),
            LinkType(int(batch.link_types[row])),
            bytes(batch.buffer[batch.offsets[row] : batch.offsets[row] + batch.lengths[row]]),
        )
        for row in rows
    ]


def read_until(ring: Ring, holds: Callable[[list[Frame]], bool]) -> list[Frame]:
    """Read until what came fulfils a condition."""
    frames: list[Frame] = []
    deadline = time.monotonic() + SECONDS
    while not holds(frames):
        assert time.monotonic() < deadline, (len(frames), ring.counts())
        frames += frames_of(ring.read(0.05))
    return frames


def rest(ring: Ring) -> list[Frame]:
    """Stop, and return all that comes then."""
    ring.stop()
    frames: list[Frame] = []
    while more := frames_of(ring.read(0)):
        frames += more
    return frames
