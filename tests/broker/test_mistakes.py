"""Mistakes of our own in the threads around a broker: they end the command, and nothing is lost."""

from __future__ import annotations

import re
import socket
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from network_pipeline.broker import failures, topology
from network_pipeline.broker.publisher import Publisher
from network_pipeline.broker.queue_limit import QueueLimit
from network_pipeline.broker.spool import Spool
from network_pipeline.broker.subscription import Subscription
from network_pipeline.errors import BrokerUnreachable
from network_pipeline.settings import BrokerSettings
from tests import agents, netns, servers
from tests.agents import Agent as Command
from tests.broker import flow
from tests.broker.conftest import unique_queue
from tests.broker.spooling import Agent, limits
from tests.broker.test_spool import checked
from tests.capture.sniffing import send_datagrams

#: The second is of a kind that libraries let out as well.
MISTAKES = [KeyError("typo"), ValueError("typo")]


def raising(error: Exception) -> Any:
    def mistaken(*_: object, **__: object) -> None:
        raise error

    return mistaken


@pytest.fixture
def here(redis_server: servers.RedisServer) -> BrokerSettings:
    return BrokerSettings(redis_server.url, unique_queue())


@pytest.fixture
def away() -> BrokerSettings:
    [port] = servers.free_ports(1)
    return BrokerSettings(f"redis://localhost:{port}/0", unique_queue())


@pytest.mark.parametrize("mistake", MISTAKES, ids=repr)
def test_one_that_ends_the_sender_leaves_all_to_the_spool(
    here: BrokerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mistake: Exception
) -> None:
    monkeypatch.setattr(QueueLimit, "allowed", raising(mistake))
    agent = Agent(here, limits(tmp_path)).start()
    agent.give(range(10))
    with pytest.raises(type(mistake), match="typo"):
        servers.wait_until(partial(checked, agent), "the mistake")
    assert not agent.publisher.is_connected
    agent.give(range(10, 20))
    assert not agent.publisher.drain(flow.PATIENCE_SECONDS)
    assert agent.stop() == {"spooled": 20}
    monkeypatch.undo()
    heir = Agent(here, limits(tmp_path)).start()
    servers.wait_until(lambda: heir.counts["adopted"] == 20, "what was left")
    assert heir.stop() == {"adopted": 20}


def test_one_that_ends_the_sender_sheds_where_there_is_no_spool(
    here: BrokerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QueueLimit, "allowed", raising(KeyError("typo")))
    counts = flow.counters()
    publisher = Publisher(here, counts)
    publisher.start()
    for number in range(10):
        assert publisher.publish(flow.message(number))
    assert not publisher.drain(flow.PATIENCE_SECONDS)
    with pytest.raises(KeyError):
        publisher.check()
    assert publisher.stop(flow.PATIENCE_SECONDS) == 10
    assert counts.snapshot() == {"published": 0, "shed": 10}
    assert publisher.losses.pairs() == [(0, 9)]


def test_one_that_ends_the_spooler_is_told_and_the_rest_is_spooled_in_the_end(
    away: BrokerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent(away, limits(tmp_path)).start()
    agent.give(range(10))
    with monkeypatch.context() as patched:
        patched.setattr(Spool, "store", raising(KeyError("typo")))
        with pytest.raises(KeyError):
            servers.wait_until(partial(checked, agent), "the mistake")
    assert agent.stop(0.1) == {"spooled": 10}


def test_one_that_the_spool_makes_again_and_again_sheds(
    away: BrokerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent(away, limits(tmp_path)).start()
    monkeypatch.setattr(Spool, "store", raising(KeyError("typo")))
    agent.give(range(10))
    with pytest.raises(KeyError):
        agent.stop(0.1)
    assert agent.counts["shed"] == 10


class Mistaken(Command):
    """``capture-udp`` with a limit that is none, which the sender meets at its first message."""

    code = (
        "import sys; from network_pipeline.broker import publisher as p; p._BATCH_BYTES = 'many'; "
        "from network_pipeline.scripts.capture import udp; sys.exit(udp())"
    )


def test_the_command_ends_by_itself_and_accounts_for_all(redis_path: Path, tmp_path: Path) -> None:
    with netns.namespace() as where, agents.site(where, redis_path, tmp_path) as site:
        capture = site.agent("--device", "lo", "--engine", "ring", kind=Mistaken)
        capture.wait_until_it_says("capturing on lo")
        send_datagrams(where, "127.0.0.1", 10)
        assert capture.wait() == 1
        said = capture.said()
        assert "stopped by an error in the program itself, please report it" in said
        assert "TypeError" in said
        [last] = re.findall(r"capture ended: (.*)$", said, re.MULTILINE)
        counts = {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", last)}
        assert counts["captured"] == counts["spooled"] == 10
        heir = site.agent("--device", "lo", "--protocols", "udp", "--workers", "1")
        heir.await_capture()
        assert len(site.rows(10)) == 10


@pytest.mark.parametrize("mistake", MISTAKES, ids=repr)
def test_one_that_a_consumer_meets_is_no_lost_broker(
    here: BrokerSettings, monkeypatch: pytest.MonkeyPatch, mistake: Exception
) -> None:
    flow.publish(here, [flow.message(1)])
    with flow.consuming(here) as consumer:
        with monkeypatch.context() as patched:
            patched.setattr(Subscription, "take", raising(mistake))
            with pytest.raises(type(mistake), match="typo"):
                consumer.receive(flow.PATIENCE_SECONDS)
        assert consumer.is_connected


@pytest.mark.parametrize("mistake", MISTAKES, ids=repr)
def test_one_that_ends_the_keeper_is_told_by_the_next_call(
    here: BrokerSettings, monkeypatch: pytest.MonkeyPatch, mistake: Exception
) -> None:
    monkeypatch.setattr(Subscription, "keep_alive", raising(mistake))
    with flow.consuming(here, visibility_seconds=0.5) as consumer:
        servers.wait_until(lambda: not consumer._keeper.is_alive(), "the end of the keeper")
        with pytest.raises(type(mistake), match="typo"):
            consumer.ack([])


def test_an_answer_that_is_none_is_the_brokers_and_named() -> None:
    with socket.create_server(("localhost", 0)) as server:

        def answer() -> None:
            for _ in range(2):
                peer, _ = server.accept()
                with peer:
                    peer.recv(100)
                    peer.sendall(b":many\r\n" * 9)

        answering = threading.Thread(target=answer)
        answering.start()
        port = server.getsockname()[1]
        url = f"redis://user:secret@localhost:{port}/0"
        with flow.expect(BrokerUnreachable, "ValueError: invalid literal"):
            topology.check(BrokerSettings(url))
        with pytest.raises(ValueError, match="invalid literal") as caught:
            redis.Redis.from_url(url, protocol=2).ping()
        answering.join()
    assert not failures.is_ours(caught.value)
