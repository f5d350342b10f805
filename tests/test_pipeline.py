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
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from network_pipeline.broker import topology
from network_pipeline.demo import Part
from network_pipeline.frames import Frame, LinkType
from network_pipeline.privileges import NOBODY
from network_pipeline.schema import COLUMN_NAMES
from network_pipeline.settings import BrokerSettings
from network_pipeline.traffic import craft
from tests import needs, servers
from tests.decode import captures
from tests.decode.samples import all_samples

BROKERS = ["redis_server", "valkey_server", "rabbitmq_server"]
ENDS = craft.Ends("02:00:00:00:00:01", "02:00:00:00:00:02", "127.7.7.7", "127.7.7.8")
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
        place = ("--filter", f"udp port {self.port}", "--spool-max-bytes", "0")
        part = self.start("capture-udp", *place, *flags)
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


@pytest.fixture
def spool() -> Iterator[Path]:
    """A directory that belongs to nobody."""
    with tempfile.TemporaryDirectory(prefix="spool-") as name:
        os.chown(name, *NOBODY)
        yield Path(name)


@pytest.fixture(params=BROKERS)
def pipeline(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pipeline]:
    if os.geteuid() != 0:
        needs.lacking("root, to capture")
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
    counts = {name: count for name, count in capture.end().items() if count}
    assert counts == {"captured": 10, "published": 10}
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


