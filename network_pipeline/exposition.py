"""Counters of a process over HTTP: ``/metrics`` for Prometheus, ``/healthz`` for an orchestrator.

Nothing is counted here: at every scrape the counters are read as they stand. Names follow the
conventions of Prometheus: ``network_pipeline_agent_shed_frames_total``. They are the same for all
commands; where a process has workers, each has its own, with a label. The pages show counts alone,
no addresses and no payloads; by default they are served on the loopback device.
"""

from __future__ import annotations

import logging
import selectors
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from itertools import accumulate
from types import TracebackType

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from network_pipeline.metrics import Distribution, Pulse, Reading
from network_pipeline.page_server import Page, PageServer, text_page

#: A loop that did not turn for so long is not healthy; a slow disk or broker stays far below.
HEALTHY_SECONDS = 60.0

#: What the counts of frames are, by the names in the ledgers.
FRAMES = {
    "captured": "Frames that passed the filter, lost ones among them.",
    "published": "Frames that the broker has confirmed.",
    "shed": "Frames lost because a buffer or the spool had no room.",
    "kernel_dropped": "Frames that the kernel had no room for.",
    "not_sampled": "Frames of flows that were not chosen.",
    "adopted": "Frames of earlier runs, found in the spool, that the broker has confirmed.",
    "damaged": "Frames of earlier runs that could not be read from the spool.",
    "lost": "Frames, at most so many, that were with a worker when it was killed.",
    "received": "Frames that came from the broker and were settled.",
    "written": "Frames that are rows on disk.",
    "duplicate": "Frames that came again and were dropped.",
    "rejected": "Frames of messages that were set aside.",
}

#: What else only grows.
AMOUNTS = {
    "captured_bytes": "Bytes on the wire of the frames that were captured, without those that the "
    "kernel dropped, that were not sampled, or that a full queue shed before they were decoded.",
    "kernel_freezes": "How often a ring was full.",
    "worker_restarts": "Workers that died and have a successor.",
}

#: What goes up and down, by name.
GAUGES = {
    "spooled_frames": "Frames of this run that wait on disk for the broker.",
    "waiting_messages": "Messages that wait in memory for the broker.",
    "waiting_frames": "Frames that were received and are not settled yet.",
    "queue_messages": "Messages in the queue when an agent looked last.",
    "broker_connected": "1 while there is a connection to the broker.",
    "worker_up": "1 while the worker runs and its loop turns.",
    "worker_resident_memory_bytes": "Resident memory of the worker, what it shares too.",
}

HISTOGRAMS = {
    "message_frames": "Frames of the messages that were published.",
    "message_bytes": "Bytes of the bodies of the messages that were published.",
    "snapshot_rows": "Rows of the snapshots that were written.",
    "snapshot_seconds": "How long it took to make a snapshot durable.",
    "lag_seconds": "Age of frames' messages when their rows were durable.",
}

_SELECT_SECONDS = 0.25

_log = logging.getLogger(__name__)

#: What was read of each worker, by the values of the labels: of a process without, by ().
Readings = Mapping[tuple[str, ...], Reading]


class Counts(Collector):
    """The metrics of an ``agent`` or a ``processor``, from what ``read`` gives at each scrape."""

    def __init__(self, role: str, read: Callable[[], Readings], labels: Sequence[str] = ()) -> None:
        self._prefix = f"network_pipeline_{role}"
        self._read = read
        self._labels = labels

    def collect(self) -> Iterator[Metric]:
        """Read everything as it stands."""
        readings = self._read()
        shape = next(iter(readings.values()))
        for name in shape.frames:
            yield self._counter(
                f"{name}_frames", FRAMES[name],
                {labels: one.frames[name] for labels, one in readings.items()},
            )  # fmt: skip
        for name in shape.amounts:
            values = {labels: one.amounts[name] for labels, one in readings.items()}
            yield self._counter(name, AMOUNTS[name], values)
        for name in shape.gauges:
            gauge = GaugeMetricFamily(self._name(name), GAUGES[name], labels=self._labels)
            for labels, one in readings.items():
                gauge.add_metric(labels, one.gauges[name])
            yield gauge
        for name in shape.histograms:
            found = {labels: one.histograms[name] for labels, one in readings.items()}
            yield self._histogram(name, found)

    def _name(self, name: str) -> str:
        return f"{self._prefix}_{name}"

    def _counter(self, name: str, help_: str, values: Mapping[tuple[str, ...], int]) -> Metric:
        counter = CounterMetricFamily(self._name(name), help_, labels=self._labels)
        for labels, value in values.items():
            counter.add_metric(labels, value)
        return counter

    def _histogram(self, name: str, found: Mapping[tuple[str, ...], Distribution]) -> Metric:
        family = HistogramMetricFamily(self._name(name), HISTOGRAMS[name], labels=self._labels)
        for labels, one in found.items():
            limits = [*(str(float(bound)) for bound in one.bounds), "+Inf"]
            buckets = list(zip(limits, accumulate(one.counts), strict=True))
            family.add_metric(labels, buckets, one.total)
        return family


class Pages:
    """Makes the pages. ``complaint`` says what is wrong with the process, nothing if all is well.

    Only Prometheus' text format is offered, which every version of it reads.
    """

    def __init__(self, counts: Counts, complaint: Callable[[], str]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(counts)
        ProcessCollector(registry=self._registry)
        self._complaint = complaint

    def page(self, path: str) -> Page:
        """Return what is at a path."""
        if path == "/metrics":
            return Page(HTTPStatus.OK, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(self._registry))
        if path == "/healthz":
            wrong = self._complaint()
            status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
            return text_page(status, wrong or "ok")
        return text_page(HTTPStatus.NOT_FOUND, "/metrics or /healthz")


class Exposition:
    """Serves the counts of an ``agent`` or a ``processor``, in a thread, while its block runs.

    ``place`` is an address and a TCP port; ``pulse`` is that of the loop that must turn.
    """

    def __init__(
        self, role: str, place: tuple[str, int], pulse: Pulse, read: Callable[[], Reading]
    ) -> None:
        self._pulse = pulse
        pages = Pages(Counts(role, lambda: {(): read()}), self._complaint)
        self._server = PageServer(place, pages.page)
        self._selector = selectors.PollSelector()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="metrics", daemon=True)

    def __enter__(self) -> Exposition:
        """Listen.

        Raises:
            UsageError: the address cannot be used.
        """
        self._server.listen()
        self._server.open(self._selector)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._server.close()
        self._selector.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            for key, _ in self._selector.select(_SELECT_SECONDS):
                key.data()
            self._server.turn()

    def _complaint(self) -> str:
        age = self._pulse.age()
        return "" if age < HEALTHY_SECONDS else f"stands still since {age:.0f} s"
