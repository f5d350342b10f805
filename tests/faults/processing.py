"""A packet processor in a process of its own, to be killed."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from network_pipeline import rows
from network_pipeline.broker import subscription
from network_pipeline.broker.consumer import Consumer
from network_pipeline.dataset.recorder import Recorder
from network_pipeline.metrics import Counters
from network_pipeline.processor import Processor, prefetch
from network_pipeline.rows import Rows, count
from network_pipeline.settings import BrokerSettings, ProcessorSettings
from tests.lives import Life

#: Short, so that what a killed processor held comes again soon.
VISIBILITY_SECONDS = 1.0


class DoomedRecorder(Recorder):
    """Writes rows for as long as its life lasts."""

    def __init__(self, settings: ProcessorSettings, life: Life) -> None:
        super().__init__(settings)
        self._life = life

    def append(self, pieces: Sequence[Rows]) -> int:
        self._life.spend(sum(map(count, pieces)))
        return super().append(pieces)


#: The body of a message that ends whoever reads it.
DEADLY = b"deadly"


def process_until_dead(broker: BrokerSettings, processing: ProcessorSettings) -> None:
    """Process, with limits that are soon reached, until a deadly message is read."""
    subscription.SUSPECT_FAILURES, subscription.MAX_FAILURES = 3, 6
    decode = rows.decode

    def read(body: bytes, content_type: str | None, headers: Mapping[str, Any]) -> Rows:
        if body == DEADLY:
            os._exit(1)
        return decode(body, content_type, headers)

    rows.decode = read
    process(broker, processing)


def process(
    broker: BrokerSettings,
    processing: ProcessorSettings,
    life: Life | None = None,
    stop: threading.Event | None = None,
) -> None:
    """Do what packets-redis does, for life or until ``stop`` is set."""
    counters = Counters("received", "written", "duplicate", "rejected")
    consumer = Consumer(
        broker, prefetch=prefetch(processing), visibility_seconds=VISIBILITY_SECONDS
    )
    recorder = DoomedRecorder(processing, life) if life else Recorder(processing)
    try:
        consumer.start()
        recorder.start()
        Processor(consumer, recorder, processing, counters).run(stop or threading.Event())
    finally:
        consumer.stop()
        recorder.close()
