from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from network_pipeline import ledger
from network_pipeline.dataset import book as book_module
from network_pipeline.dataset import ledger_files
from network_pipeline.dataset.book import Book, read_frames
from network_pipeline.dataset.writers import HEADER
from network_pipeline.errors import DatasetError
from network_pipeline.ledger import AgentLedger, DatasetLedger, SessionLedger
from tests.dataset.files import csv_file, csv_lines


def numbers(*values: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.array(values, dtype=np.uint64)


def saved(path: Path) -> DatasetLedger:
    found = ledger_files.read(ledger_files.path_of(path))
    assert found is not None
    return found


def opened(path: Path) -> Book:
    made = Book()
    made.open(path)
    return made


def frames(book: Book) -> dict[str, list[tuple[int, int]]]:
    return {session: found.pairs() for session, found in book.frames()}


WORD = AgentLedger("lb1", "a", sequence=2, captured=9, published=9, last=9)


def test_what_a_processor_did_is_in_the_ledger(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "x.csv", [])
    book = opened(path)
    book.wrote("lb1", "a", numbers(1, 2))
    book.wrote("lb1", "a", numbers(5))
    book.wrote("lb2", "b", numbers(7))
    book.dropped("a", 3)
    book.rejected({"source": "lb1", "session": "a", "first": 3, "count": 2})
    book.rejected({})
    book.heard(WORD)
    book.heard(AgentLedger("lb1", "a", sequence=1))
    book.save(1234)
    found = saved(path)
    assert (found.dataset, found.size, found.unnamed_rejected) == ("x.csv", 1234, 1)
    assert found.sessions == {
        "a": SessionLedger("lb1", 8, 3, 3, 2, ((1, 2), (5, 5)), ((3, 4),), False, WORD),
        "b": SessionLedger("lb2", 1, 1, 0, 0, ((7, 7),)),
    }
    assert ledger_files.path_of(path).stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in tmp_path.iterdir()) == ["x.csv", "x.csv.ledger.json"]


def test_a_file_in_writing_has_the_ledger_of_the_finished_one(tmp_path: Path) -> None:
    book = opened(csv_file(tmp_path / "x.csv.part", []))
    book.save(0)
    assert saved(tmp_path / "x.csv").dataset == "x.csv"


def restarted(path: Path) -> Book:
    """Return the book of a file with the rows a1, a2 known to its ledger and a3, b1 behind."""
    csv_file(path, [("a", 1), ("a", 2)])
    book = opened(path)
    book.heard(WORD)
    book.dropped("a", 1)
    book.save(path.stat().st_size)
    with path.open("ab") as file:
        file.write(csv_lines([("a", 3), ("b", 1)]))
    return opened(path)


def test_rows_behind_the_ledger_are_found_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    book = restarted(path)
    assert frames(book) == {"a": [(1, 3)], "b": [(1, 1)]}
    book.save(path.stat().st_size)
    assert saved(path).sessions == {
        "a": SessionLedger("lb1", 4, 3, 1, 0, ((1, 3),), agent=WORD),
        "b": SessionLedger("lb1", 1, 1, 0, 0, ((1, 1),)),
    }


@pytest.mark.parametrize("damage", ["gone", "torn", "other schema"])
def test_without_a_ledger_the_whole_file_is_read(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x.csv"
    restarted(path)
    beside = ledger_files.path_of(path)
    text = beside.read_bytes()
    if damage == "gone":
        beside.unlink()
    elif damage == "torn":
        beside.write_bytes(text[:-3])
    else:
        beside.write_bytes(text.replace(b'"schema":"', b'"schema":"x'))
    assert frames(opened(path)) == {"a": [(1, 3)], "b": [(1, 1)]}
    assert [r.levelno for r in caplog.records] == [logging.WARNING] * (damage == "torn")


def test_a_file_that_was_cut_off_is_read_again_and_keeps_what_agents_said(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    restarted(path)
    path.write_bytes(HEADER + csv_lines([("a", 1)]))
    book = opened(path)
    assert frames(book) == {"a": [(1, 1)]}
    book.save(path.stat().st_size)
    assert saved(path).sessions["a"] == SessionLedger("lb1", 2, 1, 1, 0, ((1, 1),), agent=WORD)


def test_the_next_file_begins_empty(tmp_path: Path) -> None:
    book = opened(csv_file(tmp_path / "x.csv", [("a", 1)]))
    book.open(csv_file(tmp_path / "y.csv", []))
    assert frames(book) == {}


def test_ranges_are_bounded_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "MAX_RANGES", 4)
    monkeypatch.setattr(book_module, "MAX_REJECTED_RANGES", 4)
    path = csv_file(tmp_path / "x.csv", [])
    book = opened(path)
    book.wrote("lb1", "a", numbers(1, 3, 5, 7, 9))
    for first in (1, 3, 5, 7, 9):
        book.rejected({"source": "lb1", "session": "b", "first": first, "count": 1})
    book.save(1)
    sessions = saved(path).sessions
    assert (sessions["a"].frames, sessions["a"].written) == (((5, 5), (7, 7), (9, 9)), 5)
    assert (sessions["b"].rejected_frames, sessions["b"].rejected) == (((5, 5), (7, 7), (9, 9)), 5)
    assert sessions["a"].is_incomplete
    assert sessions["b"].is_incomplete


def test_sessions_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "MAX_SESSIONS", 2)
    book = opened(csv_file(tmp_path / "x.csv", []))
    for session in ("a", "b", "c"):
        book.wrote("lb1", session, numbers(1))
    assert list(frames(book)) == ["b", "c"]


