"""Counts that a process leaves behind when it is killed."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from network_pipeline import scoreboard
from network_pipeline.notify import Notifier


def test_counts_of_a_killed_child_stay_in_its_slot() -> None:
    first, second = scoreboard.slots(2, ("captured", "published"), figures=2, cells=3)
    pid = os.fork()
    if pid == 0:
        counters = second.begin()
        counters.add("captured", 7)
        counters.add("published")
        counters.add("captured")
        second.cells[2] = -5
        second.beat([4, 2**40])
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert second.counts() == {"captured": 8, "published": 1}
    assert second.figures() == [4, 2**40]
    assert second.cells.tolist() == [0, 0, -5]
    assert second.seen is not None
    assert 0 <= second.seen < 20
    assert first.counts() == {"captured": 0, "published": 0}
    assert first.figures() == [0, 0]
    assert first.cells.tolist() == [0, 0, 0]
    assert first.seen is None


def test_a_successor_begins_at_zero_and_keeps_the_cells() -> None:
    [slot] = scoreboard.slots(1, ("captured",), figures=1, cells=1)
    slot.begin().add("captured", 3)
    slot.beat([8])
    slot.cells[0] = 9
    counters = slot.begin()
    assert (slot.counts(), slot.seen, slot.figures()) == ({"captured": 0}, None, [0])
    assert slot.cells[0] == 9
    counters.add("captured", 2)
    assert slot.counts() == counters.snapshot() == {"captured": 2}


def test_an_unknown_count_is_an_error() -> None:
    [slot] = scoreboard.slots(1, ("captured",), figures=0, cells=0)
    with pytest.raises(KeyError):
        slot.begin().add("capturd")


def test_systemd_is_told_by_a_path_and_by_a_name(tmp_path: Path) -> None:
    name = f"np-test-{os.getpid()}"
    for address, place in ((str(tmp_path / "n"), str(tmp_path / "n")), (f"@{name}", f"\0{name}")):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
            listening.bind(place)
            Notifier(address).send("READY=1", "STATUS=fine")
            assert listening.recv(100) == b"READY=1\nSTATUS=fine"


def test_nobody_who_listens_is_no_error(tmp_path: Path) -> None:
    Notifier("").send("READY=1")
    Notifier(str(tmp_path / "nothing")).send("READY=1")
