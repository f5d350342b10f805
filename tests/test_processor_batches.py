"""A processor of messages that hold many frames, among others that hold one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from network_pipeline import batch_message, settings
from network_pipeline import processor as module
from network_pipeline.audit import dataset_files, examine
from network_pipeline.broker.consumer import Delivery
from network_pipeline.dataset import csv_text
from network_pipeline.decode.columnar import decode_batch
from network_pipeline.decode.nested import decode
from network_pipeline.errors import UsageError
from network_pipeline.frames import Frame
from network_pipeline.message import encode
from network_pipeline.options import PROCESSOR_OPTIONS
from network_pipeline.processor import prefetch
from network_pipeline.verify import judge
from tests.decode.batches import SESSION, SOURCE, batch_of, decoded
from tests.decode.samples import all_samples
from tests.test_processor import Queue, Session, numbers

FRAMES = {
    number: Frame(number, 10**18 + number, "eth0", len(sample.data), sample.link_type, sample.data)
    for number, sample in enumerate((s for s in all_samples() if len(s.data) < 2000), start=1)
}


def datasets(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if not path.name.endswith(".ledger.json")]


def batch(first: int, last: int) -> Delivery:
    rows = decoded([FRAMES[number] for number in range(first, last + 1)])
    [message] = batch_message.encode(rows, source=SOURCE, session=SESSION)
    return Delivery(message.body, message.content_type, message.headers, False, None)


def single(number: int) -> Delivery:
    message = encode(decode(FRAMES[number]), source=SOURCE, session=SESSION)
    return Delivery(message.body, message.content_type, message.headers, False, None)


def queue(deliveries: Iterable[Delivery], *, prefetch: int = 1000) -> Queue:
    made = Queue([], prefetch=prefetch)
    made.ready = list(deliveries)
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.csv"


def test_a_file_is_the_same_whatever_messages_its_rows_came_in(tmp_path: Path) -> None:
    last = len(FRAMES)
    written = {}
    for name, deliveries in {
        "json": [single(number) for number in FRAMES],
        "arrow": [batch(1, last)],
        "mixed": [batch(1, 30), single(31), single(32), batch(33, last - 1), single(last)],
    }.items():
        session = Session(tmp_path, queue(deliveries), output=tmp_path / name)
        session.run()
        assert session.counts() == (last, last, 0, 0)
        written[name] = (tmp_path / name).read_bytes()
    assert written["arrow"] == written["json"]
    assert written["mixed"] == written["json"]


def test_save_after_num_counts_frames_and_batches_that_are_here_join(
    tmp_path: Path, path: Path
) -> None:
    deliveries = [
        batch(1, 60), batch(61, 90), single(91), batch(92, 100), single(101), batch(102, 120)
    ]  # fmt: skip
    session = Session(tmp_path, queue(deliveries), save_after_num=91, save_after_seconds=3600)
    session.queue.events["receive", 2] = session.queue.stop.set
    session.run()
    assert session.snapshots == [4, 2]
    assert numbers(path) == list(range(1, 121))
    assert session.queue.acked == [1, 2, 3, 4, 5, 6]


def test_batches_of_several_agents_become_one_snapshot(tmp_path: Path, path: Path) -> None:
    deliveries, expected = [], b""
    for source, name, first, last in (("a", "s", 1, 9), ("b", "t", 4, 30), ("a", "s", 10, 12)):
        frames = [FRAMES[number] for number in range(first, last + 1)]
        rows = decode_batch(batch_of(frames), source=source, session=name)
        [message] = batch_message.encode(rows, source=source, session=name)
        deliveries.append(
            Delivery(message.body, message.content_type, message.headers, False, None)
        )
        expected += bytes(csv_text.lines(rows))
    session = Session(tmp_path, queue(deliveries), save_after_num=1, save_after_seconds=3600)
    session.queue.events["receive", 2] = session.queue.stop.set
    session.run()
    assert session.snapshots == [3]
    assert path.read_bytes().partition(b"\n")[2] == expected


def test_of_a_batch_only_the_new_frames_are_written(tmp_path: Path, path: Path) -> None:
    deliveries = [
        batch(10, 19), batch(1, 12), batch(11, 18), single(5), batch(15, 25), single(26),
        batch(24, 28),
    ]  # fmt: skip
    session = Session(tmp_path, queue(deliveries), save_after_num=22)
    session.run()
    expected = [*range(10, 20), *range(1, 10), *range(20, 26), 26, 27, 28]
    assert numbers(path) == expected
    assert session.counts() == (48, 28, 20, 0)
    assert session.queue.acked == [1, 2, 3, 4, 5, 6, 7]


def test_a_batch_that_is_known_waits_for_its_original(tmp_path: Path, path: Path) -> None:
    broker = queue([batch(1, 5), batch(1, 5)])
    rows_at_ack: list[int] = []
    broker.events["ack", 1] = lambda: rows_at_ack.append(len(numbers(path)))
    session = Session(tmp_path, broker)
    session.run()
    assert rows_at_ack == [5]
    assert session.counts() == (10, 5, 5, 0)


def test_a_batch_goes_on_in_the_next_file_and_is_acknowledged_then(tmp_path: Path) -> None:
    broker = queue([batch(1, 10), single(11), batch(12, 26)])
    acked: list[tuple[int, list[int]]] = []
    for number in range(1, 6):
        broker.events["ack", number] = lambda: acked.append(
            (sum(len(numbers(file)) for file in datasets(tmp_path)), list(broker.acked))
        )
    session = Session(tmp_path, broker, save_after_num=26, rotate_after_rows=7)
    session.run()
    files = sorted((numbers(file) for file in datasets(tmp_path)), key=min)
    assert files == [list(range(n, min(n + 7, 27))) for n in (1, 8, 15, 22)]
    assert broker.acked == [1, 2, 3]
    assert acked == [(7, []), (14, []), (21, [1, 2]), (26, [1, 2])]
    assert session.counts() == (26, 26, 0, 0)


def test_a_half_written_batch_that_comes_again_is_not_written_twice(tmp_path: Path) -> None:
    broker = queue([batch(1, 10), single(11)])
    broker.events["ack", 1] = broker.lose
    session = Session(tmp_path, broker, save_after_num=11, rotate_after_rows=7)
    session.run()
    files = sorted((numbers(file) for file in datasets(tmp_path)), key=min)
    assert files == [list(range(1, 8)), list(range(8, 12))]
    assert session.counts() == (18, 11, 7, 0)


def test_it_stops_with_the_message_that_reaches_the_number(tmp_path: Path, path: Path) -> None:
    broker = queue([batch(1, 10), single(11), batch(12, 20), batch(21, 30)])
    session = Session(tmp_path, broker, save_after_num=100, stop_after_num=15)
    session.run()
    assert numbers(path) == list(range(1, 21))
    assert broker.acked == [1, 2, 3]
    assert len(broker.unacked) == 1
    assert session.counts() == (20, 20, 0, 0)


def test_a_message_that_cannot_be_read_counts_as_its_headers_say(tmp_path: Path) -> None:
    good, lying, unknown = batch(1, 10), batch(11, 20), batch(21, 30)
    broker = queue(
        [
            good._replace(body=good.body[:-20]),
            lying._replace(headers={**lying.headers, "count": 10**9}),
            unknown._replace(content_type="text/plain"),
        ]
    )
    session = Session(tmp_path, broker)
    session.run()
    assert session.counts() == (21, 0, 0, 21)
    assert [reason[:20] for reason in broker.rejected] == [
        "not an Arrow stream ", "10 frames, not as ma", "content type 'text/p"
    ]  # fmt: skip


def test_the_memory_of_batches_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deliveries = [batch(n, n + 9) for n in range(1, 50, 10)]
    sizes = [batch_message.decode(d.body, d.content_type, d.headers).nbytes for d in deliveries]
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", min(sizes))
    session = Session(tmp_path, queue(deliveries), save_after_num=10**6, save_after_seconds=3600)
    session.queue.events["receive", 2] = session.queue.stop.set
    session.run()
    assert session.snapshots == [1] * 5


def test_a_parquet_file_holds_whole_messages_up_to_its_rows_and_none_waits_for_csv_options(
    tmp_path: Path,
) -> None:
    deliveries = [single(1), batch(2, 60), batch(61, 70), single(71), batch(72, 80)]
    output = tmp_path / "rows.parquet"
    session = Session(
        tmp_path, queue(deliveries), output=output, save_after_num=1, rotate_after_rows=60,
        rotate_after_seconds=0.5,
    )  # fmt: skip
    session.run()
    assert session.counts() == (80, 80, 0, 0)
    files = {path: pq.read_table(path)["frame_number"].to_pylist() for path in datasets(tmp_path)}
    assert sorted(files.values()) == [list(range(1, 61)), list(range(61, 81))]


def test_parquet_waits_for_no_more_memory_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliveries = [batch(1, 20), batch(21, 40), single(41), single(42), single(43)]
    sizes = [len(each.body) for each in deliveries[2:]]
    monkeypatch.setattr(module, "MAX_WAITING_BYTES", sizes[0] + sizes[1])
    options = {"output": tmp_path / "rows.parquet", "rotate_after_seconds": 0.5}
    session = Session(tmp_path, queue(deliveries), **options)
    session.run()
    assert session.snapshots == [4, 1]
    options["output"] = tmp_path / "more.parquet"
    session = Session(tmp_path, queue(deliveries[:2]), **options)
    monkeypatch.setattr(module, "MAX_PARQUET_BYTES", 1)
    session.run()
    assert session.snapshots == [1, 1]


def test_packets_do_not_wait_for_a_parquet_file_longer_than_a_broker_does() -> None:
    values = {option.name: option.value(None, {}) for option in PROCESSOR_OPTIONS}
    values |= {"output": "x.parquet", "rotate_after_seconds": 1201.0}
    with pytest.raises(UsageError, match=r"^--rotate-after-seconds=1201: at most 1200"):
        settings.processor_settings(values)
    made = settings.processor_settings({**values, "rotate_after_seconds": 0.0})
    assert (made.snapshot_rows, made.snapshot_seconds, prefetch(made)) == (1_000_000, 60.0, 65_534)
    made = settings.processor_settings({**values, "output": "x.csv"})
    assert (made.snapshot_rows, made.snapshot_seconds, prefetch(made)) == (100, 5.0, 200)


@pytest.mark.parametrize("output", ["rows.csv", "rows.parquet"])
def test_what_a_killed_worker_wrote_is_known_to_the_others_when_it_comes_again(
    tmp_path: Path, output: str
) -> None:
    workers = settings.ProcessorSettings(output=tmp_path / output)
    names = [{"output": workers.of_worker(n).output, "crew": "rows"} for n in (1, 2)]
    killed = Session(tmp_path, queue([]), **names[0])
    killed.recorder.start()
    rows = [batch_message.decode(each.body, each.content_type, each.headers)
            for each in (batch(1, 20), batch(21, 30))]  # fmt: skip
    killed.recorder.append(rows[:1])
    killed.recorder.keep_ledger(is_durable=False)
    killed.recorder.append(rows[1:])  # and no ledger
    again = [each._replace(redelivered=True) for each in (batch(1, 20), batch(25, 40))]
    waits = {"rotate_after_seconds": 0.5} if output == "rows.parquet" else {}
    other = Session(tmp_path, queue([batch(41, 50), *again]), **names[1], **waits)
    other.run()
    assert other.counts() == (46, 20, 26, 0)
    killed.recorder.close()
    verdict = judge([examine(path) for path in dataset_files([str(tmp_path)])], is_final=True)
    assert [account.rows for account in verdict.accounts] == [50]
    assert [account.duplicate for account in verdict.accounts] == [0]


def test_workers_have_names_of_their_own(tmp_path: Path) -> None:
    made = settings.ProcessorSettings(output=tmp_path / "x.parquet").of_worker(2)
    assert (made.output, made.crew, made.is_parquet) == (tmp_path / "x-2.parquet", "x", True)
    made = settings.ProcessorSettings(name="lb").of_worker(1)
    assert (made.output, made.name, made.crew) == (None, "lb-1", "lb")
    assert settings.worker_of({}) is None
    assert settings.worker_of(settings.for_workers({}, "a/b")) == (os.getpid(), "a/b")
