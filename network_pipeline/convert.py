"""Capture files to a dataset file, without a broker between them.

Files are read one after another, each a session of its own. What is damaged gives its whole frames
and is named at the end; the others go on. Every frame that was found is a row, or it is counted as
refused because nothing here decodes its link type::

    frames = rows + refused
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from network_pipeline.capture.pcap import CaptureFile, DamagedCapture
from network_pipeline.dataset.exports import Export
from network_pipeline.decode.columnar import decode_batch
from network_pipeline.metrics import Counters

_log = logging.getLogger(__name__)

#: A column that every row of a layer has.
_LAYERS = {
    "eth": "eth_dst",
    "vlan": "vlan_id",
    "arp": "arp_op",
    "ip": "ip_version",
    "ipv6": "ipv6_version",
    "icmp": "icmp_type",
    "icmpv6": "icmpv6_type",
    "tcp": "tcp_sport",
    "udp": "udp_sport",
    "dns": "dns_id",
}


@dataclass
class Summary:
    """What came of a conversion: rows by layer and by error, refused frames, damaged files."""

    layers: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    damaged: list[DamagedCapture] = field(default_factory=list)


class Conversion:
    """Reads capture files and appends their rows to an export.

    ``counters`` must have frames, rows and refused. ``payload_bytes`` limits the payload that rows
    keep; None: all of it.
    """

    def __init__(
        self,
        export: Export,
        counters: Counters,
        *,
        source: str,
        payload_bytes: int | None = None,
        batch_frames: int,
    ) -> None:
        self._export = export
        self._counters = counters
        self._source = source
        self._payload_bytes = payload_bytes
        self._batch_frames = batch_frames
        self._summary = Summary()
        self._capture: CaptureFile | None = None

    def run(self, paths: Sequence[str], stop: threading.Event) -> Summary:
        """Convert the files, or those before ``stop`` is set; return what came of it.

        Raises:
            UsageError: a file is not there or cannot be read.
            DatasetError: rows cannot be written.
        """
        sessions = []
        threading.Thread(target=self._end_reading, args=(stop,), daemon=True).start()
        for path in paths:
            with CaptureFile(path, batch_frames=self._batch_frames) as self._capture:
                if stop.is_set():
                    break
                sessions.append(self._capture.session)
                self._convert(self._capture)
                self._note_refused(self._capture)
        self._export.facts |= {"source": self._source, "sessions": ",".join(sessions)}
        return self._summary

    def _end_reading(self, stop: threading.Event) -> None:
        """End the file that is read when ``stop`` is set: a pipe may be silent for long."""
        stop.wait()
        if self._capture:
            self._capture.stop()

    def _convert(self, capture: CaptureFile) -> None:
        try:
            for batch in capture:
                rows = decode_batch(
                    batch,
                    source=self._source,
                    session=capture.session,
                    payload_bytes=self._payload_bytes,
                )
                self._export.append(rows)
                self._counters.add("frames", rows.num_rows)
                self._counters.add("rows", rows.num_rows)
                self._count(rows)
        except DamagedCapture as damage:
            _log.error("%s", damage)
            self._summary.damaged.append(damage)

    def _count(self, rows: pa.RecordBatch) -> None:
        for layer, name in _LAYERS.items():
            self._summary.layers[layer] += rows.num_rows - rows.column(name).null_count
        for entry in pc.value_counts(rows.column("frame_error")).to_pylist():
            if entry["values"] is not None:
                self._summary.errors[entry["values"]] += entry["counts"]

    def _note_refused(self, capture: CaptureFile) -> None:
        refused = capture.refused()
        self._summary.refused += refused
        self._counters.add("frames", refused.total())
        self._counters.add("refused", refused.total())
        for name, count in refused.items():
            _log.warning("%s: %d frames of link type %s left out", capture.name, count, name)
