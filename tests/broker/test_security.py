"""docs/security.rst as it is written: users who may do what they must, and no more; TLS."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from network_pipeline.broker import durability, topology
from network_pipeline.broker.publisher import Publisher
from network_pipeline.broker.rejected import RejectedQueue
from network_pipeline.errors import BrokerError, BrokerRefused
from network_pipeline.settings import BrokerSettings
from tests import servers
from tests.broker import flow

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "security.rst").read_text()


@pytest.fixture(scope="module", params=["redis", "rabbitmq"])
def address(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A URL of a server with the users of the page, but for user and password."""
    if request.param == "redis":
        place = tmp_path_factory.mktemp("users")
        users = place / "users.acl"
        users.write_text("\n".join(re.findall(r"^ +(user .*)$", PAGE, re.MULTILINE)) + "\n")
        server = servers.RedisServer(servers.redis_binary(), place, ["--aclfile", str(users)])
        server.start()
        yield f"redis://{{}}@localhost:{server.port}/5"
        server.stop()
        return
    rabbitmq: servers.RabbitServer = request.getfixturevalue("rabbitmq_server")
    commands = [
        shlex.split(line) for line in re.findall(r"^ +rabbitmqctl (.*)$", PAGE, re.MULTILINE)
    ]
    rabbitmq.control("delete_user", "agent")
    for command in commands:
        assert rabbitmq.control(*command).returncode == 0
    yield f"amqp://{{}}@localhost:{rabbitmq.port}//"


def settings(address: str, user: str, queue: str = "NEW_PACKETS") -> BrokerSettings:
    return BrokerSettings(address.format(f"{user}:{user}-password"), queue)


def test_each_user_may_do_what_it_must(address: str) -> None:
    agent, processor = settings(address, "agent"), settings(address, "processor")
    with flow.consuming(processor) as consumer:
        flow.publish(agent, map(flow.message, range(40)))
        got = flow.receive(consumer, 40, ack=False)
        consumer.reject(got[0], "no rows")
        consumer.ack(got[1:])
        operator = RejectedQueue(settings(address, "operator"))
        operator.start()
        [message] = operator.messages()
        assert (message.body, message.reason, operator.requeue([message])) == (
            got[0].body,
            "no rows",
            1,
        )
        assert operator.count() == 0
        operator.stop()
        assert [each.body for each in flow.receive(consumer, 1)] == [got[0].body]
    flow.assert_empty(processor)
    assert durability.dangers(agent) == durability.dangers(processor) == []


def test_no_user_may_do_more(address: str) -> None:
    for user in ("agent", "operator"):
        with flow.expect(BrokerRefused, "permissions"), flow.consuming(settings(address, user)):
            pass
    with (
        flow.expect(BrokerRefused, "permissions"),
        flow.consuming(settings(address, "processor", "OTHER")),
    ):
        pass
    with flow.expect(BrokerRefused, "password"):
        topology.check(replace(settings(address, "agent"), url=address.format("agent:wrong")))


@pytest.fixture(scope="module")
def strict(
    certificates: servers.Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[servers.RedisServer]:
    """A Redis that asks clients for a certificate."""
    server = servers.RedisServer(
        servers.redis_binary(), tmp_path_factory.mktemp("strict"),
        ["--tls-auth-clients", "yes", "--tls-ca-cert-file", str(certificates.authority)],
    )  # fmt: skip
    server.secure(certificates)
    server.start()
    yield server
    server.stop()


def test_a_client_shows_its_certificate(
    strict: servers.RedisServer, certificates: servers.Certificates
) -> None:
    options = {"ca_certs": str(certificates.authority)}
    anonymous = BrokerSettings(f"rediss://localhost:{strict.port}/0", ssl_options=options)
    # Where the server hangs up before it is asked anything, its alert does not always arrive.
    with flow.expect(BrokerError, "certificate", "certfile"):
        topology.check(anonymous)
    known = {**options, "certfile": str(certificates.certificate), "keyfile": str(certificates.key)}
    topology.check(replace(anonymous, ssl_options=known))


def test_an_expired_certificate(certificates: servers.Certificates, tmp_path: Path) -> None:
    server = servers.RedisServer(servers.redis_binary(), tmp_path)
    server.secure(certificates, certificate=certificates.expired)
    server.start()
    settings = BrokerSettings(
        f"rediss://localhost:{server.port}/0", ssl_options={"ca_certs": str(certificates.authority)}
    )
    try:
        with flow.expect(BrokerRefused, "certificate has expired"):
            topology.check(settings)
        with flow.expect(BrokerRefused, "certificate has expired"):
            Publisher(settings, flow.counters()).start()
    finally:
        server.stop()
