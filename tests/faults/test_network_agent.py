"""``network-agent`` under load: its processes are killed, its broker is away, no frame vanishes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from tests import agents, servers
from tests.faults.pipeline import BACK, Pipeline, Process, payloads

WORKERS = 2
AGENT = ("--workers", str(WORKERS), "--ring-retire-ms", "20")


def kill_a_worker(pipeline: Pipeline, agent: Process) -> None:
    os.kill(agents.workers(agent.said())[0], signal.SIGKILL)
    agent.await_word("is process", WORKERS + 1)
    pipeline.await_more_rows()


def read_the_filter_again(pipeline: Pipeline, agent: Process) -> None:
    agent.signal(signal.SIGHUP)
    agent.await_word("the filter was read again", 1)
    pipeline.await_more_rows()


def take_the_broker_away(
    pipeline: Pipeline, agent: Process, server: servers.Server, seconds: float
) -> None:
    server.kill()
    servers.wait_until(lambda: len(pipeline.spool_files()) >= WORKERS, "frames of all on disk")
    time.sleep(seconds)
    server.start()
    agent.await_word(BACK, WORKERS)
    pipeline.await_more_rows()


def kill_the_supervisor(agent: Process) -> None:
    """Kill it; its workers publish what they have, and end."""
    left = agents.workers(agent.said())
    agent.kill()
    servers.wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left), "their ends")


def try_all(pipeline: Pipeline, server: servers.Server, *, away: float, rate: int) -> None:
    pipeline.process()
    agent = pipeline.agent(*AGENT)
    with pipeline.traffic(rate):
        pipeline.await_more_rows()
        kill_a_worker(pipeline, agent)
        read_the_filter_again(pipeline, agent)
        take_the_broker_away(pipeline, agent, server, away)
    kill_the_supervisor(agent)
    pipeline.agent(*AGENT)
    with pipeline.traffic(rate):
        pipeline.await_more_rows()
    verdict = pipeline.settle()
    assert (verdict.code, verdict.complaints) == (0, [])
    assert verdict.total("shed", "rejected", "duplicate", "unexplained", "under_way") == 0
    assert [each["agent"] for each in verdict.sessions].count("killed") == 1
    rows = payloads(pipeline.rows)
    assert len(set(rows)) == len(rows) == verdict.total("rows")
    assert pipeline.sent == verdict.total("rows", "died", "kernel_dropped")
    assert len({session for session, _ in rows}) == 2 * WORKERS + 1


def test_no_frame_is_unaccounted_for(pipeline: Pipeline, server: servers.Server) -> None:
    try_all(pipeline, server, away=0, rate=1000)


@pytest.mark.soak
def test_no_frame_is_unaccounted_for_when_the_broker_is_away_for_long(
    pipeline: Pipeline, server: servers.Server
) -> None:
    try_all(pipeline, server, away=20, rate=5000)
