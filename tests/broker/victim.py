"""Consumers that are killed: what runs in the child processes of test_kill."""

from __future__ import annotations

import os
from pathlib import Path

from network_pipeline.broker.consumer import Consumer
from network_pipeline.settings import BrokerSettings
from tests.lives import Life

PREFETCH = 20
VISIBILITY_SECONDS = 0.5


def consume(settings: BrokerSettings, notes: Path, life: Life | None = None) -> None:
    """Write each message's first eight characters to ``notes``, then acknowledge; for life."""
    file = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    consumer = Consumer(settings, prefetch=PREFETCH, visibility_seconds=VISIBILITY_SECONDS)
    consumer.start()
    while True:
        deliveries = consumer.receive(0.2)
        for delivery in deliveries:
            if delivery.body == b"poison":
                os._exit(1)
            if life:
                life.spend(1)
            os.write(file, delivery.body[:8] + b"\n")
        consumer.ack(deliveries)
