"""Processors killed (-9) under load: every frame is a row, once, and verify can tell."""

from __future__ import annotations

import multiprocessing
import random
import threading
from collections.abc import Iterator
from functools import partial
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from network_pipeline import audit, message
from network_pipeline.ledger import AgentLedger
from network_pipeline.message import JSON_TYPE, Message
from network_pipeline.settings import BrokerSettings, ProcessorSettings
from network_pipeline.verify import Verdict, judge
from tests import lives, servers
from tests.broker import flow
from tests.broker.conftest import unique_queue, url_of
from tests.faults import processing

KILLS = 20
FRAMES = 6_000
SESSION = "0b2f6a54-5d5c-4c5e-9a55-1f6f0f5e2a10"
#: Frames that the agent shed, and one whose message is poison.
LOST = range(2_000, 2_011)
POISON = 3_000


@pytest.fixture(scope="module")
def children() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.processing"])
    return context


def agents_messages() -> Iterator[Message]:
    for number in range(1, FRAMES + 1):
        if number == POISON:
            headers = message.headers_of("lb1", SESSION, number, 1)
            yield Message(b"no frame", JSON_TYPE, headers)
        elif number not in LOST:
            frame = {"frame": {"number": number}, "raw": {"load": "00" * 200}}
            yield message.encode(frame, source="lb1", session=SESSION)
        if number % 1_000 == 0:
            yield word(number, "")
    yield word(FRAMES, "stopped")


def word(last: int, ended: str) -> Message:
    lost = [number for number in LOST if number <= last]
    told = AgentLedger(
        "lb1",
        SESSION,
        sequence=last + bool(ended),
        captured=last + 3,
        kernel_dropped=3,
        shed=len(lost),
        published=last - len(lost),
        last=last,
        lost=((lost[0], lost[-1]),) if lost else (),
        ended=ended,
    )
    return told.message()


def verdict_on(directory: Path) -> Verdict:
    files = audit.dataset_files([str(directory)])
    return judge([audit.examine(path) for path in files], is_final=True)


def is_complete(directory: Path) -> bool:
    """Whether all is there; the last word may overtake frames that are delivered again."""
    if not any(directory.iterdir()):
        return False
    verdict = verdict_on(directory)
    return not verdict.complaints and [each.state for each in verdict.accounts] == ["stopped"]


def kill_some(
    children: ForkServerContext, broker: BrokerSettings, settings: ProcessorSettings
) -> None:
    chance = random.Random(5)
    for _ in range(KILLS):
        life = lives.random_life(chance, most_work=150, most_seconds=0.01)
        args = (broker, settings, life)
        lives.outlive(children.Process(target=processing.process, args=args, daemon=True))


@pytest.mark.parametrize(("kind", "rows"), [("redis", 0), ("rabbitmq", 700)])
def test_twenty_kills_lose_nothing_and_leave_no_row_twice(
    kind: str,
    rows: int,
    request: pytest.FixtureRequest,
    children: ForkServerContext,
    tmp_path: Path,
) -> None:
    broker = BrokerSettings(url_of(kind, request), unique_queue())
    settings = ProcessorSettings(
        save_after_num=50,
        save_after_seconds=0.2,
        dir=tmp_path,
        output=None if rows else tmp_path / "rows.csv",
        rotate_after_rows=rows,
    )
    flow.publish(broker, agents_messages())
    kill_some(children, broker, settings)
    stop = threading.Event()
    last = threading.Thread(target=processing.process, args=(broker, settings, None, stop))
    last.start()
    try:
        servers.wait_until(lambda: is_complete(tmp_path), "all frames", seconds=60, step=0.2)
    finally:
        stop.set()
        last.join()
    verdict = verdict_on(tmp_path)
    assert list(verdict.complaints) == []
    [account] = verdict.accounts
    assert (account.state, account.frames, account.kernel_dropped) == ("stopped", FRAMES, 3)
    assert (account.rows, account.rejected, account.shed) == (FRAMES - len(LOST) - 1, 1, len(LOST))
    assert len(flow.rejected(broker)) >= 1


@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
def test_a_message_that_ends_its_processors_is_set_aside_alone_and_in_the_ledger(
    kind: str, request: pytest.FixtureRequest, children: ForkServerContext, tmp_path: Path
) -> None:
    broker = BrokerSettings(url_of(kind, request), unique_queue())
    settings = ProcessorSettings(save_after_num=20, save_after_seconds=0.1, dir=tmp_path)
    frames = [
        message.encode({"frame": {"number": number}}, source="lb1", session=SESSION)
        for number in range(1, 61)
    ]
    frames[29] = Message(processing.DEADLY, JSON_TYPE, message.headers_of("lb1", SESSION, 30, 1))
    told = AgentLedger("lb1", SESSION, 1, captured=60, published=60, last=60, ended="stopped")
    flow.publish(broker, [*frames, told.message()])
    deaths = 0
    while not is_complete(tmp_path):
        args = (broker, settings)
        child = children.Process(target=processing.process_until_dead, args=args, daemon=True)
        child.start()
        try:
            servers.wait_until(partial(ended_or_done, child, tmp_path), "an end")
            deaths += child.exitcode is not None
        finally:
            child.kill()
            child.join()
    assert deaths == 6
    [account] = verdict_on(tmp_path).accounts
    assert (account.frames, account.rows, account.rejected) == (60, 59, 1)
    [(body, _, headers)] = flow.rejected(broker)
    assert (body, headers["first"]) == (processing.DEADLY, 30)
    assert headers["reason"] == "delivered 6 times without an acknowledgement"


def ended_or_done(child: BaseProcess, directory: Path) -> bool:
    return not child.is_alive() or is_complete(directory)
