"""Numbered messages in both directions, in threads, while a test breaks the broker."""

from __future__ import annotations

import threading

from network_pipeline.broker.consumer import Consumer
from network_pipeline.broker.publisher import Publisher
from network_pipeline.errors import BrokerLost
from network_pipeline.settings import BrokerSettings
from tests import servers
from tests.broker import flow


class Feed:
    """Publishes numbered messages at about 2,000 a second until told to stop."""

    def __init__(self, settings: BrokerSettings) -> None:
        self.counts = flow.counters()
        self.publisher = Publisher(settings, self.counts)
        self.sent = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self.publisher.start()
        self._thread.start()

    def stop(self) -> None:
        """Send what is left; afterwards ``sent`` and ``counts`` are final."""
        self._stop.set()
        self._thread.join()
        assert self.publisher.stop(flow.PATIENCE_SECONDS) == 0

    def _run(self) -> None:
        while not self._stop.wait(0.005):
            for _ in range(10):
                assert self.publisher.publish(flow.message(self.sent, size=500))
                self.sent += 1


class Sink:
    """Receives and acknowledges until told to stop, over lost connections."""

    def __init__(self, settings: BrokerSettings) -> None:
        self.settings = settings
        self.consumer = Consumer(settings, prefetch=200, visibility_seconds=3)
        self.numbers: list[int] = []
        self.losses = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self.consumer.start()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self.consumer.stop()

    def await_traffic(self) -> None:
        least = len(self.numbers) + 500
        servers.wait_until(lambda: len(self.numbers) > least, "traffic")

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                deliveries = self.consumer.receive(0.2)
                self.numbers += map(flow.number_of, deliveries)
                self.consumer.ack(deliveries)
            except BrokerLost:
                self.losses += 1


def settle(feed: Feed, sink: Sink) -> None:
    """End both sides, once everything that was sent has come, and come again if it has to."""
    feed.stop()
    wanted = set(range(feed.sent))
    servers.wait_until(lambda: wanted <= set(sink.numbers), "all messages")
    flow.assert_empty(sink.settings)
    sink.stop()
    assert set(sink.numbers) == wanted
    assert feed.counts.snapshot() == {"published": feed.sent, "shed": 0}
