"""Flows with the columns of CICFlowMeter 4: its names and units, without its published errors.

Each column is made of our own; a value that a flow does not have is 0, as it is there. Lengths are
those of payloads, times are microseconds, rates are per second and 0 for a flow of no duration.
Which errors are mended, and which columns are not made, ``docs/flows.rst`` says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from network_pipeline.dataset.exports import Export, Layout
from network_pipeline.decode.assembly import Assembly

_Values = NDArray[np.float64]
_US_NS = 1_000
_SECOND_NS = 1_000_000_000


class _Numbers:
    """Columns of flows as floats, with 0 for what is absent."""

    def __init__(self, rows: pa.RecordBatch) -> None:
        self._rows = rows

    def __getitem__(self, name: str) -> _Values:
        array = self._rows.column(name)
        values = array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        without: _Values = np.nan_to_num(values, copy=True, nan=0.0)
        return without


class CicColumn(NamedTuple):
    """A column: CICFlowMeter's name for it, its type and role, and what it is made of."""

    name: str
    type: str
    role: str
    formula: str
    made: Callable[[_Numbers], _Values] | None = None


def _own(name: str, column: str, kind: str = "float64", factor: float = 1) -> CicColumn:
    """Return a column that is one of ours, in another unit."""
    formula = f"``{column}``" if factor == 1 else f"``{column}`` / {factor:,.0f}"
    return CicColumn(name, kind, "feature", formula, lambda flows: flows[column] / factor)


def _sum(name: str, column: str, kind: str = "uint64") -> CicColumn:
    """Return a column that is the sum of ours in both directions."""
    return CicColumn(
        name, kind, "feature", f"``{column}_fwd`` + ``{column}_bwd``",
        lambda flows: flows[f"{column}_fwd"] + flows[f"{column}_bwd"],
    )  # fmt: skip


def _divided(above: _Values, below: _Values) -> _Values:
    return np.divide(above, below, out=np.zeros_like(above), where=below != 0)


def _rate(name: str, *columns: str) -> CicColumn:
    """Return a column of sums per second."""
    formula = "(" + " + ".join(f"``{column}``" for column in columns) + ") / seconds"
    return CicColumn(
        name, "float64", "feature", formula,
        lambda flows: _divided(
            np.sum([flows[column] for column in columns], axis=0), flows["duration"] / _SECOND_NS
        ),
    )  # fmt: skip


def _ratio(name: str, above: str, below: str, formula: str) -> CicColumn:
    return CicColumn(
        name, "float64", "feature", formula, lambda flows: _divided(flows[above], flows[below])
    )


def _spread(
    name: str, column: str, factor: float, order: str, side: str = ""
) -> Iterator[CicColumn]:
    """Yield four statistics of a series, in CICFlowMeter's order of them."""
    for what in order.split():
        yield _own(f"{name} {what}", f"{column}_{what.lower()}{side}", "float64", factor)


def _inter_arrivals(title: str, side: str) -> Iterator[CicColumn]:
    name = f"{title} IAT"
    if side:
        yield CicColumn(
            f"{name} Total", "float64", "feature",
            f"``iat_mean_{side}`` * (``packets_{side}`` - 1) / 1,000",
            lambda flows: flows[f"iat_mean_{side}"]
            * np.maximum(flows[f"packets_{side}"] - 1, 0) / _US_NS,
        )  # fmt: skip
    suffix = f"_{side}" if side else ""
    yield from _spread(name, "iat", _US_NS, "Mean Std Max Min", suffix)


def _subflow(title: str, side: str) -> Iterator[CicColumn]:
    for what, column in (("Packets", "packets"), ("Bytes", "payload_bytes")):
        own = f"{column}_{side}"
        yield _ratio(f"Subflow {title} {what}", own, "subflows", f"``{own}`` / ``subflows``")


def _flag_counts() -> Iterator[CicColumn]:
    for flag in ("fin", "syn", "rst", "psh", "ack", "urg", "cwr", "ece"):
        yield _sum(f"{flag.upper()} Flag Count", f"tcp_{flag}")


def _identity(name: str, kind: str, column: str) -> CicColumn:
    return CicColumn(name, kind, "identity", f"``{column}``")


#: Columns that are taken as they are, by CICFlowMeter's names.
_TAKEN = {
    "Flow ID": "flow_id", "Src IP": "src_ip", "Src Port": "src_port", "Dst IP": "dst_ip",
    "Dst Port": "dst_port", "Timestamp": "start_time",
}  # fmt: skip

_SIDES = (("Fwd", "fwd"), ("Bwd", "bwd"))

