"""What programs cost in several runs, and the table of that."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bench.contenders import Contender
from bench.measure import Cost

_HEAD = ("", "frames", "rows", "start s", "CPU s", "wall s", "peak MB", "frames/CPU s", "CPU")

#: Less than this above the start is not told from nothing.
_LEAST_CPU_S = 0.01


@dataclass
class Result:
    """What a program cost in each run, on a single frame and on its own.

    ``rows`` is what its last run was found to have done.
    """

    contender: Contender
    frames: int
    rows: int = 0
    starts: list[Cost] = field(default_factory=list)
    runs: list[Cost] = field(default_factory=list)
    problem: str = ""

    @property
    def is_measured(self) -> bool:
        """Whether it is there and did not fail."""
        return bool(self.runs) and not self.problem

    @property
    def start_s(self) -> float:
        """CPU seconds of a run on one frame."""
        return statistics.median(run.cpu_s for run in self.starts)

    @property
    def frame_s(self) -> float:
        """CPU seconds of one frame, without the start."""
        return statistics.median(self.frame_seconds())

    def frame_seconds(self) -> list[float]:
        """Return the CPU seconds of one frame in every run."""
        start_s = self.start_s
        return [max(run.cpu_s - start_s, _LEAST_CPU_S) / self.frames for run in self.runs]

    @property
    def peak_mb(self) -> float:
        """The largest peak of all runs, in 10^6 bytes."""
        return max(run.peak_mb for run in self.runs)

    def cells(self, floor: Result) -> list[str]:
        """Return the row of the table; ``floor`` is what the last column compares with."""
        return [
            self.contender.name,
            f"{self.frames:,}",
            f"{self.rows:,}",
            f"{self.start_s:.2f}",
            f"{self.start_s + self.frame_s * self.frames:.2f}",
            f"{statistics.median(run.wall_s for run in self.runs):.2f}",
            f"{self.peak_mb:.0f}",
            f"{1 / self.frame_s:,.0f}",
            f"x {cpu_ratio(self, floor):.2f}",
        ]


def cpu_ratio(one: Result, other: Result) -> float:
    """Return how much more CPU time a frame takes in one program than in the other.

    Programs run in turn, so the runs of one turn are compared, and the median of that counts.
    """
    pairs = zip(one.frame_seconds(), other.frame_seconds(), strict=False)
    return statistics.median(mine / theirs for mine, theirs in pairs)


def table(results: Sequence[Result]) -> Iterator[str]:
    """Yield the lines of the table; the first program measured is the one compared with."""
    measured = [result for result in results if result.is_measured]
    return aligned([_HEAD, *(result.cells(measured[0]) for result in measured)])


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield rows of cells as lines: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *numbers in rows:
        cells = (number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True))
        yield "  ".join([name.ljust(widths[0]), *cells]).rstrip()
