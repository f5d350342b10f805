from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from network_pipeline import ledger, sessions
from network_pipeline.ledger import AgentLedger
from network_pipeline.message import Message
from network_pipeline.sessions import SessionBook

COUNTS = {"captured": 9, "kernel_dropped": 1, "shed": 2, "published": 5}


def word(ours: SessionBook, *noted: Any, is_over: bool = False) -> Message | None:
    ours.note(*noted, is_over=is_over)
    return ours.news()


def told(message: Message | None) -> AgentLedger:
    assert message is not None
    return ledger.of_message(message.body, message.headers)


def book(directory: Path, session: str = "s") -> SessionBook:
    return SessionBook(directory, source="lb1", session=session)


def test_words_follow_each_other_and_only_when_something_moved(tmp_path: Path) -> None:
    ours = book(tmp_path / "state" / "sessions")
    assert ours.start() == []
    first = told(word(ours, COUNTS, 8, [(3, 4)]))
    assert first == AgentLedger("lb1", "s", 1, 9, 1, 0, 2, 0, 5, 8, ((3, 4),), at=first.at)
    assert word(ours, COUNTS, 8, [(3, 4)]) is None
    last = told(word(ours, {**COUNTS, "spooled": 1}, 8, [(3, 4)], is_over=True))
    assert ours.news() is None
    assert (last.sequence, last.spooled, last.ended) == (2, 1, "stopped")
    assert last.captured == last.accounted
    assert (tmp_path / "state" / "sessions").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / "sessions" / "s.json").stat().st_mode & 0o777 == 0o600
    ours.close(is_published=True)
    assert list((tmp_path / "state" / "sessions").iterdir()) == []


