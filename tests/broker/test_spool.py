"""The spool under publishers: brokers that are away, kills, full and damaged disks, neighbours."""

from __future__ import annotations

import itertools
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from network_pipeline.broker import buffer, link, publisher, topology
from network_pipeline.broker.spool import Spool
from network_pipeline.broker.spool_directory import SpoolDirectory
from network_pipeline.broker.spool_file import Spooled
from network_pipeline.errors import BrokerRefused, BrokerUnreachable, UsageError
from network_pipeline.losses import Losses
from network_pipeline.message import Message
from network_pipeline.metrics import Counters
from network_pipeline.settings import BrokerSettings
from tests import servers
from tests.broker import flow
from tests.broker.conftest import unique_queue
from tests.broker.spooling import COUNTS, Agent, files, limits
from tests.dataset import tmpfs


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody answers at some of the addresses here, and other runs are looked for at once."""
    monkeypatch.setattr(link, "_START_SECONDS", 0.2)
    monkeypatch.setattr(buffer, "ADOPT_SECONDS", 0.5)


@pytest.fixture
def away() -> BrokerSettings:
    """A broker that does not run."""
    [port] = servers.free_ports(1)
    return BrokerSettings(f"redis://localhost:{port}/0", unique_queue())


@pytest.fixture
def late(tmp_path: Path) -> Iterator[servers.RedisServer]:
    """A Redis that is not started yet."""
    redis = servers.RedisServer(servers.redis_binary(), tmp_path / "redis")
    yield redis
    redis.stop()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def arrived(settings: BrokerSettings) -> list[int]:
    """Return the numbers in the queue, in order, and empty it."""
    with flow.consuming(settings, prefetch=1000) as consumer:
        return flow.receive_all(consumer, settings)


def without_repeats(numbers: list[int]) -> list[int]:
    return list(dict.fromkeys(numbers))


# -- the broker is away


def test_what_waits_is_sent_in_order_once_the_broker_is_there(
    late: servers.RedisServer, place: Path
) -> None:
    settings = BrokerSettings(late.url, unique_queue())
    agent = Agent(settings, limits(place)).start()
    agent.give(range(5000))
    agent.await_spooled(5000)
    [path] = files(place)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    agent.give(range(5000, 5010))
    late.start()
    agent.await_published(5010)
    assert agent.stop() == {"published": 5010}
    assert without_repeats(arrived(settings)) == list(range(5010))
    assert files(place) == []


def test_without_a_spool_an_agent_does_not_start_without_its_broker(
    away: BrokerSettings, place: Path
) -> None:
    agent = Agent(away, limits(place, max_bytes=0))
    with flow.expect(BrokerUnreachable, "no broker answers"):
        agent.start()
    assert not place.exists()


def test_a_stop_without_the_broker_leaves_everything_to_the_next_run(
    late: servers.RedisServer, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = BrokerSettings(late.url, unique_queue())
    first = Agent(settings, limits(place)).start()
    first.give(range(300))
    assert first.stop() == {"spooled": 300}
    assert f"300 frames wait in {files(place)[0]}" in caplog.text
    second = Agent(settings, limits(place)).start()
    second.give(range(300, 400))
    assert second.stop() == {"spooled": 100}
    late.start()
    third = Agent(settings, limits(place)).start()
    third.give(range(400, 450))
    third.await_published(50)
    assert third.stop() == {"published": 50, "adopted": 400}
    assert arrived(settings) == list(range(450))
    assert files(place) == []


def test_a_broker_that_restarts_under_load_gets_everything(
    server: servers.Server, faulty: BrokerSettings, place: Path
) -> None:
    agent = Agent(faulty, limits(place)).start()
    agent.give(range(1000))
    agent.await_published(1000)
    server.kill()
    agent.give(range(1000, 3000))
    agent.await_spooled(2000)
    server.start()
    agent.give(range(3000, 4000))
    agent.await_published(4000)
    assert agent.stop() == {"published": 4000}
    assert without_repeats(arrived(faulty)) == list(range(4000))
    assert files(place) == []


def test_the_spool_takes_over_from_a_frozen_broker(
    server: servers.Server, faulty: BrokerSettings, place: Path
) -> None:
    agent = Agent(faulty, limits(place), buffer_messages=400).start()
    agent.give(range(100))
    agent.await_published(100)
    server.freeze()
    for start in range(100, 2100, 100):
        agent.give(range(start, start + 100))
        servers.wait_until(lambda: agent.publisher.waiting() <= 200, "memory on disk")
    agent.await_spooled(2000)
    server.thaw()
    agent.await_published(2100)
    assert agent.stop() == {"published": 2100}
    assert set(arrived(faulty)) == set(range(2100))


def test_a_message_without_frames_waits_like_any_other(
    late: servers.RedisServer, place: Path
) -> None:
    settings = BrokerSettings(late.url, unique_queue())
    agent = Agent(settings, limits(place)).start()
    agent.give([1, 2])
    agent.publisher.publish(Message(b"00000003", "application/json", {"first": 0, "count": 0}))
    assert agent.stop() == {"spooled": 2}
    late.start()
    again = Agent(settings, limits(place)).start()
    servers.wait_until(lambda: files(place) == [], "all sent")
    assert again.stop() == {"adopted": 2}
    assert arrived(settings) == [1, 2, 3]


# -- a start


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_start_does_not_wait_for_a_broker_that_says_nothing(
    scheme: str, place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(topology, "ANSWER_SECONDS", 3600.0)
    with servers.silent_port() as port:
        settings = BrokerSettings(f"{scheme}://localhost:{port}/0", unique_queue())
        agent = Agent(settings, limits(place)).start()
        agent.give(range(300))
        agent.await_spooled(300)
        # It is still being asked; what other tests left behind may say so of theirs.
        assert f"localhost:{port}" not in caplog.text
        assert agent.stop(0.1) == {"spooled": 300}


def test_a_refusal_ends_a_start_with_a_spool(
    server: servers.Server, faulty: BrokerSettings, place: Path
) -> None:
    with flow.expect(BrokerRefused, "password"):
        Agent(wrong_password(faulty), limits(place)).start()
    assert Agent(faulty, limits(place)).start().stop() == {}


def test_a_late_refusal_is_told_and_nothing_is_lost(
    server: servers.Server,
    faulty: BrokerSettings,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(publisher, "_START_SECONDS", 0.1)
    server.freeze()
    agent = Agent(wrong_password(faulty), limits(place)).start()
    agent.publisher.check()
    agent.give(range(10))
    server.thaw()
    with flow.expect(BrokerRefused, "password"):
        servers.wait_until(partial(checked, agent), "a refusal")
    assert not agent.publisher.drain(flow.PATIENCE_SECONDS)
    assert agent.stop() == {"spooled": 10}


def checked(agent: Agent) -> bool:
    agent.publisher.check()
    return False


def wrong_password(settings: BrokerSettings) -> BrokerSettings:
    scheme, port = settings.url.partition(":")[0], settings.endpoints[0][1]
    return replace(settings, url=f"{scheme}://ana:secret@localhost:{port}/0")


# -- kills


def test_a_killed_agent_loses_nothing_that_was_spooled(
    late: servers.RedisServer, place: Path
) -> None:
    settings = BrokerSettings(late.url, unique_queue())
    command = [sys.executable, "-m", "tests.broker.spooling", settings.url, settings.queue]
    with subprocess.Popen([*command, str(place), "3000"], stdout=subprocess.PIPE) as child:
        assert child.stdout
        assert child.stdout.readline() == b"spooled\n"
        idle = Agent(settings, limits(place)).start()
        assert idle.stop() == {}  # what belongs to a living run is left alone
        child.kill()
    late.start()
    agent = Agent(settings, limits(place)).start()
    servers.wait_until(lambda: agent.counts["adopted"] == 3000, "all adopted")
    assert agent.stop() == {"adopted": 3000}
    assert arrived(settings) == list(range(3000))
    assert files(place) == []


def test_two_living_agents_share_a_directory_and_adopt_once(
    redis_server: servers.RedisServer, place: Path
) -> None:
    settings = BrokerSettings(redis_server.url, unique_queue())
    agents = [Agent(settings, limits(place)).start() for _ in range(2)]
    left = abandoned(settings, place, range(500))
    assert files(place) == [left]
    counts = [agent.counts for agent in agents]
    servers.wait_until(lambda: sum(each["adopted"] for each in counts) == 500, "adopted")
    for number, agent in enumerate(agents):
        agent.give([1000 + number])
    assert sum(agent.stop().get("adopted", 0) for agent in agents) == 500
    assert sorted(arrived(settings)) == [*range(500), 1000, 1001]
    assert files(place) == []


def abandoned(settings: BrokerSettings, place: Path, numbers: range) -> Path:
    """Leave a file as a run that ended without its broker does."""
    directory = SpoolDirectory(settings, limits(place))
    directory.open()
    file = directory.create()
    assert file.append([Spooled(n + 1, 1, flow.message(n, 200)) for n in numbers], 2**30)
    path = file.path
    file.close()
    directory.close()
    return path


def test_what_is_for_another_queue_stays(
    redis_server: servers.RedisServer, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    left = abandoned(BrokerSettings(redis_server.url, unique_queue()), place, range(10))
    agent = Agent(BrokerSettings(redis_server.url, unique_queue()), limits(place)).start()
    assert agent.stop() == {}
    assert files(place) == [left]
    assert "1 files in" in caplog.text


# -- limits


@pytest.mark.parametrize("keep", ["oldest", "newest"])
def test_a_full_spool_sheds_the_others_and_names_them(
    late: servers.RedisServer, place: Path, keep: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = BrokerSettings(late.url, unique_queue())
    agent = Agent(settings, limits(place, 400_000, keep), buffer_messages=200).start()
    for start in range(0, 3000, 100):
        agent.give(range(start, start + 100), size=1000)
        servers.wait_until(
            lambda: agent.publisher.waiting() <= 100 or "takes no more" in caplog.text, "room"
        )
    assert files(place)[0].stat().st_size <= 400_000
    counts = agent.stop(0.5)
    assert counts["shed"] > 1500
    assert counts["spooled"] + counts["shed"] == 3000
    late.start()
    again = Agent(settings, limits(place)).start()
    servers.wait_until(lambda: again.counts["adopted"] == counts["spooled"], "adopted")
    again.stop()
    kept = arrived(settings)
    assert kept == sorted(set(kept))
    lost = {n for first, last in agent.publisher.losses.pairs() for n in range(first, last + 1)}
    assert sorted([*kept, *lost]) == list(range(3000))
    if keep == "oldest":
        assert kept == list(range(len(kept)))
    else:  # but for those that were on their way
        newest = kept[link.WINDOW :]
        assert newest == list(range(3000 - len(newest), 3000))


def test_what_was_read_to_be_sent_is_not_shed_for_newer_ones(
    away: BrokerSettings, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in the moment in which the sender has just read it, and the spooler stores."""
    counts = Counters(*COUNTS)
    spool = Spool(away, limits(place, 100_000, keep="newest"), counts)
    spool.open()
    numbers = itertools.count(1)

    def store() -> None:
        ids = itertools.islice(numbers, 30)
        spool.store([Spooled(each, 1, flow.message(each, 1000)) for each in ids])

    while not spool.losses.pairs():
        store()
    file = spool.oldest()
    assert file
    read = file.read

    def read_just_before_the_spooler_stores(most: int, most_bytes: int) -> list[Spooled]:
        found = read(most, most_bytes)
        store()
        return found

    monkeypatch.setattr(file, "read", read_just_before_the_spooler_stores)
    found = spool.read(file, 10, 2**20)
    spool.remove(file, found)
    sent = {each.id for each in found}
    shed = {n for first, last in spool.losses.pairs() for n in range(first, last + 1)}
    assert (len(sent), sent & shed) == (10, set())
    assert counts["shed"] == len(shed)
    assert counts["spooled"] == next(numbers) - 1 - len(shed | sent) == file.messages
    spool.close()


