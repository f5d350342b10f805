"""network-pipeline rejected, on Redis and on RabbitMQ, as a person uses it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from network_pipeline.broker import topology
from network_pipeline.broker.publisher import Publisher
from network_pipeline.message import Message
from network_pipeline.scripts import main
from network_pipeline.settings import BrokerSettings
from tests.broker import flow
from tests.broker.conftest import unique_queue, url_of

ID = {"redis": r"\d{13}-\d+", "rabbitmq": "[0-9a-f]{12}"}
SESSION = "0b8f7c1e-5d35-4b4c-9f39-0f5c1d7ad001"


@pytest.fixture(params=["redis", "rabbitmq"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def settings(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BrokerSettings]:
    """A queue of its own, that the command finds by its variables."""
    made = BrokerSettings(url_of(kind, request), unique_queue())
    monkeypatch.setenv("FORWARD_BROKER_URL", made.url)
    monkeypatch.setenv("FORWARD_QUEUE", made.queue)
    yield made
    topology.delete_queues(made)


def body(number: int) -> bytes:
    return b"\x00\xff" + str(number).encode()


def set_aside(settings: BrokerSettings, count: int) -> None:
    """Let a consumer reject messages 0 to ``count``."""
    sent = [
        Message(body(number), "text/x-other", {"source": "agent", "session": SESSION, "count": 3})
        for number in range(count)
    ]
    flow.publish(settings, sent)
    with flow.consuming(settings, prefetch=count) as consumer:
        for delivery in flow.receive(consumer, count, ack=False):
            consumer.reject(delivery, f"not JSON, no. {delivery.body[2:].decode()}")


def run(*arguments: str) -> int:
    return main.main(["rejected", *arguments])


def listed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the ids that ``list`` prints."""
    assert run("list", "--limit", "1000") == 0
    return [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]]


def bodies(settings: BrokerSettings) -> list[bytes]:
    return [each[0] for each in flow.rejected(settings)]


def test_a_line_for_each(
    kind: str, settings: BrokerSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    set_aside(settings, 50)
    for limit in ("3", "50"):
        assert run("list", "--limit", limit) == 0
        shown = capsys.readouterr()
        title, *lines = shown.out.splitlines()
        assert title.split() == [
            "ID", "WHEN", "FRAMES", "BYTES", "SOURCE", "SESSION", "CONTENT", "TYPE", "REASON",
        ]  # fmt: skip
        assert shown.err == f"{limit} of 50 messages\n"
        assert len(lines) == int(limit)
        for number, line in enumerate(lines):
            size = len(body(number))
            assert re.fullmatch(
                rf"{ID[kind]} +\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\dZ +3 +{size} +agent +{SESSION} +"
                rf"text/x-other +not JSON, no. {number}",
                line,
            )


def test_looking_changes_nothing(
    settings: BrokerSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    set_aside(settings, 150)
    first = listed(capsys)
    assert len(set(first)) == 150
    for _ in range(25):
        assert run("list", "--limit", "5") == 0
    capsys.readouterr()
    assert listed(capsys) == first
    assert bodies(settings) == [body(number) for number in range(150)]


def test_show_prints_headers_and_the_body_only_when_asked(
    settings: BrokerSettings, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    set_aside(settings, 3)
    assert run("list") == 0
    identity = capfdbinary.readouterr().out.splitlines()[2].split()[0].decode()
    assert run("show", identity) == 0
    shown = capfdbinary.readouterr().out.decode().splitlines()
    assert shown[0] == f"id: {identity}"
    assert shown[2:5] == ["reason: not JSON, no. 1", "content type: text/x-other", "bytes: 3"]
    assert {"header count: 3", "header source: agent", f"header session: {SESSION}"} <= {*shown}
    assert run("show", identity, "--body") == 0
    assert capfdbinary.readouterr().out == body(1)


def test_one_goes_back_to_the_queue_as_it_was(
    settings: BrokerSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    set_aside(settings, 5)
    ids = listed(capsys)
    assert run("requeue", ids[3], ids[1]) == 0
    assert capsys.readouterr().out == "2 messages are in the queue again\n"
    with flow.consuming(settings) as consumer:
        got = flow.receive(consumer, 2)
    assert [(each.body, each.content_type, dict(each.headers)) for each in got] == [
        (body(number), "text/x-other", {"source": "agent", "session": SESSION, "count": 3})
        for number in (1, 3)
    ]
    assert listed(capsys) == [ids[0], ids[2], ids[4]]


def test_all_go_back_in_order(settings: BrokerSettings, capsys: pytest.CaptureFixture[str]) -> None:
    set_aside(settings, 100)
    assert run("requeue", "--all") == 0
    assert capsys.readouterr().out == "100 messages are in the queue again\n"
    assert bodies(settings) == []
    with flow.consuming(settings) as consumer:
        got = flow.receive(consumer, 100)
    assert [each.body for each in got] == [body(number) for number in range(100)]


def test_dropping(settings: BrokerSettings, capsys: pytest.CaptureFixture[str]) -> None:
    set_aside(settings, 45)
    ids = listed(capsys)
    assert run("drop", ids[0]) == 2
    assert "drop 1 messages for good? Say --yes" in capsys.readouterr().err
    assert run("drop", ids[0], ids[44], "--yes") == 0
    assert capsys.readouterr().out == "2 messages dropped\n"
    assert listed(capsys) == ids[1:44]
    assert run("drop", "--all", "--yes") == 0
    assert capsys.readouterr().out == "43 messages dropped\n"
    assert bodies(settings) == []


def test_a_question_is_asked_on_a_terminal(
    settings: BrokerSettings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_aside(settings, 2)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    questions: list[str] = []
    answers = iter(["", "y"])

    def answer(question: str) -> str:
        questions.append(question)
        return next(answers)

    monkeypatch.setattr("builtins.input", answer)
    assert run("drop", "--all") == 1
    assert run("drop", "--all") == 0
    shown = capsys.readouterr()
    assert questions == ["drop 2 messages for good? [y/N] "] * 2
    assert "nothing was dropped" in shown.err
    assert shown.out == "2 messages dropped\n"


def test_what_is_not_there_and_what_was_not_said(
    settings: BrokerSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    set_aside(settings, 3)
    ids = listed(capsys)
    for arguments, text in (
        (["show", "1-1"], "no such rejected message: 1-1"),
        (["requeue", "1-1", ids[2]], "no such rejected message: 1-1"),
        (["requeue"], "say --all"),
        (["drop", "--all", ids[0]], "say --all"),
    ):
        assert run(*arguments) == 2
        assert text in capsys.readouterr().err
    assert listed(capsys) == ids[:2]


def test_an_empty_queue(settings: BrokerSettings, capsys: pytest.CaptureFixture[str]) -> None:
    publisher = Publisher(settings, flow.counters())
    publisher.start()
    publisher.stop(1)
    assert run("list") == 0
    assert capsys.readouterr().err == "0 of 0 messages\n"
    assert run("requeue", "--all") == 0
    assert capsys.readouterr().out == "0 messages are in the queue again\n"


def test_headers_cannot_steer_the_terminal(
    settings: BrokerSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    flow.publish(settings, [Message(b"", "text/x-\x1b[2J", {"source": "\x1b]0;title\x07"})])
    with flow.consuming(settings) as consumer:
        consumer.reject(flow.receive(consumer, 1, ack=False)[0], "a\nb")
    [identity] = listed(capsys)
    run("show", identity)
    assert not set("\x1b\x07") & set(capsys.readouterr().out)


def test_memory_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("list", "--broker", "memory://") == 2
    assert "only Redis and RabbitMQ" in capsys.readouterr().err
