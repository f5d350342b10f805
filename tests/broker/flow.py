"""Sending and receiving numbered messages, for the tests of this folder."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from network_pipeline.broker import topology
from network_pipeline.broker.consumer import Consumer, Delivery
from network_pipeline.broker.publisher import Publisher
from network_pipeline.errors import BrokerLost
from network_pipeline.message import Message
from network_pipeline.metrics import Counters
from network_pipeline.settings import BrokerSettings
from tests import servers

PATIENCE_SECONDS = 40.0


def counters() -> Counters:
    return Counters("published", "shed")


def message(number: int, size: int = 0, **headers: Any) -> Message:
    body = f"{number:08d}".encode().ljust(size, b".")
    return Message(body, "application/json", {"first": number, "count": 1, **headers})


def number_of(delivery: Delivery) -> int:
    return int(delivery.body[:8])


def publish(settings: BrokerSettings, messages: Iterable[Message]) -> Counters:
    """Publish all of them and return the counters."""
    counts = counters()
    publisher = Publisher(settings, counts)
    publisher.start()
    for each in messages:
        assert publisher.publish(each)
    assert publisher.stop(PATIENCE_SECONDS) == 0
    return counts


@contextmanager
def consuming(settings: BrokerSettings, prefetch: int = 100, **options: Any) -> Iterator[Consumer]:
    consumer = Consumer(settings, prefetch=prefetch, **options)
    consumer.start()
    try:
        yield consumer
    finally:
        consumer.stop()


def receive(consumer: Consumer, count: int, *, ack: bool = True) -> list[Delivery]:
    """Receive ``count`` deliveries and acknowledge them."""
    got: list[Delivery] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(got) < count:
        assert time.monotonic() < deadline, f"{len(got)} of {count} deliveries"
        deliveries = consumer.receive(0.5)
        if ack:
            consumer.ack(deliveries)
        got += deliveries
    return got


def receive_numbers(consumer: Consumer, wanted: set[int]) -> list[int]:
    """Receive and acknowledge until all wanted numbers came, over lost connections."""
    got: list[int] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not wanted <= set(got):
        missing = len(wanted - set(got))
        assert time.monotonic() < deadline, f"{missing} of {len(wanted)} missing"
        with suppress(BrokerLost):
            deliveries = consumer.receive(0.5)
            got += map(number_of, deliveries)
            consumer.ack(deliveries)
    return got


def receive_all(consumer: Consumer, settings: BrokerSettings) -> list[int]:
    """Receive and acknowledge until the queue is empty."""
    got: list[int] = []

    def is_empty() -> bool:
        deliveries = consumer.receive(0.1)
        consumer.ack(deliveries)
        got.extend(map(number_of, deliveries))
        return not deliveries and left(settings) == 0

    servers.wait_until(is_empty, "an empty queue", step=0)
    return got


def left(settings: BrokerSettings) -> int:
    """Return how many messages the queue holds; on Redis also the unacknowledged ones."""
    connection = topology.connect(settings)
    try:
        return int(connection.channel().queue_declare(settings.queue, passive=True).message_count)
    finally:
        connection.release()


def assert_empty(settings: BrokerSettings) -> None:
    servers.wait_until(lambda: left(settings) == 0, "an empty queue")


def rejected(settings: BrokerSettings) -> list[tuple[bytes, str | None, dict[str, Any]]]:
    """Return what is in the rejected queue: bodies, content types, headers but for the time."""
    found = _rejected(settings)
    for _, _, headers in found:
        assert isinstance(headers.pop("rejected_at", 0), int)
    return found


def _rejected(settings: BrokerSettings) -> list[tuple[bytes, str | None, dict[str, Any]]]:
    connection = topology.connect(settings)
    channel = connection.channel()
    name = settings.rejected_queue
    try:
        if settings.is_redis:
            return _stream_entries(channel, name)
        found = []
        while raw := channel.basic_get(name):
            properties = raw.properties
            content_type = properties.get("content_type", getattr(raw, "content_type", None))
            headers = properties.get("application_headers", raw.headers)
            headers = {key: headers[key] for key in headers if key != "x-delivery-count"}
            found.append((bytes(raw.body or b""), content_type, headers))
        return found
    finally:
        connection.release()


def _stream_entries(channel: Any, name: str) -> list[tuple[bytes, str | None, dict[str, Any]]]:
    from network_pipeline.broker.entries import decode_entry  # noqa: PLC0415

    entries = [
        decode_entry(*each) for each in channel.wire.call("XRANGE", channel.key(name), "-", "+")
    ]
    return [(entry.body, entry.content_type, entry.headers) for entry in entries]


def expect(error: type[Exception], *texts: str) -> Any:
    """Expect an error whose text is one line that holds ``texts``, and no password."""

    @contextmanager
    def check() -> Iterator[None]:
        with pytest.raises(error) as caught:
            yield
        text = str(caught.value)
        assert "\n" not in text
        assert "secret" not in text
        for each in texts:
            assert each in text

    return check()
