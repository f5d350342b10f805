"""Consumers killed (-9) in the middle of a batch, 40 times: nothing may be lost."""

from __future__ import annotations

import multiprocessing
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from network_pipeline.message import Message
from network_pipeline.settings import BrokerSettings
from tests import lives, servers
from tests.broker import flow, victim
from tests.broker.conftest import unique_queue, url_of

KILLS = 40
MESSAGES = 4_000


@pytest.fixture(scope="module")
def children() -> ForkServerContext:
    """A process that has imported everything, and forks consumers quickly."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.broker.victim"])
    return context


def lines(notes: Path) -> list[bytes]:
    return notes.read_bytes().splitlines() if notes.exists() else []


def ended_or_done(child: BaseProcess, settings: BrokerSettings) -> bool:
    return not child.is_alive() or flow.rejected(settings) != []


@contextmanager
def consumer_process(
    children: ForkServerContext, settings: BrokerSettings, notes: Path
) -> Iterator[BaseProcess]:
    """A child that consumes, killed at the end whatever it is doing."""
    child = children.Process(target=victim.consume, args=(settings, notes), daemon=True)
    child.start()
    try:
        yield child
    finally:
        child.kill()
        child.join()


@pytest.mark.parametrize("kind", ["redis", "valkey", "rabbitmq"])
def test_forty_kills_in_mid_batch_lose_nothing(
    kind: str, request: pytest.FixtureRequest, children: ForkServerContext, tmp_path: Path
) -> None:
    settings = BrokerSettings(url_of(kind, request), unique_queue())
    notes = tmp_path / "notes"
    flow.publish(settings, (flow.message(number, size=1024) for number in range(MESSAGES)))
    chance = random.Random(7)
    for _ in range(KILLS):
        life = lives.random_life(chance, most_work=2 * victim.PREFETCH, most_seconds=0.002)
        args = (settings, notes, life)
        lives.outlive(children.Process(target=victim.consume, args=args, daemon=True))
    before = lines(notes)
    missing = set(range(MESSAGES)) - {int(line) for line in before}
    with flow.consuming(settings, visibility_seconds=victim.VISIBILITY_SECONDS) as consumer:
        rest = flow.receive_all(consumer, settings)
    assert missing <= set(rest)
    assert flow.rejected(settings) == []
    assert len(before) + len(rest) - MESSAGES <= KILLS * victim.PREFETCH


def test_a_message_that_ends_its_consumer_is_set_aside_alone(
    redis_server: servers.RedisServer, children: ForkServerContext, tmp_path: Path
) -> None:
    settings = BrokerSettings(redis_server.url, unique_queue())
    poison = Message(b"poison", "application/json", {"first": 30})
    messages = [flow.message(number) for number in range(60)]
    flow.publish(settings, [*messages[:30], poison, *messages[30:]])
    notes = tmp_path / "notes"
    while not flow.rejected(settings):
        with consumer_process(children, settings, notes) as child:
            servers.wait_until(partial(ended_or_done, child, settings), "an end")
    with flow.consuming(settings, visibility_seconds=victim.VISIBILITY_SECONDS) as consumer:
        rest = flow.receive_all(consumer, settings)
    assert {int(line) for line in lines(notes)} | set(rest) == set(range(60))
    reason = "delivered 20 times without an acknowledgement"
    assert flow.rejected(settings) == [
        (b"poison", "application/json", {"first": 30, "reason": reason})
    ]
