"""Brokers that go away, freeze, fill up or refuse, under a live publisher and consumer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from network_pipeline.broker import link, topology
from network_pipeline.broker.consumer import Consumer
from network_pipeline.broker.publisher import Publisher
from network_pipeline.errors import BrokerLost, BrokerRefused, BrokerUnreachable, UsageError
from network_pipeline.settings import BrokerSettings
from tests import servers
from tests.broker import flow
from tests.broker.load import Feed, Sink, settle


def test_a_broker_that_is_killed_and_started_again_loses_nothing(
    server: servers.Server, faulty: BrokerSettings
) -> None:
    feed, sink = Feed(faulty), Sink(faulty)
    feed.start()
    sink.start()
    sink.await_traffic()
    server.kill()
    servers.wait_until(lambda: feed.publisher.waiting() > 200, "messages that wait")
    server.start()
    sink.await_traffic()
    settle(feed, sink)
    assert sink.losses == 1


def test_a_frozen_broker_is_noticed_and_nothing_is_lost(
    server: servers.Server, faulty: BrokerSettings, caplog: pytest.LogCaptureFixture
) -> None:
    feed, sink = Feed(faulty), Sink(faulty)
    feed.start()
    sink.start()
    sink.await_traffic()
    server.freeze()
    servers.wait_until(lambda: "publisher" in losers(caplog), "a publisher that notices")
    assert feed.publisher.waiting() > 0
    server.thaw()
    settle(feed, sink)


def losers(caplog: pytest.LogCaptureFixture) -> set[str]:
    """Return the modules that said they lost the broker."""
    return {record.module for record in caplog.records if "lost the broker" in record.message}


def test_publish_does_not_wait_for_a_frozen_broker_and_counts_what_it_sheds(
    server: servers.Server, faulty: BrokerSettings
) -> None:
    counts = flow.counters()
    publisher = Publisher(faulty, counts, buffer_messages=100)
    publisher.start()
    assert publisher.publish(flow.message(0))
    servers.wait_until(lambda: counts["published"] == 1, "the first message")
    server.freeze()
    taken = [publisher.publish(flow.message(number)) for number in range(1, 151)]
    assert taken == [True] * 100 + [False] * 50
    assert counts.snapshot() == {"published": 1, "shed": 50}
    server.thaw()
    assert publisher.stop(flow.PATIENCE_SECONDS) == 0
    assert counts.snapshot() == {"published": 101, "shed": 50}
    with flow.consuming(faulty) as consumer:
        got = flow.receive_numbers(consumer, set(range(101)))
    assert set(got) == set(range(101))


def test_what_is_left_when_a_publisher_stops_without_its_broker_is_shed(
    server: servers.Server, faulty: BrokerSettings
) -> None:
    counts = flow.counters()
    publisher = Publisher(faulty, counts)
    publisher.start()
    server.freeze()
    for number in range(30):
        assert publisher.publish(flow.message(number))
    assert publisher.stop(0.5) == 30
    assert not publisher.publish(flow.message(30))
    assert counts.snapshot() == {"published": 0, "shed": 31}


def test_a_consumer_says_once_that_the_broker_is_lost(
    server: servers.Server, faulty: BrokerSettings, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "network_pipeline.broker.consumer")
    flow.publish(faulty, map(flow.message, range(10)))
    with flow.consuming(faulty) as consumer:
        void = flow.receive(consumer, 10, ack=False)
        server.stop()
        with pytest.raises(BrokerLost):
            flow.receive(consumer, 1)
        assert [consumer.receive(0.1) for _ in range(5)] == [[]] * 5
        consumer.ack(void)
        server.start()
        again = flow.receive(consumer, 10)
    assert sorted(map(flow.number_of, again)) == list(range(10))
    assert all(each.redelivered for each in again)
    texts = [record.message.partition(" (")[0] for record in caplog.records]
    address = faulty.safe_url
    assert texts == [f"lost the broker at {address}", f"connected to the broker at {address} again"]
    flow.assert_empty(faulty)


@pytest.mark.parametrize("scheme", ["redis", "rediss", "amqp", "amqps"])
def test_nobody_at_the_address(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_START_SECONDS", 0.2)
    [port] = servers.free_ports(1)
    settings = BrokerSettings(f"{scheme}://ana:secret@localhost:{port}/0")
    where = f"{scheme}://ana:***@localhost:{port}/0"
    for action in (
        Publisher(settings, flow.counters()).start,
        Consumer(settings, prefetch=1).start,
        lambda: topology.check(settings),
    ):
        with flow.expect(BrokerUnreachable, "no broker answers at", where, "--broker"):
            action()


def test_a_service_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topology, "ANSWER_SECONDS", 0.3)
    with servers.silent_port() as port:
        for scheme in ("redis", "amqp"):
            settings = BrokerSettings(f"{scheme}://localhost:{port}/0")
            with flow.expect(BrokerUnreachable, "no answer in time"):
                topology.check(settings)


def test_a_wrong_password(faulty: BrokerSettings) -> None:
    port = faulty.endpoints[0][1]
    scheme = faulty.url.partition(":")[0]
    wrong = replace(faulty, url=f"{scheme}://ana:secret@localhost:{port}/0")
    for action in (
        Publisher(wrong, flow.counters()).start,
        Consumer(wrong, prefetch=1).start,
        lambda: topology.check(wrong),
    ):
        with flow.expect(BrokerRefused, f"ana:***@localhost:{port}", "password"):
            action()


def test_wrong_settings() -> None:
    redis = BrokerSettings("redis://localhost:6379/0")
    for settings, text in (
        (replace(redis, url="redis://a:1/0;redis://b:1/0"), "several hosts"),
        (replace(redis, url="redis://localhost/name"), "'name' is no number"),
        (replace(redis, url="rediss://localhost", ssl_options={"ca": "x"}), "'ca' unknown"),
        (replace(redis, url="amqps://localhost", ssl_options={"ca_certs": "/no"}), "no file /no"),
    ):
        with flow.expect(UsageError, text):
            topology.check(settings)
