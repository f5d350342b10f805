"""A table of an agent's workers: live on its terminal, and once for who asks from elsewhere.

Both are made of the metrics, so they say the same. The live one is drawn by the supervisor between
its turns. Workers must not write into it: what they say comes through a pipe, and stands above it.
"""

from __future__ import annotations

import contextlib
import io
import os
import selectors
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from http.client import HTTPConnection, HTTPException

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.live import Live
from rich.table import Table

from network_pipeline import agent_metrics
from network_pipeline.errors import NetworkPipelineError
from network_pipeline.seat import Seat
from network_pipeline.watcher import Watcher

#: Seconds between two drawings, and between the two looks that give the paces of ``--status``.
LIVE_SECONDS = 1.0

_ANSWER_SECONDS = 10.0
_PREFIX = "network_pipeline_agent_"
#: Titles, each with its metric. A pace is what was added in a second.
_PACES = {"packets/s": "captured_frames_total", "bytes/s": "captured_bytes_total"}
_COUNTS = {
    "captured": "captured_frames_total",
    "published": "published_frames_total",
    "drops": "kernel_dropped_frames_total",
    "shed": "shed_frames_total",
    "lost": "lost_frames_total",
    "queue": "waiting_messages",
    "spool": "spooled_frames",
    "restarts": "worker_restarts_total",
}

#: Of each worker, the values of its metrics by their names without the prefix.
Figures = Mapping[str, Mapping[str, float]]


def figures(families: Iterable[Metric]) -> Figures:
    """Return the figures of all workers in metrics."""
    found: dict[str, dict[str, float]] = {}
    for family in families:
        for sample in family.samples:
            if sample.name.startswith(_PREFIX) and "worker" in sample.labels:
                name = sample.name.removeprefix(_PREFIX)
                found.setdefault(sample.labels["worker"], {})[name] = sample.value
    return found


def table(now: Figures, before: Figures, seconds: float) -> Table:
    """Return the table of the workers, and of all together where there are several.

    ``before`` are figures that are so many ``seconds`` older.
    """
    made = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_footer=len(now) > 1)
    made.add_column("worker", footer="all")
    rows = {worker: _row(each, before.get(worker, each), seconds) for worker, each in now.items()}
    for place, title in enumerate((*_PACES, *_COUNTS)):
        whole = sum(row[place] for row in rows.values())
        made.add_column(title, footer=_short(whole), justify="right")
    for worker, row in rows.items():
        state = "" if now[worker].get("worker_up") else " down"
        made.add_row(worker + state, *map(_short, row))
    return made


def _row(now: Mapping[str, float], before: Mapping[str, float], seconds: float) -> list[float]:
    paces = [(now.get(name, 0) - before.get(name, 0)) / seconds for name in _PACES.values()]
    return [*paces, *(now.get(name, 0) for name in _COUNTS.values())]


def _short(value: float) -> str:
    """Return a number with at most seven digits: a terminal of 80 columns has no room for more."""
    unit = ""
    for larger in "kMGTP":
        if value < 10_000_000:
            break
        value, unit = value / 1000, larger
    return f"{value:,.0f}{unit}"


class LiveTable(Watcher):
    """Draws the table on the terminal that stderr is; to be made before root is given up."""

    def __init__(self, seats: Sequence[Seat]) -> None:
        _load_what_draws()
        self._counts = agent_metrics.counts(seats)
        self._live = Live(
            console=Console(stderr=True), auto_refresh=False, transient=True, redirect_stdout=False
        )
        self._stderr = sys.stderr
        self._pipe = (-1, -1)
        self._before: tuple[float, Figures] = (0.0, {})

    def open(self, selector: selectors.BaseSelector) -> None:
        """Begin to draw. What is written to stderr stands above the table from now on."""
        self._stderr = sys.stderr
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[0], False)
        selector.register(self._pipe[0], selectors.EVENT_READ, self._say)
        self._live.start()

    def turn(self) -> None:
        """Draw what is the case now, once a second."""
        before, last = self._before
        now = time.monotonic()
        if now - before >= LIVE_SECONDS:
            found = figures(self._counts.collect())
            self._live.update(table(found, last, now - before), refresh=True)
            self._before = (now, found)

    def leave(self) -> None:
        """Let a worker write into the pipe."""
        sys.stderr = self._stderr
        os.dup2(self._pipe[1], sys.stderr.fileno())
        for end in self._pipe:
            os.close(end)

    def close(self) -> None:
        """Take the table away."""
        while self._say():
            pass
        self._live.stop()
        for end in self._pipe:
            os.close(end)

    def _say(self) -> bool:
        """Show what workers have said; return whether there was any."""
        with contextlib.suppress(BlockingIOError):
            said = os.read(self._pipe[0], 65536)
            sys.stderr.write(said.decode(errors="replace"))
            return True
        return False


def _load_what_draws() -> None:
    """Draw into nothing: rich imports parts of itself as it draws, which only root may read."""
    console = Console(file=io.StringIO(), force_terminal=True)
    with Live(console=console, auto_refresh=False) as live:
        sys.stderr.write("worker :zero: says \x1b[1mso\x1b[0m\n")
        live.update(table({"0": {"worker_up": 1.0}, "1": {}}, {}, 1.0), refresh=True)


def ask(place: tuple[str, int]) -> Figures:
    """Return the figures of the agent that serves its metrics at an address and a port.

    Raises:
        NetworkPipelineError: no agent does.
    """
    connection = HTTPConnection(*place, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        found = figures(text_string_to_metric_families(text))
    except OSError as error:
        raise _no_agent(place, error.strerror or str(error)) from None
    except (HTTPException, ValueError):
        raise _no_agent(place, "what answers there is another program") from None
    finally:
        connection.close()
    if not found:
        raise _no_agent(place, "what answers there is another program")
    return found


def print_status(place: tuple[str, int]) -> None:
    """Ask an agent twice, for its paces, and print the table.

    Raises:
        NetworkPipelineError: no agent answers.
    """
    before = ask(place)
    began = time.monotonic()
    time.sleep(LIVE_SECONDS)
    now = ask(place)
    # A pipe has room for all columns.
    console = Console(width=None if sys.stdout.isatty() else 1000)
    console.print(table(now, before, time.monotonic() - began))


def _no_agent(place: tuple[str, int], reason: str) -> NetworkPipelineError:
    return NetworkPipelineError(
        "no network-agent answers on {} port {}: {}; is it running, with this --metrics-address "
        "and --metrics-port?".format(*place, reason)
    )
