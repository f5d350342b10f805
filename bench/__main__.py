"""The table: this package and its peers on one capture, in one run.

Every program runs as a process of its own, several times, in turn with the others; what is shown is
the median. What it takes to start is measured on an empty capture and taken off, so that a slice of
the capture, for those that are slow, says as much as the whole.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.contenders import SLICE_FRAMES, Contender, contenders
from bench.measure import Cost, ProgramError, cost

_HEAD = ("", "frames", "start s", "CPU s", "wall s", "peak MiB", "frames/CPU s", "CPU")


#: Less than this above the start is not told from nothing.
_LEAST_CPU_S = 0.01


@dataclass
class Result:
    """What a program cost in each run, on the empty capture and on its own."""

    contender: Contender
    frames: int
    starts: list[Cost] = field(default_factory=list)
    runs: list[Cost] = field(default_factory=list)
    problem: str = ""

    @property
    def start_s(self) -> float:
        """CPU seconds until the first frame, and after the last."""
        return statistics.median(run.cpu_s for run in self.starts)

    @property
    def frame_s(self) -> float:
        """CPU seconds of one frame, without the start."""
        cpu_s = statistics.median(run.cpu_s for run in self.runs)
        return max(cpu_s - self.start_s, _LEAST_CPU_S) / self.frames

    def cells(self, floor: Result | None) -> list[str]:
        """Return the row of the table; ``floor`` is what the last column compares with."""
        wall_s = statistics.median(run.wall_s for run in self.runs)
        return [
            self.contender.name,
            f"{self.frames:,}",
            f"{self.start_s:.2f}",
            f"{self.start_s + self.frame_s * self.frames:.2f}",
            f"{wall_s:.2f}",
            f"{max(run.peak_mib for run in self.runs):.0f}",
            f"{1 / self.frame_s:,.0f}",
            f"x {self.frame_s / floor.frame_s:.2f}" if floor else "",
        ]


def main() -> int:
    """Run as the command line says; return 1 where a program that is there failed."""
    arguments = _arguments()
    slice_frames = min(SLICE_FRAMES, arguments.frames)
    results = [
        Result(contender, slice_frames if contender.is_slow else arguments.frames)
        for contender in contenders(arguments.peers)
        if arguments.only in contender.name
    ]
    with tempfile.TemporaryDirectory(prefix="network-pipeline-bench-") as name:
        out = Path(name)
        captures = {
            frames: _generate(out / f"{frames}.pcap", frames, arguments.seed)
            for frames in {0, *(result.frames for result in results)}
        }
        for _ in range(arguments.runs):
            for result in results:
                _run(result, captures, out)
    print("\n".join(_table([result for result in results if result.runs])))
    for result in results:
        if problem := result.contender.missing or result.problem:
            print(f"{result.contender.name}: {problem}")
    return 1 if any(result.problem for result in results) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000, help="in the capture")
    parser.add_argument("--seed", type=int, default=1, help="of the capture")
    parser.add_argument("--runs", type=int, default=3, help="of every program")
    parser.add_argument("--peers", type=Path, help="a virtual environment with requirements.txt")
    parser.add_argument("--only", default="", help="programs whose name has this in it")
    return parser.parse_args()


def _generate(path: Path, frames: int, seed: int) -> Path:
    command = [sys.executable, "-m", "bench.generate", str(path)]
    subprocess.run([*command, "--frames", str(frames), "--seed", str(seed)], check=True)
    return path


def _run(result: Result, captures: dict[int, Path], out: Path) -> None:
    contender = result.contender
    if contender.missing or result.problem:
        return
    try:
        result.starts.append(cost(contender.run(captures[0], out)))
        result.runs.append(cost(contender.run(captures[result.frames], out)))
    except ProgramError as error:
        result.problem = f"failed: {error}"


def _table(results: Iterable[Result]) -> Iterator[str]:
    measured = [result for result in results if not result.problem]
    floor = measured[0] if measured else None
    rows = [list(_HEAD), *(result.cells(floor) for result in measured)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *numbers in rows:
        cells = (number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True))
        yield "  ".join([name.ljust(widths[0]), *cells])


if __name__ == "__main__":
    sys.exit(main())
