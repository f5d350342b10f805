"""Rows as Parquet: a file for every snapshot, whole or not there."""

from __future__ import annotations

import fcntl
import logging
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from network_pipeline.audit import dataset_files, examine
from network_pipeline.dataset import exports, ledger_files, nested_batches, series
from network_pipeline.dataset.parquet_recorder import ParquetRecorder
from network_pipeline.decode.columnar import decode_batch
from network_pipeline.decode.nested import decode
from network_pipeline.errors import DatasetError, UsageError
from network_pipeline.ledger import AgentLedger
from network_pipeline.schema import SCHEMA_VERSION
from network_pipeline.settings import ProcessorSettings
from network_pipeline.verify import judge
from tests.dataset import tmpfs
from tests.dataset.sample import SESSION, frames
from tests.decode.batches import batch_of
from tests.test_processor_batches import FRAMES

STAMP = "2026-10-25-02-30-00"
FIRST = f"rows-{STAMP}.parquet"
WORD = AgentLedger("lb1", SESSION, sequence=1, captured=5, published=5, last=5, ended="stopped")


@pytest.fixture(autouse=True)
def stamp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "time", SimpleNamespace(strftime=lambda _form: STAMP))


def started(directory: Path, **options: Any) -> ParquetRecorder:
    recorder = ParquetRecorder(ProcessorSettings(output=directory / "rows.parquet", **options))
    recorder.start()
    return recorder


def append(recorder: ParquetRecorder, first: int, last: int) -> None:
    assert recorder.append(frames(range(first, last + 1))) == last + 1 - first
    recorder.keep_ledger(is_durable=False)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def numbers(path: Path) -> list[int]:
    found: list[int] = pq.read_table(path)["frame_number"].to_pylist()
    return found


def known(directory: Path) -> dict[str, list[tuple[int, int]]]:
    found: dict[str, list[tuple[int, int]]] = {}
    for session, ranges in started(directory).earlier_frames():
        found[session] = sorted(found.get(session, []) + ranges.pairs())
    return found


def test_a_snapshot_is_a_file_with_a_ledger(tmp_path: Path) -> None:
    recorder = started(tmp_path)
    assert recorder.check() == str(tmp_path / "rows-YYYY-mm-dd-HH-MM-SS.parquet")
    assert names(tmp_path) == []
    append(recorder, 1, 3)
    append(recorder, 4, 4)
    recorder.close()
    second = f"rows-{STAMP}-1.parquet"
    expected = [FIRST, second, f"{FIRST}.ledger.json", f"{second}.ledger.json"]
    assert names(tmp_path) == sorted(expected)
    assert [numbers(tmp_path / name) for name in (FIRST, second)] == [[1, 2, 3], [4]]
    assert recorder.rows == 4
    assert stat.S_IMODE((tmp_path / FIRST).stat().st_mode) == 0o600
    assert pq.read_metadata(tmp_path / FIRST).metadata[b"schema"].decode() == SCHEMA_VERSION
    verdict = judge([examine(path) for path in dataset_files([str(tmp_path)])], is_final=True)
    assert (verdict.complaints, verdict.text) == ([], "4 rows of 1 sessions add up")
    assert known(tmp_path) == {SESSION: [(1, 3), (4, 4)]}


def test_rows_of_both_kinds_of_messages_are_what_an_export_writes(tmp_path: Path) -> None:
    rows = decode_batch(batch_of(list(FRAMES.values())), source="lb1", session=SESSION)
    nested = [{"source": "lb1", "session": SESSION, **decode(each)} for each in FRAMES.values()]
    other = decode_batch(batch_of([FRAMES[1]]), source="lb2", session=SESSION[::-1])
    recorder = started(tmp_path)
    half = len(nested) // 2
    assert recorder.append([*nested[:half], rows.slice(half), other]) == len(nested) + 1
    with exports.export(tmp_path / "export.parquet") as export:
        export.append(rows)
        export.append(other)
    assert recorder.path is not None
    assert pq.read_table(recorder.path).equals(pq.read_table(export.path), check_metadata=True)
    assert nested_batches.batch(nested).cast(rows.schema).to_pylist() == rows.to_pylist()


def test_what_a_kill_left_is_removed_unless_it_is_being_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dead, living = (tmp_path / f"rows-{STAMP}-{n}.parquet.part" for n in (1, 2))
    dead.write_bytes(b"PAR1")
    others = tmp_path / f"other-{STAMP}.parquet.part"
    others.write_bytes(b"PAR1")
    with living.open("wb") as file, caplog.at_level(logging.WARNING):
        fcntl.flock(file, fcntl.LOCK_EX)
        recorder = started(tmp_path)
    assert names(tmp_path) == sorted([others.name, living.name])
    assert caplog.messages == [f"removed {dead}: its packets come again"]
    for _ in range(3):
        recorder.append(frames([1]))
    assert recorder.path == tmp_path / f"rows-{STAMP}-3.parquet"


def test_rows_without_a_ledger_are_known_at_the_next_start(tmp_path: Path) -> None:
    recorder = started(tmp_path)
    assert recorder.append(frames([3, 4, 7])) == 3
    assert names(tmp_path) == [FIRST]
    assert known(tmp_path) == {SESSION: [(3, 4), (7, 7)]}


def test_words_before_the_first_rows_and_between_files_are_kept(tmp_path: Path) -> None:
    recorder = started(tmp_path)
    recorder.book.heard(WORD)
    recorder.keep_ledger(is_durable=True)
    assert names(tmp_path) == [f"{FIRST}.ledger.json"]
    append(recorder, 1, 5)
    recorder.book.dropped(SESSION, 2)
    append(recorder, 6, 6)
    recorder.close()
    files = [f"rows-{STAMP}{n}.parquet" for n in ("", "-1", "-2")]
    ledgers = [ledger_files.read(ledger_files.path_of(tmp_path / name)) for name in files]
    entries = [each.sessions[SESSION] for each in ledgers if each]
    assert [each.agent for each in entries] == [WORD, None, None]
    assert [(each.written, each.duplicate) for each in entries] == [(0, 0), (5, 0), (1, 2)]
    assert [each.size for each in ledgers if each][1:] == [
        (tmp_path / name).stat().st_size for name in files[1:]
    ]


def test_a_full_disk_leaves_nothing_and_the_same_rows_can_be_written_later(tmp_path: Path) -> None:
    with tmpfs.mounted(tmp_path / "small", 256) as small:
        recorder = started(small)
        ballast = tmpfs.fill(small)
        for _ in range(2):
            with pytest.raises(DatasetError, match="No space left on device"):
                recorder.append(frames(range(1, 5000)))
            assert names(small) == ["ballast"]
            assert recorder.rows == 0
        ballast.unlink()
        append(recorder, 1, 4999)
        [path] = [path for path in small.iterdir() if path.suffix == ".parquet"]
        assert numbers(path) == list(range(1, 5000))


def test_a_directory_that_cannot_be_written_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"/none: no such directory$"):
        started(tmp_path / "none")


def test_absent_objects_are_absent_values() -> None:
    [row] = nested_batches.batch([{**frames([1])[0], "tcp": None}]).to_pylist()
    assert {name for name, value in row.items() if value is not None} == {
        "source", "session", "frame_number",
    }  # fmt: skip
    assert isinstance(nested_batches.batch([]), pa.RecordBatch)
