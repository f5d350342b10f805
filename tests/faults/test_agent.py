"""Captures by their commands: without their broker, killed, and cut off from it."""

from __future__ import annotations

import csv
import json
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from network_pipeline.demo import Part
from tests import servers
from tests.faults.pipeline import Pipeline, payloads


@pytest.fixture
def parts(tmp_path: Path, spool: Path) -> Iterator[Parts]:
    made = Parts(tmp_path, spool)
    with made.stack:
        yield made


class Parts:
    """Commands around a Redis that is not started yet."""

    def __init__(self, directory: Path, spool: Path) -> None:
        self.stack = ExitStack()
        self.redis = servers.RedisServer(servers.redis_binary(), directory / "redis")
        self.stack.callback(self.redis.stop)
        self.directory = directory
        self._spool = spool
        self._started = 0
        [self._port] = servers.free_ports(1)

    def start(self, name: str, *flags: str) -> Part:
        self._started += 1
        log = self.directory / f"{self._started}.log"
        part = Part(log, name, "--broker", self.redis.url, "--queue", "Q", *flags)
        self.stack.callback(part.stop)
        return part

    def capture(self) -> tuple[Part, str]:
        """Start a capture; return it and its session."""
        part = self.start("capture-udp", "--filter", f"udp port {self._port}",
                          "--spool-dir", str(self._spool))  # fmt: skip
        return part, part.wait_until_it_says("session (.{36}): capturing")[1]

    def send(self, count: int) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(count):
                sender.sendto(b"%d" % number, ("127.0.0.1", self._port))

    def frames_on_disk(self) -> int:
        """Count frames that are there to stay: none while a journal could undo what was written."""
        count = sum(file.read_bytes().count(b'"session":"') for file in self._spool.glob("*.spool"))
        if any(file.read_bytes()[:1].strip(b"\0") for file in self._spool.glob("*-journal")):
            return 0
        return count

    def rows(self) -> list[tuple[str, int]]:
        """Return session and number of every row."""
        found = []
        for path in self.directory.glob("*.csv"):
            with path.open(newline="") as file:
                found += [(r["session"], int(r["frame_number"])) for r in csv.DictReader(file)]
        return sorted(found)


def test_a_killed_capture_without_broker_loses_nothing_that_was_on_disk(parts: Parts) -> None:
    first, killed = parts.capture()
    assert "meanwhile packets wait in" in first.said()
    parts.send(400)
    servers.wait_until(lambda: parts.frames_on_disk() >= 400, "400 frames on disk")
    first.signal(signal.SIGKILL)
    second, stopped = parts.capture()
    assert "adopted 400 frames" in second.said()
    parts.send(50)
    servers.wait_until(lambda: parts.frames_on_disk() >= 450, "450 frames on disk")
    counts = {name: count for name, count in second.end().items() if count}
    assert counts == {"captured": 50, "spooled": 50}
    assert re.search("50 frames wait in .*; the next capture for this queue", second.said())
    parts.redis.start()
    processor = parts.start("packets-redis", "--output", str(parts.directory / "rows.csv"),
                            "--save-after-seconds", "0.2")  # fmt: skip
    third, last = parts.capture()
    parts.send(10)
    servers.wait_until(lambda: len(parts.rows()) >= 460, "all rows", 60)
    counts = {name: count for name, count in third.end().items() if count}
    assert counts == {"captured": 10, "published": 10, "adopted": 450}
    assert processor.end()["written"] == 460
    wanted = [(session, number) for session, count in ((killed, 400), (stopped, 50), (last, 10))
              for number in range(1, count + 1)]  # fmt: skip
    assert parts.rows() == sorted(wanted)


def test_without_broker_and_spool_a_capture_ends_with_3(parts: Parts) -> None:
    part = parts.start("capture-udp", "--spool-max-bytes", "0")
    assert part.wait() == 3
    assert "no broker answers" in part.said()


def test_a_spool_that_root_keeps_for_itself_is_wrong_usage(parts: Parts, tmp_path: Path) -> None:
    part = parts.start("capture-udp", "--spool-dir", str(tmp_path / "of-root"))
    assert part.wait() == 2
    assert "no spool in" in part.said()
    assert "Permission denied for user 65534" in part.said()


def in_memory(pipeline: Pipeline) -> int:
    """Return how many frames the agent has noted that it captured and nobody confirmed."""
    [note] = pipeline.spool.glob("sessions-*/*.json")
    counts = json.loads(note.read_bytes())
    return int(counts["captured"] - counts["published"])


@pytest.mark.parametrize("server", ["rabbitmq"], indirect=True)
def test_what_a_killed_agent_had_in_its_memory_has_died(
    pipeline: Pipeline, server: servers.Server
) -> None:
    pipeline.process()
    killed = pipeline.capture("--spool-max-bytes", "0")
    with pipeline.traffic(500):
        pipeline.await_more_rows()
        server.freeze()  # what comes now is nowhere else
        servers.wait_until(lambda: in_memory(pipeline) > 200, "200 frames in memory")
        killed.kill()
        server.thaw()
    pipeline.capture("--spool-max-bytes", "0")
    pipeline.send(100)
    verdict = pipeline.settle()
    assert (verdict.code, verdict.complaints) == (0, [])
    [died, heir] = sorted(verdict.sessions, key=lambda session: str(session["agent"]))
    assert (died["agent"], heir["agent"]) == ("killed", "stopped")
    assert died["died"] == died["frames"] - died["rows"] > 200
    assert (heir["frames"], heir["rows"]) == (100, 100)
    assert verdict.total("shed", "rejected", "kernel_dropped", "unexplained", "duplicate") == 0
    # Datagrams were numbered from 0 in the order of their frames: only the end is missing.
    rows = [number for session, number in payloads(pipeline.rows) if session == died["session"]]
    assert sorted(rows) == list(range(died["rows"]))
