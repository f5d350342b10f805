"""packets-redis and packets-rabbitmq: from a queue of packets to a CSV, or to Parquet files.

One function: the commands differ by their default broker, and a URL of either kind works in both.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from network_pipeline import settings
from network_pipeline.errors import UsageError
from network_pipeline.metrics import Reading
from network_pipeline.options import (
    BROKER_OPTIONS,
    DEFAULT_RABBITMQ_URL,
    DEFAULT_REDIS_URL,
    METRICS_OPTIONS,
    PROCESSOR_OPTIONS,
)
from network_pipeline.scripts import cli, watch

if TYPE_CHECKING:
    from network_pipeline.broker.consumer import Consumer
    from network_pipeline.dataset.recorder import Recorder
    from network_pipeline.metrics import Counters, Histogram

_EXAMPLES = """\
examples:
  {name}                                 appends to /tmp/netdata-YYYY-mm-dd-HH-MM-SS.csv
  OUTPUT_CSV=/srv/traffic.csv {name}     appends to that file, today and tomorrow
  {name} --dir /srv/packets --rotate-after-seconds 3600
                                         a finished file every hour, for a job that collects them
  {name} --output /srv/packets/traffic.parquet
                                         traffic-YYYY-mm-dd-HH-MM-SS.parquet, a file for every
                                         snapshot, of a minute if nothing else is said
  {name} --workers 2 --output /srv/traffic.csv
                                         two processes, traffic-1.csv and traffic-2.csv
  {name} --save-after-num 10000 --stop-after-num 50000
  {name} --check                         is everything right? start nothing

A queue may hold JSON messages of one packet and Arrow messages of many. --stop-after-num is exact
with the former, and ends with the message that reaches it with the latter.

Packets are acknowledged only when their rows are on disk. Several processors may share a queue,
each with a file of its own. Ctrl-C saves what has arrived, and ends it in good order."""


def _run(values: cli.Values) -> None:
    stop = cli.stop_on_signals()
    processing = settings.processor_settings(values)
    worker_of = settings.worker_of(settings.environment())
    if values["workers"] > 1:
        _run_crew(values, processing, stop)
    elif worker_of is None:
        _process(values, processing, stop)
    elif _ends_with(worker_of[0]):
        _process(values, replace(processing, crew=worker_of[1]), stop)


def _ends_with(parent: int) -> bool:
    """Have this process end in good order when its parent ends; return whether that is there."""
    from network_pipeline import privileges  # noqa: PLC0415

    privileges.end_with_parent(signal.SIGTERM)
    return os.getppid() == parent


def _run_crew(
    values: cli.Values, processing: settings.ProcessorSettings, stop: threading.Event
) -> None:
    from network_pipeline.crew import Crew  # noqa: PLC0415

    if values["stop_after_num"]:
        raise UsageError("--stop-after-num counts in one process, and --workers makes several")
    workers = _workers(processing, values["workers"])
    commands = [
        [sys.executable, *sys.orig_argv[1:], *_flags(values, number, worker)]
        for number, worker in enumerate(workers)
    ]
    Crew(commands, settings.for_workers(settings.environment(), workers[0].crew)).run(stop)


def _workers(
    processing: settings.ProcessorSettings, count: int
) -> list[settings.ProcessorSettings]:
    return [processing.of_worker(number) for number in range(1, count + 1)]


def _flags(values: cli.Values, index: int, worker: settings.ProcessorSettings) -> list[str]:
    """Return the flags that make this command one of its workers."""
    flags = ["--workers", "1"]
    flags += ["--output", str(worker.output)] if worker.output else ["--name", worker.name]
    if values["metrics_port"] is not None:
        flags += ["--metrics-port", str(values["metrics_port"] + index)]
    return flags


def _process(
    values: cli.Values, processing: settings.ProcessorSettings, stop: threading.Event
) -> None:
    from network_pipeline.broker import durability  # noqa: PLC0415
    from network_pipeline.broker.consumer import Consumer  # noqa: PLC0415
    from network_pipeline.metrics import Counters  # noqa: PLC0415
    from network_pipeline.processor import Processor, prefetch, prefetch_bytes  # noqa: PLC0415
    from network_pipeline.report import Report  # noqa: PLC0415

    counters = Counters("received", "written", "duplicate", "rejected")
    broker = settings.broker_settings(values)
    consumer = Consumer(
        broker, prefetch=prefetch(processing), prefetch_bytes=prefetch_bytes(processing)
    )
    recorder = recorder_of(processing)
    try:
        consumer.start()
        durability.warn(broker)
        recorder.start()
        processor = Processor(consumer, recorder, processing, counters)
        reading = partial(_reading, counters, consumer, processor.histograms)
        exposed = watch.exposition(values, "processor", processor.pulse, reading)
        with exposed, Report("packets", counters):
            processor.run(stop)
    finally:
        consumer.stop()
        recorder.close()


def recorder_of(processing: settings.ProcessorSettings) -> Recorder:
    """Return what writes the format that the settings name."""
    if processing.is_parquet:
        from network_pipeline.dataset.parquet_recorder import ParquetRecorder  # noqa: PLC0415

        return ParquetRecorder(processing)
    from network_pipeline.dataset.recorder import Recorder  # noqa: PLC0415

    return Recorder(processing)


def _reading(
    counters: Counters, consumer: Consumer, histograms: Mapping[str, Histogram]
) -> Reading:
    counts = counters.snapshot()
    taken = counts.pop("received")  # it goes down where the broker takes back what waits
    settled = sum(counts.values())
    return Reading(
        frames={"received": settled, **counts},
        amounts={"worker_restarts": settings.restarts(settings.environment())},
        gauges={"waiting_frames": taken - settled, "broker_connected": consumer.is_connected},
        histograms={name: one.snapshot() for name, one in histograms.items()},
    )


def _check(values: cli.Values) -> list[str]:
    from network_pipeline.broker import durability, topology  # noqa: PLC0415

    broker = settings.broker_settings(values)
    processing, count = settings.processor_settings(values), values["workers"]
    processors = _workers(processing, count) if count > 1 else [processing]
    targets = [recorder_of(each).check() for each in processors]
    topology.check(broker)
    durability.warn(broker)
    return [*(f"file {target}" for target in targets), f"broker {broker.safe_url}"]


def _command(name: str, url: str) -> Callable[[], int]:
    def entry_point() -> int:
        broker, *others = BROKER_OPTIONS
        return cli.execute(
            cli.Command(
                name=name,
                summary="Turn the packets of a queue into the rows of a CSV, or of Parquet files.",
                options=(
                    *PROCESSOR_OPTIONS,
                    replace(broker, default=url),
                    *others,
                    *METRICS_OPTIONS,
                ),
                run=_run,
                check=_check,
                examples=_EXAMPLES.format(name=name),
            )
        )

    return entry_point


redis = _command("packets-redis", DEFAULT_REDIS_URL)
rabbitmq = _command("packets-rabbitmq", DEFAULT_RABBITMQ_URL)
