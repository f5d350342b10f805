"""The command: tables of whole processes; what is missing is said, what fails is an error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench import targets
from bench.contenders import Contender, contenders
from bench.inputs import Reads
from bench.measure import Cost, ProgramError, cost
from bench.results import Result, cpu_ratio

_ROOT = Path(__file__).resolve().parents[2]


def _bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", "--runs", "1", *arguments]
    return subprocess.run(
        command, cwd=_ROOT, capture_output=True, text=True, check=False, timeout=300
    )


def _result(
    name: str, frames: int, *runs: float, start_s: float = 0.0, peak_mb: float = 0
) -> Result:
    contender = Contender(name, (), Reads.CAPTURE, lambda _printed, _out: frames)
    starts = [Cost(start_s, start_s, peak_mb)] * len(runs)
    return Result(contender, frames, frames, starts, [Cost(run, run, peak_mb) for run in runs])


def test_every_own_program_has_a_row_for_every_frame() -> None:
    done = _bench("--frames", "300", "--only", "network-pipeline: ")
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows = done.stdout.splitlines()
    assert head.split()[:4] == ["frames", "rows", "start", "s"]
    own = [each.name for each in contenders(None) if each.name.startswith("network-pipeline: ")]
    assert len(own) == 14
    for name, row in zip(own, rows, strict=True):
        frames = "3,000" if "of 10 " in name else "300"
        assert row.startswith(f"{name}  ")
        assert row.removeprefix(name).split()[:2] == [frames, frames]


def test_missing_peers_are_said(tmp_path: Path) -> None:
    done = _bench("--frames", "10", "--only", "scapy", "--peers", str(tmp_path))
    assert done.returncode == 0
    assert f"scapy: not in {tmp_path}" in done.stdout


def test_a_program_that_loses_frames_has_failed(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib/python3/site-packages/dpkt").mkdir(parents=True)
    python = tmp_path / "bin/python"
    python.write_text("#!/bin/sh\necho 7\n")
    python.chmod(0o700)
    done = _bench("--frames", "10", "--only", "dpkt", "--peers", str(tmp_path))
    assert done.returncode == 1
    assert "dpkt: failed: 7 rows of 10 frames" in done.stdout


def test_the_start_is_taken_off_and_the_median_counts() -> None:
    result = _result("one", 100, 1.5, 9.0, 2.5, start_s=0.5)
    assert result.start_s == 0.5
    assert result.frame_s == pytest.approx(0.02)
    assert cpu_ratio(result, _result("other", 100, 1.0, 1.0, 1.0)) == pytest.approx(2.0)


def test_targets_are_met_or_not_or_not_measured() -> None:
    lines = list(
        targets.table(
            [
                _result("tcpdump -w /dev/null", 1000, 0.2),
                _result("network-pipeline: decode", 1000, 0.5),
                _result("network-pipeline: packets-pcap x.csv, payload 64", 1000, 1.0, peak_mb=401),
            ]
        )
    )
    assert len(lines) == 1 + len(targets.TARGETS)
    assert lines[0].split() == ["targets", "asked", "measured"]
    assert lines[1].split()[-5:] == ["<=", "3", "x", "2.50", "met"]
    assert lines[2].endswith("not measured: no scapy")
    assert lines[3].split()[-6:] == ["400,000", "frames/CPU", "s", "1,000", "not", "met"]
    assert lines[6].split()[-6:] == ["<=", "400", "MB", "401", "not", "met"]


def test_the_cost_of_a_program_is_what_the_kernel_says(tmp_path: Path) -> None:
    work = "import resource; n = sum(range(10**6)); data = bytearray(60 << 20); print('done')"
    used = cost([sys.executable, "-c", work], tmp_path / "printed")
    assert used.cpu_s > 0
    assert used.peak_mb > 62
    assert (tmp_path / "printed").read_text() == "done\n"


def test_a_failing_program_is_an_error_with_its_last_words() -> None:
    with pytest.raises(ProgramError, match="no such luck"):
        cost([sys.executable, "-c", "raise SystemExit('first\\nno such luck')"])
