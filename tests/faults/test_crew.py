"""Processors with ``--workers``: workers and the command are killed, nothing is there twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from network_pipeline import arrow_messages
from network_pipeline.audit import dataset_files, examine
from network_pipeline.frames import Frame, LinkType
from network_pipeline.message import Message
from network_pipeline.settings import BrokerSettings
from network_pipeline.verify import judge
from tests import servers
from tests.broker import flow
from tests.broker.conftest import unique_queue

SESSION = "0b2f6a54-5d5c-4c5e-9a55-1f6f0f5e2a10"
FRAMES, BATCH = 12_000, 40
#: Short, so that what a killed worker held comes again soon from Redis.
CONSTANTS = '{"network_pipeline.broker.streams.VISIBILITY_SECONDS": 1}'


class Command:
    """A processor with two workers that write Parquet files of 200 rows."""

    def __init__(self, name: str, broker: BrokerSettings, output: Path) -> None:
        program = Path(__file__).with_name("command.py")
        self._process = subprocess.Popen(
            [sys.executable, str(program), name, CONSTANTS, "--broker", broker.url,
             "--queue", broker.queue, "--workers", "2", "--output", str(output),
             "--rotate-after-rows", "200", "--rotate-after-seconds", "0.5"]
        )  # fmt: skip
        self.pid = self._process.pid

    def workers(self) -> list[int]:
        path = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def signal(self, number: int) -> int:
        """Send a signal that ends it; return its exit code."""
        os.kill(self.pid, number)
        return self._process.wait(30)


def messages() -> list[list[Frame]]:
    frames = [Frame(n, 10**18 + n, None, 60, LinkType.ETHERNET, bytes(60))
              for n in range(1, FRAMES + 1)]  # fmt: skip
    return [frames[begin : begin + BATCH] for begin in range(0, FRAMES, BATCH)]


def encoded(frames: list[Frame]) -> list[Message]:
    return arrow_messages.of_frames(frames, SESSION, source="lb1", compression="lz4")


def rows(directory: Path) -> int:
    return sum(pq.read_metadata(path).num_rows for path in directory.glob("*.parquet"))


def await_rows(directory: Path, count: int) -> None:
    servers.wait_until(lambda: rows(directory) >= count, f"{count} rows", seconds=60)


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
def test_kills_of_workers_and_of_the_command_leave_every_row_once(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    broker = BrokerSettings(request.getfixturevalue(f"{kind}_server").url, unique_queue())
    name = f"packets-{kind}"
    batches = messages()
    published = 0

    def publish(count: int) -> None:
        nonlocal published
        some = batches[published : published + count]
        published += count
        flow.publish(broker, chain.from_iterable(map(encoded, some)))

    command = Command(name, broker, tmp_path / "rows.parquet")
    publish(100)
    for kills in (0, 1):
        await_rows(tmp_path, 800 + 1600 * kills)
        servers.wait_until(lambda: len(command.workers()) == 2, "both workers")
        os.kill(command.workers()[kills], signal.SIGKILL)
        publish(60)
    await_rows(tmp_path, 4000)
    servers.wait_until(lambda: len(command.workers()) == 2, "both workers")
    workers = command.workers()
    command.signal(signal.SIGKILL)
    servers.wait_until(lambda: all(map(is_gone, workers)), "workers that end with their command")
    command = Command(name, broker, tmp_path / "rows.parquet")
    publish(len(batches))
    await_rows(tmp_path, FRAMES)
    assert command.signal(signal.SIGTERM) == 0
    verdict = judge([examine(path) for path in dataset_files([str(tmp_path)])], is_final=True)
    assert (list(verdict.complaints), verdict.text) == (
        [],
        f"{FRAMES:,} rows of 1 sessions add up",
    )
    assert flow.left(broker) == 0
