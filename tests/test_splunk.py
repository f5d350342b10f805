from __future__ import annotations

import json
import logging
import multiprocessing
import os
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from network_pipeline import logs, splunk
from network_pipeline.errors import UsageError
from network_pipeline.settings import SplunkSettings
from tests import logging_state
from tests.collector import TOKEN, Collector, collecting
from tests.servers import Certificates, free_ports, wait_until

COLLECTOR = "/services/collector"
TOKEN_LISTING = "/servicesNS/admin/splunk_httpinput/data/inputs/http"

log = logging.getLogger("network_pipeline.tests")


@pytest.fixture(autouse=True)
def _logging_kept() -> Iterator[None]:
    with logging_state.kept():
        yield


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, certificates: Certificates) -> None:
    monkeypatch.setattr(splunk, "RETRY_WAITS", (0.01, 0.01, 0.01))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.authority))
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def collector(certificates: Certificates) -> Iterator[Collector]:
    with collecting(certificates) as running:
        yield running


def settings_for(address: str) -> SplunkSettings:
    return SplunkSettings(
        address=address,
        token=TOKEN,
        user="",
        password="",
        api_address=address,
        index="",
        sourcetype="json",
        verify=True,
    )


def begun(settings: SplunkSettings) -> splunk.SplunkQueue:
    """Set logging up; return the handler that queues for Splunk."""
    logs.setup(None, settings, name="packets-redis")
    (found,) = (h for h in logging.root.handlers if isinstance(h, splunk.SplunkQueue))
    return found


def hanging(collector: Collector, text: str) -> splunk.SplunkQueue:
    """Set logging up and say something, which is answered once the gate is open."""
    queue = begun(settings_for(collector.address))
    collector.gate.clear()
    log.info(text)
    assert collector.asked.wait(20)
    return queue


def counts(queue: splunk.SplunkQueue) -> dict[str, int]:
    return {name: count for name, count in queue.counters.snapshot().items() if count}


def test_records_arrive_as_events(collector: Collector) -> None:
    queue = begun(replace(settings_for(collector.address), index="network"))
    log.info("wrote %d rows to %s", 100, "a.csv")
    log.debug("not this one")
    try:
        raise ValueError("no such thing")
    except ValueError:
        log.exception("failed at amqp://guest:hunter2@localhost//")
    logs.shutdown()
    assert counts(queue) == {"queued": 2, "sent": 2}
    assert set(collector.requests) == {(COLLECTOR, f"Splunk {TOKEN}")}
    first, second = collector.envelopes
    event = json.loads(first.pop("event"))
    assert event["message"] == "wrote 100 rows to a.csv"
    assert event["logger_name"] == "network_pipeline.tests"
    assert event["time"] == first.pop("time")
    assert first == {
        "host": socket.gethostname(),
        "source": "packets-redis",
        "sourcetype": "json",
        "index": "network",
    }
    assert second["index"] == "network"
    message = json.loads(second["event"])["message"]
    assert message.startswith("failed at amqp://guest:***@localhost//\nTraceback")
    assert message.endswith("ValueError: no such thing")


def test_nothing_is_lost_in_a_burst_and_few_requests_carry_it(collector: Collector) -> None:
    queue = hanging(collector, "first")
    for number in range(1000):
        log.info("record %d", number)
    collector.gate.set()
    logs.shutdown()
    assert collector.messages == ["first", *(f"record {number}" for number in range(1000))]
    assert counts(queue) == {"queued": 1001, "sent": 1001}
    assert len(collector.requests) == 1 + 1000 // splunk.MAX_BATCH


def test_what_is_said_before_sending_begins_is_kept(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splunk, "MAX_QUEUED", 2)
    threads = threading.active_count()
    logs.setup(None, settings_for(collector.address), name="network-agent", sends_later=True)
    (queue,) = (h for h in logging.root.handlers if isinstance(h, splunk.SplunkQueue))
    for number in range(3):
        log.info("record %d", number)
    assert threading.active_count() == threads
    assert counts(queue) == {"queued": 2, "dropped": 1}
    logs.begin_to_send()
    wait_until(lambda: queue.counters["sent"] == 2, "the records to arrive")
    log.info("behind")
    logs.begin_to_send()  # as often as one likes
    logs.shutdown()
    assert collector.messages == ["record 0", "record 1", "behind"]
    assert counts(queue) == {"queued": 3, "dropped": 1, "sent": 3}


def test_a_command_that_ends_before_sending_begins_sends_what_it_said(collector: Collector) -> None:
    logs.setup(None, settings_for(collector.address), name="network-agent", sends_later=True)
    log.info("no such device")
    logs.shutdown()
    assert collector.messages == ["no such device"]


