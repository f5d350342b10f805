from __future__ import annotations

import threading

from network_pipeline.capture.frame_queue import BATCH_FRAMES, FrameQueue
from network_pipeline.frames import Frame, LinkType


def frames(first: int, last: int, size: int = 10) -> list[Frame]:
    return [
        Frame(number, number, "lo", size, LinkType.ETHERNET, bytes(size))
        for number in range(first, last + 1)
    ]


def test_frames_come_out_in_order_and_in_batches() -> None:
    queue = FrameQueue(10_000, 1_000_000)
    queue.put(frames(1, BATCH_FRAMES + 5))
    assert queue.get(0) == frames(1, BATCH_FRAMES)
    assert queue.get(0) == frames(BATCH_FRAMES + 1, BATCH_FRAMES + 5)
    assert queue.get(0) == []
    assert (queue.taken, queue.shed) == (BATCH_FRAMES + 5, 0)


def test_too_many_frames_are_shed_and_leave_a_gap() -> None:
    queue = FrameQueue(3, 1_000_000)
    queue.put(frames(1, 5))
    assert queue.get(0) == frames(1, 3)
    queue.put(frames(6, 6))
    assert queue.get(0) == frames(6, 6)
    assert (queue.taken, queue.shed) == (6, 2)


def test_too_many_bytes_are_shed_and_smaller_frames_still_fit() -> None:
    queue = FrameQueue(100, 25)
    queue.put(frames(1, 2) + frames(3, 3) + frames(4, 4, size=5))
    assert [frame.number for frame in queue.get(0)] == [1, 2, 4]
    queue.put(frames(5, 6))
    assert [frame.number for frame in queue.get(0)] == [5, 6]
    assert (queue.taken, queue.shed) == (6, 1)


def test_frames_after_the_last_do_not_count() -> None:
    queue = FrameQueue(3, 1_000_000, last=4)
    queue.put(frames(1, 3))
    queue.put(frames(4, 6))
    queue.put(frames(7, 7))
    assert queue.get(0) == frames(1, 3)
    assert (queue.taken, queue.shed) == (4, 1)


def test_a_reader_waits_for_the_first_frame() -> None:
    queue = FrameQueue(3, 1_000_000)
    got: list[list[Frame]] = []
    reader = threading.Thread(target=lambda: got.append(queue.get(20)))
    reader.start()
    queue.put([])
    queue.put(frames(1, 1))
    reader.join(20)
    assert got == [frames(1, 1)]


def test_a_reader_gets_enough_frames_at_once_or_those_there_are_in_time() -> None:
    queue = FrameQueue(10_000, 1_000_000, enough=BATCH_FRAMES + 5)
    queue.put(frames(1, BATCH_FRAMES + 6))
    assert queue.get(20) == frames(1, BATCH_FRAMES + 5)
    assert queue.get(0.01) == frames(BATCH_FRAMES + 6, BATCH_FRAMES + 6)


def test_few_large_frames_are_enough_and_so_is_a_full_queue() -> None:
    queue = FrameQueue(100, 800, enough=50)
    queue.put(frames(1, 1, size=100))
    assert queue.get(20) == frames(1, 1, size=100)
    queue = FrameQueue(3, 1_000_000, enough=50)
    queue.put(frames(1, 5))
    assert queue.get(20) == frames(1, 3)
