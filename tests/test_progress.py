"""Progress on a real terminal, and the lines where there is none."""

from __future__ import annotations

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from network_pipeline.capture.pcap import CaptureFile
from tests.capture.capture_files import Pcap

_SCRIPT = """
import logging, sys, threading
from network_pipeline import logs, progress
from network_pipeline.capture.inputs import Input
from network_pipeline.metrics import Counters

progress.LIVE_SECONDS = 0.01
size = int(sys.argv[1])
counters = Counters("frames", "rows")
logs.setup(None, None, name="test")
shown = threading.Event()
asked = 0

def reading():
    global asked
    asked += 1
    if asked > 3:
        shown.set()
    return "/captures/[red]one.pcap", 250

files = [Input("one", size if size else None)]
with progress.FileReport("packets-pcap", counters, files, reading):
    counters.add("frames", 1234)
    if sys.stderr.isatty():
        shown.wait(60)
    logging.getLogger("network_pipeline").error("a damaged file")
"""


def on_terminal(size: int) -> str:
    """Return what the script writes to a terminal."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "NO_COLOR": "1"}
    command = [sys.executable, "-c", _SCRIPT, str(size)]
    process = subprocess.Popen(command, stderr=theirs, stdout=theirs, env=environment)
    os.close(theirs)
    written = b""
    with contextlib.suppress(OSError):  # how Linux says that a terminal has nobody left
        while piece := os.read(ours, 65_536):
            written += piece
    os.close(ours)
    assert process.wait(60) == 0
    return written.decode()


def test_a_bar_over_the_bytes_of_all_files() -> None:
    shown = on_terminal(1000)
    assert "[red]one.pcap" in shown  # as it is: no markup
    assert "25%" in shown
    assert "1,234 frames" in shown
    assert "a damaged file" in shown


def test_no_percentage_where_nobody_knows_how_much_comes() -> None:
    shown = on_terminal(0)
    assert "1,234 frames" in shown
    assert "%" not in shown


@pytest.mark.parametrize("size", [0, 1000])
def test_lines_where_there_is_no_terminal(size: int) -> None:
    command = [sys.executable, "-c", _SCRIPT, str(size)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == ""
    assert "one.pcap" not in done.stderr
    assert done.stderr.rstrip().endswith("packets-pcap ended: frames=1234 rows=0")


def test_a_file_knows_how_much_of_it_was_read(tmp_path: Path) -> None:
    built = Pcap()
    built.frame(100)
    path = tmp_path / "x.pcap"
    path.write_bytes(built.data)
    with CaptureFile(path) as capture:
        assert capture.position == 0
        assert len(list(capture)) == 1
        assert capture.position == len(built.data)
