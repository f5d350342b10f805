"""How far the reading of capture files is: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from network_pipeline.capture.inputs import Input
from network_pipeline.metrics import Counters
from network_pipeline.report import LIVE_SECONDS, Report


class FileReport(Report):
    """A report with a bar over the bytes of all files, where those of each are known.

    ``reading`` returns the name of the file that is read and how many bytes were, of all of them.
    """

    def __init__(
        self,
        name: str,
        counters: Counters,
        files: Sequence[Input],
        reading: Callable[[], tuple[str, int]],
    ) -> None:
        super().__init__(name, counters)
        sizes = [file.size for file in files if file.size is not None]
        self._total = sum(sizes) if len(sizes) == len(files) else None
        self._reading = reading

    def _show_live(self) -> None:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            *((BarColumn(), TaskProgressColumn()) if self._total else ()),
            TextColumn("{task.fields[frames]:,} frames, {task.fields[pace]:,.0f}/s"),
            TimeElapsedColumn(),
            *((TimeRemainingColumn(),) if self._total else ()),
        )
        with Progress(
            *columns, console=Console(stderr=True), transient=True, auto_refresh=False
        ) as bar:
            task = bar.add_task("", total=self._total, frames=0, pace=0.0)
            before, last = time.monotonic(), 0
            while not self._ended.wait(LIVE_SECONDS):
                now, frames = time.monotonic(), self._counters["frames"]
                name, position = self._reading()
                bar.update(
                    task,
                    description=Path(name).name,
                    completed=position,
                    frames=frames,
                    pace=(frames - last) / (now - before),
                    refresh=True,
                )
                before, last = now, frames