def test_what_others_keep_in_the_directory_counts(
    away: BrokerSettings, late: servers.RedisServer, place: Path
) -> None:
    left = abandoned(BrokerSettings(late.url, "other"), place, range(1000))
    agent = Agent(away, limits(place, left.stat().st_size)).start()
    agent.give(range(100))
    assert agent.stop(0.5) == {"shed": 100}


def test_a_stop_with_a_full_spool_waits_for_its_broker(
    late: servers.RedisServer, place: Path
) -> None:
    settings = BrokerSettings(late.url, unique_queue())
    agent = Agent(settings, limits(place, 1)).start()
    agent.give(range(100))
    stopping = threading.Thread(target=agent.stop)
    stopping.start()
    late.start()
    stopping.join()
    assert agent.stop() == {"published": 100}
    assert arrived(settings) == list(range(100))


def test_a_stop_with_a_full_spool_waits_for_room_on_disk(
    away: BrokerSettings, tmp_path: Path
) -> None:
    with tmpfs.mounted(tmp_path / "small", 1024) as place:
        agent = Agent(away, limits(place)).start()
        ballast = tmpfs.fill(place)
        agent.give(range(100))
        threading.Timer(0.5, ballast.unlink).start()
        assert agent.stop() == {"spooled": 100}


def test_a_full_disk_sheds_and_goes_on_when_there_is_room(
    late: servers.RedisServer, tmp_path: Path
) -> None:
    settings = BrokerSettings(late.url, unique_queue())
    with tmpfs.mounted(tmp_path / "small", 1024) as place:
        agent = Agent(settings, limits(place), buffer_messages=500).start()
        ballast = tmpfs.fill(place)
        agent.give(range(800))
        assert agent.counts.snapshot()["shed"] == 300
        servers.wait_until(lambda: agent.publisher.waiting() == 500, "a full memory")
        ballast.unlink()
        agent.await_spooled(500)
        agent.give(range(800, 1000))
        agent.await_spooled(700)
        tmpfs.fill(place)
        late.start()
        agent.await_published(700)
        assert agent.stop() == {"published": 700, "shed": 300}
        assert agent.publisher.losses.pairs() == [(500, 799)]
        assert files(place) == []
    assert without_repeats(arrived(settings)) == [*range(500), *range(800, 1000)]


