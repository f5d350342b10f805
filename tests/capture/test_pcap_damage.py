"""Damaged files: what is whole comes first, then an error that says where and what; never more."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network_pipeline.capture import records
from network_pipeline.capture.pcap import CaptureFile
from network_pipeline.errors import CaptureError, UsageError
from tests.capture import capture_files
from tests.capture.capture_files import FILES, Pcap, Pcapng, read
from tests.decode import interpreted

_GOOD = Pcapng()
_GOOD.section()
_GOOD.interface("eth0")
_GOOD.enhanced(0, 4)


def _block(
    kind: int, body: bytes, *, total: int | None = None, trailer: int | None = None
) -> bytes:
    size = 12 + len(body) if total is None else total
    return struct.pack("<2I", kind, size) + body + struct.pack("<I", trailer or size)


def _packet(interface: int, length: int, size: int, kind: int = 6) -> bytes:
    return _block(kind, struct.pack("<5I", interface, 0, 0, length, length) + bytes(size))


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (_packet(1, 4, 4), "a block of 36 bytes has a frame of an interface that is not there"),
        (_packet(2**32 - 1, 4, 4), "has a frame of an interface that is not there"),
        (_packet(1, 4, 4, kind=2), "has a frame of an interface that is not there"),
        (_packet(0, 5, 4), "a block of 36 bytes says its frame is longer than itself"),
        (_packet(0, 2**32 - 1, 4), "says its frame is longer than itself"),
        (_packet(0, 262_145, 262_148), "has a frame longer than frames are"),
        (_block(6, bytes(16)), "a block says it has 28 bytes, which no block of its type has"),
        (_block(3, b""), "a block says it has 12 bytes, which no block of its type has"),
        (_block(3, struct.pack("<I", 5) + bytes(4)), "says its frame is longer than itself"),
        (_block(1, bytes(4)), "a block says it has 16 bytes, which no block of its type has"),
        (_block(7, b"", total=8), "a block says it has 8 bytes, which"),
        (_block(7, b"abc"), "a block says it has 15 bytes, which"),
        (_block(7, b"", total=2**28 + 4), "a block says it has 268435460 bytes, which"),
        (_block(7, b"abcd", trailer=12), "a block of 16 bytes does not end with its length"),
        (_block(1, bytes(8), trailer=24), "a block of 20 bytes does not end with its length"),
        (
            _block(1, bytes(8) + struct.pack("<2H", 2, 9) + bytes(4)),
            "an option of 9 bytes stands in a block with 4",
        ),
        (
            _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 2, 0, -1)),
            "pcapng version 2.0 cannot be read",
        ),
        (_block(0x0A0D0D0A, bytes(16)), "a section begins that has neither byte order"),
        (
            _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1), trailer=24),
            "a block of 28 bytes does not end with its length",
        ),
        (
            _block(0x0A0D0D0A, struct.pack("<IHH", 0x1A2B3C4D, 1, 0)),
            "a block says it has 20 bytes, which",
        ),
    ],
)
def test_damaged_blocks(block: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(_GOOD.data + block + _packet(0, 4, 4))
    frames, damage, _ = read(path)
    assert frames == _GOOD.frames
    assert damage
    assert damage.offset == len(_GOOD.data)
    assert reason in damage.reason
    assert str(damage) == f"{path}: damaged at byte {damage.offset}: {damage.reason}"


def test_a_simple_packet_needs_an_interface(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    section = Pcapng()
    section.section()
    path.write_bytes(section.data + _block(3, bytes(4)))
    _, damage, _ = read(path)
    assert damage
    assert damage.offset == len(section.data)
    assert "an interface that is not there" in damage.reason


@pytest.mark.parametrize("length", [262_145, 2**31, 2**32 - 1])
def test_a_record_with_an_absurd_length(length: int, tmp_path: Path) -> None:
    built = FILES["pcap big-endian"]
    path = tmp_path / "capture"
    path.write_bytes(built.data + struct.pack(">4I", 1, 2, length, length) + bytes(100))
    frames, damage, _ = read(path)
    assert frames == built.frames
    assert damage
    assert damage.offset == len(built.data)
    assert damage.reason == f"a record says it has {length} bytes, a frame has at most 262144"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is neither pcap nor pcapng: it is empty"),
        (b"GIF89a", "the file is neither pcap nor pcapng: it begins with 47494638"),
        (Pcap().data[:3], "the file is neither pcap nor pcapng: it begins with d4c3b2"),
        (Pcap().data[:9], "the file ends within its header, after 9 bytes"),
        (Pcap(version=(3, 1)).data, "pcap version 3.1 cannot be read"),
    ],
)
def test_files_that_are_no_captures(data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(data)
    frames, damage, _ = read(path)
    assert frames == []
    assert damage
    assert damage.reason == reason
    assert isinstance(damage, CaptureError)
    assert damage.exit_code == 1


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"cannot read {tmp_path}: it is a directory"):
        CaptureFile(tmp_path).open()
    missing = tmp_path / "missing"
    with pytest.raises(UsageError, match=f"cannot read {missing}: No such file or directory"):
        CaptureFile(missing).open()


def test_a_batch_has_at_least_one_frame() -> None:
    with pytest.raises(ValueError, match="batch_frames=0: must be at least 1"):
        CaptureFile("capture", batch_frames=0)


_SCANS = interpreted.module(records)


@st.composite
def _mutated(draw: st.DrawFn) -> bytes:
    """Take a good file and overwrite, cut out or repeat some of its bytes."""
    data = bytearray(FILES[draw(st.sampled_from(sorted(FILES)))].data)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data) - 1)) // draw(st.sampled_from([1, 4])) * 1
        size = draw(st.integers(0, 40))
        piece = draw(
            st.one_of(
                st.binary(max_size=8),
                st.just(bytes(data[at : at + size])),
                st.integers(0, 2**32 - 1).map(lambda number: struct.pack("<I", number)),
            )
        )
        data[at : at + draw(st.sampled_from([0, len(piece), size]))] = piece
        data = data or bytearray(b"\0")
    return bytes(data)


@settings(max_examples=400)
@given(data=_mutated(), packed=st.booleans(), batch_frames=st.sampled_from([1, 3, 100]))
def test_mutated_files_give_batches_then_at_most_one_error(
    data: bytes, packed: bool, batch_frames: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated"
    path.write_bytes(zlib.compress(data, wbits=31) if packed else data)
    frames, damage, capture = read(path, batch_frames)
    assert [frame.number for frame in frames] == sorted({frame.number for frame in frames})
    assert capture.frames == len(frames) + capture.refused().total()
    assert damage is None or 0 <= damage.offset <= len(data)
    with pytest.MonkeyPatch.context() as patch:
        capture_files.use(_SCANS, patch)
        again, damage_again, _ = read(path, 65_536)
    assert again == frames
    assert str(damage_again) == str(damage)


@settings(max_examples=200)
@given(
    name=st.sampled_from(["gzip", "zstd", "xz"]),
    places=st.lists(st.tuples(st.integers(0, 2**16), st.integers(1, 255)), min_size=1, max_size=3),
)
def test_mutated_compressed_files_too(
    name: str, places: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data = bytearray(capture_files.COMPRESS[name](FILES["pcapng little-endian"].data))
    for place, change in places:
        data[place % len(data)] ^= change
    path = tmp_path_factory.getbasetemp() / "mutated-compressed"
    path.write_bytes(data)
    frames, _, capture = read(path)
    assert capture.frames == len(frames) + capture.refused().total()