def traffic_of_every_kind(port: int) -> None:
    """Send TCP, UDP, DNS and ICMP to 127.7.7.7, IPv6 to ::1, and ARP, all on lo."""
    query = bytes.fromhex("abcd01000001000000000000") + b"\7example\3com\0\0\1\0\1"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for payload, to in ((b"", port), (b"payload", port), (query, 53)):
            sender.sendto(payload, ("127.7.7.7", to))  # nobody listens: ICMP comes back
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"six", ("::1", port))
    with (
        socket.create_server(("127.7.7.7", port)) as server,
        socket.create_connection(("127.7.7.7", port)) as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        peer, _ = server.accept()
        peer.recv(100)
        peer.sendall(b"x" * 3000)
        peer.close()
        while client.recv(4096):
            pass
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind(("lo", 0))
        sender.send(craft.arp_request(ENDS))


def differences(rows: list[dict[str, str]], others: list[dict[str, str]]) -> list[tuple[str, ...]]:
    """Return the cells that differ; the kernel stamps some frames for each socket anew."""
    return [
        (row["frame_number"], name, row[name], other[name])
        for row, other in zip(rows, others, strict=True)
        for name in row
        if name != "frame_time" and row[name] != other[name]
    ]


def moved(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the counts that are not 0."""
    return {name: count for name, count in counts.items() if count}


@pytest.mark.parametrize("pipeline", ["redis_server", "rabbitmq_server"], indirect=True)
def test_all_engines_give_the_same_rows(pipeline: Pipeline) -> None:
    text = f"host 127.7.7.7 or (ip6 and udp port {pipeline.port}) or arp"
    processor, _ = pipeline.process("--save-after-num", "7")
    agents = {}
    for engine in ("scapy", "columnar", "ring"):
        part = pipeline.start("capture-tcp", "--filter", text, "--engine", engine)
        session = part.wait_until_it_says("session ([0-9a-f-]{36}): capturing on lo")[1]
        agents[session] = part
    traffic_of_every_kind(pipeline.port)
    servers.wait_until(lambda: any(row["arp_op"] for row in pipeline.written()), "the last frame")
    counts = [part.end() for part in agents.values()]
    assert counts[0] == counts[1] == counts[2]
    captured = counts[0]["captured"]
    assert moved(counts[0]) == {"captured": captured, "published": captured}
    ended = processor.end()
    assert ended == {
        "received": 3 * captured, "written": 3 * captured, "duplicate": 0, "rejected": 0
    }  # fmt: skip
    by_session: dict[str, list[dict[str, str]]] = {session: [] for session in agents}
    for row in pipeline.written():
        by_session[row.pop("session")].append(row)
    nested, columnar, ring = by_session.values()
    assert differences(nested, columnar) == []
    assert differences(nested, ring) == []
    for column in ("tcp_sport", "udp_sport", "dns_id", "icmp_type", "ipv6_src", "arp_op"):
        assert any(row[column] for row in nested), column


def has_lines(path: Path, count: int) -> bool:
    return path.read_bytes().count(b"\n") == count


@pytest.mark.parametrize("pipeline", ["redis_server", "rabbitmq_server"], indirect=True)
def test_a_capture_file_comes_through_as_it_is(pipeline: Pipeline, tmp_path: Path) -> None:
    frames = [
        Frame(number, 1_700_000_000_123_456_789 + number, None, len(each.data), LinkType.ETHERNET,
              each.data)
        for number, each in enumerate(all_samples(), 1) if each.link_type == LinkType.ETHERNET
    ]  # fmt: skip
    capture = tmp_path / "all.pcap"
    captures.write_frames(capture, frames)
    last = tmp_path / "last.pcap"
    captures.write_frames(last, frames[:1])
    expected = tmp_path / "expected"
    Part(tmp_path / "log", "packets-pcap", str(capture), "--output", f"{expected}.csv").ended()
    expected.with_suffix(".csv").rename(expected)
    for messages in ("json", "arrow"):
        output = tmp_path / f"{messages}.rows"
        processor, _ = pipeline.process("--output", str(output))
        for _ in range(2):  # the second time nothing is new: the session is the file's
            part = pipeline.start("capture-pcap", str(capture), "--messages", messages)
            assert part.ended()["published"] == len(frames)
        assert f"{len(frames)} frames = {len(frames)} published + 0 filtered" in part.said()
        pipeline.start("capture-pcap", str(last), "--messages", messages).ended()
        lines = len(frames) + 2
        servers.wait_until(partial(has_lines, output, lines), "a row of the last message")
        assert processor.end() == {
            "received": 2 * len(frames) + 1, "written": len(frames) + 1,
            "duplicate": len(frames), "rejected": 0,
        }  # fmt: skip
        assert output.read_bytes().startswith(expected.read_bytes())


@pytest.mark.parametrize("pipeline", ["redis_server"], indirect=True)
def test_a_capture_file_at_ten_times_its_pace_takes_a_tenth_of_its_time(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    data = craft.udp_frame(ENDS, 40000, 9, b"x")
    frames = [
        Frame(number, 1_700_000_000_000_000_000 + number * 1_000_000_000, None, len(data),
              LinkType.ETHERNET, data)
        for number in range(1, 12)
    ]  # fmt: skip
    capture = tmp_path / "ten-seconds.pcap"
    captures.write_frames(capture, frames)
    part = pipeline.start("capture-pcap", str(capture), "--speed", "10x")
    began = time.monotonic()
    assert part.ended() == {
        "captured": 11, "published": 11, "filtered": 0, "refused": 0, "shed": 0,
    }  # fmt: skip
    assert time.monotonic() - began >= 1.0


@pytest.mark.parametrize("pipeline", ["redis_server", "rabbitmq_server"], indirect=True)
def test_both_sides_can_be_watched(pipeline: Pipeline) -> None:
    agent, processor = servers.free_ports(2)
    pipeline.process("--save-after-num", "4", "--metrics-port", str(processor))
    pipeline.capture("--metrics-port", str(agent))
    pipeline.send(*[b"x"] * 8)
    prefix = "network_pipeline_processor"
    servers.wait_until(
        lambda: metrics(processor)[f"{prefix}_written_frames_total"] == 8, "the rows, as metrics"
    )
    found = metrics(processor)
    assert found[f"{prefix}_received_frames_total"] == 8
    assert found[f"{prefix}_snapshot_rows_sum"] == 8
    assert found[f"{prefix}_lag_seconds_count"] == 8
    assert 0 < found[f"{prefix}_lag_seconds_sum"] < 8 * 60
    assert found[f"{prefix}_broker_connected"] == 1
    found = metrics(agent)
    prefix = "network_pipeline_agent"
    assert (
        found[f"{prefix}_captured_frames_total"] == found[f"{prefix}_published_frames_total"] == 8
    )
    assert found[f"{prefix}_message_frames_count"] == 8
    assert found[f"{prefix}_shed_frames_total"] == found[f"{prefix}_spooled_frames"] == 0


@pytest.mark.parametrize("pipeline", ["redis_server"], indirect=True)
def test_a_ring_that_was_full_is_a_drop_and_a_freeze(pipeline: Pipeline) -> None:
    [port] = servers.free_ports(1)
    part = pipeline.capture("--engine", "ring", "--ring-blocks", "2", "--ring-block-bytes", "4096",
                            "--snap-length", "64", "--metrics-port", str(port))  # fmt: skip
    prefix = "network_pipeline_agent"
    assert metrics(port)[f"{prefix}_kernel_freezes_total"] == 0
    part.signal(signal.SIGSTOP)
    pipeline.send(*[b"x"] * 600)
    part.signal(signal.SIGCONT)
    servers.wait_until(
        lambda: metrics(port)[f"{prefix}_captured_frames_total"] == 600, "all frames, as metrics"
    )
    found = metrics(port)
    assert found[f"{prefix}_kernel_dropped_frames_total"] > 0
    assert found[f"{prefix}_kernel_freezes_total"] >= 1


def metrics(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.mark.parametrize("pipeline", ["redis_server"], indirect=True)
def test_a_columnar_session_has_exactly_so_many_frames(pipeline: Pipeline) -> None:
    capture = pipeline.capture("--engine", "columnar", "--stop-after-num", "5")
    pipeline.send(*[b"x"] * 7)
    assert moved(capture.ended()) == {"captured": 5, "published": 5}
    processor, _ = pipeline.process("--stop-after-num", "5")
    assert processor.ended()["written"] == 5
    assert [row["frame_number"] for row in pipeline.written()] == ["1", "2", "3", "4", "5"]


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


@pytest.mark.parametrize("engine", ["scapy", "columnar"])
@pytest.mark.parametrize("pipeline", ["redis_server", "rabbitmq_server"], indirect=True)
def test_nothing_is_imported_once_root_is_given_up(
    pipeline: Pipeline, engine: str, spool: Path
) -> None:
    # Nobody may not be allowed to read where the package lies: a virtual environment in /root.
    # On a terminal, so that the live figures are drawn too.
    command = [sys.executable, "-c", _IMPORTS, "--broker", pipeline.settings.url]
    flags = ["--queue", pipeline.settings.queue, "--filter", f"udp port {pipeline.port}"]
    flags += ["--engine", engine]
    process, terminal = pty.fork()
    if process == 0:
        os.execv(
            sys.executable, [*command, *flags, "--spool-dir", str(spool), "--stop-after-num", "1"]
        )
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
