from __future__ import annotations

import csv
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from network_pipeline import processor as module
from network_pipeline.broker.consumer import Delivery
from network_pipeline.broker.subscription import MAX_FAILURES, SUSPECT_FAILURES
from network_pipeline.dataset import ledger_files
from network_pipeline.dataset.parquet_recorder import ParquetRecorder
from network_pipeline.dataset.recorder import Recorder
from network_pipeline.errors import BrokerLost, DatasetError
from network_pipeline.ledger import parse_dataset
from network_pipeline.message import JSON_TYPE, Nested
from network_pipeline.metrics import Counters
from network_pipeline.processor import MAX_SNAPSHOT_MESSAGES, Processor, prefetch
from network_pipeline.rows import Rows
from network_pipeline.settings import ProcessorSettings
from tests.dataset import tmpfs
from tests.dataset.sample import frame, frames

Event = Callable[[], None]


class Queue:
    """A broker in memory: at most ``prefetch`` deliveries are unacknowledged at a time.

    ``events`` run before the call of that name and number (from 1): receive, ack, reject, and the
    recorder's append. When nothing is left or on the way, it sets ``stop``.
    """

    def __init__(self, bodies: Iterable[bytes], *, prefetch: int = 1000) -> None:
        self.stop = threading.Event()
        self.ready = [Delivery(body, JSON_TYPE, {}, False, None) for body in bodies]
        self.unacked: dict[int, Delivery] = {}
        self.acked: list[int] = []
        self.rejected: list[str] = []
        self.events: dict[tuple[str, int], Event] = {}
        self.calls = {"receive": 0, "ack": 0, "reject": 0, "append": 0}
        self.stops_when_empty = True
        self._prefetch = prefetch
        self._tags = 0

    def receive(self, timeout: float) -> list[Delivery]:
        self.call("receive")
        if self.stops_when_empty and not self.ready and not self.unacked:
            self.stop.set()
        arrived = []
        while self.ready and len(self.unacked) < self._prefetch:
            self._tags += 1
            delivery = self.ready.pop(0)._replace(tag=self._tags)
            self.unacked[self._tags] = delivery
            arrived.append(delivery)
        if not arrived:
            self.stop.wait(timeout)
        return arrived

    def ack(self, deliveries: Sequence[Delivery]) -> None:
        self.call("ack")
        for delivery in deliveries:
            del self.unacked[delivery.tag]
            self.acked.append(delivery.tag)

    def reject(self, delivery: Delivery, reason: str) -> None:
        self.call("reject")
        del self.unacked[delivery.tag]
        self.rejected.append(reason)

    def lose(self) -> None:
        """Break the connection: what is not acknowledged comes again."""
        again = [delivery._replace(redelivered=True) for delivery in self.unacked.values()]
        self.ready = again + self.ready
        self.unacked.clear()
        raise BrokerLost("gone")

    def call(self, name: str) -> None:
        self.calls[name] += 1
        self.events.pop((name, self.calls[name]), lambda: None)()


class Session:
    """A processor with its recorder and counters, and what the recorder was given."""

    def __init__(self, directory: Path, queue: Queue, **options: Any) -> None:
        values = {"output": directory / "rows.csv", "save_after_seconds": 0.1, **options}
        settings = ProcessorSettings(**values)
        self.counters = Counters("received", "written", "duplicate", "rejected")
        self.recorder = (ParquetRecorder if settings.is_parquet else Recorder)(settings)
        self.snapshots: list[int] = []
        self._append = self.recorder.append
        self.recorder.append = self._noted  # type: ignore[method-assign]
        self.processor = Processor(queue, self.recorder, settings, self.counters)
        self.queue = queue

    def _noted(self, pieces: Sequence[Rows]) -> int:
        self.snapshots.append(len(pieces))
        self.queue.call("append")
        return self._append(pieces)

    def run(self) -> None:
        self.recorder.start()
        try:
            self.processor.run(self.queue.stop)
        finally:
            self.recorder.close()

    def counts(self) -> tuple[int, int, int, int]:
        """Return received, written, duplicate, rejected."""
        received, written, duplicate, rejected = self.counters.snapshot().values()
        assert received == written + duplicate + rejected
        return received, written, duplicate, rejected


def body(nested: Nested) -> bytes:
    return json.dumps(nested).encode()


