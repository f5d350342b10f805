"""The transport on Redis Streams: leases, take-over, limits, garbage, memory, TLS."""

# mypy: disallow-untyped-calls=False

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from kombu.connection import Connection
from kombu.entity import Exchange, Queue

from network_pipeline.broker import consumer as consumer_module
from network_pipeline.broker import streams, topology
from network_pipeline.broker.backoff import BackOff
from network_pipeline.broker.group import GROUP, Group
from network_pipeline.broker.publisher import Publisher
from network_pipeline.errors import BrokerLost, BrokerRefused, BrokerUnreachable
from network_pipeline.message import Message
from network_pipeline.settings import BrokerSettings
from tests import servers
from tests.broker import flow
from tests.broker.conftest import unique_queue


@pytest.fixture(params=["redis", "valkey"])
def settings(request: pytest.FixtureRequest) -> BrokerSettings:
    url: str = request.getfixturevalue(f"{request.param}_server").url
    return BrokerSettings(url, unique_queue())


@pytest.fixture
def client(settings: BrokerSettings) -> Iterator[Any]:
    """redis-py, as another program would use it."""
    connected = redis.Redis.from_url(settings.url)
    yield connected
    connected.close()


def pending(client: Any, queue: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = client.xpending_range(queue, GROUP, "-", "+", 1000)
    return entries


def test_leases_are_renewed_while_the_caller_is_busy(settings: BrokerSettings) -> None:
    """The caller is silent for three visibility times; the keeper speaks for it."""
    flow.publish(settings, map(flow.message, range(5)))
    with (
        flow.consuming(settings, visibility_seconds=0.5) as busy,
        flow.consuming(settings, visibility_seconds=0.5) as other,
    ):
        held = flow.receive(busy, 5, ack=False)
        assert other.receive(1.6) == []
        busy.ack(held)
        assert other.receive(0.6) == []
    flow.assert_empty(settings)


def test_leases_are_renewed_during_a_long_wait(settings: BrokerSettings) -> None:
    flow.publish(settings, map(flow.message, range(5)))
    with (
        flow.consuming(settings, prefetch=5, visibility_seconds=1.5) as waiting,
        flow.consuming(settings, visibility_seconds=1.5) as other,
    ):
        held = flow.receive(waiting, 5, ack=False)
        thread = threading.Thread(target=waiting.receive, args=(3.5,))
        thread.start()
        assert other.receive(3.0) == []
        thread.join()
        waiting.ack(held)
    flow.assert_empty(settings)


def test_a_silent_consumer_loses_what_it_holds(settings: BrokerSettings, client: Any) -> None:
    """Its acknowledgement, if it comes after all, still counts: the rows are written."""
    flow.publish(settings, map(flow.message, range(5)))
    with flow.consuming(settings, visibility_seconds=60) as silent:
        held = flow.receive(silent, 5, ack=False)
        with flow.consuming(settings, visibility_seconds=0.2) as other:
            taken = flow.receive(other, 5, ack=False)
            assert [each.body for each in taken] == [each.body for each in held]
            assert all(each.redelivered for each in taken)
            silent.ack(held[:2])
            assert len(pending(client, settings.queue)) == 3
            other.ack(taken)
    flow.assert_empty(settings)


def test_each_failed_delivery_halves_what_is_taken_at_once(
    settings: BrokerSettings, client: Any
) -> None:
    """Idle entries whose count says 4 deliveries: a prefetch of 32 takes 32 >> 3 of them."""
    flow.publish(settings, map(flow.message, range(32)))
    with flow.consuming(settings, prefetch=32) as first:
        flow.receive(first, 32, ack=False)
    ids = [each["message_id"] for each in pending(client, settings.queue)]
    client.xclaim(settings.queue, GROUP, "nobody", 0, ids, idle=10**9, retrycount=4, justid=True)
    with flow.consuming(settings, prefetch=32) as second:
        got = flow.receive(second, 4, ack=False)
        assert second.receive(0.5) == []
        second.ack(got)
        more = flow.receive(second, 4, ack=False)
    assert [flow.number_of(each) for each in [*got, *more]] == list(range(8))


def test_a_take_over_asks_for_no_more_than_it_takes(settings: BrokerSettings, client: Any) -> None:
    flow.publish(settings, map(flow.message, range(9)))
    with flow.consuming(settings) as first:
        held = flow.receive(first, 9, ack=False)
    connection = topology.connect(settings)
    try:
        wire = connection.channel().wire
        consumer = Group(wire, settings.queue, "me", visibility_seconds=60, delivery_limit=20)
        with client.monitor() as commands:
            taken = [consumer.take_over(room, most) for room, most in ((64, 4), (3, 64), (64, 64))]
            client.echo("the end")
            said = iter(lambda: commands.next_command()["command"], "ECHO the end")
            asked = [words.rpartition(" ")[2] for words in said if words.startswith("XPENDING")]
    finally:
        connection.release()
    assert asked == ["4", "3", "64"]
    assert [len(each) for each in taken] == [4, 3, 2]
    assert [each.body for entries in taken for each in entries] == [each.body for each in held]


def test_a_message_at_the_delivery_limit_is_set_aside(
    settings: BrokerSettings, client: Any
) -> None:
    flow.publish(settings, [flow.message(0, source="agent"), flow.message(1)])
    with flow.consuming(settings) as first:
        flow.receive(first, 2, ack=False)
    worst = pending(client, settings.queue)[0]["message_id"]
    client.xclaim(
        settings.queue, GROUP, "nobody", 0, [worst], idle=10**9, retrycount=20, justid=True
    )
    with flow.consuming(settings) as second:
        assert [flow.number_of(each) for each in flow.receive(second, 1)] == [1]
    headers = {
        "first": 0,
        "count": 1,
        "source": "agent",
        "reason": "delivered 20 times without an acknowledgement",
    }
    assert flow.rejected(settings) == [(b"00000000", "application/json", headers)]
    flow.assert_empty(settings)


def test_what_other_programs_add_arrives_whatever_it_is(
    settings: BrokerSettings, client: Any
) -> None:
    client.xadd(settings.queue, {"body": b"{}", "content_type": "application/json"})
    client.xadd(settings.queue, {"body": b"{}", "headers": b"\xff{", "content_type": b"\xff"})
    client.xadd(settings.queue, {"body": b"{}", "headers": "[1]"})
    client.xadd(settings.queue, {"body": b"{}", "headers": "[" * 100_000})
    client.xadd(settings.queue, {"other": b"\x00"})
    with flow.consuming(settings) as consumer:
        got = flow.receive(consumer, 5)
    assert [(each.body, each.content_type, each.headers) for each in got] == [
        (b"{}", "application/json", {}),
        (b"{}", "\ufffd", {}),
        (b"{}", None, {}),
        (b"{}", None, {}),
        (b"", None, {}),
    ]
    flow.assert_empty(settings)


def test_the_queue_of_another_program_is_refused(settings: BrokerSettings, client: Any) -> None:
    client.lpush(settings.queue, "a list")
    with flow.expect(BrokerRefused, "WRONGTYPE", "--queue"):
        Publisher(settings, flow.counters()).start()


def test_a_queue_that_vanished_is_made_again(settings: BrokerSettings, client: Any) -> None:
    with flow.consuming(settings) as consumer:
        client.delete(settings.queue)
        flow.publish(settings, map(flow.message, range(3)))
        got = flow.receive_numbers(consumer, {0, 1, 2})
    assert got == [0, 1, 2]


def test_an_orderly_stop_leaves_no_name_behind(settings: BrokerSettings, client: Any) -> None:
    flow.publish(settings, map(flow.message, range(3)))
    with flow.consuming(settings) as consumer:
        flow.receive(consumer, 3, ack=False)
        assert len(client.xinfo_consumers(settings.queue, GROUP)) == 1
    consumers = client.xinfo_consumers(settings.queue, GROUP)
    assert [(each["name"], each["pending"]) for each in consumers] == [(b"released", 3)]


def test_tries_that_connect_in_vain_come_later_and_later(
    settings: BrokerSettings, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user who may not read gets a connection and then no messages, over and over."""
    delays = []

    class Noted(BackOff):
        def next(self) -> float:
            delays.append(super().next())
            return 0.0

    monkeypatch.setattr(consumer_module, "BackOff", Noted)
    user = f"reader-{settings.queue}"
    client.execute_command("ACL SETUSER", user, "on", "nopass", "~*", "+@all", "-xreadgroup")
    try:
        forbidden = replace(settings, url=settings.url.replace("//", f"//{user}:any@"))
        with flow.consuming(forbidden) as consumer:
            while len(delays) < 6:
                with suppress(BrokerLost):
                    consumer.receive(0.1)
            client.execute_command("ACL SETUSER", user, "+xreadgroup")
            flow.publish(settings, [flow.message(0)])
            assert flow.receive_numbers(consumer, {0}) == [0]
            assert min(delays[3:6]) > 0.3 > delays[1]
            client.client_kill_filter(user=user)
            flow.publish(settings, [flow.message(1)])
            assert flow.receive_numbers(consumer, {1}) == [1]
        assert delays[-1] <= 0.1
    finally:
        client.acl_deluser(user)


@pytest.mark.parametrize("program", ["redis", "valkey"])
def test_at_the_memory_limit_messages_drain_and_nothing_is_lost(
    program: str, tmp_path: Path
) -> None:
    binary = servers.redis_binary() if program == "redis" else servers.valkey_binary()
    server = servers.RedisServer(binary, tmp_path / "data", ["--maxmemory", "6mb"])
    server.start()
    try:
        _drain_at_the_limit(BrokerSettings(server.url, unique_queue()))
    finally:
        server.stop()


def _drain_at_the_limit(settings: BrokerSettings) -> None:
    counts = flow.counters()
    publisher = Publisher(settings, counts)
    publisher.start()
    for number in range(400):
        assert publisher.publish(flow.message(number, size=32 * 1024))
    servers.wait_until(lambda: counts["published"] >= 40, "some messages")
    _fill(settings)
    assert publisher.waiting() > 0
    with flow.consuming(settings, prefetch=20) as consumer:
        first = flow.receive(consumer, 20, ack=False)
        consumer.reject(first[0], "no room for it")
        assert flow.rejected(settings) == []
        consumer.ack(first[1:])
        got = flow.receive_numbers(consumer, set(range(20, 400)))
        servers.wait_until(
            lambda: not consumer.receive(0.1) and flow.rejected(settings) != [], "the rejected one"
        )
    assert sorted(got) == list(range(20, 400))
    assert [each[2]["reason"] for each in flow.rejected(settings)] == ["no room for it"]
    assert publisher.stop(flow.PATIENCE_SECONDS) == 0
    assert counts.snapshot() == {"published": 400, "shed": 0}
    flow.assert_empty(settings)


def _fill(settings: BrokerSettings) -> None:
    """Take what room is left, which may be less than the publisher needs at once."""
    client = redis.Redis.from_url(settings.url)
    with suppress(redis.exceptions.OutOfMemoryError):
        while True:
            client.rpush("filling", b"x" * 1000)
    client.close()


@pytest.fixture(scope="module")
def secured(
    certificates: servers.Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[servers.RedisServer]:
    """A Redis that takes TLS only, and knows ``ana`` and two users with little permission."""
    directory = tmp_path_factory.mktemp("secured")
    keys = "~capture*"
    (directory / "users.acl").write_text(
        "user default off\n"
        f"user ana on >p:@/% {keys} +@connection +@stream +ping\n"
        f"user agent on >agent {keys} -@all +@connection +xadd\n"
    )
    server = servers.RedisServer(servers.redis_binary(), directory)
    server.secure(certificates, directory / "users.acl")
    server.start()
    yield server
    server.stop()


def secured_settings(
    server: servers.RedisServer, user: str, queue: str, **options: Any
) -> BrokerSettings:
    url = f"rediss://{user}@localhost:{server.port}/3"
    return BrokerSettings(url, queue, ssl_options=options)


def test_tls_with_a_user_and_a_password(
    secured: servers.RedisServer, certificates: servers.Certificates
) -> None:
    queue = f"capture-{unique_queue()}"
    settings = secured_settings(
        secured, "ana:p%3A%40%2F%25", queue, ca_certs=str(certificates.authority)
    )
    topology.check(settings)
    flow.publish(settings, map(flow.message, range(200)))
    with flow.consuming(settings) as consumer:
        got = flow.receive(consumer, 200)
    assert [flow.number_of(each) for each in got] == list(range(200))
    agent = secured_settings(secured, "agent:agent", queue, ca_certs=str(certificates.authority))
    counts = flow.publish(agent, [flow.message(200)])
    assert counts["published"] == 1
    with flow.consuming(settings) as consumer:
        assert [flow.number_of(each) for each in flow.receive(consumer, 1)] == [200]


def test_tls_checks_the_certificate_and_its_name(
    secured: servers.RedisServer, certificates: servers.Certificates
) -> None:
    good, other = str(certificates.authority), str(certificates.other_authority)
    for options in ({}, {"ca_certs": other}, {"ca_certs": good, "server_hostname": "elsewhere"}):
        settings = secured_settings(secured, "ana:p%3A%40%2F%25", "capture", **options)
        with flow.expect(BrokerRefused, "certificate verify failed", "FORWARD_SSL_OPTIONS"):
            topology.check(settings)
    address = f"127.0.0.1:{secured.port}"
    settings = BrokerSettings(
        f"rediss://ana:p%3A%40%2F%25@{address}/0",
        ssl_options={"ca_certs": good, "server_hostname": "localhost"},
    )
    topology.check(settings)


def test_users_without_permission_are_refused(
    secured: servers.RedisServer, certificates: servers.Certificates
) -> None:
    authority = str(certificates.authority)
    for user, queue, text in (
        ("ana:secret", "capture", "password"),
        ("ana:p%3A%40%2F%25", "other", "permission"),
    ):
        settings = secured_settings(secured, user, queue, ca_certs=authority)
        with flow.expect(BrokerRefused, text), flow.consuming(settings):
            pass


def test_plain_redis_is_not_taken_for_tls(
    redis_server: servers.RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology, "ANSWER_SECONDS", 0.5)
    settings = BrokerSettings(f"rediss://localhost:{redis_server.port}/0")
    with flow.expect(BrokerUnreachable, f"rediss://localhost:{redis_server.port}/0"):
        topology.check(settings)


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    server = servers.RedisServer(
        servers.redis_binary(), tmp_path / "data", ["--unixsocket", str(path)]
    )
    server.start()
    try:
        settings = BrokerSettings(f"redis+socket://{path}?virtual_host=7")
        flow.publish(settings, map(flow.message, range(20)))
        with flow.consuming(settings) as consumer:
            got = flow.receive(consumer, 20)
        assert [flow.number_of(each) for each in got] == list(range(20))
        tcp = redis.Redis(port=server.port, db=7)
        assert tcp.exists(settings.queue) == 1
        tcp.close()
    finally:
        server.stop()


def test_an_old_redis_is_named() -> None:
    """Redis 6.0 has no XPENDING IDLE; a stand-in answers as it does."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_old_redis, args=(listener,))
        thread.start()
        settings = BrokerSettings(f"redis://localhost:{listener.getsockname()[1]}/0")
        with flow.expect(BrokerRefused, "Redis 7 or newer"), flow.consuming(settings):
            pass
        thread.join()


_OLD_ANSWERS = {
    b"XINFO": b"*0\r\n",
    b"XLEN": b":0\r\n",
    b"XPENDING": b"-ERR syntax error\r\n",
}


def _old_redis(listener: socket.socket) -> None:
    """Serve the two connections of one start: the one that declares and the one that consumes."""
    for _ in range(2):
        peer, _address = listener.accept()
        with peer, peer.makefile("rb") as requests:
            while command := _command(requests):
                peer.sendall(_OLD_ANSWERS.get(command, b"+OK\r\n"))


def _command(requests: Any) -> bytes:
    words = []
    for _ in range(int(requests.readline().strip(b"*\r\n") or 0)):
        words.append(requests.read(int(requests.readline()[1:]) + 2)[:-2])
    return words[0] if words else b""


def test_any_kombu_program_can_use_the_transport(settings: BrokerSettings) -> None:
    address = settings.url.removeprefix("redis://localhost:")
    port, _, database = address.partition("/")
    connection: Any = Connection(
        hostname="localhost", port=int(port), virtual_host=database, transport=streams.Transport
    )
    got: list[tuple[Any, bool]] = []

    def on_message(body: Any, message: Any) -> None:
        got.append((body, message.delivery_info["redelivered"]))
        if len(got) == 1:
            message.requeue()
        else:
            message.ack()

    exchange = Exchange(f"{settings.queue}-exchange", type="direct")
    queue = Queue(settings.queue, exchange, routing_key="key")
    with connection, connection.Producer() as producer:
        producer.publish(
            {"zähler": 1}, exchange=exchange, routing_key="key", declare=[queue], serializer="json"
        )
        with connection.Consumer(queue, callbacks=[on_message]):
            while len(got) < 2:
                connection.drain_events(timeout=5)
                connection.heartbeat_check()
    assert got == [({"zähler": 1}, False), ({"zähler": 1}, True)]
    flow.assert_empty(settings)


def test_messages_are_plain_stream_entries(settings: BrokerSettings, client: Any) -> None:
    flow.publish(settings, [Message(b"\x00\xff", "application/json", {"first": 1})])
    [(_, fields)] = client.xrange(settings.queue)
    assert fields == {
        b"body": b"\x00\xff",
        b"content_type": b"application/json",
        b"headers": b'{"first":1}',
    }


def test_a_connection_looks_nothing_up_that_only_root_may_read() -> None:
    code = (
        "import sys\n"
        "from kombu.connection import Connection\n"
        "from network_pipeline.broker import wire\n"
        "before = set(sys.modules)\n"
        "wire.Wire(Connection('redis://localhost:1/0'))\n"
        "print([name for name in set(sys.modules) - before if name.startswith('importlib')])\n"
    )
    made = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert made.stdout == "[]\n"
