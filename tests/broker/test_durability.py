"""Warnings about a Redis whose own settings can lose messages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from network_pipeline.broker import durability
from network_pipeline.settings import BrokerSettings
from tests import servers


@contextmanager
def serving(place: Path, *options: str) -> Iterator[servers.RedisServer]:
    server = servers.RedisServer(servers.redis_binary(), place, options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def test_a_safe_server_is_not_spoken_of(redis_server: servers.RedisServer) -> None:
    assert durability.dangers(BrokerSettings(redis_server.url)) == []


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        (["--appendonly", "no"], ["appendonly yes"]),
        (["--maxmemory", "1gb", "--maxmemory-policy", "allkeys-lru"], ["allkeys-lru"]),
        (["--maxmemory", "1gb", "--maxmemory-policy", "noeviction"], []),
        (["--maxmemory-policy", "allkeys-lru"], []),
        (
            ["--appendonly", "no", "--maxmemory", "1gb", "--maxmemory-policy", "volatile-ttl"],
            ["appendonly yes", "volatile-ttl"],
        ),
    ],
)
def test_each_danger_is_named(
    options: list[str], texts: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(tmp_path, *options) as server:
        durability.warn(BrokerSettings(server.url.replace("//", "//default:secret@")))
    assert [record.levelname for record in caplog.records] == ["WARNING"] * len(texts)
    for record, text in zip(caplog.records, texts, strict=True):
        assert text in record.message
        assert f"localhost:{server.port}" in record.message
        assert "secret" not in record.message


def test_replicas_that_are_not_waited_for(tmp_path: Path) -> None:
    with serving(tmp_path / "master") as master:
        option = ("--replicaof", f"127.0.0.1 {master.port}")
        with serving(tmp_path / "replica", *option):
            settings = BrokerSettings(master.url)
            servers.wait_until(lambda: durability.dangers(settings) != [], "a replica")
            [text] = durability.dangers(settings)
            assert "REDIS_WAIT_REPLICAS" in text
            assert durability.dangers(replace(settings, wait_replicas=1)) == []


def test_who_may_not_ask_is_not_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serving(tmp_path, "--appendonly", "no") as server:
        client = redis.Redis(port=server.port)
        client.acl_setuser(
            "agent", enabled=True, passwords=["+agent"], commands=["+select", "+xadd"]
        )
        client.close()
        durability.warn(BrokerSettings(server.url.replace("//", "//agent:agent@")))
    durability.warn(BrokerSettings(server.url))
    assert caplog.records == []


def test_rabbitmq_has_no_such_settings() -> None:
    assert durability.dangers(BrokerSettings("amqp://localhost:1//")) == []
