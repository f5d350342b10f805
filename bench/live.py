"""How many packets a second can be captured without losing one: this package and its peers.

    python -m bench.live

Two network namespaces are joined by a veth pair. A generator sends frames of the bench's capture on
one end, each program captures on the other. The highest rate at which every frame that was sent
arrives is searched for each, halving the interval between rates, on a scale of factors. What was
sent is compared with what a program says that it saw, or with the rows in the dataset; what the
agent did not see it must have counted, or the bench fails. Of the whole pipeline ``network-pipeline
verify`` must say the same, worker by worker.

CPU time is that of the program and its children, when it has ended, without what it takes to start.
What the kernel does for it when a frame arrives is charged to the generator, here as elsewhere.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bench import machine
from bench.live_targets import AGENT, SCAPY, TCPDUMP, targets
from bench.pipeline import Pipeline
from bench.programs.flood import FRAMES
from bench.results import aligned
from tests.netns import Namespace, veth_pair

DEVICE = "veth0"
PIPELINE = "network-agent to Redis to CSV"
RING = "our ring, decoding nothing"

_LEAST_RATE = 500.0
_READY_SECONDS = 30.0
_QUIET_SECONDS = 1.0


class Trial(NamedTuple):
    """What came of one rate: frames sent, seconds that took, frames counted, CPU seconds."""

    sent: int
    seconds: float
    seen: int
    cpu_s: float

    @property
    def rate(self) -> float:
        """Frames sent in a second, which may be fewer than were asked for."""
        return self.sent / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU time of a frame."""
        return self.cpu_s / max(self.seen, 1) * 1e6


#: Runs a program while frames are sent at a rate.
Run = Callable[["Bench", float], Trial]


@dataclass
class Contender:
    """A program, how it is run, and the trials that lost nothing, and those that did."""

    name: str
    run: Run
    best: Trial | None = None
    lossy: list[Trial] = field(default_factory=list)

    def cells(self) -> list[str]:
        """Return the row of the table."""
        if self.best is None:
            return [self.name, "0", "", ""]
        worse = min((trial.rate for trial in self.lossy), default=math.inf)
        bound = "" if worse < math.inf else "all that was sent"
        return [self.name, f"{self.best.rate:,.0f}", f"{self.best.cpu_us:.2f}", bound]


class Bench:
    """Two namespaces, and the generator between them."""

    def __init__(
        self, left: Namespace, right: Namespace, directory: Path, seconds: float, workers: int
    ) -> None:
        self.right = right
        self.directory = directory
        self.workers = workers
        self._left = left
        self._seconds = seconds
        self._capture = directory / "traffic.pcap"
        _python("bench.generate", str(self._capture), f"--frames={FRAMES}")

    def flood(self, rate: float, seconds: float = 0.0) -> tuple[int, float]:
        """Send at a rate, 0 for as fast as it goes; return frames and seconds."""
        command = (
            sys.executable, "-m", "bench.programs.flood", str(self._capture), DEVICE, str(rate),
            str(seconds or self._seconds),
        )  # fmt: skip
        sent, took = subprocess.check_output(self._left.command(*command), text=True).split()
        return int(sent), float(took)

    def highest(self, contender: Contender, steps: int, most: float) -> None:
        """Search for the highest rate without a loss."""
        low, high, rate = math.log(_LEAST_RATE), math.log(most), 0.0
        for _ in range(steps):
            trial = contender.run(self, rate)
            _say(f"{contender.name}: {trial.rate:,.0f}/s, {trial.sent - trial.seen:,} lost")
            if trial.seen == trial.sent:
                if contender.best is None or trial.rate > contender.best.rate:
                    contender.best = trial
                low = max(low, math.log(trial.rate))
                if rate == 0:
                    return
            else:
                contender.lossy.append(trial)
                high = min(high, math.log(trial.rate))
            rate = math.exp((low + high) / 2)


# -- programs --------------------------------------------------------------------------------------


def program(command: Sequence[str], ready: str, counted: str) -> Run:
    """Return what runs a program that says when it is ``ready``, and at its end what it counted."""

    def run(bench: Bench, rate: float) -> Trial:
        _, idle_s, _ = _measured(bench, command, ready, lambda: (0, 0.0))
        said, cpu_s, (sent, took) = _measured(bench, command, ready, lambda: bench.flood(rate))
        found = re.search(counted, said, re.MULTILINE)
        return Trial(sent, took, int(found[1]) if found else 0, max(cpu_s - idle_s, 0.0))

    return run


