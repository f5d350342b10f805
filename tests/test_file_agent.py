"""The agent of capture files, with a publisher that has little room."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from network_pipeline import arrow_messages, json_messages, ledger, rows
from network_pipeline.capture.file_filter import FileFilter
from network_pipeline.capture.inputs import Input
from network_pipeline.errors import BrokerRefused
from network_pipeline.file_agent import COUNTED, Encoder, FileAgent, Plan
from network_pipeline.frames import Frame, LinkType
from network_pipeline.ledger import LEDGER_TYPE, AgentLedger
from network_pipeline.losses import Losses
from network_pipeline.message import MAX_BODY_BYTES, Message
from network_pipeline.metrics import Counters
from tests.capture.capture_files import RADIOTAP
from tests.decode import captures

ENCODERS: dict[str, Encoder] = {
    "json": partial(json_messages.of_batch, source="edge"),
    "arrow": partial(arrow_messages.of_batch, source="edge", compression="lz4"),
}
MAX = float("inf")


class Publisher:
    """Has room for a message only after it was waited for so often, and sheds otherwise."""

    def __init__(self, counters: Counters, waits: int = 0) -> None:
        self.messages: list[Message] = []
        self.losses = Losses()
        self.words: list[AgentLedger] = []
        self.stopped = 0
        self.on_wait: Callable[[], None] = lambda: None
        self.failure: Exception | None = None
        self._counters = counters
        self._waits = self._left = waits

    def await_room(self, message: Message, timeout: float) -> bool:
        self._left -= 1
        self.on_wait()
        return self._left < 0

    def publish(self, message: Message) -> bool:
        if message.content_type == LEDGER_TYPE:
            self.words.append(ledger.of_message(message.body, message.headers))
            return True
        count = int(message.headers["count"])
        taken = self._left < 0
        self._counters.add("published" if taken else "shed", count)
        if taken:
            self.messages.append(message)
        else:
            self.losses.add(message)
        self._left = self._waits
        return taken

    def check(self) -> None:
        if self.failure:
            raise self.failure

    def drain(self, timeout: float) -> bool:
        return not self.losses.pairs()

    def stop(self, timeout: float) -> int:
        self.stopped += 1
        return 0


class Run:
    def __init__(self, encode: str = "arrow", waits: int = 0, **options: Any) -> None:
        self.counters = Counters(*COUNTED)
        self.publisher = Publisher(self.counters, waits)
        self.stop = threading.Event()
        plan = Plan(**{"source": "edge", "speed": MAX, **options})
        self.agent = FileAgent(ENCODERS[encode], self.publisher, self.counters, plan)

    def __call__(self, *paths: Path | str) -> list[tuple[str, int, bool]]:
        found = self.agent.run([Input(str(path), None) for path in paths], self.stop)
        return [(Path(one.name).name, one.frames, one.damage is not None) for one in found]

    def counts(self) -> tuple[int, int, int, int]:
        """Return how many frames were found, published, refused and shed; others were filtered."""
        captured, published, filtered, refused, shed = self.counters.snapshot().values()
        assert captured == published + filtered + refused + shed
        return captured, published, refused, shed

    def words(self) -> list[tuple[int, int, Any]]:
        """Return of each session the frames, how many are published, and the others' numbers."""
        words = self.publisher.words
        assert all(one.ended == "stopped" and one.captured == one.accounted for one in words)
        return [(one.last, one.published, one.lost) for one in words]

    def numbers(self) -> list[tuple[str, int]]:
        found = []
        for one in self.publisher.messages:
            piece = rows.decode(one.body, one.content_type, one.headers)
            session = rows.session(piece)
            found += [(session, number) for number in rows.numbers(piece).tolist()]
        return found


def capture(path: Path, count: int, sizes: Sequence[int] = (60,)) -> Path:
    noise = np.random.default_rng(count)
    frames = [
        Frame(n, 10**18 + n * 1000, None, size, LinkType.ETHERNET, noise.bytes(size))
        for n in range(1, count + 1)
        for size in (sizes[n % len(sizes)],)
    ]
    captures.write_frames(path, frames)
    return path


@pytest.mark.parametrize("encode", ENCODERS)
def test_every_frame_of_every_file_is_published_once_in_order(tmp_path: Path, encode: str) -> None:
    files = [capture(tmp_path / "a.pcap", 30), capture(tmp_path / "b.pcap", 20)]
    run = Run(encode, waits=2)
    assert run(*files) == [("a.pcap", 30, False), ("b.pcap", 20, False)]
    assert run.counts() == (50, 50, 0, 0)
    published = run.numbers()
    sessions = list(dict.fromkeys(session for session, _ in published))
    assert len(sessions) == 2
    expected = [(sessions[0], n) for n in range(1, 31)] + [(sessions[1], n) for n in range(1, 21)]
    assert published == expected
    assert [one.session for one in run.publisher.words] == sessions
    assert run.words() == [(30, 30, ()), (20, 20, ())]
    assert run.publisher.stopped == 1


@pytest.mark.parametrize("encode", ENCODERS)
def test_it_ends_after_so_many_frames(tmp_path: Path, encode: str) -> None:
    files = [capture(tmp_path / "a.pcap", 30), capture(tmp_path / "b.pcap", 20)]
    run = Run(encode, stop_after_num=37)
    assert run(*files) == [("a.pcap", 30, False), ("b.pcap", 7, False)]
    assert run.counts() == (37, 37, 0, 0)
    assert run.words() == [(30, 30, ()), (7, 7, ())]


