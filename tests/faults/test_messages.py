"""Messages that are poison, come twice, or are of a newer version, among good ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from network_pipeline.frames import Frame, LinkType
from network_pipeline.traffic import craft
from tests import servers
from tests.broker import flow
from tests.decode import captures
from tests.faults import messages
from tests.faults.pipeline import Pipeline, assert_nothing_is_missing

ENDS = craft.Ends("02:00:00:00:00:01", "02:00:00:00:00:02", "127.7.7.7", "127.7.7.8")
NEWER = {"network_pipeline.schema.SCHEMA_VERSION": "newer"}


def capture_file(path: Path, count: int) -> Path:
    frames = []
    for number in range(1, count + 1):
        data = craft.udp_frame(ENDS, 40000, 9, (2**40 + number).to_bytes(8))
        frames.append(Frame(number, 1_700_000_000_000_000_000 + number, None, len(data),
                            LinkType.ETHERNET, data))  # fmt: skip
    captures.write_frames(path, frames)
    return path


def test_poison_and_messages_that_come_again_do_no_harm(pipeline: Pipeline, tmp_path: Path) -> None:
    file = str(capture_file(tmp_path / "file.pcap", 500))
    pipeline.process()
    pipeline.capture()
    form = "arrow" if pipeline.broker.is_amqp else "json"
    with pipeline.traffic(500):
        flow.publish(pipeline.broker, messages.poison())
        # The same frames in messages that overlap, and then the same messages again.
        for last in ("30", "0", "0"):
            flags = ("--messages", form, "--stop-after-num", last)
            pipeline.start("capture-pcap", file, *flags).ended()
        pipeline.await_more_rows()
    verdict = pipeline.settle()
    pipeline.sent += 500 + 3
    assert_nothing_is_missing(pipeline, verdict, rejected=3)
    assert verdict.unnamed_rejected == 4
    assert len(flow.rejected(pipeline.broker)) == 5


@pytest.mark.parametrize("server", ["redis"], indirect=True)
def test_what_a_newer_agent_sends_is_set_aside_and_read_later(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    old = pipeline.process()
    pipeline.capture()
    pipeline.send(40)
    pipeline.await_rows(40)
    pipeline.captures[0].end()
    newer = pipeline.capture(constants=NEWER)
    pipeline.send(60)
    servers.wait_until(lambda: len(flow.rejected(pipeline.broker)) >= 60, "60 messages set aside")
    newer.end()
    assert_nothing_is_missing(pipeline, pipeline.settle(), rejected=60)
    assert "schema 'newer', this processor writes" in old.said()
    put_back = pipeline.start("network-pipeline", "rejected", "requeue", "--all")
    assert put_back.wait() == 0, put_back.said()
    later = tmp_path / "later"
    later.mkdir()
    pipeline.process("--dir", str(later), constants=NEWER)
    pipeline.empty_queue()
    assert flow.rejected(pipeline.broker) == []
    rows = [path.read_bytes().count(b"\n") - 1 for path in later.glob("*.csv")]
    assert rows == [60]
    verify = pipeline.run("network-pipeline", "verify", str(later), constants=NEWER)
    assert verify.wait() == 0
    assert "60 rows of 1 sessions add up" in verify.said()
