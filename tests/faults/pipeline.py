"""The pipeline as people run it, in processes that a test may kill, and the proof at its end.

Frames are datagrams to nobody, each with a number of its own, so that rows can be compared with
what was sent and not only with what the ledgers say. :meth:`Pipeline.settle` ends everything in the
order of a frame's life and lets ``network-pipeline verify --final`` judge.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from network_pipeline import audit
from network_pipeline.broker import topology
from network_pipeline.demo import Part
from network_pipeline.errors import BrokerError
from network_pipeline.settings import BrokerSettings
from network_pipeline.verify import judge
from tests import netns, servers
from tests.broker import flow

#: How long what a killed processor held stays its own: short, so that tests need not wait long.
VISIBILITY = {"network_pipeline.broker.streams.VISIBILITY_SECONDS": 2.0}

#: Counts more often than captures and processors come with.
TALKATIVE = {"network_pipeline.report.INTERVAL_SECONDS": 0.2}

#: What agents and processors say.
LOST, BACK = "lost the broker at", "connected to the broker at"

_COMMAND = Path(__file__).with_name("command.py")
_TICK_SECONDS = 0.01
#: So many that no worker of an agent goes without.
_FLOWS = 16
_EMPTY_SECONDS = 120.0


class Process(Part):
    """A command that runs with other constants, and may be killed; it has the name of its log."""

    def __init__(self, log: Path, constants: Mapping[str, Any] | None, *command: str) -> None:
        name, *arguments = command
        changed = json.dumps(dict(constants or {}))
        super().__init__(log, sys.executable, str(_COMMAND), name, changed, *arguments)
        self.name = log.stem

    @property
    def runs(self) -> bool:
        return self._process.poll() is None

    def await_word(self, text: str, times: int) -> None:
        """Wait until it has said something so many times."""
        servers.wait_until(lambda: self.said().count(text) >= times, f"{self.name}: {text}", 60)

    def await_file(self) -> None:
        """Wait until a processor is ready to write."""
        self.wait_until_it_says("writing to ")

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait()


class Traffic:
    """A thread that sends numbered datagrams at an even pace."""

    def __init__(self, port: int, rate: int, where: netns.Namespace | None, first: int) -> None:
        self.sent = 0
        self._port = port
        self._rate = rate
        self._where = where
        self._first = first
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        with ExitStack() as stack:
            senders = [stack.enter_context(socket_in(self._where)) for _ in range(_FLOWS)]
            while not self._stop.wait(_TICK_SECONDS):
                due = int((time.monotonic() - began) * self._rate)
                # After a pause of this process no more than it sends in a tenth of a second.
                for _ in range(min(due - self.sent, self._rate // 10)):
                    payload = (self._first + self.sent).to_bytes(8)
                    sender = senders[self.sent % _FLOWS]
                    sender.sendto(payload, ("127.0.0.1", self._port))
                    self.sent += 1


def socket_in(where: netns.Namespace | None) -> socket.socket:
    """Return a UDP socket, of this namespace or of another one."""
    return where.udp_socket() if where else socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


@dataclass(frozen=True)
class Verdict:
    """What ``network-pipeline verify --json`` said."""

    code: int
    text: str
    complaints: list[str]
    unnamed_rejected: int
    sessions: list[dict[str, Any]]

    def total(self, *names: str) -> int:
        return sum(int(session[name]) for session in self.sessions for name in names)


class Pipeline:
    """Commands on one broker and one queue; ``spool`` is a directory of nobody's.

    Agents run and capture in the namespace ``near``, processors in ``far``; None is that of the
    test. ``constants`` are changed in processors, see :mod:`tests.faults.command`.
    """

    def __init__(
        self,
        broker: BrokerSettings,
        directory: Path,
        spool: Path,
        *,
        near: netns.Namespace | None = None,
        far: netns.Namespace | None = None,
        constants: Mapping[str, Any] = VISIBILITY,
    ) -> None:
        self.broker = broker
        self.directory = directory
        self.spool = spool
        self.rows = directory / "rows"
        self.rows.mkdir()
        self.sent = 0
        self._traffic: Traffic | None = None
        self.captures: list[Process] = []
        self.processors: list[Process] = []
        self.stack = ExitStack()
        [self.port] = servers.free_ports(1)
        self._near, self._far = near, far
        self._constants = constants
        self._parts = 0

    # -- parts

    def run(
        self,
        name: str,
        *arguments: str,
        where: netns.Namespace | None = None,
        constants: Mapping[str, Any] | None = None,
    ) -> Process:
        """Start a command."""
        self._parts += 1
        log = self.directory / f"{self._parts:03}-{name}.log"
        with where.entered() if where else nullcontext():
            part = Process(log, constants, name, *arguments)
        self.stack.callback(part.stop)
        return part

    def start(self, name: str, *flags: str, **options: Any) -> Process:
        """Start a command with this broker and queue."""
        place = ("--broker", self.broker.url, "--queue", self.broker.queue)
        return self.run(name, *flags, *place, **options)

    def capture(self, *flags: str, constants: Mapping[str, Any] | None = None) -> Process:
        """Start a capture of this pipeline's datagrams, and wait until it captures."""
        return self._capture("capture-udp", "capturing on lo", *flags, constants=constants)

    def agent(self, *flags: str) -> Process:
        """Start ``network-agent`` on this pipeline's datagrams, and wait until it captures."""
        return self._capture("network-agent", "capturing with", "--device", "lo", *flags)

    def _capture(self, name: str, ready: str, *flags: str, **options: Any) -> Process:
        flags = ("--filter", f"udp port {self.port}", "--spool-dir", str(self.spool), *flags)
        part = self.start(name, *flags, where=self._near, **options)
        part.wait_until_it_says(ready)
        self.captures.append(part)
        return part

    def process(self, *flags: str, constants: Mapping[str, Any] | None = None) -> Process:
        """Start a processor with a file of its own, which is there some time later."""
        name = "packets-rabbitmq" if self.broker.is_amqp else "packets-redis"
        flags = ("--dir", str(self.rows), "--save-after-seconds", "0.3", *flags)
        chosen = {**self._constants, **(constants or {})}
        part = self.start(name, *flags, where=self._far, constants=chosen)
        self.processors.append(part)
        return part

    @contextmanager
    def traffic(self, rate: int = 1000) -> Iterator[Traffic]:
        """Send while the block runs."""
        self._traffic = made = Traffic(self.port, rate, self._near, self.sent)
        made.start()
        try:
            yield made
        finally:
            made.stop()
            self.sent, self._traffic = self.sent_now, None

    @property
    def sent_now(self) -> int:
        """How many datagrams were sent, with those of the traffic that goes on."""
        return self.sent + (self._traffic.sent if self._traffic else 0)

    def send(self, count: int) -> None:
        """Send so many datagrams at once."""
        with socket_in(self._near) as sender:
            for number in range(self.sent, self.sent + count):
                sender.sendto(number.to_bytes(8), ("127.0.0.1", self.port))
        self.sent += count

    # -- how far it is

    def lines(self) -> int:
        """Return how many rows are in files, which may be renamed just now."""
        lines = 0
        for path in dataset_files(self.rows):
            try:
                lines += max(0, path.read_bytes().count(b"\n") - 1)
            except FileNotFoundError:
                continue
        return lines

    def await_more_rows(self, count: int = 300) -> None:
        wanted = self.lines() + count
        servers.wait_until(lambda: self.lines() >= wanted, f"{count} more rows", 90, step=0.05)

    def await_rows(self, count: int) -> None:
        servers.wait_until(lambda: self.lines() >= count, f"{count} rows", 90, step=0.05)

    def spool_files(self) -> list[Path]:
        return list(self.spool.glob("*.spool"))

    def left_on_disk(self) -> list[Path]:
        """Return what ended agents left for others to send."""
        return [*self.spool_files(), *self.spool.glob("sessions-*/*.json")]

    # -- the end

    def settle(self) -> Verdict:
        """End all parts; return the verdict when nothing is under way any more."""
        for part in self.captures:
            if part.runs:
                part.end()
        self.send_what_is_left()
        self.empty_queue()
        return self.verify("--final")

    def send_what_is_left(self) -> None:
        """Let other agents send what killed ones left, and speak for them."""
        for _ in range(3):
            if not self.left_on_disk():
                return
            heir = self.capture()
            servers.wait_until(lambda: not self.spool_files(), "an empty spool", 60)
            heir.end()
        assert not self.left_on_disk()

    def empty_queue(self) -> None:
        """Wait until processors have all that is in the queue, and end them.

        After a cut of the network a message may come once more, behind the end of its agent: what
        the kernel still had of a connection that both sides gave up. The successor of a processor
        knows its rows.
        """
        deadline = time.monotonic() + _EMPTY_SECONDS
        if not any(part.runs for part in self.processors):
            self.process("--name", "last")
        self.end_processors(deadline)
        while self.messages():
            self.process()
            self.end_processors(deadline)

    def end_processors(self, deadline: float) -> None:
        """Let processors empty the queue until ``deadline``, and end them."""
        while not self.is_empty():
            assert time.monotonic() < deadline, (self.messages(), self.verify("--final"))
            time.sleep(0.2)
        for part in self.processors:
            if part.runs:
                part.await_file()
                part.end()

    def is_empty(self) -> bool:
        """Whether nothing is in the queue; RabbitMQ does not tell what a processor has of it."""
        if self.messages():
            return False
        if self.broker.is_redis:
            return True
        datasets = [audit.examine(path) for path in audit.dataset_files([str(self.rows)])]
        accounts = judge(datasets, is_final=True).accounts
        return all(each.state != "running" and not each.unexplained for each in accounts)

    def messages(self) -> int:
        with self.at_broker():
            return flow.left(self.broker)

    @contextmanager
    def at_broker(self) -> Iterator[None]:
        """Be in the namespace of the broker."""
        with self._far.entered() if self._far else nullcontext():
            yield

    def verify(self, *flags: str, names: tuple[Path, ...] = ()) -> Verdict:
        """Run ``network-pipeline verify`` on the files, or on all there are."""
        program = Path(sysconfig.get_path("scripts")) / "network-pipeline"
        command = list(map(str, [program, "verify", "--json", *flags, *(names or (self.rows,))]))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.stdout, done.stderr
        said = json.loads(done.stdout)
        return Verdict(
            done.returncode, said["verdict"], said["complaints"],
            said["rejected_without_frame_numbers"], said["sessions"],
        )  # fmt: skip

    def close(self) -> None:
        self.stack.close()
        with suppress(BrokerError), self.at_broker():  # a failed test may have left it without life
            topology.delete_queues(self.broker)


