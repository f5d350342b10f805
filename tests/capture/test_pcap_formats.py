"""What is in capture files of every form, whole and cut, compiled and interpreted."""

from __future__ import annotations

import itertools
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from network_pipeline.capture import records
from network_pipeline.capture.pcap import CaptureFile
from network_pipeline.frames import NO_TIME, LinkType
from tests.capture import capture_files
from tests.capture.capture_files import ETHERNET, FILES, Built, Pcap, Pcapng, read
from tests.decode import interpreted


@pytest.fixture(params=["as built", "interpreted"], autouse=True)
def _scans(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "interpreted":
        capture_files.use(interpreted.module(records), monkeypatch)


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("built", FILES.values(), ids=FILES)
def test_frames_are_read_in_batches_of_any_size(built: Built, tmp_path: Path) -> None:
    path = _written(tmp_path / "capture", built.data)
    for batch_frames in (1, 2, 3, 7, 65_536):
        frames, damage, capture = read(path, batch_frames)
        assert damage is None
        assert frames == built.frames
        assert capture.frames == built.number


@pytest.mark.parametrize("built", FILES.values(), ids=FILES)
def test_a_file_cut_anywhere_gives_its_whole_frames(built: Built, tmp_path: Path) -> None:
    path = tmp_path / "capture"
    for size in range(len(built.data)):
        path.write_bytes(built.data[:size])
        frames, damage, _ = read(path, 2)
        assert frames == built.whole(size)
        if size in built.starts[1:]:
            assert damage is None, "it ends where a record does"
            continue
        assert damage
        assert damage.offset == (built.damaged_at(size) if size else 0)
        assert str(damage).startswith(f"{path}: damaged at byte {damage.offset}: the file ")


def test_arrays_have_the_types_of_a_batch(tmp_path: Path) -> None:
    for name in ("pcap big-endian", "pcapng big-endian"):
        path = _written(tmp_path / "capture", FILES[name].data)
        with CaptureFile(path) as capture:
            batch = next(iter(capture))
        types = {
            "offsets": np.int64,
            "lengths": np.uint32,
            "wire_lens": np.uint32,
            "times_ns": np.int64,
            "numbers": np.uint64,
            "link_types": np.uint16,
            "interfaces": np.uint16,
        }
        for field, dtype in types.items():
            array = getattr(batch, field)
            assert array.dtype == dtype, field
            assert array.shape == (len(batch),), field
            assert array.flags.c_contiguous, field


def test_frames_of_refused_link_types_are_counted_and_numbered(tmp_path: Path) -> None:
    path = _written(tmp_path / "capture", FILES["pcapng refused links"].data)
    frames, _, capture = read(path)
    assert [frame.number for frame in frames] == [2, 5]
    assert capture.refused() == {"IEEE802_11_RADIOTAP (127)": 4}
    assert capture.frames == len(frames) + 4


def test_a_pcap_file_of_a_refused_link_type_gives_counts_only(tmp_path: Path) -> None:
    data = Pcap().data[:20] + struct.pack("<I", 60_000) + 3 * struct.pack("<4I", 1, 2, 0, 0)
    frames, damage, capture = read(_written(tmp_path / "capture", data))
    assert (frames, damage) == ([], None)
    assert capture.refused() == {"link type (60000)": 3}
    assert capture.frames == 3


def test_a_file_without_frames_gives_no_batch(tmp_path: Path) -> None:
    section = Pcapng()
    section.section()
    for data in (Pcap().data, section.data):
        assert read(_written(tmp_path / "capture", data))[:2] == ([], None)


def test_times_are_exact_in_every_unit(tmp_path: Path) -> None:
    built = Pcapng()
    built.section()
    expected = []
    for interface, (resolution, offset_s) in enumerate(
        itertools.product(range(256), (0, 5, -5, 2**62, -(2**62)))
    ):
        built.interface(resolution=resolution, offset_s=offset_s)
        unit = Fraction(1, (2 if resolution & 0x80 else 10) ** (resolution & 0x7F))
        for ticks in (0, 1, 12_345_678_901_234_567, 2**63 + 11, 2**64 - 1):
            built.enhanced(interface, 0, ticks)
            # A unit so small counts to one nanosecond at most.
            time_ns = 0 if resolution in range(28, 128) else int(ticks * unit * 10**9)
            fits = time_ns < 2**63 and abs(time_ns + offset_s * 10**9) < 2**63
            expected.append(time_ns + offset_s * 10**9 if fits else NO_TIME)
    frames, _, _ = read(_written(tmp_path / "capture", built.data))
    assert [frame.time_ns for frame in frames] == expected
    assert expected.count(NO_TIME) > 1_000


def test_largest_times_of_pcap_fit(tmp_path: Path) -> None:
    record = struct.pack("<4I", 2**32 - 1, 2**32 - 1, 0, 0)
    frames, _, _ = read(_written(tmp_path / "capture", Pcap().data + record))
    assert frames[0].time_ns == (2**32 - 1) * 10**9 + (2**32 - 1) * 1000


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (b"eth0", "eth0"),
        (b"eth0\0\0rest", "eth0"),
        (b"", None),
        ("füß".encode(), "füß"),
        (b"e\xff", "e\\xff"),
        (b"two\nlines", "two\nlines"),
    ],
)
def test_interface_names(written: bytes, name: str | None, tmp_path: Path) -> None:
    built = Pcapng()
    built.section()
    options = built.option(2, written) + built.option(2, b"second") + built.option(0, b"")
    built.interface(options=options)
    built.enhanced(0, 1)
    frames, _, _ = read(_written(tmp_path / "capture", built.data))
    assert [frame.interface for frame in frames] == [name]


def test_options_of_other_sizes_are_passed_over(tmp_path: Path) -> None:
    built = Pcapng()
    built.section()
    built.interface(options=built.option(9, b"\x09\x09") + built.option(14, b"\1\0\0\0"))
    built.enhanced(0, 1, ticks=5)
    frames, _, _ = read(_written(tmp_path / "capture", built.data))
    assert frames[0].time_ns == 5_000


def test_a_section_can_have_all_interface_ids_and_no_more(tmp_path: Path) -> None:
    built = Pcapng()
    built.section()
    interface = struct.pack("<IIHHII", 1, 20, ETHERNET, 0, 0, 20)
    data = built.data + 65_536 * interface
    last = struct.pack("<7I", 6, 32, 65_535, 0, 0, 0, 0) + struct.pack("<I", 32)
    frames, damage, _ = read(_written(tmp_path / "capture", data + last))
    assert damage is None
    assert [frame.link_type for frame in frames] == [LinkType(ETHERNET)]
    frames, damage, _ = read(_written(tmp_path / "capture", data + last + interface + last))
    assert len(frames) == 1
    assert damage
    assert damage.offset == len(data + last)
    assert damage.reason == "a section has more than 65536 interfaces"


def test_frames_may_be_longer_where_the_file_says_so(tmp_path: Path) -> None:
    for snap_len, fits in ((0, False), (262_144, False), (300_000, True), (2**31, False)):
        built = Pcap(snap_len=snap_len)
        built.frame(300_000)
        frames, damage, _ = read(_written(tmp_path / "capture", built.data))
        assert (damage is None) is fits
        assert frames == (built.frames if fits else [])
