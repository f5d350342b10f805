"""The agent between a real sniffer and a recorder of messages."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from network_pipeline import arrow_messages, json_messages, ledger, message, rows
from network_pipeline.agent import Agent, new_session
from network_pipeline.capture.frame_queue import BATCH_FRAMES
from network_pipeline.capture.source import Source, SourceCounts
from network_pipeline.errors import BrokerRefused, CaptureError, NetworkPipelineError
from network_pipeline.frames import Frame, LinkType
from network_pipeline.ledger import LEDGER_TYPE, AgentLedger
from network_pipeline.losses import Losses
from network_pipeline.message import Message
from network_pipeline.metrics import Counters
from network_pipeline.sessions import SessionBook
from tests import netns
from tests.capture.sniffing import awaited, sniffing

SESSION = "6b1a2c7e-2a53-4f8e-9c53-1d2a8f0f1b11"


class Recorder:
    """Takes up to ``room`` messages and confirms all, except that the last ``kept`` are shed."""

    def __init__(self, counters: Counters, *, room: int = 1_000_000, kept: int = 0) -> None:
        self.messages: list[Message] = []
        self.words: list[AgentLedger] = []
        self.losses = Losses()
        self.stopped = 0
        self._counters = counters
        self._room = room
        self._kept = kept
        self.refusal: BrokerRefused | None = None

    def check(self) -> None:
        if self.refusal:
            raise self.refusal

    def publish(self, message: Message) -> bool:
        if message.content_type == LEDGER_TYPE:
            self.words.append(ledger.of_message(message.body, message.headers))
        elif len(self.messages) == self._room:
            self._counters.add("shed")
            self.losses.add(message)
            return False
        else:
            self.messages.append(message)
        return True

    def drain(self, timeout: float) -> bool:
        assert timeout > 0
        published = sum(self.counts) - self._kept
        self._counters.add("published", published - self._counters["published"])
        return not self._kept

    def stop(self, timeout: float) -> int:
        assert timeout > 0
        self.stopped += 1
        for one in self.messages[len(self.messages) - self._kept :]:
            self.losses.add(one)
        self._counters.add("shed", self._kept)
        return self._kept

    @property
    def counts(self) -> list[int]:
        return [int(one.headers["count"]) for one in self.messages]

    @property
    def numbers(self) -> list[int]:
        return [json.loads(one.body)["frame"]["number"] for one in self.messages]


class Run:
    """An agent that runs in a thread, and what it raised in the end."""

    def __init__(self, agent: Agent[list[Frame]]) -> None:
        self._agent = agent
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.error: NetworkPipelineError | None = None
        self._thread.start()

    def _run(self) -> None:
        try:
            self._agent.run(self._stop)
        except NetworkPipelineError as error:
            self.error = error

    def ended(self, *, stop: bool = True) -> NetworkPipelineError | None:
        if stop:
            self._stop.set()
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self.error


@pytest.fixture
def where() -> Iterator[netns.Namespace]:
    with netns.namespace() as made:
        yield made


@pytest.fixture
def counters() -> Counters:
    return Counters("captured", "published", "shed", "kernel_dropped")


def agent(
    source: Source[list[Frame]], recorder: Recorder, counters: Counters, stop_after_num: int = 0
) -> Agent[list[Frame]]:
    encode = partial(json_messages.of_frames, session=SESSION, source="edge-7")
    return Agent(source, encode, recorder, book(), counters, stop_after_num=stop_after_num)


def book(directory: Path | None = None) -> SessionBook:
    return SessionBook(directory, source="edge-7", session=SESSION)


def send(where: netns.Namespace, count: int, address: str = "127.0.0.1") -> None:
    with where.udp_socket() as sender:
        sender.bind(("", 4000))
        for number in range(count):
            sender.sendto(b"number %d" % number, (address, 9))


def test_every_frame_becomes_one_message(where: netns.Namespace, counters: Counters) -> None:
    recorder = Recorder(counters)
    with sniffing(where, "lo", text="udp") as sniffer:
        run = Run(agent(sniffer, recorder, counters))
        send(where, 3)
        assert awaited(lambda: len(recorder.messages) == 3)
        assert run.ended() is None
    assert recorder.stopped == 1
    last = recorder.words[-1]
    assert (last.captured, last.published, last.last, last.ended) == (3, 3, 3, "stopped")
    assert counters.snapshot() == {"captured": 3, "published": 3, "shed": 0, "kernel_dropped": 0}
    for number, one in enumerate(recorder.messages, start=1):
        nested = message.decode(one.body, one.content_type, one.headers)
        assert (nested["source"], nested["session"]) == ("edge-7", SESSION)
        assert nested["frame"]["number"] == one.headers["first"] == number
        assert nested["frame"]["interface"] == "lo"
        assert nested["frame"]["len"] == nested["frame"]["caplen"] == 50
        assert (nested["ip"]["src"], nested["ip"]["dst"]) == ("127.0.0.1", "127.0.0.1")
        assert (nested["udp"]["sport"], nested["udp"]["dport"]) == (4000, 9)
        assert nested["raw"]["load"] == (b"number %d" % (number - 1)).hex()


def test_frames_wait_for_others_to_be_a_batch(where: netns.Namespace, counters: Counters) -> None:
    recorder = Recorder(counters)
    encode = partial(arrow_messages.of_frames, session=SESSION, source="edge-7", compression="lz4")
    with sniffing(where, "lo", text="udp", enough_frames=600) as sniffer:
        send(where, 1500)
        assert awaited(lambda: sniffer.counts().captured == 1500)
        run = Run(Agent(sniffer, encode, recorder, book(), counters))
        assert awaited(lambda: sum(recorder.counts) == 1500)
        assert run.ended() is None
    assert recorder.counts == [600, 600, 300]
    found = [rows.decode(one.body, one.content_type, one.headers) for one in recorder.messages]
    numbers = [number for batch in found for number in rows.numbers(batch).tolist()]
    assert numbers == list(range(1, 1501))
    assert {rows.session(batch) for batch in found} == {SESSION}
    assert counters.snapshot() == {
        "captured": 1500, "published": 1500, "shed": 0, "kernel_dropped": 0
    }  # fmt: skip


def test_what_waits_at_the_stop_is_published(where: netns.Namespace, counters: Counters) -> None:
    recorder = Recorder(counters)
    stopped = threading.Event()
    stopped.set()
    count = 3 * BATCH_FRAMES
    with sniffing(where, "lo", text="udp") as sniffer:
        send(where, count)
        agent(sniffer, recorder, counters).run(stopped)
    assert recorder.numbers == list(range(1, count + 1))
    assert counters["captured"] == counters["published"] == count


def test_a_session_of_so_many_frames_ends_by_itself(
    where: netns.Namespace, counters: Counters
) -> None:
    recorder = Recorder(counters)
    with sniffing(where, "lo", text="udp", stop_after_num=10) as sniffer:
        run = Run(agent(sniffer, recorder, counters, stop_after_num=10))
        send(where, 25)
        assert run.ended(stop=False) is None
    assert recorder.numbers == list(range(1, 11))
    assert counters.snapshot() == {"captured": 10, "published": 10, "shed": 0, "kernel_dropped": 0}


def test_shed_by_either_side_is_counted_once_and_said(
    where: netns.Namespace, counters: Counters, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder(counters, room=6)
    with sniffing(where, "lo", text="udp", queue_frames=10) as sniffer:
        send(where, 25)
        assert awaited(lambda: sniffer.counts() == SourceCounts(25, 0, 15))
        run = Run(agent(sniffer, recorder, counters))
        assert awaited(lambda: counters["captured"] == 25)
        assert run.ended() is None
    assert recorder.numbers == list(range(1, 7))
    assert counters.snapshot() == {"captured": 25, "published": 6, "shed": 19, "kernel_dropped": 0}
    last = recorder.words[-1]
    assert (last.captured, last.shed, last.lost, last.ended) == (25, 19, ((7, 25),), "stopped")
    warnings = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert warnings[0].startswith("frames are being lost")


def test_frames_that_the_broker_never_took_are_an_error_and_named_to_the_next_agent(
    where: netns.Namespace, counters: Counters, tmp_path: Path
) -> None:
    encode = partial(json_messages.of_frames, session=SESSION, source="edge-7")
    recorder = Recorder(counters, kept=2)
    with sniffing(where, "lo", text="udp") as sniffer:
        run = Run(Agent(sniffer, encode, recorder, book(tmp_path), counters))
        send(where, 5)
        assert awaited(lambda: counters["captured"] == 5)
        error = run.ended()
    assert error is not None
    assert error.exit_code == 1
    assert str(error) == (
        "2 captured frames are lost: the broker did not take them within 30 seconds"
    )
    assert counters.snapshot() == {"captured": 5, "published": 3, "shed": 2, "kernel_dropped": 0}
    [word] = SessionBook(tmp_path, source="edge-7", session="next").start()
    last = ledger.of_message(word.body, word.headers)
    assert (last.session, last.ended) == (SESSION, "stopped")
    assert (last.captured, last.published, last.shed, last.lost) == (5, 3, 2, ((4, 5),))


def test_a_broker_that_refuses_late_ends_it_after_its_frames(
    where: netns.Namespace, counters: Counters
) -> None:
    recorder = Recorder(counters)
    with sniffing(where, "lo", text="udp") as sniffer:
        run = Run(agent(sniffer, recorder, counters))
        send(where, 5)
        assert awaited(lambda: len(recorder.messages) == 5)
        recorder.refusal = BrokerRefused("wrong password")
        assert run.ended(stop=False) is recorder.refusal
    assert recorder.stopped == 1
    assert counters["captured"] == counters["published"] == 5


def test_a_removed_device_ends_it_after_its_frames(counters: Counters) -> None:
    recorder = Recorder(counters)
    with netns.veth_pair() as (left, _), sniffing(left, "veth0", text="udp") as sniffer:
        send(left, 5, "10.99.0.2")
        left.ip("link", "delete", "veth0")
        error = Run(agent(sniffer, recorder, counters)).ended(stop=False)
    assert isinstance(error, CaptureError)
    assert recorder.numbers == [1, 2, 3, 4, 5]
    assert recorder.stopped == 1
    assert counters["captured"] == counters["published"] == 5


class Broken:
    """A source of one burst, which breaks when it is to stop or is read to its end."""

    def __init__(self, breaks: str) -> None:
        self._breaks = breaks
        frame = Frame(1, 0, "lo", 60, LinkType.ETHERNET, bytes(60))
        self._frames = [frame, frame._replace(number=2)]
        self._is_stopped = False

    def open(self) -> None:
        """Nothing needs to be opened."""

    def read(self, timeout: float) -> list[Frame]:
        if self._is_stopped and self._breaks == "read":
            raise CaptureError("it cannot be read")
        frames, self._frames = self._frames, []
        return frames

    def stop(self) -> None:
        self._is_stopped = True
        if self._breaks == "stop":
            raise CaptureError("it cannot be stopped")

    def counts(self) -> SourceCounts:
        return SourceCounts(2, 0, 0)


@pytest.mark.parametrize("breaks", ["stop", "read"])
def test_a_source_that_breaks_in_the_end_leaves_all_settled(
    counters: Counters, tmp_path: Path, breaks: str
) -> None:
    recorder = Recorder(counters)
    encode = partial(json_messages.of_frames, session=SESSION, source="edge-7")
    run = Run(Agent(Broken(breaks), encode, recorder, book(tmp_path), counters))
    assert awaited(lambda: len(recorder.messages) == 2)
    error = run.ended()
    assert isinstance(error, CaptureError)
    assert recorder.stopped == 1
    assert counters.snapshot() == {"captured": 2, "published": 2, "shed": 0, "kernel_dropped": 0}
    last = recorder.words[-1]
    assert (last.captured, last.published, last.last, last.ended) == (2, 2, 2, "stopped")
    assert list(tmp_path.iterdir()) == []


#: Opens as root, gives root up, captures, and ends by itself: as a capture command does.
CHILD = """
import os, threading
from functools import partial
from network_pipeline import json_messages
from network_pipeline.agent import Agent, new_session
from network_pipeline.capture.sniffer import Sniffer
from network_pipeline.metrics import Counters
from network_pipeline.privileges import drop_root
from network_pipeline.sessions import SessionBook
from network_pipeline.settings import CaptureSettings
from tests.test_agent import Recorder

counters = Counters("captured", "published", "shed", "kernel_dropped")
session = new_session()
sniffer = Sniffer(CaptureSettings(("lo",), "udp", "edge", 5), [])
sniffer.open()
drop_root(None)
print("open", flush=True)
encode = partial(json_messages.of_frames, session=session, source="edge")
book = SessionBook(None, source="edge", session=session)
agent = Agent(sniffer, encode, Recorder(counters), book, counters, stop_after_num=5)
agent.run(threading.Event())
print(os.getuid(), counters, flush=True)
"""


def test_it_captures_without_root_once_it_is_open(where: netns.Namespace) -> None:
    command = where.command(sys.executable, "-c", CHILD)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        send(where, 9)
        assert child.stdout.read() == "65534 captured=5 published=5 shed=0 kernel_dropped=0\n"
    assert child.returncode == 0


def test_sessions_are_new_each_time() -> None:
    assert len({new_session() for _ in range(100)}) == 100
