"""Frames from network devices, in batches that lie in memory shared with the kernel.

A source for one thread: it waits on the rings of its devices and takes their blocks in turn. The
frames of blocks stay in place while they are decoded; the blocks go back to the kernel when the
next ones are read. There is no queue: the ring is one, and what it cannot hold the kernel counts.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import select
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from network_pipeline.capture import libpcap
from network_pipeline.capture.ring_socket import RingSocket
from network_pipeline.capture.source import SourceCounts
from network_pipeline.decode.flow_hash import flow_hashes
from network_pipeline.frames import FrameBatch
from network_pipeline.settings import RingSettings

#: How often it is looked what became of the devices.
WATCH_SECONDS = 0.5
#: At the end, how long a block may take that the kernel has not given over yet.
_LAST_BLOCK_SECONDS = 10.0
_POLL_MS = 20
#: How long a block that is ready waits for others, at most, and how often they are looked for.
_GATHER_SECONDS = 0.05
_GATHER_STEP_SECONDS = 0.005

#: What a read returns where no frame came.
NO_FRAMES = FrameBatch(
    buffer=b"",
    offsets=np.empty(0, np.int64),
    lengths=np.empty(0, np.uint32),
    wire_lens=np.empty(0, np.uint32),
    times_ns=np.empty(0, np.int64),
    numbers=np.empty(0, np.uint64),
    link_types=np.empty(0, np.uint16),
    interfaces=np.empty(0, np.uint16),
    interface_names=(),
)

_log = logging.getLogger(__name__)


def open_sockets(chosen: Mapping[str, libpcap.Program], settings: RingSettings) -> list[RingSocket]:
    """Open a ring for every device and begin to take in the frames that its filter chooses.

    Raises:
        CaptureError: no such device, no memory for its ring, or a filter that is too long.
        CapturePermissionError: CAP_NET_RAW is missing.
    """
    with contextlib.ExitStack() as opened:
        sockets = [RingSocket(device, settings) for device in chosen]
        for sock in sockets:
            opened.callback(sock.close)
            sock.open()
            sock.accept(chosen[sock.device])
        opened.pop_all()
    return sockets


class Ring:
    """A source of frames (:class:`network_pipeline.capture.source.Source`), as batches.

    It reads rings that are open. ``last`` is the number of the session's last frame, 0 for a
    session without end. Of all flows one in ``sample`` is kept; the frames of the others are
    counted and get no number.
    """

    def __init__(self, sockets: Sequence[RingSocket], *, last: int = 0, sample: int = 1) -> None:
        self._sockets = sockets
        self._last = last
        self._sample = sample
        self._dropped_before = 0
        self._poll = select.poll()
        self._turns = itertools.cycle(sockets)
        self._blocks_of: RingSocket | None = None
        self._numbered = 0
        self._not_sampled = 0
        self._watch_due = 0.0
        self._ends: float | None = None
        self._has_left = False

    def open(self) -> None:
        """Begin to read, behind the last block that was taken before.

        What the kernel dropped since it was last asked is of this session.
        """
        for sock in self._sockets:
            sock.recover()
            self._dropped_before += sock.cells.dropped
            self._poll.register(sock, select.POLLIN)

    def read(self, timeout: float) -> FrameBatch:
        """Return the next frames, after up to ``timeout`` seconds for them; there may be none.

        They are void when it is called again. After :meth:`stop` it waits for the block that the
        kernel has not given over yet; no frames are then the end.
        """
        self._give_back()
        if self._has_left:
            return NO_FRAMES
        if self._ends is not None:
            return self._rest(self._ends)
        self._watch()
        batch = self._next()
        if batch is None:
            if self._poll.poll(timeout * 1000):
                self._gather()
            batch = self._next()
        return batch or NO_FRAMES

    def leave(self) -> None:
        """Read nothing more: what comes, and what waits, is for the next reader of the rings."""
        self._has_left = True

    def stop(self) -> None:
        """Take no more frames in; those that the kernel took already can still be read."""
        if self._ends is None and not self._has_left:
            for sock in self._sockets:
                sock.refuse()
            self._ends = time.monotonic() + _LAST_BLOCK_SECONDS

    def close(self) -> None:
        """Close the rings; what was counted stays."""
        for sock in self._sockets:
            sock.count()
            sock.close()

    def counts(self) -> SourceCounts:
        """Return the counts since :meth:`open`."""
        for sock in self._sockets:
            sock.count()
        dropped = sum(sock.cells.dropped for sock in self._sockets) - self._dropped_before
        captured = self._numbered + self._not_sampled + dropped
        return SourceCounts(captured, dropped, 0, self._not_sampled)

    def freezes(self) -> int:
        """Return how often a ring was full, since it was opened."""
        return sum(sock.cells.freezes for sock in self._sockets)

    def _rest(self, ends: float) -> FrameBatch:
        """Return the next frames; none only where there will be no more."""
        while not (batch := self._next()):
            if batch is not None:  # none of its flows is sampled
                self._give_back()
            elif self._is_complete() or all(sock.is_drained() for sock in self._sockets):
                break
            elif time.monotonic() > ends:
                _log.error("the kernel keeps a block back; the frames in it are not counted")
                break
            else:
                self._poll.poll(_POLL_MS)
        return batch or NO_FRAMES

    def _give_back(self) -> None:
        if self._blocks_of:
            self._blocks_of.give_back()
            self._blocks_of = None

    def _gather(self) -> None:
        """Wait for more blocks: the larger a batch is, the less it costs of each frame."""
        due = time.monotonic() + _GATHER_SECONDS
        while time.monotonic() < due and not any(sock.has_batch for sock in self._sockets):
            time.sleep(_GATHER_STEP_SECONDS)

    def _next(self) -> FrameBatch | None:
        """Take the next blocks, of each ring in its turn."""
        if self._is_complete():
            return None
        for sock in itertools.islice(self._turns, len(self._sockets)):
            batch = sock.take(self._numbered + 1)
            if batch is not None:
                self._blocks_of = sock
                return self._chosen(batch)
        return None

    def _chosen(self, batch: FrameBatch) -> FrameBatch:
        """Leave out what belongs to other flows, or does not belong to the session any more."""
        if self._sample > 1:
            kept = np.flatnonzero(flow_hashes(batch) % self._sample == 0)
            self._not_sampled += len(batch) - len(kept)
            batch = replace(batch.take(kept), numbers=batch.numbers[: len(kept)])
        if self._last:
            batch = batch.take(slice(self._last - self._numbered))
        self._numbered += len(batch)
        return batch

    def _is_complete(self) -> bool:
        return 0 < self._last <= self._numbered

    def _watch(self) -> None:
        if time.monotonic() >= self._watch_due:
            self._watch_due = time.monotonic() + WATCH_SECONDS
            for sock in self._sockets:
                sock.watch()
