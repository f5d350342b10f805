"""Every column against tshark: on frames of every kind, whole and cut, and on real captures."""

from __future__ import annotations

from pathlib import Path

import pytest

from network_pipeline.decode.nested import decode
from network_pipeline.frames import Frame, LinkType
from network_pipeline.schema import COLUMNS
from tests import needs
from tests.decode import batches, captures, tshark
from tests.decode.expected import Fields
from tests.decode.rules import RULES
from tests.decode.samples import Sample, all_samples

#: Columns that tshark has a field for.
_COMPARED = {column.name for column in COLUMNS if column.tshark}

#: Captures whose damaged end scapy and tshark see in different places.
_DAMAGED = ("fmt-cut-bad-caplen.pcap", "fmt-pcapng-epb-unbounded.pcapng")

_MOST_CUTS = 400


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs.program("tshark")
    path = tmp_path_factory.mktemp("tshark")
    tshark.write_profile(path)
    return path


def _compare(frames: list[Frame], fields: list[Fields]) -> tshark.Report:
    """Compare the rows of both decoders."""
    report = tshark.compare([tshark.row_of(decode(frame)) for frame in frames], fields, RULES)
    columnar = tshark.compare(batches.rows_of(batches.decoded(frames)), fields, RULES)
    columnar.differences = [f"columnar, {text}" for text in columnar.differences]
    report.add(columnar)
    return report


def _compare_built(frames: list[Frame], directory: Path, profile: Path) -> tshark.Report:
    capture = directory / f"{frames[0].link_type.name}.pcap"
    captures.write_frames(capture, frames)
    fields = tshark.read_fields(capture, profile)
    assert len(fields) == len(frames)
    return _compare(frames, fields)


def _by_link_type() -> dict[LinkType, list[Sample]]:
    found: dict[LinkType, list[Sample]] = {link_type: [] for link_type in LinkType}
    for sample in all_samples():
        found[sample.link_type].append(sample)
    return found


def _sizes(sample: Sample) -> range:
    """Return the sizes to cut a frame to, its own among them unless that is large."""
    return range(min(len(sample.data), _MOST_CUTS) + 1)


def test_frames_of_every_kind_agree(tmp_path: Path, profile: Path) -> None:
    report = tshark.Report()
    for samples in _by_link_type().values():
        frames = [sample.frame(number) for number, sample in enumerate(samples, start=1)]
        report.add(_compare_built(frames, tmp_path, profile))
    assert report.differences == []
    not_compared = {name for name in _COMPARED if not report.equal[name]}
    assert not_compared == {"frame_interface"}, "a pcap file names none"


def test_frames_cut_at_every_length_agree(tmp_path: Path, profile: Path) -> None:
    report = tshark.Report()
    for samples in _by_link_type().values():
        cuts = [(sample, size) for sample in samples for size in _sizes(sample)]
        frames = [sample.frame(number, size) for number, (sample, size) in enumerate(cuts, start=1)]
        report.add(_compare_built(frames, tmp_path, profile))
    assert report.differences == []
    unused = {rule.reason for rule in RULES if not report.excused[rule.reason]}
    assert unused == {"a simple packet block has no time"}, "a rule that nothing needs goes"


def test_a_wrong_value_is_a_difference(tmp_path: Path, profile: Path) -> None:
    frames = [sample.frame(n) for n, sample in enumerate(_by_link_type()[LinkType.ETHERNET], 1)]
    captures.write_frames(tmp_path / "frames.pcap", frames)
    fields = tshark.read_fields(tmp_path / "frames.pcap", profile)
    rows = [tshark.row_of(decode(frame)) for frame in frames]
    rows = [row for row in rows if "frame_error" not in row]
    equal = [cell for cell in tshark.cells(rows, fields) if cell.ours == cell.theirs]
    assert len(equal) > 3_000
    for cell in equal:
        for wrong in _wrong_values(cell.ours):
            changed = cell._replace(ours=wrong)
            assert not any(rule.applies(changed) for rule in RULES), changed


def _wrong_values(value: int | str) -> list[int | str]:
    return [value + 1] if isinstance(value, int) else [value + "00", "00" + value]


@pytest.mark.skipif(not captures.SHARED.is_dir(), reason="there are no shared captures")
def test_shared_captures_agree(profile: Path) -> None:
    report = tshark.Report()
    for capture in sorted(captures.SHARED.glob("*.pcap*")):
        frames = captures.read_frames(capture)
        fields = tshark.read_fields(capture, profile)
        if capture.name in _DAMAGED:
            frames = frames[: len(fields)]
        found = _compare(frames, fields)
        found.differences = [f"{capture.name}: {text}" for text in found.differences]
        report.add(found)
    assert report.differences == []
    assert {name for name in _COMPARED if not report.equal[name]} == set()
    assert report.equal["frame_number"] > 10_000