def test_a_queue_that_is_full_enough_is_spared(
    server: servers.Server, faulty: BrokerSettings, place: Path
) -> None:
    agent = Agent(faulty, limits(place, queue_max_messages=150)).start()
    agent.give(range(1000))
    agent.await_spooled(850)
    assert agent.counts.snapshot()["published"] == 150
    assert flow.left(faulty) == 150
    with flow.consuming(faulty) as consumer:
        got = flow.receive_numbers(consumer, set(range(1000)))
    agent.await_published(1000)
    assert agent.stop() == {"published": 1000}
    assert sorted(got) == list(range(1000))


@pytest.mark.parametrize("most", [0, 1000])
def test_a_limit_of_less_than_a_message_is_one_message(
    redis_server: servers.RedisServer, place: Path, most: int
) -> None:
    settings = BrokerSettings(redis_server.url, unique_queue())
    how = limits(place, queue_max_messages=most, queue_max_bytes=100)
    agent = Agent(settings, how).start()
    agent.give(range(3), size=200)
    agent.await_spooled(2)
    assert flow.left(settings) == agent.counts["published"] == 1
    with flow.consuming(settings) as consumer:
        got = flow.receive_numbers(consumer, {0, 1, 2})
    agent.await_published(3)
    assert agent.stop() == {"published": 3}
    assert got == [0, 1, 2]


