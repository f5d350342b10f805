"""network-pipeline verify and dedupe, from files to text and exit code."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from network_pipeline.dataset import ledger_files
from network_pipeline.dataset.book import Book
from network_pipeline.dataset.dedupe import dedupe
from network_pipeline.ledger import AgentLedger, SessionLedger
from network_pipeline.scripts.main import main
from tests.dataset.files import Row, csv_file, parquet_file

WORD = AgentLedger(
    "lb1", "a", captured=1007, kernel_dropped=2, shed=2, lost=((4, 5),), published=1003, last=1005,
    ended="stopped",
)  # fmt: skip
ROWS: list[Row] = [("a", n) for n in range(1, 1006) if n not in (4, 5)]


def written(path: Path, rows: list[Row], word: AgentLedger | None = WORD) -> Path:
    """Return a file as a processor leaves it."""
    csv_file(path, rows)
    book = Book()
    book.open(path)
    if word:
        book.heard(word)
    book.save(path.stat().st_size, is_durable=True)
    return path


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


def test_a_dataset_that_adds_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(written(tmp_path / "x.csv", ROWS))]) == 0
    shown = capsys.readouterr()
    assert lines(shown.out) == [
        "session  source  agent    frames   rows  shed  kernel dropped  unexplained",
        "a        lb1     stopped   1,005  1,003     2               2            0",
        "1,003 rows of 1 sessions add up: 2 shed, 2 kernel dropped",
    ]
    assert shown.err == ""


def test_what_does_not_add_up_is_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "x.csv", [row for row in [*ROWS, ("a", 3)] if row != ("a", 9)])
    with path.open("ab") as file:
        file.write(b"lb1,a,")
    assert main(["verify", str(path)]) == 1
    shown = capsys.readouterr()
    assert lines(shown.out) == [
        "session  source  agent    frames   rows  duplicate  shed  kernel dropped  unexplained",
        "a        lb1     stopped   1,005  1,003          1     2               2            1",
        "x.csv: a torn last line, 6 bytes",
        "session a: 1 duplicate rows: 3",
        "session a: 1 frames missing, unexplained: 9",
    ]
    assert shown.err == (
        "network-pipeline: 1,003 rows of 1 sessions do NOT add up: 1 duplicate, 2 shed, "
        "2 kernel dropped, 1 unexplained\n"
    )


def test_a_directory_of_rotated_files_and_its_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "x-1.csv", ROWS[:500], None)
    written(tmp_path / "x-2.csv.part", ROWS[500:])
    (tmp_path / "notes.txt").write_text("no dataset")
    assert main(["verify", "--json", "--final", str(tmp_path), str(tmp_path / "x-1.csv")]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "adds_up": True,
        "verdict": "1,003 rows of 1 sessions add up: 2 shed, 2 kernel dropped",
        "complaints": [],
        "rejected_without_frame_numbers": 0,
        "sessions": [
            {
                "session": "a", "source": "lb1", "agent": "stopped", "frames": 1005, "rows": 1003,
                "duplicate": 0, "rejected": 0, "shed": 2, "under_way": 0, "spooled": 0, "died": 0,
                "kernel_dropped": 2, "not_sampled": 0, "unexplained": 0,
                "unexplained_frames": [],
            }
        ],
    }  # fmt: skip


def test_a_dataset_that_was_taken_away_is_missed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "x-1.csv", ROWS[:500], None).unlink()
    written(tmp_path / "x-2.csv", ROWS[500:])
    assert main(["verify", str(tmp_path)]) == 1
    shown = lines(capsys.readouterr().out)
    assert "x-1.csv: is not here, its ledger says that it has 500 rows" in shown
    assert "session a: 500 frames missing, unexplained: 1-3, 6-502" in shown


def test_a_session_that_runs_may_have_frames_under_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running = AgentLedger("lb1", "a", captured=1009, published=1003, last=1007)
    path = str(written(tmp_path / "x.csv", ROWS, running))
    assert main(["verify", path]) == 0
    assert lines(capsys.readouterr().out)[-1] == "1,003 rows of 1 sessions add up: 4 under way"
    assert main(["verify", "--final", path]) == 1


def test_a_ledger_that_is_none_is_a_complaint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path / "x.csv", ROWS[:3])
    (tmp_path / "x.csv.ledger.json").write_text("{")
    assert main(["verify", str(path)]) == 1
    shown = capsys.readouterr().out
    assert f"x.csv: {path}.ledger.json: a ledger that is not JSON" in lines(shown)


def test_files_of_both_formats_are_judged_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = (
        csv_file(tmp_path / "x.csv", ROWS[:3]),
        parquet_file(tmp_path / "y.parquet", ROWS[2:3]),
    )
    assert main(["verify", str(one), str(other)]) == 1
    assert "session a: 1 duplicate rows: 3" in lines(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("gone.csv", "no such file"),
        ("notes.txt", "the name must end in"),
        ("empty", "no dataset"),
        ("parts", "they have no ledgers"),
    ],
)
def test_what_cannot_be_verified_is_wrong_usage(
    tmp_path: Path, name: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "parts" / "source=edge").mkdir(parents=True)
    assert main(["verify", str(tmp_path / name)]) == 2
    assert reason in capsys.readouterr().err


def test_dedupe_says_how_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = csv_file(tmp_path / "1.csv", ROWS)
    two = csv_file(tmp_path / "2.csv", ROWS[1:], torn=b"lb1")
    out = tmp_path / "out.csv"
    assert main(["dedupe", str(one), str(two), "--output", str(out)]) == 0
    assert capsys.readouterr().out == (
        f"1,003 rows kept, 1,002 duplicates dropped, 3 bytes of torn last lines left out\n{out}\n"
    )
    assert out.read_bytes() == one.read_bytes()
    assert main(["dedupe", str(tmp_path), "--output", str(out)]) == 2
    assert f"{out}: lies in a directory that is read" in capsys.readouterr().err


def test_a_copy_of_a_directory_has_what_ledgers_without_rows_say(tmp_path: Path) -> None:
    place = tmp_path / "rows"
    place.mkdir()
    written(place / "x.csv", ROWS, word=None)
    written(place / "y.csv", []).unlink()
    copy = tmp_path / "copy.csv"
    assert main(["dedupe", str(place), "--output", str(copy)]) == 0
    found = ledger_files.read(ledger_files.path_of(copy))
    assert found
    assert found.sessions["a"].agent == WORD
    assert main(["verify", "--final", str(copy)]) == 0


def test_a_copy_can_be_verified_without_its_inputs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = written(tmp_path / "1.csv", ROWS[:700], word=None)
    book = Book()
    book.open(one)
    book.rejected({"source": "lb1", "session": "a", "first": 1006, "count": 3})
    book.dropped("a", 5)
    book.save(one.stat().st_size, is_durable=True)
    word = replace(WORD, captured=1010, published=1006, last=1008)
    two = written(tmp_path / "2.csv", ROWS[600:], word)
    out = tmp_path / "copy" / "out.csv"
    out.parent.mkdir()
    for _ in range(2):  # a copy may be made again
        assert main(["dedupe", str(one), str(two), "--output", str(out)]) == 0
        one.rename(tmp_path / "away.csv")
        assert main(["verify", "--final", str(out.parent)]) == 0
        assert "1,003 rows of 1 sessions add up: 3 rejected, 2 shed" in capsys.readouterr().out
        (tmp_path / "away.csv").rename(one)
    found = ledger_files.read(ledger_files.path_of(out))
    assert found
    assert found.sessions == {
        "a": SessionLedger("lb1", 1111, 1003, 105, 3, ((1, 3), (6, 1005)), ((1006, 1008),), False,
                           word),
    }  # fmt: skip
    assert main(["dedupe", str(out), "--output", str(one)]) == 2
    assert "a processor wrote it" in capsys.readouterr().err


def test_a_file_that_grows_meanwhile_is_no_contradiction(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", ROWS)
    with path.open("ab") as file:
        file.write(csv_file(tmp_path / "more.csv", [("b", 1)]).read_bytes().split(b"\n", 1)[1])
    os.unlink(tmp_path / "more.csv")
    assert main(["verify", str(path)]) == 0


def test_rows_in_any_order_add_up(tmp_path: Path) -> None:
    order = np.random.default_rng(1).permutation(np.arange(1, 20_001)).tolist()
    rows: list[Row] = [("a", n) for n in order]
    assert main(["verify", str(csv_file(tmp_path / "x.csv", rows))]) == 0
    assert dedupe([tmp_path / "x.csv"], tmp_path / "y.csv").dropped == 0
