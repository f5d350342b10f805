"""Rows of packets in, rows of flows out, and the packets with the id of their flow.

Sessions get numbers in the order in which they come. Flows wait in the meter's room and are written
when it is full; what is written and in which order depends on the packets, not on their batches.
DNS names wait here, each until its flow has ended.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from network_pipeline.convert import COUNTED as FRAMES_COUNTED
from network_pipeline.convert import Takes
from network_pipeline.decode.assembly import memory
from network_pipeline.errors import DatasetError
from network_pipeline.flows import fields
from network_pipeline.flows.columns import fill, packets_of
from network_pipeline.flows.layouts import FLOW_ID, packets_with_flow
from network_pipeline.flows.meter import Meter
from network_pipeline.flows.rows import Flows, flow_ids, rows_of, texts_of
from network_pipeline.flows.store import MOST_SESSIONS
from network_pipeline.flows.texts import CommunityIds
from network_pipeline.metrics import Counters

COUNTED = ("flows", "packets", "icmp_errors", "duplicates", "without_flow")

_SECOND_NS = 1_000_000_000
#: For how long packets that come after the end of TCP belong to its flow.
LINGER_NS = 10 * _SECOND_NS


@dataclass(frozen=True)
class FlowSettings:
    """When flows end, and what belongs to them; times are in seconds of capture time."""

    idle_timeout: float = 120
    active_timeout: float = 1800
    activity_gap: float = 5
    most_flows: int = 1_000_000
    community_id_seed: int = 0
    drop_duplicates: bool = False

    def meter(self) -> Meter:
        """Return a meter that does so."""
        idle = round(self.idle_timeout * _SECOND_NS)
        return Meter(
            self.most_flows,
            idle,
            round(self.active_timeout * _SECOND_NS),
            min(idle, LINGER_NS),
            round(self.activity_gap * _SECOND_NS),
            int(self.drop_duplicates),
        )


class Targets(NamedTuple):
    """What takes the rows: of flows, and of packets with the ids of their flows, if any does.

    Packets keep ``payload_bytes`` of their payload, None: all that they have.
    """

    flows: Takes
    packets: Takes | None = None
    payload_bytes: int | None = None


def new_counters(*, of_captures: bool) -> Counters:
    """Return counters of flows, and of frames where flows are made of capture files."""
    return Counters(*(FRAMES_COUNTED if of_captures else ()), *COUNTED)


def lines(without_flow: Mapping[str, int], counts: Mapping[str, int]) -> Iterator[str]:
    """Yield what came of rows, for a person; ``counts`` are those of the counters."""
    for reason, count in without_flow.items():
        if count:
            yield f"without flow: {reason:22}{count:>14,}"
    rows = counts["packets"] + counts["icmp_errors"] + counts["duplicates"]
    rows += counts["without_flow"]
    yield f"{counts['flows']:,} flows"
    yield (
        f"{rows:,} rows = {counts['packets']:,} packets in flows "
        f"+ {counts['icmp_errors']:,} ICMP errors of flows "
        f"+ {counts['duplicates']:,} duplicates + {counts['without_flow']:,} without flow"
    )


class Recording:
    """Takes rows of packets as an export does.

    Unless sessions are joined in one another, as those of several agents in a dataset (``joins``),
    a session's flows end where the next one begins. ``counters`` must have those of
    :data:`COUNTED`.
    """

    def __init__(
        self, targets: Targets, settings: FlowSettings, counters: Counters, *, joins: bool = False
    ) -> None:
        self.facts: dict[str, str] = {}
        self._flows, self._packets, self._payload_bytes = targets
        self._counters = counters
        self._joins = joins
        self._schema = packets_with_flow().schema
        self._meter = settings.meter()
        self._community = CommunityIds(settings.community_id_seed)
        self._numbers: dict[str, int] = {}
        self._sessions: list[tuple[str, str]] = []
        self._finished = 0
        self._before = 0
        self._names: dict[int, str] = {}
        self._counted = dict.fromkeys(COUNTED, 0)

    def append(self, batch: pa.RecordBatch) -> None:
        """Take packets.

        Raises:
            DatasetError: rows cannot be written, or what came are no packets.
        """
        sessions = self._sessions_of(batch)
        if not self._joins:
            self._finish_until(len(self._sessions) - 1)
        first_frames = self._update(batch, sessions)
        self._count()
        if self._packets:
            self._packets.append(self._with_ids(batch, sessions, first_frames))

    def finish(self) -> None:
        """End all flows, and give what is known of them to the datasets."""
        self._finish_until(len(self._sessions))
        self._write_ended()
        self._count()
        self._flows.facts |= self.facts
        if self._packets:
            self._packets.facts |= self.facts

    def without_flow(self) -> Mapping[str, int]:
        """Return how many frames are in no flow, by the reason."""
        return dict(zip(fields.WITHOUT_FLOW, self._meter.without_flow, strict=True))

    def _update(self, batch: pa.RecordBatch, sessions: NDArray[np.int64]) -> NDArray[np.int64]:
        rows = batch.num_rows
        packets = packets_of(batch, sessions)
        first_frames: NDArray[np.int64] = memory((rows,), np.int64)
        named: NDArray[np.int64] = memory((rows,), np.int64)
        row = 0
        while row < rows:
            row = self._meter.update(
                packets, row, rows, self._before, first_frames.data, named.data
            )
            self._keep_names(batch, named[: self._meter.take_named()])
            if row < rows:
                self._write_ended()
        self._before += rows
        return first_frames

    def _keep_names(self, batch: pa.RecordBatch, named: NDArray[np.int64]) -> None:
        column = batch.column("dns_qd_qname")
        for row in named.tolist():
            self._names[self._before + row + 1] = column[row].as_py()

    def _finish_until(self, session: int) -> None:
        """End the flows of all sessions whose number is less."""
        while self._finished < session:
            while not self._meter.finish(self._finished):
                self._write_ended()
            self._finished += 1

    def _write_ended(self) -> None:
        ended = self._meter.ended
        count = ended.count
        if not count:
            return
        flows = Flows(
            np.asarray(ended.words)[:, :count],
            np.asarray(ended.numbers)[:, :count],
            np.asarray(ended.counts)[:, :count],
            np.asarray(ended.squares)[:, :count],
        )
        named = flows.number("name")
        rows = np.flatnonzero(named)
        names = {
            row: self._names.pop(name)
            for row, name in zip(rows.tolist(), named[rows].tolist(), strict=True)
        }
        self._flows.append(rows_of(flows, self._sessions, names, self._community))
        ended.clear()
        self._counters.add("flows", count)

    def _count(self) -> None:
        meter = self._meter
        for name, count in (
            ("packets", meter.packets),
            ("icmp_errors", meter.errors),
            ("duplicates", meter.duplicates),
            ("without_flow", sum(meter.without_flow)),
        ):
            self._counters.add(name, count - self._counted[name])
            self._counted[name] = count

    # -- sessions --------------------------------------------------------------------------------

    def _sessions_of(self, batch: pa.RecordBatch) -> NDArray[np.int64]:
        """Return the number of each row's session."""
        column = batch.column("session")
        if not isinstance(column, pa.DictionaryArray):
            column = column.dictionary_encode()
        choice = np.empty(batch.num_rows, np.int64)
        fill(choice, column.indices, -1)
        if batch.num_rows and choice.min() < 0:
            raise DatasetError("a row has no session")
        names = column.dictionary.to_pylist()
        is_used = np.bincount(choice, minlength=len(names)) > 0
        new = [
            (int(np.argmax(choice == code)), name)
            for code, name in enumerate(names)
            if is_used[code] and name not in self._numbers
        ]
        for row, name in sorted(new):
            self._add_session(name, batch.column("source")[row].as_py() or "")
        return np.array([self._numbers.get(name, 0) for name in names], np.int64)[choice]

    def _add_session(self, session: str, source: str) -> None:
        if len(self._sessions) == MOST_SESSIONS:
            raise DatasetError(f"more than {MOST_SESSIONS:,} sessions: make flows of a part")
        self._numbers[session] = len(self._sessions)
        self._sessions.append((source, session))

    def _with_ids(
        self, batch: pa.RecordBatch, sessions: NDArray[np.int64], first_frames: NDArray[np.int64]
    ) -> pa.RecordBatch:
        names = texts_of([name for _, name in self._sessions], sessions)
        bits = pa.py_buffer(np.packbits(first_frames > 0, bitorder="little"))
        buffers = [bits, pa.py_buffer(first_frames)]
        ids = flow_ids(names, pa.Array.from_buffers(pa.int64(), batch.num_rows, buffers))
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        if self._payload_bytes is not None:
            columns["raw_load"] = pc.binary_slice(columns["raw_load"], 0, self._payload_bytes)
        columns[FLOW_ID] = ids
        arrays = [columns[name] for name in self._schema.names]
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema)
