"""How datasets of flows, and of packets that know their flow, are written."""

from __future__ import annotations

import pyarrow as pa

from network_pipeline.dataset import exports
from network_pipeline.dataset.exports import Layout
from network_pipeline.flows import schema

#: The column that packets gain.
FLOW_ID = "flow_id"

#: Columns of flows that have a value many times; others are smaller and sooner written as they are.
_REPEATED = frozenset(("source", "session"))
_SEARCHED = (
    "session", "first_frame", "start_time", "src_ip", "dst_ip", "src_port", "dst_port",
)  # fmt: skip


def flows() -> Layout:
    """Return the layout of flows."""
    types = {column.name: column.type for column in schema.FLOW_COLUMNS}
    varying = frozenset(types) - _REPEATED
    return Layout(schema.arrow_schema(), types, varying, _SEARCHED)


def packets_with_flow() -> Layout:
    """Return the layout of packets, with the id of their flow as the last column."""
    packets = exports.packets()
    columns = packets.schema.append(pa.field(FLOW_ID, pa.string()))
    types = {**packets.types, FLOW_ID: "string"}
    return Layout(columns, types, packets.varying, packets.searched, packets.steady)
