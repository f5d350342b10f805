"""Clocks that are set back while frames come in, and frames whose times go back."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from network_pipeline.frames import Frame, LinkType
from network_pipeline.traffic import craft
from tests.decode import captures
from tests.faults.clock import Clock
from tests.faults.pipeline import Pipeline, assert_nothing_is_missing

ENDS = craft.Ends("02:00:00:00:00:01", "02:00:00:00:00:02", "127.7.7.7", "127.7.7.8")
HOUR_NS = 3600 * 10**9


@pytest.mark.parametrize("server", ["redis"], indirect=True)
def test_clocks_set_back_lose_nothing(pipeline: Pipeline, tmp_path: Path) -> None:
    clock = Clock(tmp_path)
    clock.make()
    with clock.shown():
        pipeline.process("--rotate-after-rows", "150")
        first = pipeline.capture()
        with pipeline.traffic(500):
            pipeline.await_more_rows()
            clock.turn(-3600)
            pipeline.await_more_rows()
            clock.turn(-7200)
            pipeline.await_more_rows()
        first.end()
        pipeline.capture()  # its session begins before the one that has ended
        pipeline.send(100)
        verdict = pipeline.settle()
    assert_nothing_is_missing(pipeline, verdict)
    stamp = time.strftime("%Y-%m-%d-%H-%M-%S", time.localtime(time.time() - 3600))
    names = sorted(path.name for path in pipeline.rows.glob("*.csv"))
    assert names[-1] > f"netdata-{stamp}", "names of files do not go back"


@pytest.mark.parametrize("server", ["redis"], indirect=True)
def test_frames_whose_times_go_back_are_rows_in_their_order(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    data = craft.udp_frame(ENDS, 40000, 9, b"\0" * 8)
    begin = 1_700_000_000_000_000_000
    frames = [
        Frame(number, begin - (number // 100) * HOUR_NS + number, None, len(data),
              LinkType.ETHERNET, data)
        for number in range(1, 501)
    ]  # fmt: skip
    capture = tmp_path / "back.pcap"
    captures.write_frames(capture, frames)
    pipeline.process()
    pipeline.start("capture-pcap", str(capture)).ended()
    verdict = pipeline.settle()
    assert (verdict.code, verdict.total("frames"), verdict.total("rows")) == (0, 500, 500)
