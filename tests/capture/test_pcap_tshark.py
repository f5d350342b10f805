"""Real captures against tshark: which frames there are, when, how long, on which interface."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from network_pipeline.decode.text import printable
from network_pipeline.frames import NO_TIME
from tests import needs
from tests.capture.capture_files import SHARED, read

_FIELDS = (
    "frame.time_epoch",
    "frame.len",
    "frame.cap_len",
    "frame.interface_name",
    "frame.encap_type",
)

#: What tshark shows for an interface that has no name.
_NAMELESS = ("", "unknown")


def _tshark_frames(path: Path) -> list[tuple[int, int, int, str | None]]:
    """Return time, lengths and interface; records that are no frames are left out."""
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "separator=/t"]
    for field in _FIELDS:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    frames = []
    for line in done.stdout.decode().split("\n")[:-1]:
        time, wire_len, length, interface, encapsulation = line.split("\t")
        if encapsulation:
            time_ns = int(time.replace(".", "")) if time else NO_TIME
            name = None if interface in _NAMELESS else interface
            frames.append((time_ns, int(wire_len), int(length), name))
    return frames


def _captures() -> list[Path]:
    return sorted(SHARED.glob("*.pcap*"))


@pytest.mark.skipif(not _captures(), reason="there are no shared captures")
@pytest.mark.parametrize("path", _captures(), ids=lambda path: path.name)
def test_frames_are_those_of_tshark(path: Path) -> None:
    needs.program("tshark")
    expected = _tshark_frames(path)
    frames, damage, capture = read(path)
    assert capture.frames == len(expected)
    assert len(frames) + capture.refused().total() == len(expected)
    for frame in frames:
        name = None if frame.interface is None else printable(frame.interface)
        found = (frame.time_ns, frame.wire_len, len(frame.data), name)
        assert found == expected[frame.number - 1], frame.number
    is_damaged = path.name in ("fmt-cut-bad-caplen.pcap", "fmt-pcapng-epb-unbounded.pcapng")
    assert (damage is not None) is is_damaged
