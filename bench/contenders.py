"""Who runs: a command for each, and how much of the capture it can be asked to read."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from network_pipeline.schema import COLUMNS

PROGRAMS = Path(__file__).with_name("programs")

#: Frames for those that need minutes for a million.
SLICE_FRAMES = 50_000

_FLOOR = "tcpdump -w /dev/null"

_PACKETS_PCAP = "import sys; from network_pipeline.scripts.pcap import main; sys.exit(main())"


@dataclass(frozen=True)
class Contender:
    """A program; ``{file}`` and ``{out}`` in its command stand for the capture and for a directory.

    ``missing`` says what is not installed for it; ``is_slow`` that it reads a slice only.
    """

    name: str
    command: tuple[str, ...]
    missing: str = ""
    is_slow: bool = False

    def run(self, capture: Path, out: Path) -> list[str]:
        """Return the command for a capture."""
        return [part.format(file=capture, out=out) for part in self.command]


def contenders(peers: Path | None) -> list[Contender]:
    """Return all programs, the one that the others are compared with first.

    ``peers`` is the virtual environment in which ``requirements.txt`` is installed.
    """
    return [*_tools(), *_own(), *_peers(peers)]


def _tools() -> Iterator[Contender]:
    fields = sorted({name for column in COLUMNS for name in _fields(column.tshark)})
    tshark = ["tshark", "-n", "-r", "{file}", "-T", "fields"]
    for name, command in (
        (_FLOOR, ["tcpdump", "-r", "{file}", "-w", "/dev/null"]),
        (f"tshark -T fields ({len(fields)})", [*tshark, *(f"-e{name}" for name in fields)]),
    ):
        missing = "" if shutil.which(command[0]) else f"{command[0]} is not installed"
        yield Contender(name, tuple(command), missing, is_slow=command[0] == "tshark")


def _fields(names: str) -> list[str]:
    return [name.strip() for name in names.split(",") if name.strip()]


def _own() -> Iterator[Contender]:
    python = sys.executable
    decoder = "network_pipeline.decode.columnar"
    pcap = "network_pipeline.scripts.pcap"
    for name, module, command in (
        ("read", "network_pipeline.capture.pcap", ["-m", "bench.programs.read_frames", "{file}"]),
        ("decode", decoder, ["-m", "bench.programs.decode_frames", "{file}"]),
        *(
            (
                f"packets-pcap x.{kind}, payload 64",
                pcap,
                ["-c", _PACKETS_PCAP, "{file}", "--payload-bytes=64", f"--output={{out}}/x.{kind}"],
            )
            for kind in ("csv", "parquet")
        ),
    ):
        missing = "" if find_spec(module) else f"there is no {module}"
        yield Contender(f"network-pipeline: {name}", (python, *command), missing)


def _peers(peers: Path | None) -> Iterator[Contender]:
    python = str(peers / "bin/python") if peers else ""
    for module, program, is_slow in (
        ("dpkt", "dpkt_packets.py", True),
        ("scapy", "scapy_packets.py", True),
        ("nfstream", "nfstream_flows.py", False),
    ):
        command = (python, str(PROGRAMS / program), "{file}")
        yield Contender(module, command, _missing(peers, module), is_slow)
    program = str(peers / "bin/pcaptoparquet") if peers else ""
    to_parquet = (program, "-i", "{file}", "-o", "{out}/peer.parquet")
    missing = _missing(peers, "pcaptoparquet")
    yield Contender("pcaptoparquet", to_parquet, missing, is_slow=True)


def _missing(peers: Path | None, module: str) -> str:
    if peers is None:
        return "no --peers"
    found = next(peers.glob(f"lib/python*/site-packages/{module}"), None)
    return "" if found else f"not in {peers}"