def test_a_damaged_file_gives_its_whole_frames(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cut = capture(tmp_path / "cut.pcap", 10)
    cut.write_bytes(cut.read_bytes()[:-1])
    run = Run()
    assert run(cut, capture(tmp_path / "whole.pcap", 5)) == [
        ("cut.pcap", 9, True), ("whole.pcap", 5, False)
    ]  # fmt: skip
    assert run.counts() == (14, 14, 0, 0)
    assert "cut.pcap" in caplog.text


def test_frames_of_other_link_types_are_counted(tmp_path: Path) -> None:
    path = capture(tmp_path / "radio.pcap", 4)
    data = bytearray(path.read_bytes())
    data[20:24] = RADIOTAP.to_bytes(4, "little")
    path.write_bytes(data)
    run = Run(stop_after_num=5)
    assert run(path, capture(tmp_path / "b.pcap", 9)) == [
        ("radio.pcap", 4, False), ("b.pcap", 5, False)
    ]  # fmt: skip
    assert run.counts() == (9, 5, 4, 0)
    assert run.words() == [(4, 0, ((1, 4),)), (5, 5, ())]


@pytest.mark.parametrize("encode", ENCODERS)
def test_a_filter_selects_what_is_published(tmp_path: Path, encode: str) -> None:
    run = Run(encode, filter=FileFilter("len > 60"))
    assert run(capture(tmp_path / "a.pcap", 30, sizes=(60, 60, 61))) == [("a.pcap", 30, False)]
    assert run.counts() == (30, 10, 0, 0)
    assert [number for _, number in run.numbers()] == list(range(2, 31, 3))


def test_it_ends_with_the_last_frame_that_is_wanted(tmp_path: Path) -> None:
    run = Run(filter=FileFilter("len > 60"), stop_after_num=7)
    files = [capture(tmp_path / f"{count}.pcap", count, sizes=(60, 60, 61)) for count in (10, 30)]
    assert run(*files) == [("10.pcap", 10, False), ("30.pcap", 11, False)]
    assert run.counts() == (21, 7, 0, 0)
    assert [(frames, published) for frames, published, _ in run.words()] == [(10, 3), (11, 4)]
    assert run.words()[0][2] == ((1, 1), (3, 4), (6, 7), (9, 10))
    assert [number for _, number in run.numbers()] == [2, 5, 8, 2, 5, 8, 11]


def test_frames_that_a_filter_cannot_be_applied_to_are_refused(tmp_path: Path) -> None:
    path = capture(tmp_path / "bare.pcap", 4)
    data = bytearray(path.read_bytes())
    data[20:24] = int(LinkType.RAW).to_bytes(4, "little")
    path.write_bytes(data)
    frame_filter = FileFilter("ether src 02:00:00:00:00:01")
    run = Run(filter=frame_filter)
    assert run(path, capture(tmp_path / "b.pcap", 5)) == [
        ("bare.pcap", 4, False), ("b.pcap", 5, False)
    ]  # fmt: skip
    assert run.counts() == (9, 0, 4, 0)
    assert len(frame_filter.problems) == 1


def test_what_the_broker_did_not_take_until_a_stop_is_counted(tmp_path: Path) -> None:
    run = Run("json", waits=10**9)
    run.publisher.on_wait = run.stop.set
    assert run(capture(tmp_path / "a.pcap", 3)) == [("a.pcap", 3, False)]
    assert run.counts() == (3, 0, 0, 3)
    assert run.words() == []
    assert run.publisher.stopped == 1


@pytest.mark.parametrize("encode", ENCODERS)
def test_a_frame_that_no_message_can_hold_is_counted(tmp_path: Path, encode: str) -> None:
    path = capture(tmp_path / "large.pcap", 3, (60, MAX_BODY_BYTES, 60))
    data = bytearray(path.read_bytes())
    data[16:20] = (2**22).to_bytes(4, "little")  # the snap length
    path.write_bytes(data)
    run = Run(encode)
    assert run(path) == [("large.pcap", 3, False)]
    assert run.counts() == (3, 2, 0, 1)
    assert run.words() == [(3, 2, ((1, 1),))]


@pytest.mark.parametrize("encode", ENCODERS)
def test_a_publisher_that_failed_ends_it_and_all_frames_are_counted(
    tmp_path: Path, encode: str
) -> None:
    run = Run(encode, waits=2)
    failure = BrokerRefused("wrong password")

    def fail_late() -> None:
        if len(run.publisher.messages) == (encode == "json"):
            run.publisher.failure = failure

    run.publisher.on_wait = fail_late
    with pytest.raises(BrokerRefused):
        run(capture(tmp_path / "a.pcap", 10))
    captured, published, _, shed = run.counts()
    assert (captured, published, shed) == ((10, 1, 9) if encode == "json" else (10, 0, 10))
    assert run.publisher.stopped == 1


def test_a_publisher_that_failed_in_the_end_is_told(tmp_path: Path) -> None:
    run = Run()
    run.publisher.failure = BrokerRefused("wrong password")
    with pytest.raises(BrokerRefused):
        run(capture(tmp_path / "a.pcap", 10))
    assert run.counts() == (10, 10, 0, 0)
