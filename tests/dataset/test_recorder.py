from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from network_pipeline.dataset import ledger_files, series
from network_pipeline.dataset import recorder as module
from network_pipeline.dataset.recorder import Recorder
from network_pipeline.dataset.writers import HEADER, CsvWriter
from network_pipeline.errors import DatasetError, UsageError
from network_pipeline.ledger import AgentLedger
from network_pipeline.settings import ProcessorSettings
from tests.dataset import tmpfs
from tests.dataset.sample import frame_lines, frames

STAMP = "2026-10-25-02-30-00"


class Clock(SimpleNamespace):
    """Time as the recorder sees it."""

    def __init__(self) -> None:
        super().__init__(local=STAMP, seconds=100.0)

    def strftime(self, form: str) -> str:
        assert form == "%Y-%m-%d-%H-%M-%S"
        return str(self.local)

    def monotonic(self) -> float:
        return float(self.seconds)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(series, "time", clock)
    return clock


@contextmanager
def started(directory: Path, **options: Any) -> Iterator[Recorder]:
    recorder = Recorder(ProcessorSettings(**{"dir": directory, **options}))
    recorder.start()
    try:
        yield recorder
    finally:
        recorder.close()


def append(recorder: Recorder, first: int, last: int) -> list[int]:
    """Append frames, as a processor does; return how many rows each call took."""
    nested, taken = frames(range(first, last + 1)), []
    while nested:
        taken.append(recorder.append(nested))
        nested = nested[taken[-1] :]
    return taken


def csv(first: int, last: int) -> str:
    return HEADER.decode() + frame_lines(range(first, last + 1))


def contents(directory: Path) -> dict[str, str]:
    return {
        path.name: path.read_text()
        for path in directory.iterdir()
        if not path.name.endswith(".ledger.json")
    }


# -- one file --------------------------------------------------------------------------------------


def test_the_file_has_name_and_local_time(tmp_path: Path) -> None:
    with started(tmp_path) as recorder:
        assert recorder.path == tmp_path / f"netdata-{STAMP}.csv"
        assert append(recorder, 1, 3) == [3]
        assert append(recorder, 4, 4) == [1]
        assert recorder.rows == 4
    assert contents(tmp_path) == {f"netdata-{STAMP}.csv": csv(1, 4)}
    assert stat.S_IMODE(recorder.path.stat().st_mode) == 0o600


def test_a_name_in_use_gets_a_number(tmp_path: Path) -> None:
    for name in (f"netdata-{STAMP}.csv", f"netdata-{STAMP}-1.csv.part"):
        (tmp_path / name).write_text("of others")
    with started(tmp_path) as second, started(tmp_path) as third:
        assert second.path == tmp_path / f"netdata-{STAMP}-2.csv"
        assert third.path == tmp_path / f"netdata-{STAMP}-3.csv"
    assert len(list(tmp_path.glob("*.csv*"))) == 4


def test_a_whole_path_wins_and_is_continued(tmp_path: Path) -> None:
    output = tmp_path / "my.table"
    for number in (1, 2):
        with started(Path("/nowhere"), output=output, name="other") as recorder:
            assert recorder.path == output
            append(recorder, number, number)
            assert recorder.rows == 1
    assert contents(tmp_path) == {"my.table": csv(1, 2)}


def test_a_second_recorder_on_one_path_is_refused(tmp_path: Path) -> None:
    output = tmp_path / "rows.csv"
    with started(tmp_path, output=output) as first:
        second = Recorder(ProcessorSettings(output=output))
        for attempt in (second.check, second.start):
            with pytest.raises(DatasetError, match=r"rows\.csv: another processor writes this"):
                attempt()
        second.close()
        append(first, 1, 1)
    assert contents(tmp_path) == {"rows.csv": csv(1, 1)}


