"""The bench of memory: one short run on real devices."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests import needs

_ROOT = Path(__file__).resolve().parents[2]


def test_every_frame_is_a_row_and_every_process_has_a_column() -> None:
    if shutil.which("redis-server") is None:
        needs.lacking("redis-server")
    command = [sys.executable, "-m", "bench.memory", "--seconds=1", "--rate=2000", "--every=0.5"]
    done = subprocess.run(
        command, cwd=_ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["minutes", "rows", "supervisor", "worker", "0", "processor", "Redis"]
    held = [float(each) for each in lines[0].split()[2:]]
    assert len(held) == 4
    assert all(1 < each < 1000 for each in held)
    counts = re.fullmatch(r"(\S+) frames at 2,000/s, (\S+) rows", lines[-1])
    assert counts
    assert counts[1] == counts[2]
