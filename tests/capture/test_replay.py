"""Frames of files at the pace of their capture."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from network_pipeline.capture import replay
from network_pipeline.capture.replay import paced
from network_pipeline.frames import NO_TIME, Frame, FrameBatch, LinkType
from tests.capture.capture_files import frames_of
from tests.decode.batches import batch_of

START_NS = 1_700_000_000_000_000_000
MAX = float("inf")


def batch(times_ns: Sequence[int], first: int = 1) -> FrameBatch:
    return batch_of(
        [
            Frame(number, each, None, 60, LinkType.ETHERNET, b"%060d" % number)
            for number, each in enumerate(times_ns, first)
        ],
        around=b"----",
    )


def numbers(batches: Iterator[FrameBatch]) -> list[int]:
    return [frame.number for each in batches for frame in frames_of(each)]


def seconds(*values: float) -> list[int]:
    return [START_NS + int(value * 1e9) for value in values]


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


def test_at_the_highest_speed_nothing_waits(stop: threading.Event) -> None:
    batches = [batch(seconds(0, 3600, 7200)), batch(seconds(86400, 0), first=4)]
    assert numbers(paced(batches, MAX, stop)) == [1, 2, 3, 4, 5]


def test_a_frame_never_comes_early(stop: threading.Event) -> None:
    batches = [batch(seconds(0, 0.2, 0.4)), batch(seconds(0.8, 1.2), first=4)]
    began = time.monotonic()
    came = {
        frame.number: time.monotonic() - began
        for each in paced(batches, 2.0, stop)
        for frame in frames_of(each)
    }
    assert list(came) == [1, 2, 3, 4, 5]
    for number, due in ((2, 0.1), (3, 0.2), (4, 0.4), (5, 0.6)):
        assert came[number] >= due


def test_frames_of_a_tick_come_together_and_none_is_changed(stop: threading.Event) -> None:
    whole = batch(seconds(*np.arange(0, 0.04, 0.001)))
    parts = list(paced([whole], 1.0, stop))
    assert len(parts) == 2  # the first frame is due at once, the others at the first tick
    assert [frame for part in parts for frame in frames_of(part)] == frames_of(whole)


def test_times_that_go_back_or_are_none_are_not_waited_for(stop: threading.Event) -> None:
    batches = [
        batch([NO_TIME, NO_TIME]),
        batch([START_NS], first=3),
        batch([NO_TIME, START_NS - 10**18], first=4),
    ]
    assert numbers(paced(batches, 1.0, stop)) == [1, 2, 3, 4, 5]


def test_no_more_than_so_many_frames_come_at_once(
    stop: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "MOST_FRAMES", 2)
    assert [len(each) for each in paced([batch(seconds(0, 0, 0, 0, 0))], MAX, stop)] == [2, 2, 1]


def test_a_stop_ends_a_long_wait(stop: threading.Event) -> None:
    frames = paced([batch(seconds(0, 3600))], 1.0, stop)
    assert [frame.number for frame in frames_of(next(frames))] == [1]
    threading.Timer(0.05, stop.set).start()
    assert list(frames) == []


def test_an_error_comes_after_the_frames_before_it(stop: threading.Event) -> None:
    def broken() -> Iterator[FrameBatch]:
        yield batch(seconds(0, 1))
        raise ValueError("here")

    frames = paced(broken(), MAX, stop)
    assert len(next(frames)) == 2
    with pytest.raises(ValueError, match="here"):
        next(frames)
