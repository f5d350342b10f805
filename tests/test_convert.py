"""packets-pcap: capture files to a dataset file, by the command itself."""

from __future__ import annotations

import csv
import gzip
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

from network_pipeline.frames import Frame, LinkType
from network_pipeline.traffic import craft
from tests.decode import captures

COMMAND = str(Path(sysconfig.get_path("scripts")) / "packets-pcap")
ENDS = craft.Ends("02:00:00:00:00:01", "02:00:00:00:00:02", "192.0.2.1", "192.0.2.2")


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Ten datagrams, the payload of each with its number."""
    data = [craft.udp_frame(ENDS, 40000, 9, b"payload %d" % number) for number in range(1, 11)]
    frames = [
        Frame(number, 1_700_000_000_000_000_000 + number, None, len(each), LinkType.ETHERNET, each)
        for number, each in enumerate(data, 1)
    ]
    path = tmp_path / "ten.pcap"
    captures.write_frames(path, frames)
    return path


def run(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [COMMAND, *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, timeout=60)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_file_becomes_rows(tmp_path: Path, capture: Path) -> None:
    output = tmp_path / "x.csv"
    done = run(capture, "--output", output, "--source", "edge-1", "--payload-bytes", "7")
    assert done.returncode == 0, done.stderr
    assert re.search(rb"^udp +10$", done.stdout, re.MULTILINE)
    assert done.stdout.endswith(f"10 frames = 10 rows + 0 refused\n{output}\n".encode())
    found = rows(output)
    assert [row["frame_number"] for row in found] == [str(number) for number in range(1, 11)]
    assert found[9]["frame_time"] == "2023-11-14T22:13:20.000000010Z"
    assert {row["source"] for row in found} == {"edge-1"}
    assert {(row["raw_len"], row["raw_load"]) for row in found} == {
        ("9", b"payload".hex()),
        ("10", b"payload".hex()),
    }


def test_the_same_file_gives_the_same_bytes(tmp_path: Path, capture: Path) -> None:
    # Its session is made of its content, so a frame has the same identity in every run.
    for name in ("a.parquet", "b.parquet"):
        assert run(capture, "--output", tmp_path / name, "--batch-frames", "3").returncode == 0
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_pipe_and_a_compressed_file_give_the_same_rows(tmp_path: Path, capture: Path) -> None:
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(capture.read_bytes()))
    assert run(packed, "--output", tmp_path / "packed.csv").returncode == 0
    done = run("-", "--output", tmp_path / "piped.csv", stdin=capture.read_bytes())
    assert done.returncode == 0, done.stderr
    expected = [row["raw_load"] for row in rows(tmp_path / "packed.csv")]
    assert [row["raw_load"] for row in rows(tmp_path / "piped.csv")] == expected
    assert len(expected) == 10


def test_a_damaged_file_is_named_and_the_others_go_on(tmp_path: Path, capture: Path) -> None:
    damaged = tmp_path / "cut.pcap"
    damaged.write_bytes(capture.read_bytes()[:-5])
    output = tmp_path / "x.csv"
    done = run(damaged, capture, "--output", output)
    assert done.returncode == 1
    assert b"cut.pcap: damaged at byte " in done.stderr
    assert b"damaged: " in done.stderr
    assert len(rows(output)) == 9 + 10


def test_a_missing_file_leaves_nothing_behind(tmp_path: Path) -> None:
    done = run(tmp_path / "none.pcap", "--output", tmp_path / "x.csv")
    assert done.returncode == 2
    assert b"none.pcap" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_frames_of_other_link_types_are_counted_and_said(tmp_path: Path, capture: Path) -> None:
    content = bytearray(capture.read_bytes())
    content[20:24] = (105).to_bytes(4, "little")  # IEEE 802.11
    capture.write_bytes(content)
    done = run(capture, "--output", tmp_path / "x.csv")
    assert done.returncode == 0
    assert b"10 frames = 0 rows + 10 refused" in done.stdout
    assert b"IEEE802_11" in done.stderr
    assert rows(tmp_path / "x.csv") == []
