"""Two processors on one queue, of which one is killed or does not answer for a while."""

from __future__ import annotations

import signal
import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.faults.pipeline import TALKATIVE, Pipeline, assert_nothing_is_missing


def dedupe(pipeline: Pipeline, tmp_path: Path) -> Path:
    """Put the files of all processors into one."""
    output = tmp_path / "copy" / "all.csv"
    output.parent.mkdir()
    program = Path(sysconfig.get_path("scripts")) / "network-pipeline"
    subprocess.run([program, "dedupe", pipeline.rows, "--output", output], check=True)
    return output


def assert_complete_after_dedupe(pipeline: Pipeline, tmp_path: Path) -> int:
    """Return how many rows there were twice, once nothing is missing and no row is there twice."""
    verdict = pipeline.settle()
    again = verdict.total("duplicate")
    assert verdict.code == int(again > 0)
    assert len(verdict.complaints) == int(again > 0)
    copy = dedupe(pipeline, tmp_path)
    pipeline.rows = copy.parent
    assert_nothing_is_missing(pipeline, pipeline.verify("--final", names=(copy,)))
    return again


def test_one_of_two_processors_is_killed(pipeline: Pipeline, tmp_path: Path) -> None:
    first, _ = pipeline.process("--name", "one"), pipeline.process("--name", "two")
    pipeline.capture()
    with pipeline.traffic(500):
        pipeline.await_more_rows()
        first.await_file()
        first.kill()
        pipeline.await_more_rows()
    assert_complete_after_dedupe(pipeline, tmp_path)


@pytest.mark.parametrize("server", ["redis"], indirect=True)
def test_what_a_frozen_processor_writes_after_all_is_there_twice(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    # One that waits for a snapshot, and is taken for dead after its lease.
    slow = pipeline.process("--name", "one", "--save-after-num", "9999",
                            "--save-after-seconds", "60", constants=TALKATIVE)  # fmt: skip
    pipeline.capture()
    pipeline.send(200)
    slow.await_word("received=200 ", 1)
    slow.signal(signal.SIGSTOP)
    pipeline.process("--name", "two")
    pipeline.await_rows(200)
    slow.signal(signal.SIGCONT)
    slow.end()
    assert assert_complete_after_dedupe(pipeline, tmp_path) == 200
