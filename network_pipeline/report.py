"""How the counts of a command move: live figures on a terminal, else a line now and then."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from network_pipeline.metrics import Counters

#: Seconds between two lines where no terminal shows live figures.
INTERVAL_SECONDS = 10.0
LIVE_SECONDS = 0.5

_log = logging.getLogger(__name__)


class Report:
    """Reports counters while its block runs, and their totals when it ends.

    The first counter's pace is shown beside it. ``gauges`` gives what goes up and down, such as
    the messages that wait. A line is logged only if something moved since the last one.
    """

    def __init__(
        self, name: str, counters: Counters, gauges: Callable[[], Mapping[str, int]] = dict
    ) -> None:
        self._name = name
        self._counters = counters
        self._gauges = gauges
        self._ended = threading.Event()
        self._last: tuple[float, dict[str, int]] = (0.0, {})
        live = sys.stderr.isatty()
        self._thread = threading.Thread(
            target=self._show_live if live else self._log_lines, name="report", daemon=True
        )

    def __enter__(self) -> Report:
        self._last = (time.monotonic(), self._counters.snapshot())
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        _log.info("%s ended: %s", self._name, self._counters)

    def _log_lines(self) -> None:
        while not self._ended.wait(INTERVAL_SECONDS):
            if self._counters.snapshot() != self._last[1]:
                _log.info("%s", self._line())

    def _show_live(self) -> None:
        console = Console(stderr=True)
        with Live(console=console, transient=True, auto_refresh=False) as live:
            while not self._ended.wait(LIVE_SECONDS):
                live.update(Text(self._line()), refresh=True)

    def _line(self) -> str:
        """Return the counts with the pace of the first since the last line."""
        now, counts = time.monotonic(), self._counters.snapshot()
        before, last = self._last
        self._last = (now, counts)
        first = next(iter(counts))
        pace = (counts[first] - last[first]) / max(now - before, 1e-9)
        parts = [f"{name}={count:,}" for name, count in {**counts, **self._gauges()}.items()]
        return f"{self._name}: {' '.join(parts)} ({pace:,.0f} {first}/s)"
