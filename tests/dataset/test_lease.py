from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from network_pipeline.dataset.lease import alone


@pytest.fixture
def descriptor(leases: None, tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield opened
    os.close(opened)


def open_without_waiting(path: Path) -> None:
    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))


def test_an_open_is_held_up_while_the_block_runs(descriptor: int, tmp_path: Path) -> None:
    # Held up means EWOULDBLOCK to those who would not wait. That this process lives on shows that
    # the signal is harmless; twice, since the choice of the signal lasts for one lease only.
    for _ in range(2):
        with alone(descriptor, 0) as granted:
            assert granted
            with pytest.raises(BlockingIOError):
                open_without_waiting(tmp_path / "file")
        open_without_waiting(tmp_path / "file")


def test_an_open_that_waits_goes_on_after_the_block(descriptor: int, tmp_path: Path) -> None:
    seen: list[bytes] = []
    reader = threading.Thread(target=lambda: seen.append((tmp_path / "file").read_bytes()))
    with alone(descriptor, 0):
        os.write(descriptor, b"half a ")
        reader.start()
        os.write(descriptor, b"line\n")
    reader.join()
    assert seen == [b"half a line\n"]


def test_the_lease_is_given_back_when_the_block_fails(descriptor: int, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), alone(descriptor, 0):
        raise ZeroDivisionError
    open_without_waiting(tmp_path / "file")


def test_a_reader_that_stays_is_not_waited_for(descriptor: int, tmp_path: Path) -> None:
    with (tmp_path / "file").open("rb"), alone(descriptor, 0.001) as granted:
        assert not granted


def test_a_reader_that_leaves_is_waited_for(descriptor: int, tmp_path: Path) -> None:
    reader = os.open(tmp_path / "file", os.O_RDONLY)
    leaving = threading.Thread(target=os.close, args=(reader,))
    leaving.start()
    with alone(descriptor, 60) as granted:
        assert granted
    leaving.join()


def test_what_knows_no_leases_is_written_without() -> None:
    reading, writing = os.pipe()
    with alone(writing, 60) as granted:
        assert not granted
    os.close(reading)
    os.close(writing)
