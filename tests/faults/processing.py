"""A packet processor in a process of its own, to be killed."""

from __future__ import annotations

import threading

from network_pipeline.broker.consumer import Consumer
from network_pipeline.dataset.recorder import Recorder
from network_pipeline.metrics import Counters
from network_pipeline.processor import Processor, prefetch
from network_pipeline.settings import BrokerSettings, ProcessorSettings

#: Short, so that what a killed processor held comes again soon.
VISIBILITY_SECONDS = 1.0


def process(
    broker: BrokerSettings, processing: ProcessorSettings, stop: threading.Event | None = None
) -> None:
    """Do what packets-redis does, until killed or ``stop`` is set."""
    counters = Counters("received", "written", "duplicate", "rejected")
    consumer = Consumer(
        broker, prefetch=prefetch(processing), visibility_seconds=VISIBILITY_SECONDS
    )
    recorder = Recorder(processing)
    try:
        consumer.start()
        recorder.start()
        Processor(consumer, recorder, processing, counters).run(stop or threading.Event())
    finally:
        consumer.stop()
        recorder.close()
