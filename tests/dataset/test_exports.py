"""Dataset files from record batches: the text of the processors, whatever the batches are."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from network_pipeline.capture.pcap import CaptureFile, DamagedCapture
from network_pipeline.dataset import exports, flatten, writers
from network_pipeline.decode.columnar import decode_batch
from network_pipeline.decode.nested import decode
from network_pipeline.errors import DatasetError, UsageError
from network_pipeline.frames import Frame, FrameBatch, LinkType
from network_pipeline.schema import COLUMN_NAMES, SCHEMA_VERSION, arrow_schema
from tests.decode import captures, samples
from tests.decode.batches import batch_of

SESSION = "5b1a2b1e-8d0e-4b53-9a55-7b1f2c3d4e5f"


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    """Return the built samples of Ethernet, as the frames of one file."""
    ethernet = [each for each in samples.all_samples() if each.link_type == LinkType.ETHERNET]
    return [each.frame(number) for number, each in enumerate(ethernet, 1)]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory, frames: list[Frame]) -> Path:
    path = tmp_path_factory.mktemp("capture") / "samples.pcap"
    captures.write_frames(path, frames)
    return path


def batches(path: Path, batch_frames: int = 65_536) -> list[pa.RecordBatch]:
    with CaptureFile(path, batch_frames=batch_frames) as file:
        return [decode_batch(batch, source="edge", session=SESSION) for batch in file]


def written(path: Path, rows: list[pa.RecordBatch]) -> bytes:
    with exports.export(path) as export:
        for batch in rows:
            export.append(batch)
    return path.read_bytes()


def text_of_processor(path: Path, frames: list[Frame]) -> bytes:
    nested = [{"source": "edge", "session": SESSION, **decode(frame)} for frame in frames]
    writer = writers.CsvWriter(path, new=True)
    writer.open()
    writer.append(flatten.lines(nested))
    writer.close()
    return path.read_bytes()


def test_csv_is_the_text_that_processors_write(
    tmp_path: Path, capture: Path, frames: list[Frame]
) -> None:
    assert len(frames) > 100
    expected = text_of_processor(tmp_path / "processor.csv", frames)
    assert written(tmp_path / "export.csv", batches(capture)) == expected


def test_csv_equals_that_of_processors_on_every_shared_capture(tmp_path: Path) -> None:
    if not captures.SHARED.exists():
        pytest.skip("there are no shared captures")
    rows = 0
    for path in sorted(captures.SHARED.glob("*.pcap*")):
        with exports.export(tmp_path / "export.csv") as export, CaptureFile(path) as file:
            frames: list[Frame] = []
            with suppress(DamagedCapture):
                for batch in file:
                    export.append(decode_batch(batch, source="edge", session=SESSION))
                    frames += _frames(batch)
        expected = text_of_processor(tmp_path / f"{path.name}.csv", frames)
        assert (tmp_path / "export.csv").read_bytes() == expected, path.name
        rows += len(frames)
    assert rows > 19_000


def _frames(batch: FrameBatch) -> Iterator[Frame]:
    for row in range(len(batch.offsets)):
        begin = int(batch.offsets[row])
        yield Frame(
            int(batch.numbers[row]),
            int(batch.times_ns[row]),
            batch.interface_names[batch.interfaces[row]],
            int(batch.wire_lens[row]),
            LinkType(int(batch.link_types[row])),
            bytes(batch.buffer[begin : begin + int(batch.lengths[row])]),
        )


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.parquet"])
def test_bytes_do_not_depend_on_how_rows_are_batched(
    tmp_path: Path, capture: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "GROUP_ROWS", 50)
    whole = written(tmp_path / name, batches(capture))
    assert written(tmp_path / name, batches(capture, 1)) == whole
    assert written(tmp_path / name, batches(capture, 7)) == whole


def _of_sessions(frames: list[Frame], size: int) -> list[pa.RecordBatch]:
    """Return batches of so many frames at most, of two sessions and of devices that differ."""
    named = [
        frame._replace(interface=("eth1", None, "eth0", "wlan0")[frame.number // 3 % 4])
        for frame in frames
    ]
    return [
        decode_batch(batch_of(part[first : first + size]), source="edge", session=session)
        for session, part in ((SESSION, named[:70]), (SESSION[::-1], named[70:]))
        for first in range(0, len(part), size)
    ]


def test_parquet_of_many_sessions_and_devices_does_not_depend_on_batches(
    tmp_path: Path, frames: list[Frame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exports, "GROUP_ROWS", 50)
    path = tmp_path / "x.parquet"
    whole = written(path, _of_sessions(frames, 1000))
    table = pq.read_table(path)
    assert table["session"].to_pylist() == [SESSION] * 70 + [SESSION[::-1]] * (len(frames) - 70)
    assert table["frame_interface"][2:5].to_pylist() == [None, None, None]
    assert table["frame_interface"][:2].to_pylist() == ["eth1", "eth1"]
    for size in (1, 7, 40):
        assert written(path, _of_sessions(frames, size)) == whole


def test_parquet_keeps_types_bytes_and_facts(tmp_path: Path, capture: Path) -> None:
    path = tmp_path / "x.parquet"
    with exports.export(path) as export:
        for batch in batches(capture):
            export.append(batch)
        export.facts["source"] = "edge"
    table = pq.read_table(path)
    assert table.column_names == list(COLUMN_NAMES)
    dictionary = pa.dictionary(pa.int32(), pa.string())
    assert table.schema.types == [
        pa.string() if kind == dictionary else kind for kind in arrow_schema().types
    ]
    assert table.num_rows == sum(batch.num_rows for batch in batches(capture))
    metadata = pq.read_metadata(path).metadata
    assert (metadata[b"schema"], metadata[b"source"]) == (SCHEMA_VERSION.encode(), b"edge")


def test_json_lines_hold_the_values_of_the_csv(tmp_path: Path, capture: Path) -> None:
    lines = written(tmp_path / "x.jsonl", batches(capture)).decode().splitlines()
    text = written(tmp_path / "x.csv", batches(capture)).decode()
    csv.field_size_limit(1 << 20)
    rows = list(csv.DictReader(text.splitlines()))
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        values = json.loads(line)
        assert {name: "" if value is None else str(value) for name, value in values.items()} == row


def test_a_file_appears_when_it_is_complete_and_only_then(tmp_path: Path, capture: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("what was there before")
    with suppress(RuntimeError), exports.export(path) as export:
        export.append(batches(capture)[0])
        raise RuntimeError
    assert path.read_text() == "what was there before"
    assert [each.name for each in tmp_path.iterdir()] == ["x.csv"]
    assert written(path, batches(capture)).startswith(writers.HEADER)
    assert path.stat().st_mode & 0o777 == 0o600


def test_no_rows_make_a_file_too(tmp_path: Path) -> None:
    assert written(tmp_path / "x.csv", []) == writers.HEADER
    written(tmp_path / "x.parquet", [])
    assert pq.read_table(tmp_path / "x.parquet").num_rows == 0


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must end in \.csv, \.jsonl, \.parquet"):
        exports.export(tmp_path / "x.xlsx")
    with pytest.raises(DatasetError, match="No such file or directory"):
        written(tmp_path / "missing" / "x.csv", [])