def bodies(first: int, last: int) -> list[bytes]:
    return [body(nested) for nested in frames(range(first, last + 1))]


def numbers(path: Path) -> list[int]:
    with path.open(newline="") as file:
        return [int(row["frame_number"]) for row in csv.DictReader(file)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.csv"


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RETRY_SECONDS", (0.001, 0.004))


# -- suspects --------------------------------------------------------------------------------------


def test_a_suspect_has_a_snapshot_of_its_own(tmp_path: Path, path: Path) -> None:
    queue = Queue(bodies(1, 9))
    for index in (3, 4):
        queue.ready[index] = queue.ready[index]._replace(failures=SUSPECT_FAILURES)
    session = Session(tmp_path, queue)
    session.run()
    assert session.snapshots == [3, 1, 1, 4]
    assert numbers(path) == list(range(1, 10))
    assert queue.acked == list(range(1, 10))


def test_what_was_delivered_too_often_is_set_aside_unread_and_in_the_ledger(
    tmp_path: Path, path: Path
) -> None:
    queue = Queue(bodies(1, 3))
    headers = {"session": "s", "source": "lb1", "first": 7, "count": 2}
    queue.ready[1] = queue.ready[1]._replace(failures=MAX_FAILURES, headers=headers)
    session = Session(tmp_path, queue)
    session.run()
    assert queue.rejected == ["delivered 18 times without an acknowledgement"]
    assert (numbers(path), queue.acked) == ([1, 3], [1, 3])
    assert session.counts() == (4, 2, 0, 2)
    entry = parse_dataset(ledger_files.path_of(path).read_bytes()).sessions["s"]
    assert (entry.rejected, entry.rejected_frames) == (2, ((7, 8),))


# -- snapshots -------------------------------------------------------------------------------------


def test_a_snapshot_for_every_full_number_and_one_for_the_rest(tmp_path: Path, path: Path) -> None:
    session = Session(tmp_path, Queue(bodies(1, 250)), save_after_num=100)
    session.run()
    assert session.snapshots == [100, 100, 50]
    assert numbers(path) == list(range(1, 251))
    assert session.queue.acked == list(range(1, 251))
    assert session.counts() == (250, 250, 0, 0)


def test_a_snapshot_for_every_single_row(tmp_path: Path, path: Path) -> None:
    session = Session(tmp_path, Queue(bodies(1, 5), prefetch=2), save_after_num=1)
    session.run()
    assert session.snapshots == [1] * 5
    assert numbers(path) == [1, 2, 3, 4, 5]


def test_what_waits_is_saved_on_stop(tmp_path: Path, path: Path) -> None:
    queue = Queue(bodies(1, 3))
    queue.events["receive", 2] = queue.stop.set
    session = Session(tmp_path, queue, save_after_seconds=3600)
    session.run()
    assert (session.snapshots, queue.acked) == ([3], [1, 2, 3])
    assert session.counts() == (3, 3, 0, 0)


def test_large_bodies_do_not_wait_for_the_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue(bodies(1, 9), prefetch=3)
    queue.events["receive", 4] = queue.stop.set
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", 3 * len(bodies(1, 1)[0]))
    session = Session(tmp_path, queue, save_after_num=1_000_000, save_after_seconds=3600)
    session.run()
    assert session.snapshots == [3, 3, 3]


@pytest.mark.parametrize(("save_after_num", "expected"), [(1, 2), (100, 200), (10**6, 65_534)])
def test_two_snapshots_are_prefetched(save_after_num: int, expected: int) -> None:
    assert prefetch(ProcessorSettings(save_after_num=save_after_num)) == expected
    assert 2 * MAX_SNAPSHOT_MESSAGES < 2**16


def test_nothing_is_acknowledged_before_it_is_in_the_file(tmp_path: Path, path: Path) -> None:
    queue = Queue(bodies(1, 30))
    unacked_rows: list[int] = []
    for number in range(1, 4):
        queue.events["ack", number] = lambda: unacked_rows.append(
            len(numbers(path)) - len(queue.acked)
        )
    Session(tmp_path, queue, save_after_num=10).run()
    assert unacked_rows == [10, 10, 10]


def test_rows_go_on_in_the_next_file(tmp_path: Path) -> None:
    session = Session(tmp_path, Queue(bodies(1, 20)), save_after_num=5, rotate_after_rows=7)
    session.run()
    files = sorted(tmp_path.glob("*.csv"), key=lambda file: numbers(file)[0])
    assert [numbers(file) for file in files] == [
        list(range(1, 8)), list(range(8, 15)), list(range(15, 21))
    ]  # fmt: skip
    assert session.queue.acked == list(range(1, 21))
    assert session.counts() == (20, 20, 0, 0)


def test_a_file_is_finished_in_time_also_without_traffic(tmp_path: Path) -> None:
    queue = Queue(bodies(1, 3))
    queue.stops_when_empty = False
    session = Session(tmp_path, queue, save_after_num=3, rotate_after_seconds=0.05)
    running = threading.Thread(target=session.run)
    running.start()
    try:
        while not list(tmp_path.glob("*.csv")):
            assert running.is_alive()
            queue.stop.wait(0.01)
    finally:
        queue.stop.set()
        running.join()
    assert [numbers(file) for file in tmp_path.glob("*.csv")] == [[1, 2, 3]]


# -- messages that are no new rows -----------------------------------------------------------------


def test_messages_that_hold_no_frame_are_set_aside(
    tmp_path: Path, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = [b"{", b"[]", b'{"secret":1}']
    queue = Queue([bad[0], *bodies(1, 1), *bad[1:], *bodies(2, 2)])
    session = Session(tmp_path, queue)
    session.run()
    assert queue.rejected == ["not JSON", "JSON, but no object", "secret: no such field"]
    assert numbers(path) == [1, 2]
    assert queue.acked == [2, 5]
    assert session.counts() == (5, 2, 0, 3)
    warnings = [entry.getMessage() for entry in caplog.records if entry.levelname == "WARNING"]
    assert warnings == ["a message was set aside: not JSON"]


def test_duplicates_are_dropped_and_acknowledged(tmp_path: Path, path: Path) -> None:
    other = body({**frame(2), "session": "another"})
    queue = Queue([*bodies(1, 3), *bodies(2, 4), other, *bodies(1, 1)])
    session = Session(tmp_path, queue, save_after_num=4)
    session.run()
    assert numbers(path) == [1, 2, 3, 4, 2]
    assert queue.acked == list(range(1, 9))
    assert session.counts() == (8, 5, 3, 0)


def test_a_snapshot_of_nothing_but_duplicates(tmp_path: Path, path: Path) -> None:
    queue = Queue([*bodies(1, 2), *bodies(1, 2), *bodies(1, 2)], prefetch=2)
    session = Session(tmp_path, queue, save_after_num=2, save_after_seconds=3600)
    session.run()
    assert session.snapshots == [2]
    assert session.counts() == (6, 2, 4, 0)


# -- the end after a number ------------------------------------------------------------------------


def test_it_stops_after_exactly_that_many_rows(tmp_path: Path, path: Path) -> None:
    queue = Queue([*bodies(1, 3), *bodies(3, 3), b"{", *bodies(4, 12)])
    session = Session(tmp_path, queue, save_after_num=3, stop_after_num=5)
    session.run()
    assert numbers(path) == [1, 2, 3, 4, 5]
    assert session.snapshots == [3, 2]
    assert [json.loads(d.body)["frame"]["number"] for d in queue.unacked.values()] == list(
        range(6, 13)
    )
    assert session.counts() == (7, 5, 1, 1)
    assert queue.calls["receive"] == 1


# -- a connection that breaks ----------------------------------------------------------------------


def test_rows_that_waited_come_again_once(tmp_path: Path, path: Path) -> None:
    queue = Queue(bodies(1, 25), prefetch=15)
    queue.events["receive", 2] = queue.lose
    session = Session(tmp_path, queue, save_after_num=10)
    session.run()
    assert numbers(path) == list(range(1, 26))
    assert session.snapshots == [10, 10, 5]
    assert session.counts() == (25, 25, 0, 0)


def test_rows_that_were_not_acknowledged_come_again_as_duplicates(
    tmp_path: Path, path: Path
) -> None:
    queue = Queue(bodies(1, 25), prefetch=20)
    queue.events["ack", 1] = queue.lose
    session = Session(tmp_path, queue, save_after_num=10)
    session.run()
    assert numbers(path) == list(range(1, 26))
    assert session.counts() == (35, 25, 10, 0)


def test_a_rejection_that_fails_comes_again(tmp_path: Path, path: Path) -> None:
    queue = Queue([*bodies(1, 2), b"{", *bodies(3, 4)])
    queue.events["reject", 1] = queue.lose
    session = Session(tmp_path, queue)
    session.run()
    assert numbers(path) == [1, 2, 3, 4]
    assert queue.rejected == ["not JSON"]
    assert session.counts() == (5, 4, 0, 1)


def test_a_connection_that_breaks_at_the_last_acknowledgement(tmp_path: Path, path: Path) -> None:
    queue = Queue(bodies(1, 3))
    queue.events["receive", 2] = queue.stop.set
    queue.events["ack", 1] = queue.lose
    session = Session(tmp_path, queue, save_after_seconds=3600)
    session.run()
    assert numbers(path) == [1, 2, 3]
    assert (queue.acked, len(queue.ready)) == ([], 3)
    assert session.counts() == (3, 3, 0, 0)


# -- a disk that is full ---------------------------------------------------------------------------


@contextmanager
def full_disk(place: Path) -> Iterator[tuple[Path, Path]]:
    """Yield a directory with a file of no rows and room for none, and what takes the room."""
    with tmpfs.mounted(place, size_kib=512) as small:
        recorder = Recorder(ProcessorSettings(output=small / "rows.csv"))
        recorder.start()
        recorder.close()
        yield small, tmpfs.fill(small)


@pytest.mark.usefixtures("quick_retries")
@pytest.mark.parametrize("stop_after_num", [0, 300])
def test_a_full_disk_heals_with_nothing_lost_and_nothing_twice(
    tmp_path: Path, stop_after_num: int, caplog: pytest.LogCaptureFixture
) -> None:
    queue = Queue(bodies(1, 300), prefetch=200)
    with full_disk(tmp_path / "small") as (small, ballast):
        session = Session(small, queue, save_after_num=100, stop_after_num=stop_after_num)
        held: list[tuple[int, int]] = []

        def make_room() -> None:
            held.append((len(queue.unacked), len(queue.acked)))
            ballast.unlink()

        queue.events["append", 5] = make_room
        session.run()
        assert held == [(200, 0)]
        assert numbers(small / "rows.csv") == list(range(1, 301))
    assert queue.acked == list(range(1, 301))
    assert session.counts() == (300, 300, 0, 0)
    errors = [entry.getMessage() for entry in caplog.records if entry.levelname == "ERROR"]
    path = tmp_path / "small" / "rows.csv"
    assert errors == [
        f"{path}: No space left on device; nothing is acknowledged until it can be written"
    ]


@pytest.mark.usefixtures("quick_retries")
def test_a_connection_that_broke_while_the_disk_was_full(tmp_path: Path) -> None:
    queue = Queue(bodies(1, 100), prefetch=60)
    with full_disk(tmp_path / "small") as (small, ballast):
        session = Session(small, queue, save_after_num=30)
        queue.events["append", 4] = ballast.unlink
        queue.events["ack", 1] = queue.lose
        session.run()
        assert numbers(small / "rows.csv") == list(range(1, 101))
    assert session.counts() == (130, 100, 30, 0)


def test_stopping_while_the_disk_is_full_is_an_error_and_acknowledges_nothing(
    tmp_path: Path,
) -> None:
    queue = Queue(bodies(1, 150))
    with full_disk(tmp_path / "small") as (small, _ballast):
        session = Session(small, queue, save_after_num=100)
        queue.events["append", 2] = queue.stop.set
        with pytest.raises(DatasetError, match=r"rows\.csv: No space left on device$"):
            session.run()
        assert numbers(small / "rows.csv") == []
    assert len(queue.unacked) == 150
    assert session.counts() == (0, 0, 0, 0)


@pytest.mark.usefixtures("quick_retries")
def test_no_more_is_taken_than_may_wait_while_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue(bodies(1, 9), prefetch=3)
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", 3 * len(bodies(1, 1)[0]))
    session = Session(tmp_path, queue)
    attempts: list[int] = []

    def fail_five_times(pieces: Sequence[Rows]) -> int:
        attempts.append(queue.calls["receive"])
        if len(attempts) < 6:
            raise DatasetError("full")
        return session._append(pieces)

    monkeypatch.setattr(session.recorder, "append", fail_five_times)
    session.run()
    assert attempts[:6] == [1] * 6
    assert session.counts() == (9, 9, 0, 0)
