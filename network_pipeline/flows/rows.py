"""Ended flows as a RecordBatch: one array for each column of :mod:`.schema`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from network_pipeline.decode.assembly import Assembly, filled, memory, offsets_of
from network_pipeline.decode.gather import MOST_ADDRESS_TEXT
from network_pipeline.decode.written import Text
from network_pipeline.flows import fields
from network_pipeline.flows.fields import COUNTS, FIRST_PACKETS, FLAGS, NUMBERS, SERIES, SIDE
from network_pipeline.flows.schema import arrow_schema
from network_pipeline.flows.texts import COMMUNITY_BYTES, CommunityIds, addresses

_Columns = dict[str, "pa.Array[Any]"]
_Numbers = NDArray[Any]

_DTYPES = {"double": "float64"}  # as NumPy calls Arrow's types, where names differ
_SIDES = ("fwd", "bwd")


class Flows:
    """Flows that ended: their facts, a row of each matrix for a field, a column for a flow."""

    def __init__(
        self, words: _Numbers, numbers: _Numbers, counts: _Numbers, squares: _Numbers
    ) -> None:
        self.words = words
        self.numbers = numbers
        self.counts = counts
        self.squares = squares
        self._assembly = Assembly(np.zeros((1, words.shape[1]), np.int32))

    def __len__(self) -> int:
        return int(self.words.shape[1])

    def number(self, name: str, more: int = 0) -> _Numbers:
        """Return a field of ``NUMBERS``, or one that is ``more`` behind it."""
        values: _Numbers = self.numbers[NUMBERS[name] + more]
        return values

    def count(self, name: str, more: int = 0) -> _Numbers:
        """Return a field of ``COUNTS``, or one that is ``more`` behind it."""
        values: _Numbers = self.counts[COUNTS[name] + more]
        return values

    def side(self, name: str, side: int, more: int = 0) -> _Numbers:
        """Return a field of ``SIDE`` of a direction, or one that is ``more`` behind it."""
        return self.count("sides", SIDE[""] * side + SIDE[name] + more)

    def array(
        self, name: str, values: _Numbers, present: NDArray[np.bool_] | None = None
    ) -> pa.Array[Any]:
        """Return the array of a column, null where its values are not present."""
        kind = arrow_schema().field(name).type
        if present is not None and not present.any():
            return self._assembly.absent(kind)
        dtype = "int64" if pa.types.is_timestamp(kind) else _DTYPES.get(str(kind), str(kind))
        with np.errstate(invalid="ignore"):
            numbers = memory((len(self),), np.dtype(dtype).type)
            np.copyto(numbers, values, casting="unsafe")
        return self._assembly.of_rows(kind, numbers, present)


def rows_of(
    flows: Flows,
    sessions: Sequence[tuple[str, str]],
    names: Mapping[int, str],
    community: CommunityIds,
) -> pa.RecordBatch:
    """Return the rows of flows.

    ``sessions`` are sources and names of sessions by their numbers, ``names`` the DNS names of
    the rows that have one.
    """
    columns = {
        **_identity(flows, sessions, community),
        **_plain(flows),
        **_series_columns(flows),
        **_tcp(flows),
        **_dns(flows, names),
        **_fanout(flows),
        **_first_packets(flows),
    }
    schema = arrow_schema()
    return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=schema)


# -- identity --------------------------------------------------------------------------------------


def _identity(
    flows: Flows, sessions: Sequence[tuple[str, str]], community: CommunityIds
) -> _Columns:
    first_frames = flows.array("first_frame", flows.number("first_frame"))
    session = flows.count("session")
    session_names = texts_of([name for _, name in sessions], session)
    kind = flows.count("kind")
    has_ports = kind == fields.PORTS
    columns = {
        "flow_id": flow_ids(session_names, first_frames),
        "source": texts_of([source for source, _ in sessions], session),
        "session": session_names,
        "community_id": _community_ids(flows, community),
        "first_frame": first_frames,
        "start_time": flows.array("start_time", flows.number("start")),
        "end_time": flows.array("end_time", flows.number("end")),
        "src_ip": _addresses(flows, 0),
        "dst_ip": _addresses(flows, 2),
    }
    for name in ("src_port", "dst_port"):
        columns[name] = flows.array(name, flows.count(name), has_ports)
    for name, column in (("vlan", "vlan_id"), ("vlan2", "vlan2_id")):
        columns[column] = flows.array(column, flows.count(name) - 1, flows.count(name) > 0)
    for name in ("icmp_type", "icmp_code"):
        columns[name] = flows.array(name, flows.count(name), flows.count(name) >= 0)
    return columns


def flow_ids(sessions: pa.Array[Any], first_frames: pa.Array[Any]) -> pa.Array[Any]:
    """Return the ids of flows; null where a first frame is."""
    # An array, since pyarrow imports pandas to make an array or a scalar of anything else.
    dashes = texts_of(["-"], np.zeros(len(sessions), np.int32))
    return pc.binary_join_element_wise(sessions, pc.cast(first_frames, pa.string()), dashes)


def texts_of(texts: Sequence[str], choice: _Numbers) -> pa.Array[Any]:
    """Return a text for every row by its number."""
    encoded = [text.encode() for text in texts]
    offsets = offsets_of(np.array([len(each) for each in encoded], np.int32))
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded))]
    dictionary = pa.Array.from_buffers(pa.string(), len(texts), buffers, 0)
    indices = pa.py_buffer(np.ascontiguousarray(choice, np.int32))
    chosen = pa.Array.from_buffers(pa.int32(), len(choice), [None, indices], 0)
    return dictionary.take(chosen)


def _addresses(flows: Flows, first: int) -> pa.Array[Any]:
    words = np.ascontiguousarray(flows.words[first : first + 2].T).astype(">u8")
    texts = memory((len(flows) * MOST_ADDRESS_TEXT[16],), np.uint8)
    offsets = filled((len(flows) + 1,), np.int32, 0)
    versions = np.ascontiguousarray(flows.count("version"))
    octets = words.view(np.uint8).reshape(-1)
    addresses(versions.data, octets.data, Text(texts.data), offsets.data)
    return _text_array(offsets, texts)


def _community_ids(flows: Flows, community: CommunityIds) -> pa.Array[Any]:
    ends = np.stack(
        [flows.count(name) for name in ("version", "protocol", "kind", "src_port", "dst_port")]
    ).astype(np.int64)
    out = memory((len(flows), COMMUNITY_BYTES), np.uint8)
    community.write(len(flows), np.ascontiguousarray(flows.words).data, ends.data, out.data)
    offsets = np.arange(len(flows) + 1, dtype=np.int32) * COMMUNITY_BYTES
    return _text_array(offsets.astype(np.int32), out)


def _text_array(offsets: _Numbers, texts: _Numbers) -> pa.Array[Any]:
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(texts)]
    return pa.Array.from_buffers(pa.string(), len(offsets) - 1, buffers, 0)


# -- features --------------------------------------------------------------------------------------


def _plain(flows: Flows) -> _Columns:
    columns = {
        "ip_version": flows.array("ip_version", flows.count("version")),
        "end_reason": flows.array("end_reason", flows.count("reason")),
        "duration": flows.array("duration", flows.number("end") - flows.number("start")),
        "active_periods": flows.array("active_periods", _series(flows, "active", 0)),
    }
    for name in (
        *("protocol", "part", "out_of_order", "duplicates", "icmp_errors", "fragments"),
        "subflows",
    ):
        columns[name] = flows.array(name, flows.count(name))
    for side, suffix in enumerate(_SIDES):
        for name, values in (
            ("packets", _series(flows, f"length_{suffix}", 0)),
            ("bytes", _series(flows, f"length_{suffix}", 3)),
            ("payload_bytes", _series(flows, f"payload_{suffix}", 3)),
            ("header_bytes", flows.number("header_bytes", side)),
            ("payload_packets", flows.side("payload_packets", side)),
        ):
            columns[f"{name}_{suffix}"] = flows.array(f"{name}_{suffix}", values)
        least = flows.side("header_min", side)
        columns[f"header_min_{suffix}"] = flows.array(f"header_min_{suffix}", least, least >= 0)
    return columns


def _series(flows: Flows, name: str, part: int) -> _Numbers:
    """Return a part of a series: number, least, largest, sum."""
    return flows.number("series", 4 * SERIES.index(name) + part)


def _series_columns(flows: Flows) -> _Columns:
    columns: _Columns = {}
    for place, name in enumerate(SERIES):
        parts = [flows.number("series", 4 * place + part) for part in range(4)]
        columns |= dict(_statistics(flows, name, parts, flows.squares[place]))
    for name in ("length", "payload"):
        columns |= dict(_statistics(flows, name, *_both(flows, name)))
    return columns


def _statistics(
    flows: Flows, series: str, parts: Sequence[_Numbers], squares: _Numbers
) -> Iterator[tuple[str, pa.Array[Any]]]:
    name, _, side = series.partition("_")
    suffix = f"_{side}" if side else ""
    count, least, largest, total = parts
    some, several = count > 0, count > 1
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / count if some.any() else total
        deviation = np.sqrt(squares / (count - 1)) if several.any() else squares
    for what, values, present in (
        ("min", least, some),
        ("mean", mean, some),
        ("std", deviation, several),
        ("max", largest, some),
    ):
        column = f"{name}_{what}{suffix}"
        yield column, flows.array(column, values, present)


def _both(flows: Flows, name: str) -> tuple[list[_Numbers], _Numbers]:
    """Return the series of both directions together (Chan, Golub, LeVeque 1983, formula 2.1)."""
    places = [SERIES.index(f"{name}_{side}") for side in _SIDES]
    (n1, low1, high1, sum1), (n2, low2, high2, sum2) = (
        [flows.number("series", 4 * place + part) for part in range(4)] for place in places
    )
    if not n2.any():
        return [n1, low1, high1, sum1], flows.squares[places[0]]
    squares = flows.squares[places[0]] + flows.squares[places[1]]
    with np.errstate(divide="ignore", invalid="ignore"):
        away = sum1 / n1 - sum2 / n2
        between = away * away * (n1.astype(np.float64) * n2 / (n1 + n2))
    is_both = (n1 > 0) & (n2 > 0)
    low = np.where(n1 == 0, low2, np.where(n2 == 0, low1, np.minimum(low1, low2)))
    parts = [n1 + n2, low, np.maximum(high1, high2), sum1 + sum2]
    return parts, squares + np.where(is_both, between, 0.0)


def _tcp(flows: Flows) -> _Columns:
    columns: _Columns = {}
    has_window = [flows.side("window", side) >= 0 for side in (0, 1)]
    is_tcp = has_window[0] | has_window[1]
    for side, suffix in enumerate(_SIDES):
        for bit, flag in enumerate(FLAGS):
            name = f"tcp_{flag}_{suffix}"
            columns[name] = flows.array(name, flows.side("flags", side, bit), is_tcp)
        for field in ("window", "mss", "wscale", "sack_ok", "timestamps"):
            values = flows.side(field, side)
            columns[f"tcp_{field}_{suffix}"] = flows.array(
                f"tcp_{field}_{suffix}", values, values >= 0
            )
    return columns


def _dns(flows: Flows, names: Mapping[int, str]) -> _Columns:
    queries, responses = flows.count("dns_queries"), flows.count("dns_responses")
    is_dns = queries + responses > 0
    columns = {
        "dns_queries": flows.array("dns_queries", queries, is_dns),
        "dns_responses": flows.array("dns_responses", responses, is_dns),
        "dns_qname": _names(len(flows), names),
    }
    for name in ("dns_qtype", "dns_rcode"):
        columns[name] = flows.array(name, flows.count(name), flows.count(name) >= 0)
    return columns


def _names(rows: int, names: Mapping[int, str]) -> pa.Array[Any]:
    encoded = {row: name.encode() for row, name in names.items()}
    sizes, present = np.zeros(rows, np.int32), np.zeros(rows, np.bool_)
    for row, name in encoded.items():
        sizes[row], present[row] = len(name), True
    bitmap = pa.py_buffer(np.packbits(present, bitorder="little"))
    texts = pa.py_buffer(b"".join(encoded.values()))
    return pa.Array.from_buffers(
        pa.string(), rows, [bitmap, pa.py_buffer(offsets_of(sizes)), texts]
    )


def _fanout(flows: Flows) -> _Columns:
    names = [
        f"fanout_{what}_{seconds}s" for what in ("flows", "ports", "hosts") for seconds in (10, 60)
    ]
    return {name: flows.array(name, flows.count("fanout", at)) for at, name in enumerate(names)}


def _first_packets(flows: Flows) -> _Columns:
    seen = _series(flows, "length_fwd", 0) + _series(flows, "length_bwd", 0)
    sizes = np.minimum(seen, FIRST_PACKETS).astype(np.int32)
    offsets = offsets_of(sizes)
    most = int(sizes.max())
    is_there = np.arange(most) < sizes[:, None]
    lengths = flows.counts[COUNTS["lengths"] :][:most].T[is_there]
    iats = flows.numbers[NUMBERS["iats"] :][:most].T[is_there]
    return {
        name: _lists(name, offsets, values)
        for name, values in (
            ("first_lengths", np.abs(lengths).astype(np.uint32)),
            ("first_directions", (lengths < 0).astype(np.uint8)),
            ("first_iats", iats),
        )
    }


def _lists(name: str, offsets: _Numbers, values: _Numbers) -> pa.Array[Any]:
    kind = arrow_schema().field(name).type
    inner = pa.Array.from_buffers(kind.value_type, len(values), [None, pa.py_buffer(values)], 0)
    buffers = [None, pa.py_buffer(offsets)]
    return pa.Array.from_buffers(kind, len(offsets) - 1, buffers, 0, children=[inner])
