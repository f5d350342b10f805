"""The live bench: its generator, its search, and one short run on real devices."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from bench import generate
from bench.live import Bench, Contender, Trial
from bench.live_targets import AGENT, SCAPY, TCPDUMP, targets
from bench.programs import flood
from tests import needs, netns

ROOT = Path(__file__).resolve().parents[2]


def test_every_frame_of_the_generator_arrives(tmp_path: Path) -> None:
    path = tmp_path / "traffic.pcap"
    generate.write(path, 1_000, seed=1)
    frames = flood.frames_of(str(path))
    assert len(frames) == 1_000
    assert {frame[:6].hex() for frame in frames} == {"020000000099"}
    with netns.veth_pair() as (left, right), left.entered():
        sent, took = flood.flood(str(path), "veth0", 5_000, 0.5)
        received = subprocess.check_output(
            right.command("cat", "/sys/class/net/veth0/statistics/rx_packets"), text=True
        )
    assert 2_000 <= sent <= 2_700
    assert took >= 0.5
    assert int(received) == sent


def test_the_highest_rate_without_a_loss_is_searched_for() -> None:
    def lose_above_100_000(_bench: Bench, rate: float) -> Trial:
        sent = int(rate or 400_000)
        return Trial(sent, 1.0, min(sent, 100_000), 0.5)

    contender = Contender("some", lose_above_100_000)
    Bench.highest(cast(Bench, None), contender, steps=12, most=400_000)
    assert contender.best
    assert 95_000 <= contender.best.rate <= 100_000
    assert contender.cells()[-1] == ""
    always = Contender("all", lambda _bench, _rate: Trial(9, 1.0, 9, 18e-6))
    Bench.highest(cast(Bench, None), always, steps=12, most=400_000)
    assert always.cells() == ["all", "9", "2.00", "all that was sent"]


def test_targets_are_met_or_not_or_not_measured() -> None:
    best = {AGENT: Trial(200, 1.0, 200, 0.0004), TCPDUMP: Trial(1_000, 1.0, 1_000, 0.0)}
    lines = [line.split() for line in targets(best)][1:]
    assert lines[0][-3:] == ["us", "2.00", "met"]
    assert lines[1][-3:] == ["measured:", *SCAPY.split()]
    assert lines[2][-4:] == ["x", "0.20", "not", "met"]


@pytest.mark.parametrize("only", ["our ring", "to CSV"])
def test_a_short_run(only: str) -> None:
    if os.geteuid() != 0:
        needs.lacking("root")
    done = subprocess.run(
        [sys.executable, "-m", "bench.live", "--seconds", "0.5", "--steps", "1", "--only", only],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    head, row, generator = done.stdout.splitlines()
    assert head.split() == ["loss-free", "packets/s", "CPU", "us", "a", "packet"]
    assert only in row
    assert generator.startswith("the generator alone: ")
