"""Who runs: a command for each, what it is given, and how its rows are counted afterwards."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bench.inputs import SERIES_FILES, Reads
from network_pipeline.schema import COLUMNS

_PROGRAMS = Path(__file__).with_name("programs")

_PACKETS_FLOWS = "import sys; from network_pipeline.scripts.flows import main; sys.exit(main())"
_PACKETS_PCAP = "import sys; from network_pipeline.scripts.pcap import main; sys.exit(main())"


def _fields(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


#: All fields of tshark that a column corresponds to.
_TSHARK_FIELDS = sorted({name for column in COLUMNS for name in _fields(column.tshark)})

TCPDUMP = "tcpdump -w /dev/null"
TSHARK = f"tshark -T fields ({len(_TSHARK_FIELDS)})"
SCAPY = "scapy"
READ = "network-pipeline: read"
DECODE = "network-pipeline: decode"
CSV = "network-pipeline: packets-pcap x.csv, payload 64"
PARQUET = "network-pipeline: packets-pcap x.parquet, payload 64"
CSV_SERIES = f"network-pipeline: x.csv of {SERIES_FILES} captures"
PARQUET_SERIES = f"network-pipeline: x.parquet of {SERIES_FILES} captures"
MESSAGES_100 = "network-pipeline: JSON messages, snapshots of 100"
MESSAGES = "network-pipeline: JSON messages, snapshots of 1,000"
BATCHES_CSV = "network-pipeline: Arrow messages to x.csv"
BATCHES_PARQUET = "network-pipeline: Arrow messages to x.parquet"
FLOWS_OF_CAPTURE = "network-pipeline: packets-flows x.pcap"
FLOWS = "network-pipeline: packets-flows x.parquet"
FLOWS_SERIES = f"network-pipeline: flows of {SERIES_FILES} x.parquet"
FLOWS_FLOOD = "network-pipeline: flows of a SYN flood"
NFSTREAM = "nfstream: flows"
NFSTREAM_ROWS = "nfstream: flows, and rows of packets"

#: Returns the rows of a run from what it printed, a file, and from the directory it wrote to.
Count = Callable[[Path, Path], int]


@dataclass(frozen=True)
class Contender:
    """A program; in its command ``{files}`` stands for what it reads, ``{out}`` for a directory.

    ``missing`` says what is not installed for it. ``is_partial`` is one that has no row for some
    frames, ``is_long`` one that runs once, whatever is asked for.
    """

    name: str
    command: tuple[str, ...]
    reads: Reads
    count: Count
    missing: str = ""
    is_partial: bool = False
    is_long: bool = False

    def run(self, files: list[Path], out: Path) -> list[str]:
        """Return the command for files."""
        words: list[str] = []
        for part in self.command:
            words += map(str, files) if part == "{files}" else [part.format(out=out)]
        return words


def contenders(peers: Path | None) -> list[Contender]:
    """Return all programs, the one that the others are compared with first.

    ``peers`` is the virtual environment in which ``requirements.txt`` is installed.
    """
    return [*_tools(), *_programs(), *_commands(), *_flows(), *_processors(), *_peers(peers)]


# -- how rows are counted --------------------------------------------------------------------------


def _number(printed: Path, _out: Path) -> int:
    """Return the number that the last line is, as tcpdump writes it or alone."""
    found = re.search(r"^(\d+)( packets?)?\s*\Z", printed.read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def _packets(printed: Path, _out: Path) -> int:
    """Return the rows that packets-flows accounts for."""
    found = re.search(r"^([0-9,]+) rows = ", printed.read_text(), re.MULTILINE)
    return int(found[1].replace(",", "")) if found else 0


def _lines(printed: Path, _out: Path) -> int:
    return _count_lines(printed)


def _csv_rows(_printed: Path, out: Path) -> int:
    return _count_lines(out / "x.csv") - 1


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(part.count(b"\n") for part in iter(lambda: file.read(1 << 20), b""))


def _parquet_rows(_printed: Path, out: Path) -> int:
    # In a process of its own: see measure.py. A program may write no file where there is no frame.
    path = out / "x.parquet"
    command = [sys.executable, str(_PROGRAMS / "count_rows.py"), str(path)]
    return int(subprocess.check_output(command)) if path.exists() else 0


# -- the programs ----------------------------------------------------------------------------------


def _tools() -> Iterator[Contender]:
    tcpdump = ("tcpdump", "--count", "-r", "{files}", "-w", "/dev/null")
    fields = (f"-e{name}" for name in _TSHARK_FIELDS)
    tshark = ("tshark", "-n", "-r", "{files}", "-T", "fields", *fields)
    yield Contender(TCPDUMP, tcpdump, Reads.CAPTURE, _number, _not_installed("tcpdump"))
    yield Contender(TSHARK, tshark, Reads.SLICE, _lines, _not_installed("tshark"))


def _programs() -> Iterator[Contender]:
    for name, program, module in (
        (READ, "read_frames", "network_pipeline.capture.pcap"),
        (DECODE, "decode_frames", "network_pipeline.decode.columnar"),
    ):
        command = (sys.executable, "-m", f"bench.programs.{program}", "{files}")
        yield Contender(name, command, Reads.CAPTURE, _number, _absent(module))


def _commands() -> Iterator[Contender]:
    missing = _absent("network_pipeline.scripts.pcap")
    for kind, count, one, series in (
        ("csv", _csv_rows, CSV, CSV_SERIES),
        ("parquet", _parquet_rows, PARQUET, PARQUET_SERIES),
    ):
        options = ("--payload-bytes=64", f"--output={{out}}/x.{kind}")
        command = (sys.executable, "-c", _PACKETS_PCAP, "{files}", *options)
        yield Contender(one, command, Reads.CAPTURE, count, missing)
        yield Contender(series, command, Reads.SERIES, count, missing, is_long=True)


def _flows() -> Iterator[Contender]:
    missing = _absent("network_pipeline.scripts.flows")
    command = (sys.executable, "-c", _PACKETS_FLOWS, "{files}", "--output={out}/flows.parquet")
    for name, reads in (
        (FLOWS_OF_CAPTURE, Reads.CAPTURE),
        (FLOWS, Reads.DATASET),
        (FLOWS_SERIES, Reads.DATASETS),
        (FLOWS_FLOOD, Reads.FLOOD),
    ):
        is_long = reads is Reads.DATASETS
        yield Contender(name, command, reads, _packets, missing, is_long=is_long)


def _processors() -> Iterator[Contender]:
    missing = _absent("network_pipeline.dataset.recorder")
    program = (sys.executable, "-m", "bench.programs.record_messages", "{files}", "{out}/x.csv")
    for name, rows in ((MESSAGES_100, "100"), (MESSAGES, "1000")):
        yield Contender(name, (*program, rows), Reads.MESSAGES, _csv_rows, missing)
    batches = (sys.executable, "-m", "bench.programs.process_batches", "{files}")
    for name, output, count in (
        (BATCHES_CSV, "{out}/x.csv", _csv_rows),
        (BATCHES_PARQUET, "{out}/x.parquet", _number),
    ):
        yield Contender(name, (*batches, output), Reads.BATCHES, count, missing)


def _peers(peers: Path | None) -> Iterator[Contender]:
    python = str(peers / "bin/python") if peers else ""
    for name, program, reads in (
        ("dpkt", "dpkt_packets.py", Reads.SLICE),
        (SCAPY, "scapy_packets.py", Reads.SLICE),
        (NFSTREAM, "nfstream_flows.py", Reads.CAPTURE),
        (NFSTREAM_ROWS, "nfstream_rows.py", Reads.CAPTURE),
    ):
        module = name.partition(":")[0]
        command = (python, str(_PROGRAMS / program), "{files}", "{out}/x.csv")
        missing, is_partial = _missing(peers, module), module == "nfstream"
        yield Contender(name, command, reads, _number, missing, is_partial=is_partial)
    program = str(peers / "bin/pcaptoparquet") if peers else ""
    convert = (program, "-i", "{files}", "-o", "{out}/x.parquet")
    missing = _missing(peers, "pcaptoparquet")
    yield Contender("pcaptoparquet", convert, Reads.SLICE, _parquet_rows, missing)


def _not_installed(program: str) -> str:
    return "" if shutil.which(program) else f"{program} is not installed"


def _absent(module: str) -> str:
    return "" if find_spec(module) else f"there is no {module}"


def _missing(peers: Path | None, module: str) -> str:
    if peers is None:
        return "no --peers"
    found = next(peers.glob(f"lib/python*/site-packages/{module}"), None)
    return "" if found else f"not in {peers}"
