"""A partitioned dataset of many inputs: what work makes of each, and what came of all.

Work takes the files of one unit and makes its part files. It is done here or on a cluster
(:mod:`network_pipeline.cluster`), always by the same code, and what comes of it is added up in the
order of the inputs: the files and the figures are the same.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event
from typing import NamedTuple

from network_pipeline import cluster, places
from network_pipeline.capture.file_filter import FileFilter
from network_pipeline.capture.inputs import ENDINGS, Input
from network_pipeline.capture.pcap import DamagedCapture
from network_pipeline.convert import COUNTED, Conversion, Plan, Takes
from network_pipeline.dataset.exports import ParquetExport, packets
from network_pipeline.dataset.partitions import Partitions, is_part, part_name, sweep
from network_pipeline.errors import NetworkPipelineError, UsageError
from network_pipeline.metrics import Counters
from network_pipeline.summary import Summary

_log = logging.getLogger(__name__)


class Unit(NamedTuple):
    """Files whose rows nothing joins with those of other units, in the order to read them."""

    files: tuple[str, ...]

    def __str__(self) -> str:
        first, *others = map(places.shown, self.files)
        return f"{first} and {len(others)} more" if others else first


@dataclass
class Made:
    """What came of a unit: its part and files, counts by name, problems for a person."""

    name: str
    part: str
    files: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    summary: Summary = field(default_factory=Summary)
    without_flow: Counter[str] = field(default_factory=Counter)
    session: str = ""
    problems: list[str] = field(default_factory=list)


Work = Callable[[Unit], Made]


def units_of_captures(names: Sequence[str]) -> list[Unit]:
    """Return capture files as units, each one by itself.

    Raises:
        UsageError: one is not there, or cannot be read again.
    """
    found = places.expand(names, ENDINGS)
    for name in found:
        if not places.is_remote(name) and Path(name).exists() and not Path(name).is_file():
            raise UsageError(f"{name}: only files can be written to partitions")
    return [Unit((name,)) for name in found]


class Outcome:
    """What came of all units; counts go to ``counters``."""

    def __init__(self, counters: Counters) -> None:
        self.counters = counters
        self.summary = Summary()
        self.without_flow: Counter[str] = Counter()
        self.problems: list[str] = []
        self.files: dict[str, list[str]] = {}
        self._sessions: dict[str, Unit] = {}

    def add(self, unit: Unit, made: Made | cluster.Failed) -> None:
        """Take what came of the next unit."""
        if isinstance(made, cluster.Failed):
            reason = str(made.error)
            self._note(f"failed: {reason if str(unit) in reason else f'{unit}: {reason}'}")
            return
        if made.part in self.files:
            _log.warning("%s holds the same as an input before it and is read once", unit)
            return
        if made.session and (other := self._sessions.setdefault(made.session, unit)) != unit:
            self._note(
                f"{unit} and {other} have one size and begin alike, so their frames have the same "
                "session and numbers: make a dataset of each"
            )
        self.files[made.part] = made.files
        for name, count in made.counts.items():
            self.counters.add(name, count)
        self.summary.add(made.summary)
        self.without_flow.update(made.without_flow)
        self.problems += [f"{unit}: {problem}" for problem in made.problems]

    def raise_problems(self) -> None:
        """Raise what was wrong, now that all that was right is written.

        Raises:
            NetworkPipelineError: something was.
        """
        problems = self.problems[:]
        if damaged := ", ".join(each.name for each in self.summary.damaged):
            problems.append(f"damaged: {damaged}; the frames before the damage are rows")
        if problems:
            raise NetworkPipelineError("; ".join(problems))

    def _note(self, problem: str) -> None:
        _log.error("%s", problem)
        self.problems.append(problem)


class Job(NamedTuple):
    """Work on units, and the directories that it writes to."""

    work: Work
    units: Sequence[Unit]
    roots: Sequence[str]


def make(job: Job, address: str, outcome: Outcome) -> None:
    """Make the part files of all units; ``address`` is that of a cluster, if any.

    Raises:
        UsageError: dask is not installed, or a directory cannot be reached.
        NetworkPipelineError: the cluster cannot be reached.
    """
    for unit, made in cluster.results(job.work, job.units, address):
        outcome.add(unit, made)
    for root in job.roots if outcome.files else ():
        for name in sweep(places.directory(root), outcome.files):
            _log.info("%s: of an earlier run, removed", places.shown(name))


@dataclass(frozen=True)
class PacketParts:
    """Makes part files of packets, of one capture file at a time; ``filter`` is its text."""

    root: str
    plan: Plan
    filter: str = ""

    def __call__(self, unit: Unit) -> Made:
        """Make those of one.

        Raises:
            UsageError: it cannot be read.
            DatasetError: rows cannot be written.
        """
        counters = Counters(*COUNTED)
        with opened(unit) as (paths, made):
            with Partitions(self.root, made.part, _begin_packets, "frame_time") as parts:
                convert(paths[0], parts, with_filter(self.plan, self.filter), counters, made)
            made.files = parts.files
        made.counts = counters.snapshot()
        return made


def _begin_packets(path: Path) -> ParquetExport:
    return ParquetExport(path, packets())


@contextmanager
def opened(unit: Unit) -> Iterator[tuple[list[Path], Made]]:
    """Yield the paths of a unit's files on this machine while the block runs, and its part.

    A part is called by the SHA-256 of its file's content; of several files, as they are.

    Raises:
        UsageError: one cannot be read.
    """
    with ExitStack() as stack:
        paths = [stack.enter_context(places.fetched(name)) for name in unit.files]
        yield paths, Made(str(unit), part_of(paths))


def part_of(paths: Sequence[Path]) -> str:
    """Return what the part files of files are called: parts keep their name."""
    first = paths[0]
    return first.name if is_part(first.name) else part_name(places.sha256(first))


def convert(path: Path, takes: Takes, plan: Plan, counters: Counters, made: Made) -> None:
    """Give the rows of a capture file to what takes them, and note what came of it."""
    conversion = Conversion(takes, counters, plan)
    summary = conversion.run([Input(str(path), None)], Event())
    # The file may be a copy, in a directory that is gone soon.
    summary.damaged = [
        DamagedCapture(made.name, each.offset, each.reason) for each in summary.damaged
    ]
    made.summary = summary
    made.session = conversion.session
    made.problems = list(plan.filter.problems) if plan.filter else []


def with_filter(plan: Plan, text: str) -> Plan:
    """Return a plan with a filter of its own: what it compiled is of one process."""
    return replace(plan, filter=FileFilter(text)) if text else plan
