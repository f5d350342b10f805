"""Brokers that end, come back, freeze or forget while frames come in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from network_pipeline.settings import BrokerSettings
from tests import servers
from tests.broker.conftest import unique_queue
from tests.faults.pipeline import BACK, LOST, TALKATIVE, Pipeline, assert_nothing_is_missing


def engine_of(pipeline: Pipeline) -> str:
    """Return one engine with one broker, and the other with the other."""
    return "columnar" if pipeline.broker.is_amqp else "scapy"


def try_outages(
    pipeline: Pipeline,
    server: servers.Server,
    *ends: Callable[[], None],
    away: float = 0,
    frozen: float = 0,
) -> None:
    """End and freeze the broker, for so many seconds and at least until that is noticed."""
    pipeline.process()
    capture = pipeline.capture("--engine", engine_of(pipeline))
    with pipeline.traffic(500):
        pipeline.await_more_rows()
        for times, end in enumerate(ends, 1):
            end()
            servers.wait_until(lambda: len(pipeline.spool_files()) > 0, "frames on disk")
            time.sleep(away)
            server.start()
            capture.await_word(BACK, times)
            pipeline.await_more_rows()
        server.freeze()
        capture.await_word(LOST, len(ends) + 1)
        time.sleep(frozen)
        server.thaw()
        pipeline.await_more_rows()
    assert_nothing_is_missing(pipeline, pipeline.settle())


def test_outages_of_a_broker_lose_nothing(pipeline: Pipeline, server: servers.Server) -> None:
    try_outages(pipeline, server, server.kill)


@pytest.mark.soak
def test_long_outages_of_a_broker_lose_nothing(pipeline: Pipeline, server: servers.Server) -> None:
    try_outages(pipeline, server, server.stop, server.kill, away=30, frozen=15)


@pytest.fixture
def forgetful(tmp_path: Path, spool: Path) -> Iterator[tuple[Pipeline, servers.RedisServer]]:
    """A pipeline on a Redis that keeps nothing on disk."""
    options = ("--appendonly", "no")
    redis = servers.RedisServer(servers.redis_binary(), tmp_path / "redis", options)
    redis.start()
    made = Pipeline(BrokerSettings(redis.url, unique_queue()), tmp_path, spool)
    yield made, redis
    made.close()
    redis.stop()


def test_what_a_redis_without_aof_forgets_is_named(
    forgetful: tuple[Pipeline, servers.RedisServer],
) -> None:
    pipeline, redis = forgetful
    processor = pipeline.process()
    capture = pipeline.capture(constants=TALKATIVE)
    pipeline.send(100)
    pipeline.await_rows(100)
    processor.end()
    assert "keeps no append-only file" in processor.said()
    pipeline.send(50)
    capture.wait_until_it_says("published=150")
    redis.kill()
    redis.start()
    pipeline.process("--name", "second")
    pipeline.send(30)
    capture.await_word(BACK, 1)
    verdict = pipeline.settle()
    assert verdict.code == 1
    [session] = verdict.sessions
    assert session["unexplained_frames"] == [[101, 150]]
    assert (session["agent"], session["frames"], session["rows"]) == ("stopped", 180, 130)
    name = session["session"]
    assert verdict.complaints == [f"session {name}: 50 frames missing, unexplained: 101-150"]
