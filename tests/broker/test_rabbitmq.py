"""What only RabbitMQ has: virtual hosts, permissions, arguments, several hosts, its limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from network_pipeline.broker import topology
from network_pipeline.broker.publisher import Publisher
from network_pipeline.broker.subscription import SUSPECT_FAILURES, Delivery
from network_pipeline.errors import BrokerLost, BrokerRefused
from network_pipeline.settings import BrokerSettings
from tests import servers
from tests.broker import flow
from tests.broker.conftest import unique_queue


@pytest.fixture
def settings(rabbitmq_server: servers.RabbitServer) -> BrokerSettings:
    return BrokerSettings(rabbitmq_server.url, unique_queue())


@pytest.fixture
def channel(settings: BrokerSettings) -> Iterator[Any]:
    """A channel of py-amqp, as another program would use it."""
    connection = topology.connect(settings)
    yield connection.channel()
    connection.release()


def round_trip(settings: BrokerSettings, count: int) -> None:
    flow.publish(settings, map(flow.message, range(count)))
    with flow.consuming(settings) as consumer:
        got = flow.receive(consumer, count)
    assert [flow.number_of(each) for each in got] == list(range(count))


def test_a_virtual_host_with_a_user_and_a_password(rabbitmq_server: servers.RabbitServer) -> None:
    url = f"amqp://ana:p%3A%40%2F%25@localhost:{rabbitmq_server.port}/lab%2F1"
    round_trip(BrokerSettings(url, unique_queue()), 100)
    elsewhere = BrokerSettings(url.replace("lab%2F1", "other"), unique_queue())
    with flow.expect(BrokerRefused, "other", "check user, password"):
        topology.check(elsewhere)


def test_tls(rabbitmq_server: servers.RabbitServer, certificates: servers.Certificates) -> None:
    url = f"amqps://guest:guest@localhost:{rabbitmq_server.tls_port}//"
    good = {"ca_certs": str(certificates.authority)}
    settings = BrokerSettings(url, unique_queue(), ssl_options=good)
    round_trip(settings, 100)
    for options in (
        {},
        {"ca_certs": str(certificates.other_authority)},
        {**good, "server_hostname": "elsewhere"},
    ):
        with flow.expect(BrokerRefused, "certificate verify failed", "FORWARD_SSL_OPTIONS"):
            topology.check(replace(settings, ssl_options=options))


def test_the_first_host_that_answers_is_used(rabbitmq_server: servers.RabbitServer) -> None:
    [closed] = servers.free_ports(1)
    url = f"amqp://guest:guest@localhost:{closed}//;{rabbitmq_server.url}"
    round_trip(BrokerSettings(url, unique_queue()), 10)


def test_a_queue_with_other_arguments_is_refused(settings: BrokerSettings, channel: Any) -> None:
    channel.queue_declare(settings.queue, durable=True, auto_delete=False)
    with flow.expect(BrokerRefused, settings.queue, "inequivalent arg", "--queue"):
        Publisher(settings, flow.counters()).start()
    channel.queue_delete(settings.queue)


def test_an_agent_without_permission_to_declare_uses_the_queue_as_it_is(
    settings: BrokerSettings, channel: Any
) -> None:
    address = settings.url.partition("@")[2]
    agents = replace(settings, url=f"amqp://agent:agent@{address}", queue="agents-queue")
    with flow.expect(BrokerRefused, "agents-queue", "start a processor first"):
        Publisher(agents, flow.counters()).start()
    with flow.consuming(replace(settings, queue="agents-queue")) as consumer:
        assert flow.publish(agents, map(flow.message, range(50)))["published"] == 50
        assert len(flow.receive(consumer, 50)) == 50
    with flow.expect(BrokerRefused, "access"), flow.consuming(agents):
        pass
    channel.queue_delete("agents-queue")


def test_a_queue_that_was_deleted_is_made_again(settings: BrokerSettings, channel: Any) -> None:
    counts = flow.counters()
    publisher = Publisher(settings, counts)
    publisher.start()
    with flow.consuming(settings) as consumer:
        channel.queue_delete(settings.queue)
        for number in range(20):
            assert publisher.publish(flow.message(number))
        got = flow.receive_numbers(consumer, set(range(20)))
    assert sorted(set(got)) == list(range(20))
    assert publisher.stop(flow.PATIENCE_SECONDS) == 0
    assert counts.snapshot() == {"published": 20, "shed": 0}


def test_what_a_full_queue_refuses_waits(settings: BrokerSettings, channel: Any) -> None:
    """A limit of 10 (x-overflow reject-publish) nacks the rest until a consumer makes room."""
    queue: Any = topology.queue(settings)
    queue.queue_arguments["x-max-length"] = 10
    queue(channel).declare()
    counts = flow.counters()
    publisher = Publisher(settings, counts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topology, "queue", lambda _settings: queue)
        publisher.start()
        for number in range(60):
            assert publisher.publish(flow.message(number))
        servers.wait_until(lambda: 0 < counts["published"] < 60, "a full queue")
        assert publisher.waiting() > 0
        with flow.consuming(settings, prefetch=5) as consumer:
            got = flow.receive_numbers(consumer, set(range(60)))
        assert publisher.stop(flow.PATIENCE_SECONDS) == 0
    assert set(got) == set(range(60))
    assert counts.snapshot() == {"published": 60, "shed": 0}


def test_a_message_at_the_delivery_limit_is_set_aside(
    settings: BrokerSettings, channel: Any
) -> None:
    flow.publish(settings, [flow.message(0)])
    for _ in range(topology.DELIVERY_LIMIT + 1):
        with flow.consuming(settings) as consumer:
            flow.receive(consumer, 1, ack=False)
    servers.wait_until(lambda: len(flow.rejected(settings)) == 1, "the rejected one")


def test_suspects_are_in_flight_alone(settings: BrokerSettings) -> None:
    flow.publish(settings, map(flow.message, range(20)))
    for failures in range(SUSPECT_FAILURES):
        with flow.consuming(settings) as consumer:
            got = flow.receive(consumer, 20, ack=False)
            assert {each.failures for each in got} == {failures}
    with flow.consuming(settings) as consumer, flow.consuming(settings) as other:
        got = flow.receive(consumer, 1, ack=False)
        assert got[0].is_suspect
        assert consumer.receive(0.5) == []
        got += flow.receive(other, 1)
        for _ in range(18):
            got += flow.receive(other, 1)
        flow.publish(settings, map(flow.message, range(20, 40)))
        fresh = flow.receive(other, 20, ack=False)
    assert sorted(map(flow.number_of, got)) == list(range(20))
    assert {each.failures for each in got} == {SUSPECT_FAILURES}
    assert {each.failures for each in fresh} == {0}


def test_the_window_narrows_where_messages_grow(settings: BrokerSettings) -> None:
    """Small, large, small ones; what is there is held, until nothing comes, and then acknowledged.

    The window is wide when the first large ones come, so that many come at once, but no more then.
    """
    small, large, most = 100, 64 * 1024, 1024 * 1024
    sizes = [small] * 200 + [large] * 400 + [small] * 400
    flow.publish(settings, (flow.message(number, size) for number, size in enumerate(sizes)))
    got: list[Delivery] = []
    outstanding: list[int] = []
    with flow.consuming(settings, prefetch=100, prefetch_bytes=most) as consumer:
        while len(got) < len(sizes):
            held = flow.receive(consumer, 1, ack=False)
            while more := consumer.receive(0.2):
                held += more
            outstanding.append(sum(len(each.body) for each in held))
            consumer.ack(held)
            got += held
    assert [flow.number_of(each) for each in got] == list(range(len(sizes)))
    worst = outstanding.index(max(outstanding))
    assert outstanding[worst] <= 100 * large + most
    assert max(outstanding[worst + 1 :]) <= 2 * most
    flow.assert_empty(settings)


def test_a_busy_caller_keeps_its_connection(
    settings: BrokerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller is silent for three heartbeats, after two of which RabbitMQ would hang up."""
    monkeypatch.setattr(topology, "HEARTBEAT_SECONDS", 3.0)
    flow.publish(settings, map(flow.message, range(5)))
    with flow.consuming(settings) as busy:
        held = flow.receive(busy, 5, ack=False)
        with flow.consuming(settings) as other:
            assert other.receive(9.0) == []
        busy.ack(held)
    flow.assert_empty(settings)


