"""``network-agent`` in a namespace, a Redis that it reaches there, and the rows that come of it."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from network_pipeline import audit
from network_pipeline.broker import link, topology
from network_pipeline.demo import Part
from network_pipeline.privileges import NOBODY
from network_pipeline.settings import BrokerSettings
from network_pipeline.verify import Account, judge
from tests import servers
from tests.netns import Namespace

_AGENT = "import sys; from network_pipeline.scripts.agent import main; sys.exit(main())"


def workers(said: str) -> list[int]:
    """Return the processes of the workers that were started last, by what the agent said."""
    found = re.findall(r"worker (\d+) is process (\d+)", said)
    return list({number: int(pid) for number, pid in found}.values())


class Agent(Part):
    """The command, running in a namespace."""

    #: What its process runs.
    code = _AGENT

    def __init__(self, where: Namespace, log: Path, *flags: str, **variables: str) -> None:
        self.name = "network-agent"
        self._log = log
        command = where.command(sys.executable, "-c", self.code, *flags)
        with log.open("wb") as file:
            self._process = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, env={**os.environ, **variables}
            )

    def await_capture(self) -> None:
        self.wait_until_it_says("capturing with")

    @property
    def workers(self) -> list[int]:
        """The processes of the workers that were started last."""
        return workers(self.said())

    def counts(self) -> dict[str, int]:
        """Return what it said at its end that it counted."""
        [text] = re.findall(r"network-agent ended: (.*)$", self.said(), re.MULTILINE)
        return {name: int(count) for name, count in (each.split("=") for each in text.split())}

    def sessions(self) -> list[str]:
        return re.findall(r"is process \d+, session (\S+)", self.said())


class Site:
    """A namespace with a broker and a processor, which ``redis+socket`` reaches from anywhere."""

    def __init__(self, where: Namespace, broker: BrokerSettings, directory: Path) -> None:
        self.where = where
        self.broker = broker
        self.directory = directory
        self._stack = contextlib.ExitStack()
        self.spool = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="spool-")))
        os.chown(self.spool, *NOBODY)

    def close(self) -> None:
        self._stack.close()
        topology.delete_queues(self.broker)

    def agent(self, *flags: str, kind: type[Agent] = Agent, **variables: str) -> Agent:
        made = kind(self.where, self.directory / f"{uuid.uuid4().hex[:8]}.log",
                    *self._address(), "--ring-retire-ms", "20", "--spool-dir", str(self.spool),
                    *flags, **variables)  # fmt: skip
        self._stack.callback(made.stop)
        return made

    def rows(self, count: int) -> list[dict[str, str]]:
        """Take so many rows from the queue, and what else is there then."""
        output = self.directory / f"{uuid.uuid4().hex[:8]}.csv"
        part = Part(self.directory / "rows.log", "packets-redis", *self._address(),
                    "--output", str(output), "--save-after-seconds", "0.2")  # fmt: skip
        self._stack.callback(part.stop)

        def written() -> int:
            return output.read_bytes().count(b"\n") - 1 if output.exists() else 0

        servers.wait_until(lambda: written() >= count, f"{count} rows")
        with contextlib.closing(link.open_link(self.broker, publishing=True)) as looking:
            servers.wait_until(lambda: not looking.queue_length(self.broker.queue), "the ledgers")
        part.end()
        with output.open(newline="") as file:
            return list(csv.DictReader(file))

    def accounts(self) -> Sequence[Account]:
        """Return what became of the frames of every session; there must be nothing to complain of.

        Rows and ledgers were taken from the queue before.
        """
        files = audit.dataset_files([str(self.directory)])
        verdict = judge([audit.examine(path) for path in files], is_final=True)
        assert list(verdict.complaints) == []
        return verdict.accounts

    def _address(self) -> tuple[str, ...]:
        return ("--broker", self.broker.url, "--queue", self.broker.queue)


@contextlib.contextmanager
def public_directory() -> Iterator[Path]:
    """Make a directory that all users may look into, other than pytest's."""
    with tempfile.TemporaryDirectory(prefix="np-test-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


@contextlib.contextmanager
def redis_socket() -> Iterator[Path]:
    """Run a Redis that all users reach through a socket file."""
    with public_directory() as directory:
        path = directory / "redis.sock"
        options = ("--unixsocket", str(path), "--unixsocketperm", "777")
        server = servers.RedisServer(servers.redis_binary(), directory / "data", options)
        try:
            server.start()
            yield path
        finally:
            server.stop()


@contextlib.contextmanager
def site(where: Namespace, socket_path: Path, directory: Path) -> Iterator[Site]:
    url = f"redis+socket://{socket_path}?virtual_host=1"
    made = Site(where, BrokerSettings(url, f"TEST-{uuid.uuid4().hex[:8]}"), directory)
    try:
        yield made
    finally:
        made.close()