def _measured(
    bench: Bench, command: Sequence[str], ready: str, send: Callable[[], tuple[int, float]]
) -> tuple[str, float, tuple[int, float]]:
    """Return what a program said in all, its CPU seconds, and what was sent."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            bench.right.command(*command), stdout=output, stderr=subprocess.STDOUT
        )
        deadline = time.monotonic() + _READY_SECONDS

        def said() -> str:
            return os.pread(output.fileno(), 1 << 20, 0).decode(errors="replace")

        while ready not in said():
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(f"{command[0]} is not ready: {said()}")
            time.sleep(0.02)
        sent = send()
        time.sleep(_QUIET_SECONDS)
        process.send_signal(signal.SIGINT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return said(), usage.ru_utime + usage.ru_stime, sent


def agent(bench: Bench, rate: float) -> Trial:
    """Run the agent alone: a frame counts when the broker has it."""
    idle = _piped(bench, lambda: (0, 0.0), has_processor=False)
    used = _piped(bench, lambda: bench.flood(rate), has_processor=False)
    return used._replace(cpu_s=max(used.cpu_s - idle.cpu_s, 0.0))


def whole_pipeline(bench: Bench, rate: float) -> Trial:
    """Run the whole pipeline: a frame counts when it is a row."""
    idle = _piped(bench, lambda: (0, 0.0), has_processor=True)
    used = _piped(bench, lambda: bench.flood(rate), has_processor=True)
    return used._replace(cpu_s=max(used.cpu_s - idle.cpu_s, 0.0))


def _piped(bench: Bench, send: Callable[[], tuple[int, float]], *, has_processor: bool) -> Trial:
    with Pipeline(bench.right, bench.directory, bench.workers) as pipeline:
        if has_processor:
            pipeline.start_processor()
        sent, took = send()
        pipeline.end_agent()
        if has_processor:
            pipeline.end_processor()
            check_workers(pipeline.verify() if sent else [], sent)
    check(pipeline.counts, sent)
    seen = pipeline.rows if has_processor else pipeline.counts["published"]
    return Trial(sent, took, seen, pipeline.agent_cpu_s + pipeline.processor_cpu_s)


def contenders() -> list[Contender]:
    """Return all of them, ours first."""
    reader = (sys.executable, "-m", "bench.programs.live_readers")
    return [
        Contender(PIPELINE, whole_pipeline),
        Contender(AGENT, agent),
        Contender(RING, program((*reader, "ring", DEVICE), "ready", r"^(\d+)$")),
        Contender(TCPDUMP, program(("tcpdump", "-i", DEVICE, "-w", "/dev/null"), "listening on",
                                   r"^(\d+) packets captured")),
        Contender("dumpcap -w /dev/null", program(
            ("dumpcap", "-q", "-P", "-i", DEVICE, "-w", "/dev/null"), "File: ",
            r"Packets captured: (\d+)")),
        Contender("plain recv loop", program((*reader, "recv", DEVICE), "ready", r"^(\d+)$")),
        Contender(SCAPY, program((*reader, "scapy", DEVICE), "ready", r"^(\d+)$")),
    ]  # fmt: skip


def check(counts: Mapping[str, int], sent: int) -> None:
    """See that every frame that was sent was published, or is in one count of losses."""
    settled = sum(counts[name] for name in ("published", "kernel_dropped", "shed", "lost"))
    if not sent == counts["captured"] == settled:
        raise RuntimeError(f"{sent} frames were sent, and counted: {counts}")


def check_workers(accounts: Sequence[Mapping[str, Any]], sent: int) -> None:
    """See that every frame that was sent is a row of its worker's, or in a count of its losses."""
    settled = sum(
        each[name] for each in accounts for name in ("rows", "shed", "died", "kernel_dropped")
    )
    if settled != sent:
        raise RuntimeError(f"{sent} frames were sent, and became: {accounts}")


# -- the command -----------------------------------------------------------------------------------


def main() -> int:
    """Run as the command line says."""
    arguments = _arguments()
    chosen = [each for each in contenders() if arguments.only in each.name]
    with veth_pair() as (left, right), tempfile.TemporaryDirectory(prefix="np-live-") as name:
        Path(name).chmod(0o755)
        bench = Bench(left, right, Path(name), arguments.seconds, arguments.workers)
        sent, took = bench.flood(0, 2.0)
        most = sent / took
        for contender in chosen:
            bench.highest(contender, arguments.steps, most)
    head = ("", "loss-free packets/s", "CPU us a packet", "")
    print(*aligned([head, *(each.cells() for each in chosen)]), sep="\n")
    print(f"the generator alone: {most:,.0f} packets/s")
    if not arguments.only:
        best = {each.name: each.best for each in chosen if each.best}
        print("", *targets(best), "", *machine.lines(None), sep="\n")
        print(f"{arguments.seconds:g} s a rate, {arguments.workers} workers")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.live", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, help="that each rate is sent for")
    parser.add_argument("--steps", type=int, default=8, help="rates that are tried at most")
    parser.add_argument("--workers", type=int, default=1, help="of network-agent")
    parser.add_argument("--only", default="", help="programs whose name has this in it")
    return parser.parse_args()


def _python(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], check=True)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
