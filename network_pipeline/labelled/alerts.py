"""What other tools saw, joined to rows: Suricata's alerts (EVE) and Zeek's notices.

An alert is of a connection (its two ends and protocol, in either direction) for a time: from the
begin of its flow, where it tells that, to the alert, and some seconds more on both sides. One that
names hosts but no ports is of all connections between them, of its protocol if it tells that. One
that names no second host is about no row here: it is counted, and labels nothing.

Alerts of one signature and connection whose times touch are one, so there are few to join.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from network_pipeline.errors import UsageError
from network_pipeline.labelled import conditions, meaning
from network_pipeline.labelled.rows import Rows
from network_pipeline.labelled.rules_file import AlertFile

#: Signatures of one file.
_MOST_SIGNATURES = 65_536
_LEAST_SEVERE = 255


class Alert(NamedTuple):
    """One alert: what it is called, how severe (1 is most), what rows it is about, and when.

    ``key`` is that of a connection (:func:`meaning.connection`) or, where there are no ports, of a
    pair of hosts and a protocol; times are nanoseconds since the epoch.
    """

    signature: str
    severity: int
    key: str
    first_ns: int
    last_ns: int


class Signature(NamedTuple):
    """A name that alerts of a file have, and the most severe of their severities."""

    severity: int
    name: str


class Alerts:
    """The alerts of a file, ready to be joined.

    ``signatures`` are what rows are matched with, the most severe first; ``count`` all alerts, of
    which ``without_connection`` name no two hosts.
    """

    def __init__(self, file: AlertFile) -> None:
        self.file = file
        self.count = 0
        self.without_connection = 0
        self.signatures: list[Signature] = []
        self._spans = pl.DataFrame()

    def load(self) -> None:
        """Read the file.

        Raises:
            UsageError: it cannot be read or is not of its format; the line is named.
        """
        severities: dict[str, int] = {}
        spans: dict[tuple[str, str], list[tuple[int, int]]] = {}
        for alert in self._read():
            severity = severities.get(alert.signature, _LEAST_SEVERE)
            severities[alert.signature] = min(severity, alert.severity)
            times = alert.first_ns - self.file.within_ns, alert.last_ns + self.file.within_ns
            spans.setdefault((alert.signature, alert.key), []).append(times)
        if len(severities) > _MOST_SIGNATURES:
            raise UsageError(f"{self.file.path}: more than {_MOST_SIGNATURES} signatures")
        self.signatures = sorted(Signature(rank, name) for name, rank in severities.items())
        self._spans = self._joined(spans)

    def matches(self, rows: Rows) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Return which signature (by its place) matches which row (by its place)."""
        frame = pl.DataFrame(
            {
                "row": np.arange(len(rows)),
                "connection": rows.connections.cast(pl.String),
                "hosts": _hosts_key(rows, pl.Series(rows.numbers("protocol"))),
                "any": _hosts_key(rows, pl.Series([meaning.NONE])),
                "start": rows.times("start"),
                "end": np.maximum(rows.times("start"), rows.times("end")),
            }
        ).filter(pl.col("start") != meaning.NO_TIME)
        found = pl.concat(
            frame.join(self._spans, left_on=key, right_on="key").select(
                "row", "signature", "start", "end", "first", "last"
            )
            for key in ("connection", "hosts", "any")
        ).filter((pl.col("start") <= pl.col("last")) & (pl.col("end") >= pl.col("first")))
        found = found.select("signature", "row").unique()
        return found["signature"].to_numpy(), found["row"].to_numpy()

    def _read(self) -> Iterator[Alert]:
        reader = _READERS[self.file.format]
        try:
            with self.file.path.open(encoding="utf-8", errors="replace") as lines:
                for number, fields in reader(lines):
                    self.count += 1
                    yield from self._alert(number, fields)
        except OSError as error:
            raise UsageError(f"{self.file.path}: {error.strerror}") from None
        except UnreadableLine as error:
            raise UsageError(f"{self.file.path}:{error}") from None

    def _alert(self, number: int, fields: _Fields) -> Iterator[Alert]:
        try:
            key = _key(fields)
            at = _time_ns(fields.time)
            first = min(at, _time_ns(fields.began)) if fields.began else at
        except (TypeError, ValueError) as error:
            raise UnreadableLine(f"{number}: {error}") from None
        if key is None:
            self.without_connection += 1
        else:
            yield Alert(fields.signature, fields.severity, key, first, at)

    def _joined(self, spans: Mapping[tuple[str, str], list[tuple[int, int]]]) -> pl.DataFrame:
        places = {signature.name: place for place, signature in enumerate(self.signatures)}
        joined = [
            (key, places[signature], first, last)
            for (signature, key), times in sorted(spans.items())
            for first, last in _merged(times)
        ]
        schema = {"key": pl.String, "signature": pl.Int64, "first": pl.Int64, "last": pl.Int64}
        return pl.DataFrame(joined, schema=schema, orient="row")


