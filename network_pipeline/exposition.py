"""Counters of a process over HTTP: ``/metrics`` for Prometheus, ``/healthz`` for an orchestrator.

Nothing is counted here: at every scrape the counters of the process are read as they stand. Names
follow the conventions of Prometheus: ``network_pipeline_agent_shed_frames_total``. The server has
a thread of its own and shows counts alone, no addresses and no payloads; by default it listens on
the loopback device.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate
from types import TracebackType
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from network_pipeline.errors import UsageError
from network_pipeline.metrics import Histogram, Pulse

#: A loop that did not turn for so long is not healthy; a slow disk or broker stays far below.
HEALTHY_SECONDS = 60.0

_REQUEST_SECONDS = 10.0
_TEXT = "text/plain; charset=utf-8"

#: What the counts of frames are, by the names in the ledgers.
FRAMES = {
    "captured": "Frames that passed the filter, lost ones among them.",
    "published": "Frames that the broker has confirmed.",
    "shed": "Frames lost because a buffer or the spool had no room.",
    "kernel_dropped": "Frames that the kernel had no room for.",
    "not_sampled": "Frames of flows that were not chosen.",
    "adopted": "Frames of earlier runs, found in the spool, that the broker has confirmed.",
    "damaged": "Frames of earlier runs that could not be read from the spool.",
    "received": "Frames that came from the broker and were settled.",
    "written": "Frames that are rows on disk.",
    "duplicate": "Frames that came again and were dropped.",
    "rejected": "Frames of messages that were set aside.",
}

#: What goes up and down, by name.
GAUGES = {
    "spooled_frames": "Frames of this run that wait on disk for the broker.",
    "waiting_messages": "Messages that wait in memory for the broker.",
    "waiting_frames": "Frames that were received and are not settled yet.",
    "queue_messages": "Messages in the queue when an agent looked last.",
    "broker_connected": "1 while there is a connection to the broker.",
}

HISTOGRAMS = {
    "message_frames": "Frames of the messages that were published.",
    "snapshot_rows": "Rows of the snapshots that were written.",
    "snapshot_seconds": "How long it took to make a snapshot durable.",
    "lag_seconds": "Age of frames' messages when their rows were durable.",
}

_log = logging.getLogger(__name__)


class Exposition:
    """Serves the counts of an ``agent`` or a ``processor`` while its block runs.

    ``place`` is an address and a TCP port.
    ``frames`` gives counts by the names of :data:`FRAMES`, ``gauges`` and ``histograms`` have names
    of :data:`GAUGES` and :data:`HISTOGRAMS`; ``pulse`` is that of the loop that must turn.
    """

    def __init__(  # noqa: PLR0913  one of each
        self,
        role: str,
        place: tuple[str, int],
        pulse: Pulse,
        *,
        frames: Callable[[], Mapping[str, int]],
        gauges: Callable[[], Mapping[str, float]],
        histograms: Mapping[str, Histogram],
    ) -> None:
        self.place = place
        self._registry = CollectorRegistry()
        self._registry.register(_Counts(f"network_pipeline_{role}", frames, gauges, histograms))
        ProcessCollector(registry=self._registry)
        self._pulse = pulse
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> Exposition:
        """Listen.

        Raises:
            UsageError: the address cannot be used.
        """
        handler = partial(_Handler, self._registry, self._pulse)
        try:
            self._server = _Server(self.place, handler)
        except OSError as error:
            raise UsageError(
                "no metrics on {} port {}: {}; choose others with --metrics-address and "
                "--metrics-port".format(*self.place, error.strerror)
            ) from None
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()
        _log.info("metrics on http://%s:%d/metrics", *self.place)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        _log.debug("a client of the metrics went away")


class _Handler(BaseHTTPRequestHandler):
    timeout = _REQUEST_SECONDS

    def __init__(self, registry: CollectorRegistry, pulse: Pulse, *request: Any) -> None:
        self._registry = registry
        self._pulse = pulse
        super().__init__(*request)

    def do_GET(self) -> None:
        if self.path == "/metrics":
            encode, kind = choose_encoder(self.headers.get("Accept", ""))
            self._answer(HTTPStatus.OK, kind, encode(self._registry))
        elif self.path == "/healthz":
            self._answer_health()
        else:
            self._answer(HTTPStatus.NOT_FOUND, _TEXT, b"/metrics or /healthz\n")

    def _answer_health(self) -> None:
        age = self._pulse.age()
        if age < HEALTHY_SECONDS:
            self._answer(HTTPStatus.OK, _TEXT, b"ok\n")
        else:
            stands = f"stands still since {age:.0f} s\n".encode()
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, stands)

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        _log.debug(format, *arguments)


class _Counts(Collector):
    def __init__(
        self,
        prefix: str,
        frames: Callable[[], Mapping[str, int]],
        gauges: Callable[[], Mapping[str, float]],
        histograms: Mapping[str, Histogram],
    ) -> None:
        self._prefix = prefix
        self._frames = frames
        self._gauges = gauges
        self._histograms = histograms

    def collect(self) -> Iterator[Metric]:
        """Read everything as it stands."""
        for name, count in self._frames().items():
            yield CounterMetricFamily(f"{self._prefix}_{name}_frames", FRAMES[name], value=count)
        for name, value in self._gauges().items():
            yield GaugeMetricFamily(f"{self._prefix}_{name}", GAUGES[name], value=value)
        for name, histogram in self._histograms.items():
            counts, total = histogram.snapshot()
            limits = [*(str(float(bound)) for bound in histogram.bounds), "+Inf"]
            buckets = list(zip(limits, accumulate(counts), strict=True))
            yield HistogramMetricFamily(
                f"{self._prefix}_{name}", HISTOGRAMS[name], buckets=buckets, sum_value=total
            )
