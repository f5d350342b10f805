"""Small captures for these tests: frames built by hand, made rows by the package's own way."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from scapy.layers.inet import TCP

from network_pipeline.capture.inputs import inputs
from network_pipeline.convert import COUNTED, Conversion, Plan
from network_pipeline.dataset.exports import export
from network_pipeline.frames import Frame, LinkType
from network_pipeline.labelled.rows import Rows
from network_pipeline.metrics import Counters
from network_pipeline.schema import arrow_schema
from network_pipeline.traffic import craft
from tests.decode import captures

START_NS = 1_700_000_000_000_000_000
SECOND_NS = 1_000_000_000
SERVER = "192.0.2.80"
ATTACKER = "203.0.113.66"
MACS = "02:00:00:00:00:01", "02:00:00:00:00:02"


def connection(client: str, sport: int, dport: int = 80) -> Iterator[bytes]:
    """Yield the frames of a short connection, in both directions."""
    there = craft.Ends(*MACS, client, SERVER)
    back = craft.Ends(MACS[1], MACS[0], SERVER, client)
    yield craft.tcp_frame(there, TCP(sport=sport, dport=dport, flags="S", seq=sport))
    yield craft.tcp_frame(back, TCP(sport=dport, dport=sport, flags="SA", ack=sport + 1))
    yield craft.tcp_frame(there, TCP(sport=sport, dport=dport, flags="PA"), b"x" * (sport % 500))
    yield craft.tcp_frame(back, TCP(sport=dport, dport=sport, flags="FA"), b"y" * (sport % 900))


def probe(port: int) -> bytes:
    """Return a frame of a scan."""
    ends = craft.Ends(*MACS, ATTACKER, SERVER)
    return craft.tcp_frame(ends, TCP(sport=40_000, dport=port, flags="S", window=1024))


def web(number: int, connections: int = 10) -> list[bytes]:
    """Return the frames of connections of one client."""
    client = f"198.51.100.{number}"
    return [
        frame
        for sport in range(10_000, 10_000 + connections)
        for frame in connection(client, number * 97 + sport)
    ]


def scan(number: int, ports: int = 40) -> list[bytes]:
    """Return the frames of a scan."""
    return [probe(1000 * number + port) for port in range(ports)]


def capture(path: Path, data: Sequence[bytes], start_ns: int = START_NS) -> Path:
    """Write frames, a second after one another."""
    frames = [
        Frame(n, start_ns + n * SECOND_NS, None, len(each), LinkType.ETHERNET, each)
        for n, each in enumerate(data, 1)
    ]
    captures.write_frames(path, frames)
    return path


def converted(files: Sequence[Path], output: Path, source: str = "edge") -> Path:
    """Turn capture files into a dataset, as packets-pcap does."""
    with export(output) as made:
        conversion = Conversion(made, Counters(*COUNTED), Plan(source, batch_frames=16_384))
        conversion.run(inputs([str(file) for file in files]), threading.Event())
    return output


def dataset(directory: Path, ending: str = "parquet") -> Path:
    """Return packets of four captures of web traffic and three of scans, in turn."""
    files = []
    for number in range(1, 5):
        start = START_NS + number * 60 * SECOND_NS
        files.append(capture(directory / f"web-{number}.pcap", web(number), start))
    for number in range(1, 4):
        start = START_NS + (number * 60 + 30) * SECOND_NS
        files.append(capture(directory / f"scan-{number}.pcap", scan(number), start))
    return converted(files, directory / f"packets.{ending}")


RULES = """\
rules:
  - name: scans
    label: attack
    class: portscan
    match: {file: scan-*.pcap}
otherwise: {label: benign}
"""


def rules(directory: Path, text: str = RULES) -> Path:
    """Write a rules file."""
    path = directory / "rules.yaml"
    path.write_text(text)
    return path


_EMPTY = pl.DataFrame(arrow_schema().empty_table())


def rows(
    values: Sequence[Mapping[str, Any]], files: Mapping[str, str] | None = None, name: str = "x.csv"
) -> Rows:
    """Return packets with these values and no others."""
    schema = {
        key: pl.String if kind == pl.Categorical else kind for key, kind in _EMPTY.schema.items()
    }
    return Rows(pl.DataFrame(list(values), schema=schema, strict=False), files or {}, name)