class UnreadableLine(ValueError):
    """A line is not of its format; the text is its number and why."""


class _Fields(NamedTuple):
    """What readers take from a line; empty where it has none."""

    signature: str
    severity: int
    time: Any
    began: Any
    hosts: tuple[str, str]
    ports: tuple[Any, Any]
    protocol: str


def _hosts_key(rows: Rows, protocols: pl.Series) -> pl.Series:
    parts = rows.pairs.cast(pl.String), protocols.cast(pl.String)
    return pl.select(pl.concat_str(*parts, separator="||")).to_series()


def _key(fields: _Fields) -> str | None:
    if not all(fields.hosts):
        return None
    hosts = [str(ipaddress.ip_address(each)) for each in fields.hosts]
    protocol = _PROTOCOL_NAMES.get(fields.protocol.lower(), meaning.NONE)
    if all(fields.ports) and protocol not in _WITHOUT_PORTS:
        ends = sorted(f"{host} {int(port)}" for host, port in zip(hosts, fields.ports, strict=True))
        return f"{ends[0]}|{ends[1]}|{protocol}"
    return "|".join(sorted(hosts)) + f"||{protocol}"


#: What tools call ports there are types and codes.
_WITHOUT_PORTS = (meaning.PROTOCOLS["icmp"], meaning.PROTOCOLS["icmpv6"])
_PROTOCOL_NAMES = {**meaning.PROTOCOLS, "ipv6-icmp": meaning.PROTOCOLS["icmpv6"]}


def _time_ns(value: Any) -> int:
    """Parse a time: seconds since the epoch, or as RFC 3339 (Suricata's offset has no colon)."""
    text = str(value)
    try:
        return int(Decimal(text) * 1_000_000_000)
    except InvalidOperation:
        return conditions.time_ns(re.sub(r"([+-]\d\d)(\d\d)$", r"\1:\2", text))


def _merged(times: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for first, last in sorted(times):
        if merged and first <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return merged


# -- formats ---------------------------------------------------------------------------------------


def _eve(lines: Iterator[str]) -> Iterator[tuple[int, _Fields]]:
    """Read Suricata's EVE: a JSON object a line, of which alerts are some."""
    for number, line in enumerate(lines, 1):
        if '"alert"' not in line:
            continue
        event = _json(number, line)
        alert = event.get("alert")
        if event.get("event_type") != "alert" or not isinstance(alert, dict):
            continue
        flow, severity = event.get("flow"), alert.get("severity")
        yield (
            number,
            _Fields(
                str(alert.get("signature") or alert.get("signature_id")),
                severity if isinstance(severity, int) else _LEAST_SEVERE,
                event.get("timestamp"),
                flow.get("start") if isinstance(flow, dict) else None,
                (event.get("src_ip", ""), event.get("dest_ip", "")),
                (event.get("src_port"), event.get("dest_port")),
                str(event.get("proto", "")),
            ),
        )


def _notices(lines: Iterator[str]) -> Iterator[tuple[int, _Fields]]:
    """Read Zeek's notice.log: tab-separated with a ``#fields`` line, or JSON."""
    names: list[str] = []
    for number, line in enumerate(lines, 1):
        if line.startswith("#"):
            if line.startswith("#fields\t"):
                names = line.rstrip("\n").split("\t")[1:]
            continue
        if line.startswith("{"):
            yield number, _notice(_json(number, line))
        elif line.strip():
            cells = line.rstrip("\n").split("\t")
            if len(cells) != len(names):
                raise UnreadableLine(f"{number}: {len(cells)} cells for {len(names)} fields")
            said = {n: c for n, c in zip(names, cells, strict=True) if c not in ("-", "(empty)")}
            yield number, _notice(said)


def _notice(said: Mapping[str, Any]) -> _Fields:
    connection = [said.get(f"id.{name}") for name in ("orig_h", "resp_h", "orig_p", "resp_p")]
    if not connection[0]:
        connection = [said.get("src"), said.get("dst"), None, None]
    return _Fields(
        str(said.get("note", "")),
        _LEAST_SEVERE,
        said.get("ts"),
        None,
        (connection[0] or "", connection[1] or ""),
        (connection[2], connection[3]),
        str(said.get("proto", "")),
    )


def _json(number: int, line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise UnreadableLine(f"{number}: no JSON object")
    return event


_READERS: Mapping[str, Callable[[Iterator[str]], Iterator[tuple[int, _Fields]]]] = {
    "suricata-eve": _eve,
    "zeek-notice": _notices,
}
