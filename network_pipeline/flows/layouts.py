"""How datasets of flows, and of packets that know their flow, are written."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from network_pipeline.dataset import exports
from network_pipeline.dataset.exports import Layout
from network_pipeline.flows import schema

#: The column that packets gain.
FLOW_ID = "flow_id"

#: Columns of flows that have a value many times; others are smaller and sooner written as they are.
_REPEATED = frozenset(("source", "session"))
_SEARCHED = ("session", "first_frame", "start_time")
#: Times are near those before them; so are counts, mostly: as they are, zstd would take long to
#: see that a number of eight bytes comes again and again.
_RISING = frozenset(("first_frame", "start_time", "end_time"))
_COUNTS = ("packets", "bytes", "header_bytes")
#: Hashes.
_NOISE = frozenset(("community_id",))


def flows() -> Layout:
    """Return the layout of flows."""
    types = {column.name: column.type for column in schema.FLOW_COLUMNS}
    varying = frozenset(types) - _REPEATED
    counts = {f"{name}_{side}" for name in _COUNTS for side in ("fwd", "bwd")}
    return Layout(schema.arrow_schema(), types, varying, _SEARCHED, _RISING | counts, _NOISE)


def packets_with_flow() -> Layout:
    """Return the layout of packets, with the id of their flow as the last column."""
    packets = exports.packets()
    columns = packets.schema.append(pa.field(FLOW_ID, pa.string()))
    types = {**packets.types, FLOW_ID: "string"}
    return replace(packets, schema=columns, types=types)