# -- damage


def test_a_tail_that_was_cut_off_is_missed_by_count(
    redis_server: servers.RedisServer, place: Path
) -> None:
    settings = BrokerSettings(redis_server.url, unique_queue())
    path = abandoned(settings, place, range(2000))
    os.truncate(path, path.stat().st_size // 2 // 4096 * 4096)
    agent = Agent(settings, limits(place)).start()
    servers.wait_until(lambda: agent.counts["damaged"] > 0, "the damage")
    counts = agent.stop()
    got = arrived(settings)
    assert got == list(range(len(got)))
    assert 900 < len(got) < 1100
    assert counts == {"adopted": len(got), "damaged": 2000 - len(got)}
    assert files(place) == []
    assert path.with_suffix(".damaged").exists()


def test_a_file_that_is_no_spool_is_set_aside(
    redis_server: servers.RedisServer, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = BrokerSettings(redis_server.url, unique_queue())
    path = abandoned(settings, place, range(10))
    path.write_bytes(b"no database" * 1000)
    agent = Agent(settings, limits(place)).start()
    agent.give([1])
    agent.await_published(1)
    assert agent.stop() == {"published": 1}
    assert path.with_suffix(".damaged").read_bytes() == b"no database" * 1000
    assert "cannot be read" in caplog.text


def test_a_message_without_headers_ends_nothing(
    redis_server: servers.RedisServer, place: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = BrokerSettings(redis_server.url, unique_queue())
    path = abandoned(settings, place, range(10))
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE messages SET headers = '[1]' WHERE id = 4")
    connection.close()
    agent = Agent(settings, limits(place)).start()
    servers.wait_until(lambda: agent.counts["damaged"] == 7, "the damage")
    agent.give([1])
    agent.await_published(1)
    assert agent.stop() == {"adopted": 3, "damaged": 7, "published": 1}
    assert "the spool is damaged: 7 frames" in caplog.text
    assert path.with_suffix(".damaged").exists()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("DELETE FROM tally", "its tally says"),
        ("UPDATE tally SET frames = NULL", "its tally says"),
        ("UPDATE tally SET messages = -10", "its tally says"),
        ("ALTER TABLE tally RENAME TO tallx", "no such table"),
    ],
)
def test_a_file_whose_tally_is_damaged_is_set_aside(
    away: BrokerSettings, place: Path, damage: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = abandoned(away, place, range(10))
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(damage)
    connection.close()
    agent = Agent(away, limits(place)).start()
    agent.give(range(3))
    assert agent.stop() == {"spooled": 3}
    [own] = files(place)
    assert own != path
    assert path.with_suffix(".damaged").exists()
    assert reason in caplog.text


def test_a_file_whose_run_ended_as_it_was_made_goes(
    redis_server: servers.RedisServer, place: Path
) -> None:
    settings = BrokerSettings(redis_server.url, unique_queue())
    path = abandoned(settings, place, range(10))
    path.write_bytes(b"")
    agent = Agent(settings, limits(place)).start()
    assert agent.stop() == {}
    assert files(place) == []


def test_a_directory_that_cannot_be_used(away: BrokerSettings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with flow.expect(UsageError, "no spool in", "--spool-dir"):
        Agent(away, limits(tmp_path / "file" / "spool")).start()


def test_losses_are_bounded() -> None:
    losses = Losses(max_ranges=4)
    for number in range(1, 11, 2):
        losses.add(flow.message(number))
    assert losses.pairs() == [(7, 7), (9, 9)]
    assert losses.is_incomplete