def dataset_files(directory: Path) -> list[Path]:
    return sorted(p for p in directory.iterdir() if p.name.endswith((".csv", ".csv.part")))


def payloads(directory: Path) -> list[tuple[str, int]]:
    """Return session and datagram of every row of a directory's files."""
    found: list[tuple[str, int]] = []
    for path in dataset_files(directory):
        table = pl.read_csv(path, columns=["session", "raw_load"], infer_schema=False)
        found += [(session, int(load, 16)) for session, load in table.iter_rows()]
    return found


def assert_nothing_is_missing(pipeline: Pipeline, verdict: Verdict, **losses: int) -> None:
    """Every datagram that was sent is a row, once, but for the losses, which are exactly these.

    For pipelines whose agents were there from the first datagram to the last. A kernel that is
    busy may drop some, and says how many.
    """
    assert (verdict.code, verdict.complaints) == (0, [])
    named = ("shed", "rejected", "died")
    found = {name: verdict.total(name) for name in named}
    assert found == {**dict.fromkeys(named, 0), **losses}
    assert verdict.total("duplicate", "unexplained", "under_way", "spooled") == 0
    rows = payloads(pipeline.rows)
    assert len(rows) == len(set(rows)) == verdict.total("rows")
    dropped = verdict.total("kernel_dropped")
    assert verdict.total("rows") == pipeline.sent - sum(found.values()) - dropped
