"""Compressed files, pipes, standard input, memory, sessions."""

from __future__ import annotations

import os
import queue
import random
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from network_pipeline.capture import compression, window
from network_pipeline.capture.pcap import CaptureFile
from network_pipeline.capture.raw_file import file_session
from tests import needs
from tests.capture.capture_files import COMPRESS, DECOMPRESSORS, FILES, Pcap, frames_of, read

_BUILT = FILES["pcapng little-endian"]
_ROOT = Path(__file__).resolve().parents[2]

_COUNT = """
import resource, sys
from network_pipeline.capture.pcap import CaptureFile
with CaptureFile(sys.argv[1]) as capture:
    frames = sum(len(batch) for batch in capture)
print(frames, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _large() -> Pcap:
    built = Pcap()
    rng = random.Random(1)
    for _ in range(3_000):
        built.frame(rng.randrange(600))
    return built


_LARGE = _large()


@pytest.fixture(params=COMPRESS)
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# -- compressed files ------------------------------------------------------------------------------


def test_compressed_files_are_recognised_by_content(how: str, tmp_path: Path) -> None:
    path = tmp_path / "capture.txt"
    for built in (_BUILT, _LARGE):
        path.write_bytes(COMPRESS[how](built.data))
        frames, damage, _ = read(path)
        assert damage is None
        assert frames == built.frames


def test_compressed_files_may_be_joined_and_padded(how: str, tmp_path: Path) -> None:
    path = tmp_path / "capture"
    pieces = [_LARGE.data[at : at + 70_001] for at in range(0, len(_LARGE.data), 70_001)]
    joined = b"".join(COMPRESS[how](piece) + bytes(4) for piece in (b"", *pieces, b""))
    path.write_bytes(joined)
    frames, damage, _ = read(path)
    assert damage is None
    assert frames == _LARGE.frames


def test_zstd_files_may_have_frames_to_skip(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    skipped = b"\x51\x2a\x4d\x18\x03\0\0\0abc"
    path.write_bytes(skipped + COMPRESS["zstd"](_BUILT.data) + skipped)
    assert read(path)[:2] == (_BUILT.frames, None)


def test_a_compressed_file_cut_anywhere_gives_its_whole_frames(how: str, tmp_path: Path) -> None:
    path = tmp_path / "capture"
    packed = COMPRESS[how](_BUILT.data)
    for size in range(len(packed)):
        path.write_bytes(packed[:size])
        frames, damage, _ = read(path)
        there = len(DECOMPRESSORS[how]().decompress(packed[:size]))
        assert frames == _BUILT.whole(there)
        assert damage
        assert damage.offset == there
        if size >= compression.MARK_BYTES:
            assert damage.reason == f"the {how} data is cut short"


@pytest.mark.parametrize("built", [_BUILT, _LARGE], ids=["small", "large"])
def test_nothing_before_damage_is_lost(how: str, built: Pcap, tmp_path: Path) -> None:
    path = tmp_path / "capture"
    packed = bytearray(COMPRESS[how](built.data))
    packed[-4] ^= 0xFF  # in a checksum, a length, or the footer
    path.write_bytes(packed)
    frames, damage, _ = read(path)
    assert frames == built.frames
    assert damage
    assert damage.offset == len(built.data)
    assert damage.reason.startswith(f"the {how} data is damaged: ")


def test_something_else_after_compressed_data_is_damage(how: str, tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(COMPRESS[how](_LARGE.data) + b"something else")
    frames, damage, _ = read(path)
    assert frames == _LARGE.frames
    assert damage
    assert damage.offset == len(_LARGE.data)


def test_damage_in_the_middle_gives_what_is_before(how: str, tmp_path: Path) -> None:
    path = tmp_path / "capture"
    half = _LARGE.starts[1_500]
    first = COMPRESS[how](_LARGE.data[:half])
    second = bytearray(COMPRESS[how](_LARGE.data[half:]))
    second[:4] = b"none"
    path.write_bytes(first + second)
    frames, damage, _ = read(path)
    assert frames == _LARGE.whole(half)
    assert damage
    assert damage.offset == half


# -- pipes -----------------------------------------------------------------------------------------


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    yield path
    path.unlink()


@pytest.mark.parametrize("packed", [None, *COMPRESS])
def test_a_pipe_gives_what_a_file_does(packed: str | None, pipe: Path) -> None:
    data = COMPRESS[packed](_LARGE.data) if packed else _LARGE.data
    writer = threading.Thread(target=pipe.write_bytes, args=[data])
    writer.start()
    frames, damage, _ = read(pipe)
    writer.join()
    assert damage is None
    assert frames == _LARGE.frames


def test_a_slow_pipe_gives_partial_batches(pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "PATIENCE_S", 0.05)
    built = Pcap()
    for size in (10, 20, 30):
        built.frame(size)
    arrived: queue.SimpleQueue[int] = queue.SimpleQueue()

    def write() -> None:
        with pipe.open("wb", buffering=0) as out:
            for start, end in zip([0, *built.ends], built.ends, strict=False):
                out.write(built.data[start : end - 5])
                out.write(built.data[end - 5 : end])
                assert arrived.get(timeout=20) == built.ends.index(end) + 1

    writer = threading.Thread(target=write)
    writer.start()
    frames = []
    with CaptureFile(pipe) as capture:
        for batch in capture:
            frames += frames_of(batch)
            arrived.put(len(frames))
    writer.join()
    assert frames == built.frames


@pytest.mark.parametrize(
    ("sent", "whole"), [(_BUILT.ends[0] + 3, 1), (8, 0)], ids=["in a frame", "in the header"]
)
def test_reading_an_idle_pipe_can_be_stopped(pipe: Path, sent: int, whole: int) -> None:
    begun, stop = threading.Event(), threading.Event()
    frames = []

    def take() -> None:
        with CaptureFile(pipe, stop=stop) as capture:
            captures.append(capture)
            begun.set()
            for batch in capture:
                frames.extend(frames_of(batch))

    captures: list[CaptureFile] = []
    reader = threading.Thread(target=take)
    reader.start()
    with pipe.open("wb", buffering=0) as out:
        out.write(_BUILT.data[:sent])
        assert begun.wait(20)
        while captures[0]._window.end == 0:
            assert reader.is_alive()
        stop.set()
        reader.join(20)
    assert not reader.is_alive()
    assert frames == _BUILT.frames[:whole], "what was there, and no error for the rest"


def _run(*arguments: str, stdin: int | None = None) -> tuple[int, int]:
    done = subprocess.run(
        [sys.executable, "-c", _COUNT, *arguments],
        cwd=_ROOT,
        stdin=stdin,
        capture_output=True,
        check=True,
        timeout=120,
    )
    frames, peak_kib = done.stdout.split()
    return int(frames), int(peak_kib)


def test_standard_input_may_be_a_pipe_or_a_file(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(COMPRESS["gzip"](_LARGE.data))
    with path.open("rb") as file:
        assert _run("-", stdin=file.fileno())[0] == 3_000
    with subprocess.Popen(["cat", path], stdout=subprocess.PIPE) as cat:
        assert cat.stdout
        assert _run("-", stdin=cat.stdout.fileno())[0] == 3_000


def test_what_tcpdump_pipes_can_be_read(tmp_path: Path) -> None:
    needs.program("tcpdump")
    path = tmp_path / "capture"
    path.write_bytes(_LARGE.data)
    command = ["tcpdump", "-r", str(path), "-w", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as tcpdump:
        assert tcpdump.stdout
        assert _run("-", stdin=tcpdump.stdout.fileno())[0] == 3_000


# -- memory and sessions ---------------------------------------------------------------------------


def _sparse(path: Path, frames: int) -> Path:
    """Write a file of frames as long as frames can be, mostly holes."""
    built = Pcap(snap_len=262_144)
    built.frame(0, wire_len=9)
    head = built.data[-16:-8] + (262_144).to_bytes(4, "little") * 2
    with path.open("wb") as out:
        out.write(built.data[:24])
        for _ in range(frames):
            out.write(head)
            out.seek(262_144, os.SEEK_CUR)
        out.truncate()
    return path


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    frames, small_kib = _run(str(_sparse(tmp_path / "small", 100)))
    assert frames == 100
    frames, large_kib = _run(str(_sparse(tmp_path / "large", 1_200)))
    assert frames == 1_200
    assert large_kib < small_kib + 8 * 1024


def test_the_session_of_a_file_is_its_contents(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("one", "copy", "longer", "other")]
    head = _LARGE.data[: 64 * 1024]
    for path, data in zip(
        paths, (_BUILT.data, _BUILT.data, head + bytes(1), head + bytes(2)), strict=True
    ):
        path.write_bytes(data)
    sessions = [file_session(path) for path in paths]
    assert sessions[0] == sessions[1]
    assert len(set(sessions)) == 3
    assert {uuid.UUID(session).version for session in sessions} == {5}
    paths[0].write_bytes(Pcap().data)
    assert file_session(paths[0]) == "10f6327a-13ba-53be-9ce3-7d5d928c89f1", (
        "a file's session is for ever"
    )
    with CaptureFile(paths[0]) as capture:
        assert capture.session == file_session(paths[0])


def test_the_session_of_a_pipe_is_new(pipe: Path) -> None:
    sessions = []
    for _ in range(2):
        writer = threading.Thread(target=pipe.write_bytes, args=[_BUILT.data])
        writer.start()
        with CaptureFile(pipe) as capture:
            assert sum(len(batch) for batch in capture) == len(_BUILT.frames)
            sessions.append(uuid.UUID(capture.session))
        writer.join()
    assert sessions[0] != sessions[1]
    assert {session.version for session in sessions} == {4}
