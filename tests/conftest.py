"""Servers that last for the whole run, started when first asked for; networks for agents."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests import agents, needs, netns, servers
from tests.capture.sniffing import Cable

# How long an example takes says how busy the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    soak = parser.getgroup("soak", "tests/faults/test_soak.py, with -m soak")
    soak.addoption("--soak-seconds", type=float, default=600.0, help="how long for each broker")
    soak.addoption("--soak-seed", type=int, default=1, help="what the faults come from")
    soak.addoption("--soak-rate", type=int, default=2000, help="datagrams per second")


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> servers.Certificates:
    """A certificate for localhost and its authority."""
    made = servers.Certificates(tmp_path_factory.mktemp("certificates"))
    made.make()
    return made


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.RedisServer]:
    """Debian's Redis."""
    server = servers.RedisServer(servers.redis_binary(), tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.RedisServer]:
    """The Valkey of the ``embedded`` extra."""
    server = servers.RedisServer(servers.valkey_binary(), tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def rabbitmq_server(
    tmp_path_factory: pytest.TempPathFactory, certificates: servers.Certificates
) -> Iterator[servers.RabbitServer]:
    """A RabbitMQ node, with TLS on a second port."""
    servers.require_rabbitmq()
    server = servers.RabbitServer(tmp_path_factory.mktemp("rabbitmq"), certificates)
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(params=["redis", "rabbitmq"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[servers.Server]:
    """A server that the test may stop, kill and freeze; it runs when the test begins."""
    if request.param == "redis":
        redis = servers.RedisServer(servers.redis_binary(), tmp_path / "redis")
        redis.start()
        yield redis
        redis.stop()
        return
    rabbitmq: servers.RabbitServer = request.getfixturevalue("rabbitmq_server")
    yield rabbitmq
    rabbitmq.recover()


@pytest.fixture(scope="module")
def redis_path() -> Iterator[Path]:
    """The socket file of a Redis, which agents in namespaces reach."""
    if os.geteuid() != 0:
        needs.lacking("root, to capture")
    with agents.redis_socket() as path:
        yield path


@pytest.fixture
def cable() -> Iterator[Cable]:
    """Two namespaces with a veth pair between them."""
    with netns.veth_pair() as pair:
        yield pair


@pytest.fixture
def site(cable: Cable, redis_path: Path, tmp_path: Path) -> Iterator[agents.Site]:
    """A namespace for an agent, with a broker."""
    with agents.site(cable[1], redis_path, tmp_path) as made:
        yield made
