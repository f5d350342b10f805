"""Filters on capture files: the frames that tcpdump selects, for every link type."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scapy.libs

from network_pipeline.capture.file_filter import FileFilter
from network_pipeline.capture.libpcap import REJECT, compile_for_files
from network_pipeline.capture.pcap import CaptureFile
from network_pipeline.errors import UsageError
from network_pipeline.frames import Frame, LinkType
from tests.capture import filtering
from tests.capture.capture_files import SHARED, TIME_NS, frames_of
from tests.decode import batches


def selected(text: str, path: Path) -> list[int]:
    chosen = FileFilter(text)
    chosen.check()
    numbers: list[int] = []
    with CaptureFile(path, batch_frames=700) as capture:
        for batch in capture:
            selection = chosen.select(batch)
            assert len(selection.batch) + selection.filtered == len(batch)
            numbers += selection.batch.numbers.tolist()
    assert chosen.problems == []
    return numbers


def check(frames: list[Frame], path: Path, *, big_endian: bool = False) -> None:
    """Compare all filters of the frames' link type."""
    filtering.write(path, frames, big_endian=big_endian)
    link_type = frames[0].link_type
    counts = []
    for text in filtering.filters_of(link_type):
        expected = []
        # tcpdump does not run what no frame can match.
        if compile_for_files(text, link_type, big_endian=big_endian) != (REJECT,):
            expected = filtering.tcpdump_numbers(text, path)
        assert selected(text, path) == expected, text
        counts.append(len(expected))
    assert any(0 < count < len(frames) for count in counts)


def _is_little_endian(frame: Frame) -> bool:
    """Return whether the family of a frame of BSD loopback is, or there is none."""
    family = frame.data[:4]
    return len(family) < 4 or family[::-1] < family


@pytest.mark.parametrize("link_type", LinkType, ids=lambda each: each.name)
def test_samples(tmp_path: Path, link_type: LinkType) -> None:
    frames = filtering.frames_of(link_type)
    if link_type is LinkType.NULL:
        # tcpdump knows the order of a file, not that of a frame.
        frames = filtering.numbered([frame for frame in frames if _is_little_endian(frame)])
    check(frames, tmp_path / "samples.pcap")


def test_bsd_loopback_of_a_big_endian_host(tmp_path: Path) -> None:
    frames = filtering.frames_of(LinkType.NULL)
    big = [frame for frame in frames if not _is_little_endian(frame)]
    assert len(big) > 1
    check(filtering.numbered(big), tmp_path / "big.pcap", big_endian=True)


@pytest.mark.skipif(not SHARED.is_dir(), reason="there are no shared captures")
@pytest.mark.parametrize("link_type", LinkType, ids=lambda each: each.name)
def test_shared_captures(tmp_path: Path, link_type: LinkType) -> None:
    frames = filtering.frames_of(link_type, sorted(SHARED.glob("*.pcap*")))
    if link_type is LinkType.NULL:
        frames = filtering.numbered([frame for frame in frames if _is_little_endian(frame)])
    if frames:
        check(frames, tmp_path / "shared.pcap")


def test_every_array_of_a_batch_is_selected() -> None:
    frames = [
        Frame(number, TIME_NS + number, interface, 60, link_type, data)
        for number, interface, link_type, data in (
            (3, "eth0", LinkType.ETHERNET, bytes(12) + b"\x08\x00" + b"\x45" + bytes(19)),
            (5, "eth1", LinkType.ETHERNET, bytes(12) + b"\x08\x06" + bytes(28)),
            (6, "tun0", LinkType.RAW, b"\x45" + bytes(19)),
            (9, "eth1", LinkType.ETHERNET, bytes(12) + b"\x86\xdd" + b"\x60" + bytes(39)),
            (11, None, LinkType.IPV6, b"\x60" + bytes(39)),
        )
    ]
    batch = batches.batch_of(frames, around=b"\xff")
    assert frames_of(FileFilter("ip").select(batch).batch) == [frames[0], frames[2]]
    assert frames_of(FileFilter("arp").select(batch).batch) == [frames[1]]
    assert frames_of(FileFilter("ip6").select(batch).batch) == [frames[3], frames[4]]
    assert FileFilter("len = 60").select(batch).batch is batch
    nothing = replace(batch, offsets=batch.offsets[:0], link_types=np.empty(0, np.uint16),
                      lengths=batch.lengths[:0])  # fmt: skip
    assert len(FileFilter("ip").select(nothing).batch) == 0


def test_link_types_that_a_filter_is_none_for_are_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    frames = [
        Frame(number, TIME_NS, None, 34, link_type, bytes(34))
        for number, link_type in enumerate((LinkType.RAW, LinkType.ETHERNET, LinkType.RAW), 1)
    ]
    ether = FileFilter("ether host 00:00:00:00:00:00")
    ether.check()
    for _ in range(2):
        selection = ether.select(batches.batch_of(frames))
        assert selection.batch.numbers.tolist() == [2]
        assert (selection.filtered, selection.refused) == (0, {"RAW (101)": 2})
    [problem] = ether.problems
    assert problem.startswith(
        "frames of link type RAW (101) are refused: filter 'ether host 00:00:00:00:00:00': "
    )
    assert caplog.messages == [problem]


def test_that_nothing_of_a_link_type_matches_is_no_problem() -> None:
    frame = Frame(1, TIME_NS, None, 20, LinkType.RAW, b"\x45" + bytes(19))
    arp = FileFilter("arp")
    selection = arp.select(batches.batch_of([frame]))
    assert (len(selection.batch), selection.filtered, arp.problems) == (0, 1, [])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tcp prot 80", r"filter 'tcp prot 80': .*syntax error"),
        ("tcp and udp", r"filter 'tcp and udp': no frame can match it"),
        ("host", r"filter 'host': "),
        ("ip broadcast", r"filter 'ip broadcast': netmask not known"),
        ("wlan type mgt", r"filter 'wlan type mgt': 802.11 link-layer types supported only"),
    ],
)
def test_what_is_no_filter(text: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        FileFilter(text).check()


def test_a_filter_for_a_rare_link_type_is_one() -> None:
    FileFilter("inbound").check()  # Linux cooked alone


def test_missing_libpcap_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(scapy.libs, "winpcapy", raising=False)
    monkeypatch.delitem(sys.modules, "scapy.libs.winpcapy", raising=False)
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    with pytest.raises(UsageError, match=r"libpcap is missing: apt-get install"):
        FileFilter("tcp").check()
