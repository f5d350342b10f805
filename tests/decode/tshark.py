"""tshark as an oracle for decoded rows.

tshark runs with a profile that switches off every protocol without columns, and all reassembly, so
that what it calls ``data`` is what we call ``raw``. :mod:`.expected` makes rows of what it prints;
nothing of the decoder under test is used for that. :func:`compare` then holds actual rows against
expected ones. Every difference must be excused by a :class:`Rule`, and what was compared and
excused is counted.
"""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from network_pipeline.message import Nested
from network_pipeline.schema import COLUMNS, Column
from tests.decode.expected import FIELD_NAMES, PROTOCOLS, Fields, expected_row, protocols

#: A decoded frame: column name to value, absent columns left out.
Row = Mapping[str, Any]

_PREFERENCES = (
    "eth.fcs:Never",
    "eth.padding:Never",
    "ip.defragment:FALSE",
    "ipv6.defragment:FALSE",
    "tcp.analyze_sequence_numbers:FALSE",
    "tcp.desegment_tcp_streams:FALSE",
    "tcp.relative_sequence_numbers:FALSE",
)
_SEPARATOR = "\x1e"


_COMPARED = [column for column in COLUMNS if column.tshark]


def row_of(nested: Nested) -> dict[str, Any]:
    """Return a nested dict as a row."""
    row = {}
    for column in COLUMNS:
        value: Any = nested
        for key in column.path:
            value = value.get(key) if value is not None else None
        if value is not None:
            row[column.name] = value
    return row


# -- running ---------------------------------------------------------------------------------------


def write_profile(profile: Path) -> None:
    """Write tshark's configuration into a directory: all protocols off that have no columns."""
    listed = _run(["tshark", "-G", "protocols"], profile).splitlines()
    known = {line.split("\t")[2] for line in listed}
    (profile / "disabled_protos").write_text("\n".join(sorted(known - PROTOCOLS)) + "\n")


def read_fields(capture: Path, profile: Path) -> list[Fields]:
    """Return what tshark prints for every frame of a file, up to its end or damage.

    Records of a file that are no frames are left out, and frames numbered without them.
    ``profile`` is a directory that :func:`write_profile` prepared.
    """
    command = ["tshark", "-n", "-r", str(capture), "-T", "fields", "-E", "separator=/t"]
    command += ["-E", "occurrence=a", "-E", f"aggregator={_SEPARATOR}"]
    command += ["--disable-heuristic", "dns_udp"]
    for preference in _PREFERENCES:
        command += ["-o", preference]
    for name in FIELD_NAMES:
        command += ["-e", name]
    lines = _run(command, profile).split("\n")
    records = [_values(line) for line in lines[:-1]]
    frames = [record for record in records if "frame.encap_type" in record]
    for number, record in enumerate(frames, start=1):
        record["frame.number"] = [str(number)]
    return frames


def _values(line: str) -> Fields:
    texts = line.split("\t")
    assert len(texts) == len(FIELD_NAMES), line
    pairs = zip(FIELD_NAMES, texts, strict=True)
    return {name: text.split(_SEPARATOR) for name, text in pairs if text}


def _run(command: list[str], profile: Path) -> str:
    """Return stdout; the exit code is not looked at, since damaged files make it 2."""
    environment = {**os.environ, "WIRESHARK_CONFIG_DIR": str(profile), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False)
    return done.stdout.decode("utf-8", "surrogateescape")


# -- comparing -------------------------------------------------------------------------------------


class Cell(NamedTuple):
    """One value as decoded (``ours``) and as tshark has it (``theirs``); ``None`` where absent."""

    column: Column
    ours: Any
    theirs: Any
    row: Row
    seen: Fields


class Rule(NamedTuple):
    """A difference on purpose: when it is one, and why."""

    reason: str
    applies: Callable[[Cell], bool]


@dataclass
class Report:
    """What a comparison found.

    ``equal`` counts cells with equal values by column, ``excused`` others by rule; ``differences``
    are the rest.
    """

    equal: Counter[str] = field(default_factory=Counter)
    excused: Counter[str] = field(default_factory=Counter)
    differences: list[str] = field(default_factory=list)

    def add(self, other: Report) -> None:
        self.equal += other.equal
        self.excused += other.excused
        self.differences += other.differences


def compare(rows: Iterable[Row], fields: list[Fields], rules: Iterable[Rule]) -> Report:
    """Hold decoded rows against what tshark printed for the same frames."""
    report = Report()
    for cell in cells(rows, fields):
        if cell.ours == cell.theirs:
            report.equal[cell.column.name] += 1
        else:
            _excuse(cell, rules, report)
    return report


def cells(rows: Iterable[Row], fields: list[Fields]) -> Iterator[Cell]:
    """Yield every value that either side has.

    Rows are matched by ``frame_number``, so those of unsupported link types may be missing.
    """
    for row in rows:
        seen = fields[row["frame_number"] - 1]
        expected = expected_row(seen)
        for column in _COMPARED:
            if column.name in row or column.name in expected:
                yield Cell(column, row.get(column.name), expected.get(column.name), row, seen)


def _excuse(cell: Cell, rules: Iterable[Rule], report: Report) -> None:
    for rule in rules:
        if rule.applies(cell):
            report.excused[rule.reason] += 1
            return
    report.differences.append(
        f"frame {cell.row['frame_number']} {cell.column.name}: {cell.ours!r} is {cell.theirs!r} in"
        f" tshark ({cell.row.get('frame_error')}, {protocols(cell.seen)})"
    )
