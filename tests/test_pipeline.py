"""The whole way, by the commands themselves: a device, a broker, a CSV.

Each test has a queue and a UDP port of its own, on ``lo`` of this machine.
"""

from __future__ import annotations

import csv
import os
import pty
import re
import select
import signal
import socket
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from network_pipeline.broker import topology
from network_pipeline.demo import Part
from network_pipeline.schema import COLUMN_NAMES
from network_pipeline.settings import BrokerSettings
from tests import netns, servers

BROKERS = ["redis_server", "valkey_server", "rabbitmq_server"]
PROCESSORS = {"redis_server": "packets-redis", "valkey_server": "packets-redis"}


class Pipeline:
    """Starts commands on one broker and one queue, and ends those that still run."""

    def __init__(self, broker: servers.Server, processor: str, directory: Path) -> None:
        self._queue = f"TEST-{uuid.uuid4().hex[:8]}"
        self.settings = BrokerSettings(broker.url, self._queue)
        self._directory = directory
        self._processor = processor
        self._stack = ExitStack()
        self._parts = 0
        self.port = servers.free_ports(1)[0]

    def close(self) -> None:
        self._stack.close()
        topology.delete_queues(self.settings)

    def start(self, name: str, *flags: str) -> Part:
        where = ("--broker", self.settings.url, "--queue", self._queue)
        self._parts += 1
        part = Part(self._directory / f"{self._parts}-{name}.log", name, *where, *flags)
        self._stack.callback(part.stop)
        return part

    def capture(self, *flags: str) -> Part:
        part = self.start("capture-udp", "--filter", f"udp port {self.port}", *flags)
        part.wait_until_it_says("capturing on lo")
        return part

    def process(self, *flags: str) -> tuple[Part, Path]:
        part = self.start(self._processor, "--dir", str(self._directory), *flags)
        return part, Path(part.wait_until_it_says(r"writing to (\S+)")[1])

    def send(self, *payloads: bytes) -> int:
        """Send datagrams to a port where nobody listens; return the port that they came from."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.bind(("127.0.0.1", 0))
            for payload in payloads:
                sender.sendto(payload, ("127.0.0.1", self.port))
            return int(sender.getsockname()[1])

    def written(self) -> list[dict[str, str]]:
        """Return the rows of all files, in the order of the files' names."""
        rows = []
        for path in sorted(self._directory.glob("*.csv")):
            with path.open(newline="") as file:
                rows += list(csv.DictReader(file))
        return rows


@pytest.fixture(params=BROKERS)
def pipeline(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pipeline]:
    if os.geteuid() != 0:
        netns.unavailable("root, to capture")
    processor = PROCESSORS.get(request.param, "packets-rabbitmq")
    made = Pipeline(request.getfixturevalue(request.param), processor, tmp_path)
    yield made
    made.close()


def test_datagrams_become_rows(pipeline: Pipeline) -> None:
    processor, path = pipeline.process("--save-after-num", "4")
    capture = pipeline.capture("--source", "edge-1")
    session = capture.wait_until_it_says("session ([0-9a-f-]{36}): capturing")[1]
    source_port = pipeline.send(*(b"payload %d" % number for number in range(10)))
    servers.wait_until(lambda: len(pipeline.written()) >= 8, "two snapshots of four rows")
    assert capture.end() == {"captured": 10, "published": 10, "shed": 0, "kernel_dropped": 0}
    servers.wait_until(lambda: len(pipeline.written()) >= 10, "what is left, by its age")
    assert processor.end() == {"received": 10, "written": 10, "duplicate": 0, "rejected": 0}

    assert path.read_text().partition("\n")[0] == ",".join(COLUMN_NAMES)
    rows = pipeline.written()
    for number, row in enumerate(rows):
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", row.pop("frame_time"))
        for varying in ("ip_id", "ip_chksum", "udp_chksum"):
            assert 0 <= int(row.pop(varying)) <= 0xFFFF
        payload = b"payload %d" % number
        assert {name: value for name, value in row.items() if value} == {
            "source": "edge-1",
            "session": session,
            "frame_number": str(number + 1),
            "frame_interface": "lo",
            "frame_len": str(42 + len(payload)),
            "frame_caplen": str(42 + len(payload)),
            "eth_dst": "00:00:00:00:00:00",
            "eth_src": "00:00:00:00:00:00",
            "eth_type": "2048",
            "ip_version": "4",
            "ip_ihl": "5",
            "ip_tos": "0",
            "ip_len": str(28 + len(payload)),
            "ip_flags": "2",
            "ip_frag": "0",
            "ip_ttl": "64",
            "ip_proto": "17",
            "ip_src": "127.0.0.1",
            "ip_dst": "127.0.0.1",
            "udp_sport": str(source_port),
            "udp_dport": str(pipeline.port),
            "udp_len": str(8 + len(payload)),
            "raw_len": str(len(payload)),
            "raw_load": payload.hex(),
        }


