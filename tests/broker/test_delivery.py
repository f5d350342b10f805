"""What every broker must do alike."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from network_pipeline.broker.publisher import Publisher
from network_pipeline.message import Message
from network_pipeline.settings import BrokerSettings
from tests.broker import flow


def test_all_messages_arrive_in_order_as_they_were(broker: BrokerSettings) -> None:
    sent = [flow.message(number, source="agent 1") for number in range(500)]
    counts = flow.publish(broker, sent)
    assert counts.snapshot() == {"published": 500, "shed": 0}
    with flow.consuming(broker, prefetch=64) as consumer:
        got = flow.receive(consumer, 500)
    assert [each.body for each in got] == [each.body for each in sent]
    assert {each.content_type for each in got} == {"application/json"}
    assert [dict(each.headers) for each in got] == [dict(each.headers) for each in sent]
    assert not any(each.redelivered for each in got)
    flow.assert_empty(broker)


def test_bodies_and_headers_are_kept_bit_by_bit(broker: BrokerSettings) -> None:
    sent = [
        Message(bytes(range(256)) * 1024, "application/vnd.apache.arrow.stream", {}),
        Message(b"", "application/json", {"schema": "c5b4901e962d3bc0", "created": 2**62}),
        Message(b"{}", "application/json", {"source": "Köln ✈ \u2028 \U0001f600", "count": -1}),
        Message(b"\xff\xfe{", "text/plain; charset=utf-8", {"compression": "application/x-gzip"}),
    ]
    flow.publish(broker, sent)
    with flow.consuming(broker) as consumer:
        got = flow.receive(consumer, len(sent))
    assert [(each.body, each.content_type, dict(each.headers)) for each in got] == [
        (each.body, each.content_type, dict(each.headers)) for each in sent
    ]


def test_a_named_exchange_leads_to_the_queue(broker: BrokerSettings) -> None:
    named = replace(broker, exchange=f"{broker.queue}-exchange", routing_key="frames")
    flow.publish(named, map(flow.message, range(40)))
    with flow.consuming(named) as consumer:
        got = flow.receive(consumer, 40)
    assert [flow.number_of(each) for each in got] == list(range(40))


def test_prefetch_limits_what_is_unacknowledged(broker: BrokerSettings) -> None:
    flow.publish(broker, map(flow.message, range(30)))
    with flow.consuming(broker, prefetch=7) as consumer:
        first = flow.receive(consumer, 7, ack=False)
        assert consumer.receive(0.3) == []
        consumer.ack(first[1:4])  # RabbitMQ puts nothing in the place of the first
        second = flow.receive(consumer, 3, ack=False)
        assert consumer.receive(0.3) == []
    assert [flow.number_of(each) for each in first + second] == list(range(10))


def test_large_messages_come_a_few_at_a_time(broker: BrokerSettings) -> None:
    mib = 1024 * 1024
    flow.publish(broker, [flow.message(number, mib) for number in range(40)])
    with flow.consuming(broker, prefetch_bytes=4 * mib) as consumer:
        first = consumer.receive(flow.PATIENCE_SECONDS)
        consumer.ack(first)
        time.sleep(0.5)  # for more to be on its way than may be
        second = consumer.receive(flow.PATIENCE_SECONDS)
        consumer.ack(second)
        rest = flow.receive(consumer, 40 - len(first) - len(second))
    most = 6 if broker.is_amqp else 32  # 16 MiB, and what the last reading brought
    assert 0 < len(first) <= most
    assert 0 < len(second) <= most
    assert [flow.number_of(each) for each in (*first, *second, *rest)] == list(range(40))


def test_small_messages_come_many_at_a_time_behind_large_ones(broker: BrokerSettings) -> None:
    mib = 1024 * 1024
    flow.publish(broker, [flow.message(number, mib) for number in range(20)])
    with flow.consuming(broker, prefetch=1000, prefetch_bytes=4 * mib) as consumer:
        flow.receive(consumer, 20)
        flow.publish(broker, [flow.message(number, 100) for number in range(500)])
        got = flow.receive(consumer, 500, ack=False)
    assert [flow.number_of(each) for each in got] == list(range(500))


def test_what_was_not_acknowledged_comes_back_at_once(broker: BrokerSettings) -> None:
    flow.publish(broker, map(flow.message, range(20)))
    with flow.consuming(broker) as consumer:
        got = flow.receive(consumer, 20, ack=False)
        consumer.ack([got[5], got[0], got[1]])
        consumer.ack(got[17:])
    with flow.consuming(broker) as consumer:
        again = flow.receive(consumer, 14)
    left = [2, 3, 4, *range(6, 17)]
    assert sorted(map(flow.number_of, again)) == left
    assert all(each.redelivered for each in again)
    flow.assert_empty(broker)


def test_acknowledging_twice_or_too_late_does_nothing(broker: BrokerSettings) -> None:
    flow.publish(broker, map(flow.message, range(4)))
    with flow.consuming(broker) as consumer:
        got = flow.receive(consumer, 4, ack=False)
        consumer.ack(got[:2])
        consumer.ack(got[:2])
        consumer.ack([])
    with flow.consuming(broker) as consumer:
        consumer.ack(got)
        again = flow.receive(consumer, 2)
    assert sorted(map(flow.number_of, again)) == [2, 3]


def test_two_consumers_share_a_queue(broker: BrokerSettings) -> None:
    flow.publish(broker, map(flow.message, range(100)))
    with flow.consuming(broker, prefetch=10) as one, flow.consuming(broker, prefetch=10) as two:
        first = flow.receive(one, 10, ack=False)
        second = flow.receive(two, 10, ack=False)
        one.ack(first)
        two.ack(second)
        rest: list[int] = []
        while len(rest) < 80:
            for consumer in (one, two):
                deliveries = consumer.receive(0.05)
                consumer.ack(deliveries)
                rest += map(flow.number_of, deliveries)
    numbers = [*map(flow.number_of, first), *map(flow.number_of, second), *rest]
    assert sorted(numbers) == list(range(100))


def test_a_rejected_message_moves_with_its_reason(broker: BrokerSettings) -> None:
    garbage = Message(b"\x00\xffno json", "application/json", {"source": "agent"})
    flow.publish(broker, [flow.message(0), garbage, flow.message(2)])
    with flow.consuming(broker) as consumer:
        got = flow.receive(consumer, 3, ack=False)
        consumer.reject(got[1], "not JSON " + "x" * 300)
        consumer.ack(got)
    reason = ("not JSON " + "x" * 300)[:200]
    assert flow.rejected(broker) == [
        (b"\x00\xffno json", "application/json", {"source": "agent", "reason": reason})
    ]
    flow.assert_empty(broker)


def test_nothing_arrives_from_an_empty_queue(broker: BrokerSettings) -> None:
    with flow.consuming(broker) as consumer:
        assert consumer.receive(0) == []
        assert consumer.receive(0.1) == []


def test_a_stopped_consumer_stays_stopped(broker: BrokerSettings) -> None:
    with flow.consuming(broker) as consumer:
        pass
    flow.publish(broker, [flow.message(0)])
    assert consumer.receive(0.1) == []
    consumer.stop()


def test_a_full_buffer_sheds_and_counts(broker: BrokerSettings) -> None:
    counts = flow.counters()
    publisher = Publisher(broker, counts, buffer_messages=10, buffer_bytes=100)
    taken = [publisher.publish(flow.message(number)) for number in range(15)]
    assert taken == [True] * 10 + [False] * 5
    assert publisher.waiting() == 10
    publisher.start()
    assert publisher.stop(flow.PATIENCE_SECONDS) == 0
    assert counts.snapshot() == {"published": 10, "shed": 5}


def test_published_and_shed_count_frames(broker: BrokerSettings) -> None:
    counts = flow.counters()
    publisher = Publisher(broker, counts, buffer_messages=2)
    taken = [publisher.publish(flow.message(number, count=100 + number)) for number in range(3)]
    assert taken == [True, True, False]
    publisher.start()
    assert publisher.stop(flow.PATIENCE_SECONDS) == 0
    assert counts.snapshot() == {"published": 201, "shed": 102}


def test_frames_that_are_left_at_the_stop_are_counted(broker: BrokerSettings) -> None:
    counts = flow.counters()
    publisher = Publisher(broker, counts)
    publisher.publish(flow.message(0, count=7))
    assert publisher.stop(0) == 7
    assert counts.snapshot() == {"published": 0, "shed": 7}


def test_who_can_wait_waits_for_room(broker: BrokerSettings) -> None:
    counts = flow.counters()
    publisher = Publisher(broker, counts, buffer_messages=1)
    assert publisher.await_room(flow.message(0), 0)
    publisher.publish(flow.message(0))
    assert not publisher.await_room(flow.message(1), 0)
    publisher.start()
    assert publisher.await_room(flow.message(1), flow.PATIENCE_SECONDS)
    publisher.publish(flow.message(1))
    assert publisher.stop(flow.PATIENCE_SECONDS) == 0
    assert counts.snapshot() == {"published": 2, "shed": 0}


@pytest.mark.parametrize(("size", "fits"), [(100, True), (101, False)])
def test_the_buffer_is_bounded_in_bytes(broker: BrokerSettings, size: int, fits: bool) -> None:
    counts = flow.counters()
    publisher = Publisher(broker, counts, buffer_bytes=100)
    assert publisher.publish(flow.message(0, size=size)) is fits
    assert publisher.stop(0) == int(fits)
    assert counts.snapshot() == {"published": 0, "shed": 1}
