"""A place for a worker in an agent: which process sits there, and what all have counted there.

A worker that dies leaves its counts to its seat, so they never go back while the agent runs.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from network_pipeline import figures
from network_pipeline.capture.ring_group import RingGroup, Totals
from network_pipeline.metrics import OUTCOMES, Reading
from network_pipeline.scoreboard import COUNTED, Slot
from network_pipeline.succession import Succession

#: A worker that has not been seen for so long is not well, though it may only be busy.
FRESH_SECONDS = 10.0
#: A worker that ran for so long is not one that cannot begin.
STEADY_SECONDS = 60.0

_NOTHING = Totals(0, 0, 0)
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(eq=False)
class Seat:
    """One place: its process, 0 for nobody, and its session.

    ``was_ready`` is whether any worker ever was. ``before`` are the totals of the rings when this
    one began.
    """

    number: int
    slot: Slot
    rings: RingGroup
    pid: int = 0
    session: str = ""
    was_ready: bool = False
    before: Totals = _NOTHING
    freezes: int = 0
    past: Counter[str] = field(default_factory=Counter)
    past_figures: Sequence[int] = (0,) * figures.WIDTH
    succession: Succession = field(init=False)

    def __post_init__(self) -> None:
        self.succession = Succession(self.number, STEADY_SECONDS)

    # -- who sits there

    def begin(self, session: str) -> None:
        """Make it ready for a worker, before its process is."""
        self.session = session
        self.slot.begin()
        self.before = self.rings.totals(self.number)
        self.succession.begin()

    def end(self) -> dict[str, int]:
        """Count for good what the worker did that has ended; return that.

        What it had read and was killed before it could count it is in there, and those of its
        frames that became nothing are ``lost``.
        """
        now = self.rings.totals(self.number)
        read, dropped, freezes = (new - old for new, old in zip(now, self.before, strict=True))
        counts = {**self.slot.counts(), "captured": read + dropped, "kernel_dropped": dropped}
        counts["lost"] = counts["captured"] - sum(counts[name] for name in OUTCOMES)
        self.was_ready |= self.slot.seen is not None
        self.past.update(counts)
        self.past_figures = figures.added(self.past_figures, self.slot.figures())
        self.freezes += freezes
        self.pid = 0
        return counts

    @property
    def is_ready(self) -> bool:
        """Whether its worker has begun to capture."""
        return bool(self.pid) and self.slot.seen is not None

    @property
    def complaint(self) -> str:
        """What is wrong with its worker; nothing if all is well."""
        seen = self.slot.seen
        if not self.pid or seen is None:
            return f"worker {self.number} is not up"
        return f"worker {self.number} stands still" if seen > FRESH_SECONDS else ""

    # -- what was counted

    def counts(self) -> dict[str, int]:
        """Return what its worker has counted, and those before it."""
        own = self.slot.counts() if self.pid else {}
        total = {name: self.past[name] + own.get(name, 0) for name in COUNTED}
        return {**total, "lost": self.past["lost"], "restarts": self.succession.restarts}

    def reading(self) -> Reading:
        """Return the same, and all else that can be watched."""
        frames = self.counts()
        restarts = frames.pop("restarts")
        del frames["spooled"]  # what was left on disk is taken up by others
        now = self.slot.figures() if self.pid else (0,) * figures.WIDTH
        sums = figures.added(self.past_figures, now)
        freezes = self.rings.totals(self.number).freezes - self.before.freezes if self.pid else 0
        return Reading(
            frames=frames,
            amounts={
                "captured_bytes": figures.captured_bytes(sums),
                "kernel_freezes": self.freezes + freezes,
                "worker_restarts": restarts,
            },
            gauges={
                "spooled_frames": self.slot.counts()["spooled"] if self.pid else 0,
                **figures.gauges(now),
                "worker_up": not self.complaint,
                "worker_resident_memory_bytes": _resident_bytes(self.pid),
            },
            histograms=figures.histograms(sums),
        )


def total(seats: Sequence[Seat]) -> dict[str, int]:
    """Return what was counted in all seats."""
    counts = [seat.counts() for seat in seats]
    return {name: sum(each[name] for each in counts) for name in counts[0]}


def text(counts: Mapping[str, int]) -> str:
    """Return counts as they are said."""
    return " ".join(f"{name}={count}" for name, count in counts.items())


def _resident_bytes(pid: int) -> int:
    """Return the resident memory of a process; 0 where it has just gone, or is none."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * _PAGE_BYTES