def test_a_child_sends_nothing_of_its_parent_s(collector: Collector) -> None:
    logs.setup(None, settings_for(collector.address), name="network-agent", sends_later=True)
    log.info("parent")
    pid = os.fork()
    if pid == 0:
        try:
            logs.go_on_in_child()
            log.info("child")
            logs.shutdown()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    logs.shutdown()
    assert collector.messages == ["child", "parent"]


def test_nothing_is_posted_while_a_child_is_forked(collector: Collector) -> None:
    queue = begun(settings_for(collector.address))
    with logs.forking():
        log.info("waits")
        assert not collector.asked.wait(0.5)
    assert collector.asked.wait(20)
    logs.shutdown()
    assert counts(queue) == {"queued": 1, "sent": 1}


def test_a_post_that_hangs_does_not_keep_a_fork_waiting(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splunk, "PAUSE_SECONDS", 0.05)
    queue = hanging(collector, "hangs")
    with logs.forking():
        collector.gate.set()
        wait_until(lambda: queue.counters["sent"] == 1, "the post that was under way")
    logs.shutdown()
    assert collector.messages == ["hangs"]


def test_logging_goes_on_while_splunk_is_slow_and_overflow_is_counted(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(splunk, "MAX_QUEUED", 10)
    queue = hanging(collector, "first")
    for number in range(50):
        log.info("record %d", number)
    assert counts(queue) == {"queued": 11, "dropped": 40}
    collector.gate.set()
    logs.shutdown()
    assert collector.messages == ["first", *(f"record {number}" for number in range(10))]
    assert counts(queue) == {"queued": 11, "dropped": 40, "sent": 11}
    assert "40 log records did not reach Splunk" in capsys.readouterr().err


def test_shutting_down_does_not_wait_for_a_server_that_hangs(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(splunk, "FLUSH_SECONDS", 0.1)
    queue = hanging(collector, "lost")
    log.info("lost as well")
    logs.shutdown()
    assert counts(queue) == {"queued": 2, "unsent": 2}
    assert "2 log records did not reach Splunk" in capsys.readouterr().err


def test_a_full_queue_does_not_keep_the_end_waiting(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splunk, "MAX_QUEUED", 1)
    monkeypatch.setattr(splunk, "FLUSH_SECONDS", 0.1)
    queue = hanging(collector, "in hand")
    log.info("in the queue")
    logs.shutdown()
    assert counts(queue) == {"queued": 2, "unsent": 2}


def test_splunk_down(capsys: pytest.CaptureFixture[str]) -> None:
    (port,) = free_ports(1)
    queue = begun(settings_for(f"localhost:{port}"))
    log.info("lost")
    wait_until(lambda: queue.counters["failed"] == 1, "the record to be given up")
    log.info("lost as well")
    logs.shutdown()
    assert counts(queue) == {"queued": 2, "failed": 2}
    said = capsys.readouterr().err
    assert said.count(f"Splunk at localhost:{port} takes no logs") == 1
    assert "2 log records did not reach Splunk" in said
    assert TOKEN not in said


def test_a_busy_splunk_is_asked_again(collector: Collector) -> None:
    collector.statuses = [503, 429]
    queue = begun(settings_for(collector.address))
    log.info("patience")
    wait_until(lambda: queue.counters["sent"] == 1, "the record to arrive")
    assert collector.messages == ["patience"]
    assert len(collector.requests) == 3
    assert counts(queue) == {"queued": 1, "sent": 1}


def test_a_splunk_that_stays_busy_is_given_up_for_that_batch(
    collector: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    collector.statuses = [503] * 4
    queue = begun(settings_for(collector.address))
    log.info("lost")
    wait_until(lambda: queue.counters["failed"] == 1, "the record to be given up")
    log.info("next")
    logs.shutdown()
    assert collector.messages == ["next"]
    assert counts(queue) == {"queued": 2, "failed": 1, "sent": 1}
    assert "takes no logs: it answers 503" in capsys.readouterr().err


@pytest.mark.parametrize("status", [204, 304, 400, 401, 403, 404])
def test_a_refusal_is_not_asked_again(
    collector: Collector, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    collector.statuses = [status] * 10
    queue = begun(settings_for(collector.address))
    log.info("refused")
    wait_until(lambda: queue.counters["failed"] == 1, "the record to be given up")
    logs.shutdown()
    assert len(collector.requests) == 1
    said = capsys.readouterr().err
    assert f"takes no logs: it answers {status}" in said
    assert TOKEN not in said


def test_the_token_follows_no_redirect(collector: Collector) -> None:
    collector.statuses = [302] * 10
    queue = begun(settings_for(collector.address))
    log.info("lost")
    wait_until(lambda: queue.counters["failed"] == 1, "the record to be given up")
    assert {path for path, _ in collector.requests} == {COLLECTOR}


def test_user_and_password_find_the_token(collector: Collector) -> None:
    settings = replace(settings_for(collector.address), token="", user="trex", password="123321")
    queue = begun(settings)
    log.info("one")
    wait_until(lambda: queue.counters["sent"] == 1, "the record to arrive")
    collector.statuses = [403]
    log.info("refused, and the token is looked up anew")
    wait_until(lambda: queue.counters["failed"] == 1, "the record to be given up")
    log.info("two")
    logs.shutdown()
    assert collector.messages == ["one", "two"]
    assert all("index" not in envelope for envelope in collector.envelopes)
    listing = (TOKEN_LISTING, "Basic dHJleDoxMjMzMjE=")
    event = (COLLECTOR, f"Splunk {TOKEN}")
    assert collector.requests == [listing, event, event, listing, event]


@pytest.mark.parametrize("tokens", ["", "<feed/>", "<feed><entry><content/></entry></feed>"])
def test_splunk_that_names_no_token(
    collector: Collector, tokens: str, capsys: pytest.CaptureFixture[str]
) -> None:
    collector.tokens = tokens
    settings = replace(settings_for(collector.address), token="", user="trex", password="123321")
    queue = begun(settings)
    log.info("lost")
    wait_until(lambda: queue.counters["failed"] == 1, "the record to be given up")
    assert collector.requests == [(TOKEN_LISTING, "Basic dHJleDoxMjMzMjE=")]
    said = capsys.readouterr().err
    assert f"{collector.address} names no HTTP Event Collector token" in said
    assert "123321" not in said


def test_a_password_goes_to_no_server_with_another_certificate(
    collector: Collector,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.other_authority))
    for settings in (
        settings_for(collector.address),
        replace(settings_for(collector.address), token="", user="trex", password="123321"),
    ):
        queue = begun(settings)
        log.info("lost")
        logs.shutdown()
        assert counts(queue) == {"queued": 1, "failed": 1}
    assert collector.requests == []
    assert "CERTIFICATE_VERIFY_FAILED" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_certificates_are_not_checked_where_the_user_says_so(
    collector: Collector,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.other_authority))
    settings = replace(settings_for(collector.address), verify=False)
    begun(replace(settings, token="", user="trex", password="123321"))
    log.info("trusting")
    logs.shutdown()
    assert collector.messages[-1:] == ["trusting"]
    assert "SPLUNK_VERIFY=0: anybody between here and Splunk" in capsys.readouterr().err


def test_a_missing_file_of_authorities_ends_nothing(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    queue = begun(settings_for(collector.address))
    log.info("lost")
    logs.shutdown()
    assert counts(queue) == {"queued": 1, "failed": 1}


def test_netrc_does_not_replace_the_token(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login other password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    begun(settings_for(collector.address))
    log.info("mine")
    logs.shutdown()
    assert collector.requests == [(COLLECTOR, f"Splunk {TOKEN}")]


def test_the_sender_does_not_log_about_its_own_logging(
    collector: Collector, tmp_path: Path
) -> None:
    config = json.loads((Path(logs.__file__).parent / "log" / "colors-logging.json").read_text())
    del config["loggers"]["urllib3"]
    file = tmp_path / "debug.json"
    file.write_text(json.dumps(config))
    logs.setup(file, settings_for(collector.address), name="packets-redis")
    assert logging.getLogger("urllib3").isEnabledFor(logging.DEBUG)
    log.debug("only this")
    logs.shutdown()
    assert collector.messages == ["only this"]


def test_no_process_is_started(collector: Collector) -> None:
    begun(settings_for(collector.address))
    log.info("one")
    logs.shutdown()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"address": "splunk"}, "SPLUNK_ADDRESS=splunk: must be host:port"),
        ({"address": "http://splunk:8088"}, "SPLUNK_ADDRESS=http://splunk:8088: must be host:port"),
        ({"api_address": "a@splunk:80"}, "SPLUNK_API_ADDRESS=a@splunk:80: must be host:port"),
        ({"token": "müll"}, "SPLUNK_TOKEN: must be the UUID"),
    ],
)
def test_wrong_settings(change: dict[str, str], expected: str) -> None:
    settings = replace(settings_for("localhost:8088"), **change)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=re.escape(expected)):
        logs.setup(None, settings, name="packets-redis")
