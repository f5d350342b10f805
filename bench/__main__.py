"""This package and its peers on the same traffic, in one run: a table, and what it is to reach.

Every program runs as a process of its own, several times, in turn with the others, all on one
core; what is shown is the median. Its rows are counted after every run. What it takes to start is
measured on a single frame and taken off, so that a slice of the capture, for those that are slow,
says as much as the whole.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import machine, results, targets
from bench.contenders import Contender, contenders
from bench.inputs import Inputs
from bench.measure import Cost, ProgramError, cost
from bench.results import Result


def main() -> int:
    """Run as the command line says; return 1 where a program that is there failed."""
    arguments = _arguments()
    chosen = [each for each in contenders(arguments.peers) if arguments.only in each.name]
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="network-pipeline-bench-") as name:
        inputs = Inputs(Path(name), arguments.frames, arguments.seed)
        measured = [Result(each, inputs.frames(each.reads)) for each in chosen]
        for turn in range(arguments.runs):
            for result in measured:
                if _takes_part(result, turn):
                    _say(f"run {turn + 1} of {arguments.runs}: {result.contender.name}")
                    _run(result, inputs)
    _print(measured, arguments)
    return 1 if any(result.problem for result in measured) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000, help="in a capture")
    parser.add_argument("--seed", type=int, default=1, help="of the first capture")
    parser.add_argument("--runs", type=int, default=3, help="of every program")
    parser.add_argument("--peers", type=Path, help="a virtual environment with requirements.txt")
    parser.add_argument("--only", default="", help="programs whose name has this in it")
    return parser.parse_args()


def _takes_part(result: Result, turn: int) -> bool:
    contender = result.contender
    return not (contender.missing or result.problem or (contender.is_long and turn))


def _say(text: str) -> None:
    if sys.stderr.isatty():
        print(text, file=sys.stderr)


def _run(result: Result, inputs: Inputs) -> None:
    contender = result.contender
    try:
        start, _ = _cost(contender, inputs.least(contender.reads))
        run, result.rows = _cost(contender, inputs.files(contender.reads))
    except ProgramError as error:
        result.problem = f"failed: {error}"
        return
    result.starts.append(start)
    result.runs.append(run)
    if result.rows != result.frames and not (contender.is_partial and result.rows):
        result.problem = f"failed: {result.rows} rows of {result.frames} frames"


def _cost(contender: Contender, files: list[Path]) -> tuple[Cost, int]:
    """Return what a run cost and how many rows it has made; nothing of it is kept."""
    with tempfile.TemporaryDirectory(dir=files[0].parent) as name:
        out = Path(name)
        printed = out / "printed"
        used = cost(contender.run(files, out), printed)
        return used, contender.count(printed, out)


def _print(measured: Sequence[Result], arguments: argparse.Namespace) -> None:
    print("\n".join(results.table(measured)))
    for result in measured:
        if problem := result.contender.missing or result.problem:
            print(f"{result.contender.name}: {problem}")
    if not arguments.only:
        print("", *targets.table(measured), "", *machine.lines(arguments.peers), sep="\n")
        print(f"{arguments.runs} runs on one core, seed {arguments.seed}")


if __name__ == "__main__":
    sys.exit(main())
