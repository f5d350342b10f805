"""How much memory the live pipeline holds over time, at a steady rate.

    python -m bench.memory --seconds 1200 --rate 100000

Frames go through the agent, Redis and a processor as in :mod:`bench.live`. Every so often it says
what each process holds (VmRSS of /proc/PID/status, without what is only shared: the rings) and how
many rows there are; files of rows that are whole are counted and removed, or the disk would fill.
In the end every frame that was sent is a row or was counted as lost, or the bench fails.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from bench import machine
from bench.live import Bench, check
from bench.pipeline import Pipeline
from bench.results import aligned
from tests.netns import veth_pair

_ROWS_OF_A_FILE = 1_000_000


def held(pid: int) -> float:
    """Return the private memory that a process holds, in MB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)
           if name in ("RssAnon", "RssFile")}  # fmt: skip
    return sum(kib.values()) / 1024


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


class Watch:
    """Takes a line of the table at a time: minutes, rows, MB of each process."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._began = time.monotonic()
        self._workers = children(pipeline.agent_pid)
        self.rows = 0

    def head(self) -> list[str]:
        """Return what the columns are."""
        workers = [f"worker {number}" for number in range(len(self._workers))]
        return ["minutes", "rows", "supervisor", *workers, "processor", "Redis"]

    def line(self) -> list[str]:
        """Return the values of now."""
        self.rows += self._pipeline.take_rows()
        pids = [self._pipeline.agent_pid, *self._workers,
                self._pipeline.processor_pid, self._pipeline.redis_pid]  # fmt: skip
        minutes = (time.monotonic() - self._began) / 60
        return [f"{minutes:.1f}", f"{self.rows:,}", *(f"{held(pid):.1f}" for pid in pids)]


def main() -> int:
    """Run as the command line says."""
    arguments = _arguments()
    with veth_pair() as (left, right), tempfile.TemporaryDirectory(prefix="np-memory-") as name:
        Path(name).chmod(0o755)
        bench = Bench(left, right, Path(name), arguments.seconds, arguments.workers)
        with Pipeline(right, Path(name), arguments.workers) as pipeline:
            pipeline.start_processor("--rotate-after-rows", str(_ROWS_OF_A_FILE))
            watch = Watch(pipeline)
            table = [watch.head()]
            sent = _watched(bench, arguments.rate, watch, table, arguments.every)
            pipeline.end_agent()
            pipeline.end_processor(watch.rows)
    check(pipeline.counts, sent)
    print(*aligned(table), "", *machine.lines(None), sep="\n")
    print(f"{sent:,} frames at {arguments.rate:,.0f}/s, {pipeline.rows:,} rows")
    return 0 if pipeline.rows == pipeline.counts["published"] else 1


def _watched(bench: Bench, rate: float, watch: Watch, table: list[list[str]], every: float) -> int:
    """Send frames, and note a line every so often; return how many were sent."""
    sent: list[int] = []
    sender = threading.Thread(target=lambda: sent.append(bench.flood(rate)[0]))
    sender.start()
    while sender.is_alive():
        sender.join(every)
        table.append(watch.line())
        print(*table[-1], file=sys.stderr, flush=True)
    if not sent:
        raise subprocess.SubprocessError("the generator failed")
    return sent[0]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("--seconds", type=float, default=1200.0, help="that frames are sent for")
    parser.add_argument("--rate", type=float, default=100_000.0, help="frames a second")
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two lines")
    parser.add_argument("--workers", type=int, default=1, help="of network-agent")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
