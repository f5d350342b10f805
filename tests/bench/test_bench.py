"""The command: one table of whole processes; what is missing is said, what fails is an error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.measure import ProgramError, cost

_ROOT = Path(__file__).resolve().parents[2]


def _bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", "--frames", "2000", "--runs", "1", *arguments]
    return subprocess.run(
        command, cwd=_ROOT, capture_output=True, text=True, check=False, timeout=120
    )


def test_a_row_of_the_table() -> None:
    done = _bench("--only", "network-pipeline: read")
    assert (done.returncode, done.stderr) == (0, "")
    head, row = done.stdout.splitlines()
    assert head.split()[:3] == ["frames", "start", "s"]
    assert row.startswith("network-pipeline: read  ")
    assert row.split()[2] == "2,000"


def test_missing_peers_are_said(tmp_path: Path) -> None:
    done = _bench("--only", "scapy", "--peers", str(tmp_path))
    assert done.returncode == 0
    assert f"scapy: not in {tmp_path}" in done.stdout


def test_the_cost_of_a_program_is_what_the_kernel_says() -> None:
    work = "import resource; n = sum(range(10**6)); data = bytearray(60 << 20)"
    used = cost([sys.executable, "-c", work])
    assert used.cpu_s > 0
    assert used.peak_mib > 60


def test_a_failing_program_is_an_error_with_its_last_words() -> None:
    with pytest.raises(ProgramError, match="no such luck"):
        cost([sys.executable, "-c", "raise SystemExit('first\\nno such luck')"])