# -- wrong targets ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dir": "none"}, r"/none: no such directory$"),
        ({"dir": "file"}, r"/file: no such directory$"),
        ({"output": "none/rows.csv"}, r"/none: no such directory$"),
        ({"output": "folder"}, r"/folder: a directory; OUTPUT_CSV must name a file$"),
        ({"name": "a/b"}, r"^DS_NAME=a/b: must be a name without '/'$"),
    ],
)
def test_a_wrong_target_is_named(tmp_path: Path, options: dict[str, str], says: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    paths = {key: value if key == "name" else tmp_path / value for key, value in options.items()}
    recorder = Recorder(ProcessorSettings(**{"dir": tmp_path, **paths}))  # type: ignore[arg-type]
    for attempt in (recorder.check, recorder.start):
        with pytest.raises(UsageError, match=says):
            attempt()
    recorder.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_directory_without_permission_is_named(tmp_path: Path) -> None:
    with tmpfs.mounted(tmp_path / "small", size_kib=64) as place:
        tmpfs.make_read_only(place)
        with pytest.raises(UsageError, match=r"small: no permission to create files there$"):
            Recorder(ProcessorSettings(dir=place)).check()


def test_a_check_says_where_and_creates_nothing(tmp_path: Path) -> None:
    pattern = str(tmp_path / "netdata-YYYY-mm-dd-HH-MM-SS.csv")
    output = tmp_path / "rows.csv"
    assert Recorder(ProcessorSettings(dir=tmp_path)).check() == pattern
    assert Recorder(ProcessorSettings(output=output)).check() == str(output)
    assert contents(tmp_path) == {}
    output.write_text("a,b\n")
    with pytest.raises(DatasetError, match="its first line does not name"):
        Recorder(ProcessorSettings(output=output)).check()
    assert contents(tmp_path) == {"rows.csv": "a,b\n"}


# -- rotation --------------------------------------------------------------------------------------


def test_files_hold_exactly_their_rows(tmp_path: Path, clock: Clock) -> None:
    with started(tmp_path, rotate_after_rows=4) as recorder:
        assert contents(tmp_path) == {}
        assert append(recorder, 1, 3) == [3]
        assert contents(tmp_path) == {f"netdata-{STAMP}.csv.part": csv(1, 3)}
        assert append(recorder, 4, 10) == [1, 4, 2]
        assert recorder.path == tmp_path / f"netdata-{STAMP}-2.csv.part"
        clock.local = "2026-10-25-02-30-01"
        append(recorder, 11, 13)
        assert recorder.rows == 13
    assert contents(tmp_path) == {
        f"netdata-{STAMP}.csv": csv(1, 4),
        f"netdata-{STAMP}-1.csv": csv(5, 8),
        f"netdata-{STAMP}-2.csv": csv(9, 12),
        "netdata-2026-10-25-02-30-01.csv": csv(13, 13),
    }


def test_a_full_file_is_finished_at_the_next_occasion(tmp_path: Path) -> None:
    with started(tmp_path, rotate_after_rows=2) as recorder:
        append(recorder, 1, 2)
        recorder.finish_if_due()
        assert recorder.path == tmp_path / f"netdata-{STAMP}.csv"
        assert contents(tmp_path) == {f"netdata-{STAMP}.csv": csv(1, 2)}


def test_a_file_is_finished_when_it_is_old_enough(tmp_path: Path, clock: Clock) -> None:
    with started(tmp_path, rotate_after_seconds=60) as recorder:
        append(recorder, 1, 2)
        clock.seconds += 59
        recorder.finish_if_due()
        append(recorder, 3, 3)
        assert contents(tmp_path) == {f"netdata-{STAMP}.csv.part": csv(1, 3)}
        clock.seconds += 1
        recorder.finish_if_due()
        assert contents(tmp_path) == {f"netdata-{STAMP}.csv": csv(1, 3)}
        clock.seconds += 600
        recorder.finish_if_due()
        assert len(contents(tmp_path)) == 1
        append(recorder, 4, 4)
    assert contents(tmp_path)[f"netdata-{STAMP}-1.csv"] == csv(4, 4)


def test_without_rows_there_is_no_file(tmp_path: Path, clock: Clock) -> None:
    with started(tmp_path, rotate_after_seconds=1) as recorder:
        clock.seconds += 5
        recorder.finish_if_due()
        assert contents(tmp_path) == {}
    assert contents(tmp_path) == {}


def test_a_whole_path_gives_directory_and_name_of_rotated_files(tmp_path: Path) -> None:
    with started(Path("/nowhere"), output=tmp_path / "web.csv", rotate_after_rows=1) as recorder:
        append(recorder, 1, 2)
    assert contents(tmp_path) == {
        f"web-{STAMP}.csv": csv(1, 1),
        f"web-{STAMP}-1.csv": csv(2, 2),
    }


def test_a_name_does_not_come_back_when_files_are_collected(tmp_path: Path, clock: Clock) -> None:
    collected = []
    with started(tmp_path, rotate_after_rows=1) as recorder:
        for local in (STAMP, STAMP, "2026-10-25-02-59-59", "2026-10-25-02-00-00", STAMP):
            clock.local = local  # at the end the hour from two to three comes again
            append(recorder, 1, 1)
            recorder.finish_if_due()
            for path in tmp_path.glob("*.csv"):
                collected.append(path.name)
                path.unlink()
    assert collected == [
        f"netdata-{STAMP}.csv",
        f"netdata-{STAMP}-1.csv",
        "netdata-2026-10-25-02-59-59.csv",
        "netdata-2026-10-25-02-59-59-1.csv",
        "netdata-2026-10-25-02-59-59-2.csv",
    ]


def test_what_a_dead_processor_left_is_finished(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old = "netdata-2026-01-01-00-00-00"
    others = {
        "netdata-2026-01-01.csv.part": csv(1, 1),
        "other-2026-01-01-00-00-00.csv.part": csv(1, 1),
        f"{old}-4.csv.part": "a,b\n1,2\n",
    }
    (tmp_path / f"{old}.csv.part").write_text(csv(1, 3)[:-9])
    (tmp_path / f"{old}-2.csv.part").write_text(csv(1, 0))
    (tmp_path / f"{old}-3.csv.part").write_text(csv(1, 0)[:9])
    for name, text in others.items():
        (tmp_path / name).write_text(text)
    with started(tmp_path, rotate_after_rows=5):
        assert contents(tmp_path) == {**others, f"{old}.csv": csv(1, 2)}
    said = caplog.text
    assert f"{old}.csv.part: cut off {len(frame_lines([3])) - 9} bytes of a torn last line" in said
    assert f"left as it is: {tmp_path}/{old}-4.csv.part: its first line does not name" in said


def test_what_a_living_processor_writes_is_left_to_it(tmp_path: Path) -> None:
    with started(tmp_path, rotate_after_rows=5) as living:
        append(living, 1, 1)
        with started(tmp_path, rotate_after_rows=5):
            assert contents(tmp_path) == {f"netdata-{STAMP}.csv.part": csv(1, 1)}
        append(living, 2, 2)
    assert contents(tmp_path) == {f"netdata-{STAMP}.csv": csv(1, 2)}


def test_a_file_finished_by_another_meanwhile_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its owner renames it after it was opened here, and before it is locked here.
    part, final = tmp_path / f"netdata-{STAMP}.csv.part", tmp_path / f"netdata-{STAMP}.csv"
    part.write_text(csv(1, 1) + "torn")
    flock = fcntl.flock

    def rename_then_lock(descriptor: int, operation: int) -> None:
        os.rename(part, final)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", rename_then_lock)
    with pytest.raises(DatasetError, match=r"another processor has just finished this file$"):
        CsvWriter(part).open()
    assert contents(tmp_path) == {final.name: csv(1, 1) + "torn"}


def test_another_file_of_that_name_is_not_overwritten(tmp_path: Path) -> None:
    recorder = Recorder(ProcessorSettings(dir=tmp_path, rotate_after_rows=2))
    recorder.start()
    append(recorder, 1, 2)
    final = tmp_path / f"netdata-{STAMP}.csv"
    final.write_text("of others")
    for attempt in (recorder.finish_if_due, lambda: recorder.append(frames([3])), recorder.close):
        with pytest.raises(DatasetError, match=r"\.csv: exists, so netdata-.*\.csv\.part cannot"):
            attempt()
    assert contents(tmp_path) == {final.name: "of others", f"{final.name}.part": csv(1, 2)}
    final.unlink()
    recorder.append(frames([3]))
    recorder.close()
    assert contents(tmp_path) == {final.name: csv(1, 2), f"netdata-{STAMP}-1.csv": csv(3, 3)}


def test_a_deleted_part_does_not_stop_the_next_file(tmp_path: Path) -> None:
    with started(tmp_path, rotate_after_rows=2) as recorder:
        append(recorder, 1, 2)
        (tmp_path / f"netdata-{STAMP}.csv.part").unlink()
        append(recorder, 3, 3)
    assert contents(tmp_path) == {f"netdata-{STAMP}-1.csv": csv(3, 3)}


def test_a_disk_that_is_full_when_a_file_begins(tmp_path: Path) -> None:
    with tmpfs.mounted(tmp_path / "small", size_kib=64) as place:
        recorder = Recorder(ProcessorSettings(dir=place, rotate_after_rows=2))
        recorder.start()
        ballast = tmpfs.fill(place)
        for _ in range(3):
            with pytest.raises(DatasetError, match=r"No space left on device$"):
                recorder.append(frames([1, 2, 3]))
        assert [path.name for path in place.iterdir()] == ["ballast"]
        ballast.unlink()
        append(recorder, 1, 3)
        recorder.close()
        assert sorted(contents(place).values()) == sorted([csv(1, 2), csv(3, 3)])


def noted(directory: Path) -> dict[str, tuple[object, ...]]:
    """Return of every ledger the rows, the frames set aside and the sequence of its agent."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(directory.glob("*.ledger.json")):
        ledger = ledger_files.read(path)
        assert ledger
        [entry] = ledger.sessions.values()
        sequence = entry.agent.sequence if entry.agent else 0
        found[path.name] = (entry.written, entry.rejected_frames, sequence, entry.duplicate)
    return found


def set_aside(number: int) -> dict[str, object]:
    session = frames([1])[0]["session"]
    return {"source": "lb1", "session": session, "first": number, "count": 1}


def test_what_is_noted_between_two_files_is_in_the_ledger_of_the_next(tmp_path: Path) -> None:
    word = AgentLedger("lb1", frames([1])[0]["session"], sequence=7)
    with started(tmp_path, rotate_after_rows=2) as recorder:
        append(recorder, 1, 2)
        recorder.finish_if_due()
        for path in tmp_path.iterdir():
            path.unlink()  # a job collects the file with its ledger
        recorder.book.rejected(set_aside(3))
        recorder.book.heard(word)
        recorder.book.dropped(word.session, 5)
        append(recorder, 4, 4)
    assert noted(tmp_path) == {f"netdata-{STAMP}-1.csv.ledger.json": (1, ((3, 3),), 7, 5)}


def test_what_is_noted_beside_a_ledger_without_rows_stays_there(tmp_path: Path) -> None:
    with started(tmp_path, rotate_after_rows=2) as recorder:
        recorder.book.rejected(set_aside(1))
        recorder.keep_ledger(is_durable=True)
        recorder.book.rejected(set_aside(2))
        append(recorder, 3, 3)
    assert noted(tmp_path) == {
        f"netdata-{STAMP}.csv.ledger.json": (0, ((1, 2),), 0, 0),
        f"netdata-{STAMP}-1.csv.ledger.json": (1, (), 0, 0),
    }


def test_a_file_is_not_finished_before_its_ledger_is_written(tmp_path: Path) -> None:
    with tmpfs.mounted(tmp_path / "small", size_kib=64) as place:
        with started(place, rotate_after_rows=2) as recorder:
            append(recorder, 1, 2)
            recorder.book.rejected(set_aside(3))
            ballast = tmpfs.fill(place)
            with pytest.raises(DatasetError, match=r"No space left on device$"):
                recorder.finish_if_due()
            assert f"netdata-{STAMP}.csv.part" in contents(place)
            ballast.unlink()
            recorder.finish_if_due()
            assert contents(place) == {f"netdata-{STAMP}.csv": csv(1, 2)}
        assert noted(place) == {f"netdata-{STAMP}.csv.ledger.json": (2, ((3, 3),), 0, 0)}


def test_close_without_start_does_nothing(tmp_path: Path) -> None:
    for options in ({}, {"rotate_after_rows": 1}, {"output": tmp_path / "rows.csv"}):
        Recorder(ProcessorSettings(dir=tmp_path, **options)).close()
    assert contents(tmp_path) == {}
