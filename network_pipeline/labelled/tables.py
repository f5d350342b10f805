"""Datasets that are read: files of packets or of flows, as batches of one shape.

Parquet keeps types, roles and where its rows come from; CSV is text with the columns of packets or
of flows, or, for other tables, with types that are found by reading it once.
Whatever the file, hex columns are bytes and times are nanoseconds in UTC.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from network_pipeline import cluster, places
from network_pipeline.errors import UsageError
from network_pipeline.flows.schema import FLOW_COLUMNS
from network_pipeline.flows.schema import arrow_schema as flows_schema
from network_pipeline.labelled import antinex, meaning, parquet
from network_pipeline.schema import COLUMN_NAMES, COLUMNS, SCHEMA_VERSION, arrow_schema

#: Rows that are worked on at once.
BATCH_ROWS = 65_536

_CSV_TYPES: dict[str, Any] = {
    "uint8": pl.UInt8,
    "uint16": pl.UInt16,
    "uint32": pl.UInt32,
    "uint64": pl.UInt64,
    "int64": pl.Int64,
    "float64": pl.Float64,
}
_LIST = "list<"
_HEX = [column.name for column in COLUMNS if column.type == "hex"]
_TIMES = [column.name for column in COLUMNS if column.type.startswith("timestamp")]
_NANOSECONDS = pl.Datetime("ns", "UTC")

#: Where Parquet files keep the Arrow schema that they were written with.
_SCHEMA_KEY = b"ARROW:schema"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Table:
    """What is known of a file of rows: ``kind`` is ``packets`` or ``flows``; all columns' roles.

    ``facts`` are what the file says of its rows; ``notes`` what a reader should know of them. The
    file is called ``name``, and may be elsewhere.
    """

    kind: str
    schema: pa.Schema
    roles: Mapping[str, str]
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    name: str = ""
    sha256: str = ""
    bytes: int = 0

    @property
    def files(self) -> dict[str, str]:
        """The names of capture files by session, where the dataset knows them."""
        return {key: str(value) for key, value in self._said("files").items()}

    @property
    def losses(self) -> Counter[str]:
        """How many frames were lost before, by how, where the dataset knows that."""
        said = self._said("losses")
        return Counter({name: count for name, count in said.items() if type(count) is int})

    def _said(self, fact: str) -> dict[str, Any]:
        try:
            found = json.loads(self.facts.get(fact, "{}"))
        except ValueError:
            found = None
        return found if isinstance(found, dict) else {}


class _Opened(NamedTuple):
    table: Table
    rows: pl.LazyFrame


def open_tables(
    names: Sequence[str], form: str = "network-pipeline", address: str = ""
) -> list[Table]:
    """Return the datasets that a command was given, each content once.

    ``form`` is ``network-pipeline``, or ``antinex`` for CSVs of the original tool; ``address`` that
    of a cluster whose workers open them, if any.

    Raises:
        UsageError: one cannot be read, is no dataset, or is of another kind or schema than others.
    """
    tables: dict[str, Table] = {}
    for _, found in cluster.results(partial(_about, form), names, address):
        table = cluster.result(found)
        if table.sha256 in tables:
            _log.warning("%s is the same as %s: read once", table.name, tables[table.sha256].name)
        tables.setdefault(table.sha256, table)
    first, *others = tables.values()
    for other in others:
        _check_alike(first, other)
    for table in tables.values():
        for note in table.notes:
            _log.warning("%s: %s", places.last(table.name), note)
    return [first, *others]


def batches(table: Table, form: str) -> Iterator[pl.DataFrame]:
    """Yield the rows of a table in order.

    Raises:
        UsageError: the file holds something else than its columns say.
    """
    with places.fetched(table.name) as path:
        rows = _open(path, form).rows
        try:
            yield from rows.collect_batches(chunk_size=BATCH_ROWS, maintain_order=True)
        except pl.exceptions.PolarsError as error:
            raise UsageError(f"{places.shown(table.name)}: {_first_line(error)}") from None


def _about(form: str, name: str) -> Table:
    with places.fetched(name) as path:
        digest = places.sha256(path)
        table = _open(path, form).table
        return replace(table, name=name, sha256=digest, bytes=path.stat().st_size)


def _open(path: Path, form: str) -> _Opened:
    try:
        if form == "antinex" and path.suffix == ".csv":
            return _antinex(path)
        if form == "antinex":
            raise UsageError(f"{path}: files of the original tool end in .csv")
        if path.suffix == ".parquet":
            return _parquet(path)
        if path.suffix == ".csv":
            return _csv(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except (pa.ArrowInvalid, pl.exceptions.PolarsError) as error:
        raise UsageError(f"{path}: {_first_line(error)}") from None
    raise UsageError(f"{path}: a dataset's name ends in .parquet or .csv")


def _parquet(path: Path) -> _Opened:
    schema = pq.read_schema(path)
    said = pq.read_metadata(path).metadata or {}
    facts = {key.decode(): text.decode() for key, text in said.items() if key != _SCHEMA_KEY}
    kind, roles = _kind(path, schema.names), {}
    for column in schema:
        said = (column.metadata or {}).get(b"role", b"").decode()
        roles[column.name] = said or meaning.role(column.name, kind)
    return _Opened(Table(kind, _stored(schema), roles, facts), parquet.scan(path))


def _csv(path: Path) -> _Opened:
    names = pl.read_csv(path, n_rows=0).columns
    if tuple(names[: len(COLUMN_NAMES)]) == COLUMN_NAMES:
        return _packets_csv(path, names[len(COLUMN_NAMES) :])
    if names == [column.name for column in FLOW_COLUMNS]:
        return _flows_csv(path)
    kind = _kind(path, names)
    if strange := [name for name in names if not name.isprintable()]:
        raise UsageError(f"{path}: names of columns must be printable: {strange[0]!r}")
    times = [name for name in (*meaning.COLUMNS["start"], *meaning.COLUMNS["end"]) if name in names]
    texts = dict.fromkeys(times, pl.String)
    rows = pl.scan_csv(path, infer_schema_length=None, schema_overrides=texts)
    rows = rows.with_columns(_times(times))
    schema = rows.collect_schema().to_frame().to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    roles = {name: meaning.role(name, kind) for name in names}
    return _Opened(Table(kind, _stored(schema), roles), rows)


def _packets_csv(path: Path, others: Sequence[str]) -> _Opened:
    """Open packets; what other columns there are (the id of their flow) is text."""
    types: dict[str, Any] = {c.name: _CSV_TYPES.get(c.type, pl.String) for c in COLUMNS}
    types |= dict.fromkeys(others, pl.String)
    rows = pl.scan_csv(path, schema=types).with_columns(
        pl.col(_HEX).str.decode("hex"),
        _times(_TIMES),
    )
    roles = {name: meaning.role(name, "packets") for name in (*COLUMN_NAMES, *others)}
    schema = _stored(arrow_schema())
    for name in others:
        schema = schema.append(pa.field(name, pa.string()))
    return _Opened(Table("packets", schema, roles, {"schema": SCHEMA_VERSION}), rows)


def _flows_csv(path: Path) -> _Opened:
    """Open flows of packets-flows; their lists are values with semicolons between."""
    types = {each.name: _CSV_TYPES.get(each.type, pl.String) for each in FLOW_COLUMNS}
    lists = [
        pl.col(each.name).str.split(";").cast(pl.List(_CSV_TYPES[each.type[len(_LIST) : -1]]))
        for each in FLOW_COLUMNS
        if each.type.startswith(_LIST)
    ]
    times = [each.name for each in FLOW_COLUMNS if each.type.startswith("timestamp")]
    rows = pl.scan_csv(path, schema=types).with_columns(_times(times), *lists)
    roles = {each.name: each.role for each in FLOW_COLUMNS}
    return _Opened(Table("flows", _stored(flows_schema()), roles), rows)


def _times(names: Sequence[str]) -> pl.Expr:
    texts = pl.col(names).str.to_datetime("%Y-%m-%dT%H:%M:%S%.9fZ", time_unit="ns")
    return texts.cast(_NANOSECONDS)


def _antinex(path: Path) -> _Opened:
    rows, notes = antinex.read(path)
    roles = {name: meaning.role(name, "packets") for name in COLUMN_NAMES}
    roles[antinex.LABEL] = "label"
    schema = _stored(arrow_schema())
    schema = schema.append(pa.field(antinex.LABEL, pa.string()))
    return _Opened(Table("packets", schema, roles, {"source": antinex.SOURCE}, notes), rows)


def _kind(path: Path, names: Sequence[str]) -> str:
    if "frame_number" in names:
        return "packets"
    if "flow_id" in names:
        return "flows"
    raise UsageError(f"{path}: neither packets (frame_number) nor flows (flow_id)")


def _check_alike(first: Table, other: Table) -> None:
    if other.kind != first.kind:
        raise UsageError(f"{first.name} holds {first.kind}, {other.name} {other.kind}")
    if other.schema.equals(first.schema):
        return
    ours, theirs = set(first.schema), set(other.schema)
    names = sorted({column.name for column in ours ^ theirs})
    raise UsageError(f"{first.name} and {other.name} differ in columns: {', '.join(names)}")


def _stored(schema: pa.Schema) -> pa.Schema:
    """Return the types that a dataset keeps columns with: texts as such, each where it belongs."""
    columns = []
    for column in schema:
        kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
        if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            kind = pa.string()
        columns.append(pa.field(column.name, kind))
    return pa.schema(columns)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