# fmt: off
CIC_COLUMNS: tuple[CicColumn, ...] = (
    _identity("Flow ID", "string", "flow_id"),
    _identity("Src IP", "string", "src_ip"),
    _identity("Src Port", "uint16", "src_port"),
    _identity("Dst IP", "string", "dst_ip"),
    _identity("Dst Port", "uint16", "dst_port"),
    _own("Protocol", "protocol", "uint8"),
    _identity("Timestamp", "timestamp[ns, UTC]", "start_time"),
    _own("Flow Duration", "duration", "float64", _US_NS),
    _own("Total Fwd Packet", "packets_fwd", "uint64"),
    _own("Total Bwd packets", "packets_bwd", "uint64"),
    _own("Total Length of Fwd Packet", "payload_bytes_fwd", "uint64"),
    _own("Total Length of Bwd Packet", "payload_bytes_bwd", "uint64"),
    *_spread("Fwd Packet Length", "payload", 1, "Max Min Mean Std", "_fwd"),
    *_spread("Bwd Packet Length", "payload", 1, "Max Min Mean Std", "_bwd"),
    _rate("Flow Bytes/s", "payload_bytes_fwd", "payload_bytes_bwd"),
    _rate("Flow Packets/s", "packets_fwd", "packets_bwd"),
    *_inter_arrivals("Flow", ""),
    *_inter_arrivals("Fwd", "fwd"),
    *_inter_arrivals("Bwd", "bwd"),
    *(_own(f"{title} {flag.upper()} Flags", f"tcp_{flag}_{side}", "uint64")
      for flag in ("psh", "urg") for title, side in _SIDES),
    *(_own(f"{title} Header Length", f"header_bytes_{side}", "uint64") for title, side in _SIDES),
    *(_rate(f"{title} Packets/s", f"packets_{side}") for title, side in _SIDES),
    *_spread("Packet Length", "payload", 1, "Min Max Mean Std"),
    CicColumn("Packet Length Variance", "float64", "feature", "``payload_std`` ^ 2",
              lambda flows: flows["payload_std"] ** 2),
    *_flag_counts(),
    _ratio("Down/Up Ratio", "packets_bwd", "packets_fwd", "``packets_bwd`` / ``packets_fwd``"),
    _own("Average Packet Size", "payload_mean"),
    *(_own(f"{title} Segment Size Avg", f"payload_mean_{side}") for title, side in _SIDES),
    *_subflow("Fwd", "fwd"),
    *_subflow("Bwd", "bwd"),
    _own("FWD Init Win Bytes", "tcp_window_fwd", "uint64"),
    _own("Bwd Init Win Bytes", "tcp_window_bwd", "uint64"),
    _own("Fwd Act Data Pkts", "payload_packets_fwd", "uint64"),
    _own("Fwd Seg Size Min", "header_min_fwd", "uint64"),
    *_spread("Active", "active", _US_NS, "Mean Std Max Min"),
    *_spread("Idle", "idle", _US_NS, "Mean Std Max Min"),
)
# fmt: on

_TYPES: dict[str, pa.DataType] = {
    "string": pa.string(),
    "uint8": pa.uint8(),
    "uint16": pa.uint16(),
    "uint64": pa.uint64(),
    "float64": pa.float64(),
    "timestamp[ns, UTC]": pa.timestamp("ns", "UTC"),
}


def layout() -> Layout:
    """Return the layout of these rows."""
    names = "\n".join(f"{column.name}\t{column.type}" for column in CIC_COLUMNS)
    fields = [
        pa.field(column.name, _TYPES[column.type], metadata={"role": column.role})
        for column in CIC_COLUMNS
    ]
    version = hashlib.sha256(names.encode()).hexdigest()[:16]
    types = {column.name: column.type for column in CIC_COLUMNS}
    varying = frozenset(("Flow ID", "Timestamp"))
    return Layout(pa.schema(fields, {"schema": version}), types, varying, ("Timestamp",))


class Profile:
    """Takes rows of flows and gives an export the rows that CICFlowMeter would."""

    def __init__(self, export: Export) -> None:
        self._export = export

    @property
    def facts(self) -> dict[str, str]:
        """What the export says about itself."""
        return self._export.facts

    @facts.setter
    def facts(self, facts: dict[str, str]) -> None:
        self._export.facts = facts

    def append(self, batch: pa.RecordBatch) -> None:
        """Take rows of flows.

        Raises:
            DatasetError: they cannot be written.
        """
        flows = _Numbers(batch)
        assembly = Assembly(np.zeros((1, batch.num_rows), np.int32))
        arrays: list[pa.Array[Any]] = []
        for column in CIC_COLUMNS:
            if column.made is None:
                arrays.append(batch.column(_TAKEN[column.name]))
            else:
                values = column.made(flows).astype(column.type)
                arrays.append(assembly.of_rows(_TYPES[column.type], values))
        schema = self._export.layout.schema
        self._export.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
