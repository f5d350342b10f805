"""What the numbers were measured on: the machine, and the versions of all programs."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

_LIBRARIES = ("numpy", "pandas", "polars", "pyarrow")
_PEERS = ("dpkt", "nfstream", "pcaptoparquet", "scapy")


def lines(peers: Path | None) -> Iterator[str]:
    """Yield the description, to be asked for last: it imports the package's decoder."""
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    yield f"{_processor()}, {os.cpu_count()} cores, {memory_gb:.0f} GB, Linux {platform.release()}"
    yield ", ".join([*_own(), *_tools()])
    if peers:
        yield "peers: " + ", ".join(_peers(peers))


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _own() -> Iterator[str]:
    from network_pipeline.decode.columnar import COMPILED  # noqa: PLC0415

    form = "compiled" if COMPILED else "interpreted"
    yield f"network-pipeline {metadata.version('network-pipeline')} ({form})"
    yield f"Python {platform.python_version()}"
    for name in _LIBRARIES:
        yield f"{name} {metadata.version(name)}"


def _tools() -> Iterator[str]:
    for name in ("tcpdump", "tshark"):
        if shutil.which(name):
            said = subprocess.run([name, "--version"], capture_output=True, text=True, check=False)
            found = re.search(r"\d+(\.\d+)+", said.stdout + said.stderr)
            yield f"{name} {found[0] if found else ''}"


def _peers(peers: Path) -> Iterator[str]:
    """Yield what is installed in a virtual environment, which need not be this Python's."""
    places = [str(path) for path in peers.glob("lib/python*/site-packages")]
    for name in _PEERS:
        for found in metadata.distributions(name=name, path=places):
            yield f"{name} {found.version}"