def test_rows_are_published_without_a_processor_and_written_later(pipeline: Pipeline) -> None:
    capture = pipeline.capture("--stop-after-num", "5")
    pipeline.send(*[b"x"] * 7)
    assert capture.ended()["published"] == 5
    processor, _ = pipeline.process("--stop-after-num", "3")
    assert processor.ended()["written"] == 3
    processor, _ = pipeline.process("--name", "second", "--stop-after-num", "2")
    assert processor.ended()["written"] == 2
    assert [row["frame_number"] for row in pipeline.written()] == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("pipeline", ["rabbitmq_server"], indirect=True)
def test_a_killed_processor_loses_nothing(pipeline: Pipeline) -> None:
    capture = pipeline.capture()
    processor, _ = pipeline.process("--save-after-num", "50")
    for _ in range(20):
        pipeline.send(*[b"x"] * 50)
    servers.wait_until(lambda: len(pipeline.written()) >= 100, "two snapshots")
    processor.signal(signal.SIGKILL)
    assert capture.end()["published"] == 1000
    processor, _ = pipeline.process("--name", "second", "--save-after-seconds", "0.5")
    numbers: set[int] = set()

    def complete() -> bool:
        numbers.update(int(row["frame_number"]) for row in pipeline.written())
        return len(numbers) == 1000

    servers.wait_until(complete, "a row for every frame")
    assert processor.end()["rejected"] == 0
    assert numbers == set(range(1, 1001))
    # Rows of at most one snapshot were on disk and not yet acknowledged when it was killed.
    assert len(pipeline.written()) - 1000 <= 50


@pytest.mark.parametrize("pipeline", ["redis_server", "rabbitmq_server"], indirect=True)
def test_messages_that_hold_no_frame_are_set_aside(pipeline: Pipeline) -> None:
    processor, _ = pipeline.process()
    capture = pipeline.capture()
    connection = topology.connect(pipeline.settings)
    for body in (b"no json", b"{}"):
        connection.Producer().publish(
            body, routing_key=pipeline.settings.queue, content_type="application/json"
        )
    connection.release()
    pipeline.send(b"good")
    servers.wait_until(lambda: len(pipeline.written()) == 1, "the good one's row")
    capture.end()
    assert processor.end() == {"received": 3, "written": 1, "duplicate": 0, "rejected": 2}


def test_two_processors_never_share_a_file(pipeline: Pipeline, tmp_path: Path) -> None:
    output = ("--output", str(tmp_path / "one.csv"))
    first, _ = pipeline.process(*output)
    second = pipeline.start("packets-redis", *output)
    assert second.wait() == 1
    assert "another processor writes this file" in second.said()
    first.end()


def test_a_capture_started_as_root_is_nobody(pipeline: Pipeline) -> None:
    capture = pipeline.capture()
    status = Path(f"/proc/{capture.pid}/status").read_text()
    assert re.search(r"^Uid:\t65534\t65534\t65534\t65534$", status, re.MULTILINE)
    assert re.search(r"^CapEff:\t0{16}$", status, re.MULTILINE)
    capture.end()


_IMPORTS = """
import os, sys
from network_pipeline import privileges
from network_pipeline.scripts import capture

def note(user, real=privileges.drop_root):
    before.update(sys.modules)
    return real(user)

before = {}
privileges.drop_root = note
code = capture.udp()
print("late:", sorted(set(sys.modules) - set(before)), flush=True)
sys.exit(code)
"""


@pytest.mark.parametrize("pipeline", ["redis_server", "rabbitmq_server"], indirect=True)
def test_nothing_is_imported_once_root_is_given_up(pipeline: Pipeline) -> None:
    # Nobody may not be allowed to read where the package lies: a virtual environment in /root.
    # On a terminal, so that the live figures are drawn too.
    command = [sys.executable, "-c", _IMPORTS, "--broker", pipeline.settings.url]
    flags = ["--queue", pipeline.settings.queue, "--filter", f"udp port {pipeline.port}"]
    process, terminal = pty.fork()
    if process == 0:
        os.execv(sys.executable, [*command, *flags, "--stop-after-num", "1"])
    said = _read_until(terminal, "capturing on")
    said += _read_until(terminal, "captured/s")
    pipeline.send(b"x")
    said += _read_until(terminal, "late:.*\n")
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    os.close(terminal)
    assert "captured=0" in said
    assert "late: []" in said
    assert "Traceback" not in said


def _read_until(terminal: int, pattern: str) -> str:
    said = ""

    def found() -> bool:
        nonlocal said
        if select.select([terminal], [], [], 0)[0]:
            said += os.read(terminal, 65536).decode(errors="replace")
        return re.search(pattern, said) is not None

    servers.wait_until(found, pattern)
    return said