@pytest.mark.parametrize("is_receiving", [True, False])
def test_a_consumer_notices_a_frozen_broker(
    rabbitmq_server: servers.RabbitServer,
    settings: BrokerSettings,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    is_receiving: bool,
) -> None:
    """Because it does not answer, long before heartbeats are missed; also to the keeper alone."""
    monkeypatch.setattr(topology, "ANSWER_SECONDS", 1.0)
    with flow.consuming(settings) as consumer:
        rabbitmq_server.freeze()
        try:
            if not is_receiving:
                servers.wait_until(
                    lambda: "lost the broker" in caplog.text, "a keeper that notices"
                )
            with pytest.raises(BrokerLost, match="no answer in time"):
                flow.receive(consumer, 1)
        finally:
            rabbitmq_server.thaw()
        flow.publish(settings, [flow.message(0)])
        assert [flow.number_of(each) for each in flow.receive(consumer, 1)] == [0]


@pytest.mark.parametrize("body", [b"{}", b""])
def test_a_content_type_that_is_no_text_costs_no_connection(
    settings: BrokerSettings, channel: Any, body: bytes
) -> None:
    flow.publish(settings, [flow.message(0)])
    broken = channel.prepare_message(body)
    broken._serialize_properties = lambda: b"\x80\x00\x01\xff"
    channel.basic_publish(broken, routing_key=settings.queue)
    with flow.consuming(settings) as consumer:
        got = flow.receive(consumer, 2, ack=False)
        assert [tuple(each)[:4] for each in got[1:]] == [(body, None, {}, False)]
        consumer.reject(got[1], "content type None is not application/json")
        consumer.ack(got)
    reason = "content type None is not application/json"
    assert flow.rejected(settings) == [(body, None, {"reason": reason})]
    flow.assert_empty(settings)