@pytest.mark.parametrize(
    "headers",
    [
        {"source": "lb1", "session": "a", "first": 1},
        {"source": "lb1", "session": "a", "first": 0, "count": 1},
        {"source": "lb1", "session": "a", "first": 1, "count": 0},
        {"source": "lb1", "session": "a", "first": 1, "count": 10**9},
        {"source": "lb1", "session": "a", "first": 2**64 - 1, "count": 5},
        {"source": "lb1", "session": "a\n", "first": 1, "count": 1},
        {"source": "lb1", "session": 7, "first": 1, "count": 1},
        {"source": "lb1", "session": "a", "first": True, "count": True},
    ],
)
def test_headers_that_are_not_credible_name_no_frames(tmp_path: Path, headers: object) -> None:
    book = opened(csv_file(tmp_path / "x.csv", []))
    assert isinstance(headers, dict)
    book.rejected(headers)
    book.save(1)
    found = saved(tmp_path / "x.csv")
    assert (found.unnamed_rejected, found.sessions) == (1, {})


def test_replacing_the_ledger_takes_a_tenth_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("network_pipeline.dataset.book.time.monotonic", lambda: now[0])
    write = ledger_files.write

    def slow(path: Path, text: bytes, *, is_durable: bool) -> None:
        write(path, text, is_durable=is_durable)
        now[0] += 1

    monkeypatch.setattr(ledger_files, "write", slow)
    book = Book()
    assert not book.is_due()
    book.open(csv_file(tmp_path / "x.csv", []))
    assert book.is_due()
    book.save(1)
    assert not book.is_due()
    now[0] += 8.9
    assert not book.is_due()
    now[0] += 0.1
    assert book.is_due()


def test_a_ledger_that_cannot_be_written_is_an_error_and_the_old_one_stays(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "x.csv", [])
    book = opened(path)
    book.save(1, is_durable=True)
    hidden = tmp_path / ".x.csv.ledger.json.new"
    hidden.mkdir()
    with pytest.raises(DatasetError, match="directory"):
        book.save(2)
    assert saved(path).size == 1
    with pytest.raises(DatasetError, match="no dataset yet"):
        Book().save(1)


def test_a_large_ledger_is_within_its_limit(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "x.csv", [])
    book = opened(path)
    top = 2**64 - 2 * book_module.MAX_RANGES - 1
    book.wrote("lb1", "a", np.arange(top, 2**64 - 1, 2, dtype=np.uint64))
    book.save(1)
    text = ledger_files.path_of(path).read_bytes()
    assert 10_000_000 < len(text) < ledger.MAX_FILE_BYTES
    assert len(saved(path).sessions["a"].frames) == book_module.MAX_RANGES


def test_what_is_known_before_the_first_file_is_in_its_ledger(tmp_path: Path) -> None:
    book = Book()
    book.heard(WORD)
    book.rejected({"source": "lb1", "session": "a", "first": 3, "count": 1})
    book.rejected({})
    path = csv_file(tmp_path / "x.csv", [("a", 1)])
    book.open(path)
    book.save(path.stat().st_size)
    assert saved(path).unnamed_rejected == 1
    assert saved(path).sessions["a"] == SessionLedger(
        "lb1", 2, 1, 0, 1, ((1, 1),), ((3, 3),), agent=WORD
    )


def test_only_what_is_new_is_a_change(tmp_path: Path) -> None:
    def has_changed(path: Path, headers: dict[str, object] | None) -> bool:
        book = opened(path)
        if headers is not None:
            book.rejected(headers)
        changed = book.has_changed
        book.save(path.stat().st_size)
        return changed

    path = csv_file(tmp_path / "x.csv", [("a", 1)])
    assert [has_changed(path, None), has_changed(path, None), has_changed(path, {})] == [
        True,
        False,
        True,
    ]


def test_a_ledger_may_be_without_a_dataset(tmp_path: Path) -> None:
    book = opened(tmp_path / "x.csv")
    book.heard(WORD)
    book.save(0)
    assert [each.name for each in tmp_path.iterdir()] == ["x.csv.ledger.json"]
    assert saved(tmp_path / "x.csv").sessions["a"].agent == WORD


def test_what_older_ledgers_know_is_read_without_their_rows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x.csv"
    restarted(path)
    path.unlink()
    found = {session: numbers.pairs() for session, numbers in read_frames(path)}
    assert found == {"a": [(1, 2)]}
    assert list(read_frames(tmp_path / "none.csv")) == []
    ledger_files.path_of(path).write_text("{")
    assert list(read_frames(path)) == []
    assert "a ledger that is not JSON" in caplog.text
