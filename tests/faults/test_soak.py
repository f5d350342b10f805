"""Ten minutes of random faults, and not one frame that nobody can account for.

Run by hand: ``pytest -m soak tests/faults/test_soak.py -s --soak-seed 7``.
"""

from __future__ import annotations

import os
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import polars as pl
import pytest

from network_pipeline.privileges import NOBODY
from network_pipeline.settings import BrokerSettings
from tests import netns
from tests.broker.conftest import unique_queue
from tests.dataset import tmpfs
from tests.faults.cable import Cable, server_of
from tests.faults.pipeline import Pipeline, Verdict
from tests.faults.soak import Disk, Soak

ROWS_KIB, SPOOL_KIB = 4 * 1024 * 1024, 1024 * 1024
#: Of the frames, those that the slower engine takes.
NESTED_PART = 20


class Site:
    """Two hosts with a cable between them, all that is on them, and disks of their own."""

    def __init__(self, kind: str, directory: Path, spool: Path, stack: ExitStack) -> None:
        near, far = stack.enter_context(netns.veth_pair())
        self.cable = Cable(near, far)
        self.server = server_of(kind, directory)
        stack.callback(self.server.close)
        with far.entered():
            self.server.start()
        rows = stack.enter_context(tmpfs.mounted(directory / "disk", ROWS_KIB))
        waiting = stack.enter_context(tmpfs.mounted(spool / "disk", SPOOL_KIB))
        os.chown(waiting, *NOBODY)
        self.disks = (Disk(rows, ROWS_KIB), Disk(waiting, SPOOL_KIB))
        broker = BrokerSettings(self.server.url, unique_queue())
        self.pipelines = []
        for name in ("columnar", "nested"):
            (directory / name).mkdir()
            made = Pipeline(broker, directory / name, waiting, near=near, far=far, constants={})
            made.rows = rows
            stack.callback(made.close)
            self.pipelines.append(made)


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path, spool: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(request.param, tmp_path, spool, stack)


def settle(site: Site) -> Verdict:
    columnar, nested = site.pipelines
    for part in nested.captures:
        if part.runs:
            part.end()
    return columnar.settle()


def deduped(rows: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "copy" / "all.csv"
    copy.parent.mkdir()
    program = Path(sysconfig.get_path("scripts")) / "network-pipeline"
    subprocess.run([program, "dedupe", rows, "--output", copy], check=True)
    return copy


def summary(verdict: Verdict) -> str:
    names = ("frames", "rows", "duplicate", "rejected", "shed", "died", "kernel_dropped",
             "unexplained")  # fmt: skip
    counts = " ".join(f"{name}={verdict.total(name):,}" for name in names)
    states = [str(session["agent"]) for session in verdict.sessions]
    agents = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    return f"{counts}; sessions: {agents}; unnamed rejected: {verdict.unnamed_rejected}"


@pytest.mark.soak
@pytest.mark.parametrize("site", ["redis", "rabbitmq"], indirect=True)
def test_random_faults_leave_nothing_unexplained(
    site: Site,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seconds, seed, rate = (pytestconfig.getoption(f"--soak-{name}")
                           for name in ("seconds", "seed", "rate"))  # fmt: skip
    columnar, nested = site.pipelines
    soak = Soak(columnar, nested, server=site.server, cable=site.cable, disks=site.disks, seed=seed)
    with columnar.traffic(rate), nested.traffic(rate // NESTED_PART):
        soak.run(seconds)
    verdict = settle(site)
    copy = deduped(columnar.rows, tmp_path)
    after = columnar.verify("--final", names=(copy,))
    with capsys.disabled():
        print(f"\nseed {seed}, {columnar.sent + nested.sent:,} datagrams sent")
        print(soak.report())
        print(f"{len(soak.faults)} faults", verdict.text, summary(verdict), sep="\n")
        print("after dedupe:", after.text, summary(after), sep="\n")
        print(*verdict.complaints, *after.complaints, sep="\n")
    assert (after.code, after.complaints) == (0, [])
    assert all("duplicate rows" in complaint for complaint in verdict.complaints)
    assert verdict.total("unexplained") == 0
    lost = after.total("rejected", "shed", "died")
    assert after.total("rows") == after.total("frames") - lost
    assert not is_any_datagram_there_twice(copy)
    assert len(soak.faults) >= seconds / 24
    assert after.total("frames") >= rate * seconds / 2


def is_any_datagram_there_twice(copy: Path) -> bool:
    """Whether two rows of one session have the same payload, whatever their numbers are."""
    rows = pl.scan_csv(copy, infer_schema=False).select("session", "raw_load")
    return bool(rows.select(pl.struct(pl.all()).is_duplicated().any()).collect().item())