def test_notes_are_kept_more_often_than_published(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now = [50.0]
    monkeypatch.setattr("network_pipeline.sessions.time.monotonic", lambda: now[0])
    ours = book(tmp_path)
    ours.start()
    assert ours.is_due()
    assert told(word(ours, COUNTS, 8, [])).captured == 9
    assert not ours.is_due()
    now[0] += sessions.NOTE_SECONDS
    assert ours.is_due()
    assert word(ours, {**COUNTS, "captured": 10}, 9, []) is None
    assert ledger.parse_agent((tmp_path / "s.json").read_bytes()).captured == 10
    now[0] += sessions.TELL_SECONDS
    assert told(ours.news()).captured == 10
    assert ours.news() is None


VICTIM = """
import sys, pathlib
from network_pipeline.sessions import SessionBook
book = SessionBook(pathlib.Path(sys.argv[1]), source="lb1", session="dead")
book.start()
book.note({"captured": 4, "kernel_dropped": 0, "shed": 0, "published": 3}, 4, [])
print("here", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A directory that an agent left when it was killed."""
    command = [sys.executable, "-c", VICTIM, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == b"here\n"
        assert book(tmp_path, "beside").start() == []  # it lives
        os.kill(agent.pid, signal.SIGKILL)
    return tmp_path


def test_the_next_agent_has_the_last_word_of_one_that_was_killed(
    killed: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "network_pipeline.sessions")
    ours = book(killed)
    [word] = ours.start()
    assert caplog.messages == ["the agent of session dead was killed: telling it now"]
    dead = told(word)
    assert (dead.session, dead.ended, dead.sequence) == ("dead", "killed", 2)
    assert (dead.captured, dead.published, dead.last) == (4, 3, 4)
    assert book(killed, "third").start() == []  # ours has taken it
    ours.close(is_published=False)
    again = book(killed, "fourth")
    assert told(again.start()[0]) == dead
    again.close(is_published=True)
    assert not (killed / "dead.json").exists()
    assert book(killed, "fifth").start() == []


def test_a_last_word_that_was_not_published_comes_again_as_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "network_pipeline.sessions")
    ours = book(tmp_path)
    ours.start()
    last = told(word(ours, COUNTS, 8, [], is_over=True))
    ours.close(is_published=False)
    assert told(book(tmp_path, "next").start()[0]) == last
    said = "the agent of session s could not publish its last word: telling it now"
    assert caplog.messages == [said]


def test_an_agent_that_ends_while_another_starts_has_had_its_last_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other has opened the lock's file already, and gets the lock once it is removed."""
    ours, heir = book(tmp_path), book(tmp_path, "next")
    ours.start()
    flock = fcntl.flock

    def end_first(descriptor: int, operation: int) -> None:
        monkeypatch.undo()
        ours.close(is_published=True)
        flock(descriptor, operation)

    monkeypatch.setattr("network_pipeline.sessions.fcntl.flock", end_first)
    assert heir.start() == []
    heir.close(is_published=True)
    assert list(tmp_path.iterdir()) == []


def test_an_agent_that_is_killed_before_its_first_word_is_known_as_killed(tmp_path: Path) -> None:
    ours = book(tmp_path)
    ours.start()
    ours.close(is_published=False)
    dead = told(book(tmp_path, "next").start()[0])
    assert (dead.session, dead.ended, dead.sequence, dead.last) == ("s", "killed", 1, 0)


def test_who_knows_better_tells_what_a_killed_agent_did(killed: Path) -> None:
    counts = {"captured": 90, "published": 50, "spooled": 3, "shed": 7, "kernel_dropped": 2,
              "not_sampled": 4, "adopted": 1}  # fmt: skip
    sessions.bury(killed, "dead", counts)
    sessions.bury(killed, "unknown", counts)
    [word] = book(killed).start()
    dead = told(word)
    assert (dead.session, dead.ended, dead.sequence, dead.last) == ("dead", "killed", 2, 84)
    assert (dead.captured, dead.accounted, dead.is_incomplete) == (90, 66, True)


def test_a_last_word_is_not_changed_by_others(tmp_path: Path) -> None:
    ours = book(tmp_path)
    ours.start()
    last = told(word(ours, COUNTS, 8, [], is_over=True))
    ours.close(is_published=False)
    sessions.bury(tmp_path, "s", dict.fromkeys(sessions._COUNTS, 0))
    assert told(book(tmp_path, "next").start()[0]) == last


def test_a_killed_agent_that_could_not_note_anything_is_known_as_killed(tmp_path: Path) -> None:
    ours = book(tmp_path)
    ours.start()
    (tmp_path / "s.json").unlink(missing_ok=True)  # as on a full disk
    ours.close(is_published=False)
    heir = book(tmp_path, "next")
    dead = told(heir.start()[0])
    assert (dead.source, dead.session, dead.ended, dead.last) == ("lb1", "s", "killed", 0)
    heir.close(is_published=True)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_left_out_and_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "x.json").write_text("{")
    ours = book(tmp_path)
    assert ours.start() == []
    [said] = caplog.messages
    assert "x.json: left out: a ledger that is not JSON; kept as " in said
    ours.close(is_published=True)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("x.damaged", "{")]
    assert book(tmp_path, "next").start() == []
    assert len(caplog.messages) == 1


def test_a_file_that_cannot_be_removed_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = book(tmp_path, "a"), book(tmp_path, "b")
    for each in (first, second):
        each.start()
        told(word(each, COUNTS, 8, [], is_over=True))
        each.close(is_published=False)
    ours = book(tmp_path)
    assert len(ours.start()) == 2
    (tmp_path / "a.json").unlink()
    (tmp_path / "a.json").mkdir()  # as what may not be removed
    ours.close(is_published=True)
    assert "a.json: Is a directory; it may be told again" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "a.lock"]


def test_words_that_could_not_be_told_at_the_start_are_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left = book(tmp_path, "a")
    left.start()
    last = told(word(left, COUNTS, 8, [], is_over=True))
    left.close(is_published=False)
    (tmp_path / "b.json").mkdir()  # as what cannot be read
    ours = book(tmp_path)
    assert ours.start() == []
    assert "a killed agent leaves no word" in caplog.text
    ours.close(is_published=True)
    (tmp_path / "b.json").rmdir()
    (tmp_path / "b.lock").unlink()
    assert told(book(tmp_path, "next").start()[0]) == last


def test_a_directory_that_cannot_be_made_costs_no_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    ours = book(tmp_path / "file")
    assert ours.start() == []
    assert "a killed agent leaves no word" in caplog.text
    assert told(word(ours, COUNTS, 8, [])).captured == 9
    ours.close(is_published=True)
