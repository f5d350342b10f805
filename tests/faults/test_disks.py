"""Disks that fill up under a processor and under a spool, and have room again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from network_pipeline.privileges import NOBODY
from tests import servers
from tests.dataset import tmpfs
from tests.faults.pipeline import TALKATIVE, Pipeline, assert_nothing_is_missing

#: Less memory than a capture comes with, and its counts more often.
SMALL = {"network_pipeline.broker.buffer.MAX_MESSAGES": 400, **TALKATIVE}
#: A processor that tells of each time a disk was full.
OUTSPOKEN = {"network_pipeline.processor._SAY_SECONDS": 0.0}
FAILS, WRITES = "nothing is acknowledged until it can be written", "writing again"
only_redis = pytest.mark.parametrize("server", ["redis"], indirect=True)


@pytest.mark.parametrize("rotation", ["0", "150"], ids=["one file", "rotating"])
@only_redis
def test_a_processors_full_disk_loses_nothing(
    pipeline: Pipeline, tmp_path: Path, rotation: str
) -> None:
    with tmpfs.mounted(tmp_path / "small", size_kib=16 * 1024) as place:
        pipeline.rows = place
        processor = pipeline.process("--rotate-after-rows", rotation, constants=OUTSPOKEN)
        pipeline.capture()
        with pipeline.traffic(500):
            for _ in range(2):
                pipeline.await_more_rows()
                failures, recoveries = (processor.said().count(each) for each in (FAILS, WRITES))
                ballast = tmpfs.fill(place)
                processor.await_word(FAILS, failures + 1)
                servers.wait_until(lambda: pipeline.messages() > 300, "a queue that grows")
                ballast.unlink()
                processor.await_word(WRITES, recoveries + 1)
        assert_nothing_is_missing(pipeline, pipeline.settle())


@only_redis
def test_what_a_full_spool_cannot_take_is_named(pipeline: Pipeline, server: servers.Server) -> None:
    with tmpfs.mounted(pipeline.spool / "small", size_kib=4096) as place:
        os.chown(place, *NOBODY)
        pipeline.spool = place
        capture = pipeline.capture(constants=SMALL)
        pipeline.send(100)
        servers.wait_until(lambda: pipeline.messages() >= 100, "100 messages in the queue")
        server.stop()
        ballast = tmpfs.fill(place)
        pipeline.send(600)  # of which memory takes 400
        capture.wait_until_it_says(r"the spool in \S+ takes no more")
        said = capture.wait_until_it_says(r"captured=700 published=100 spooled=0 shed=(20\d)")
        ballast.unlink()
        servers.wait_until(lambda: len(pipeline.spool_files()) > 0, "frames on disk")
        server.start()
        pipeline.send(50)
        pipeline.process()
        verdict = pipeline.settle()
    # Of 600, or a few more where a ledger took a place.
    assert_nothing_is_missing(pipeline, verdict, shed=int(said[1]))
