"""What other tools saw, joined to rows: Suricata's alerts (EVE) and Zeek's notices.

An alert is of a connection (its two ends and protocol, in either direction) for a time: from the
begin of its flow, where it tells that, to the alert, and some seconds more on both sides. One that
names hosts but no ports is of all connections between them, of its protocol if it tells that. One
that names no second host, or a protocol that nobody here knows, is about no row: it is counted, and
labels nothing.

Files may be compressed, as those are that were put aside. A last line that is cut, as it is in a
file that is being written, is left out with a warning.

Alerts of one signature and connection whose times touch are one, so there are few to join.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import IO, Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from network_pipeline.capture import compression
from network_pipeline.errors import UsageError
from network_pipeline.labelled import conditions, meaning
from network_pipeline.labelled.rows import Rows
from network_pipeline.labelled.rules_file import AlertFile

#: Signatures of one file.
_MOST_SIGNATURES = 65_536
_LEAST_SEVERE = 255
#: No line of a log is longer.
_MOST_LINE_BYTES = 64 * 2**20

_log = logging.getLogger(__name__)


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
            with self.file.path.open("rb") as file:
                for number, fields in reader(_lines(file)):
                    self.count += 1
                    yield from self._alert(number, fields)
        except OSError as error:
            raise UsageError(f"{self.file.path}: {error.strerror}") from None
        except compression.CompressionDamage as error:
            raise UsageError(f"{self.file.path}: {error}") from None
        except CutLine as error:
            _log.warning("%s:%s: the last line is cut, and left out", self.file.path, error)
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


class CutLine(UnreadableLine):
    """The last line of a file is not of its format, and nothing says that it is whole."""


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
    hosts = [ipaddress.ip_address(each) for each in fields.hosts]
    protocol = _protocol(fields.protocol.lower(), hosts[0].version)
    if protocol is None:
        return None
    if protocol in _WITH_PORTS and None not in fields.ports:
        ends = sorted(f"{host} {int(port)}" for host, port in zip(hosts, fields.ports, strict=True))
        return f"{ends[0]}|{ends[1]}|{protocol}"
    return "|".join(sorted(map(str, hosts))) + f"||{protocol}"


#: Others have types and codes where tools write ports, or none that all packets have.
_WITH_PORTS = (meaning.PROTOCOLS["tcp"], meaning.PROTOCOLS["udp"])


def _protocol(name: str, ip_version: int) -> int | None:
    """Return a number, :data:`meaning.NONE` for no name, None for one that is not known."""
    if not name:
        return meaning.NONE
    if name == "ipv6-icmp" or (name == "icmp" and ip_version == 6):  # Suricata's, and Zeek's
        name = "icmpv6"
    if re.fullmatch(r"\d{1,3}", name, re.ASCII):
        return int(name)
    return meaning.PROTOCOLS.get(name)


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


def _lines(file: IO[bytes]) -> Iterator[str]:
    """Yield the lines of a file, which may be compressed, with what ends them."""
    found = compression.compression_of(file.read(compression.MARK_BYTES))
    file.seek(0)
    pieces: Iterator[bytes | None] = iter(partial(file.read, compression.PIECE_BYTES), b"")
    if found:
        compressed = pieces
        pieces = compression.decompressed(found, lambda: compressed, twice=False)
    number, rest = 1, b""
    for piece in pieces:
        *whole, rest = (rest + (piece or b"")).split(b"\n")
        yield from (line.decode(errors="replace") + "\n" for line in whole)
        number += len(whole)
        if len(rest) > _MOST_LINE_BYTES:
            raise UnreadableLine(f"{number}: more than {_MOST_LINE_BYTES} bytes")
    if rest:
        yield rest.decode(errors="replace")


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
                str(event.get("proto") or ""),
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
                raise _unreadable(number, line, f"{len(cells)} cells for {len(names)} fields")
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
        str(said.get("proto") or ""),
    )


def _json(number: int, line: str) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise _unreadable(number, line, "no JSON object")
    return event


def _unreadable(number: int, line: str, reason: str) -> UnreadableLine:
    kind = UnreadableLine if line.endswith("\n") else CutLine
    return kind(f"{number}: {reason}")


_READERS: Mapping[str, Callable[[Iterator[str]], Iterator[tuple[int, _Fields]]]] = {
    "suricata-eve": _eve,
    "zeek-notice": _notices,
}
