"""``capture-pcap`` on a real Redis: what it says at the end, and its exit code."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from network_pipeline import batch_message
from network_pipeline.broker import topology
from network_pipeline.broker.consumer import Consumer
from network_pipeline.frames import Frame, LinkType
from network_pipeline.message import MAX_BODY_BYTES
from network_pipeline.settings import BrokerSettings
from network_pipeline.traffic import craft
from tests import servers
from tests.decode import captures

ENDS = craft.Ends("02:00:00:00:00:01", "02:00:00:00:00:02", "127.7.7.7", "127.7.7.8")
CODE = "import sys; from network_pipeline.scripts.capture_pcap import main; sys.exit(main())"


class Command:
    """Runs ``capture-pcap`` with a queue of its own."""

    def __init__(self, server: servers.Server) -> None:
        self.settings = BrokerSettings(server.url, f"TEST-{uuid.uuid4().hex[:8]}")

    def __call__(self, *arguments: object, **variables: str) -> tuple[int, list[str], str]:
        """Return the exit code, the lines of standard output, and the last one of the other."""
        where = ("--broker", self.settings.url, "--queue", self.settings.queue)
        done = subprocess.run(
            [sys.executable, "-c", CODE, *map(str, arguments), *where],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            env={**os.environ, **variables},
        )
        return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()[-1]


@pytest.fixture
def command(redis_server: servers.RedisServer) -> Command:
    return Command(redis_server)


@pytest.fixture(autouse=True)
def queue_removed(command: Command) -> object:
    yield
    topology.delete_queues(command.settings)


def payloads(broker: BrokerSettings, frames: int) -> list[bytes]:
    """Take so many frames from the queue and return their payloads."""
    found: list[bytes] = []
    consumer = Consumer(broker, prefetch=10)
    consumer.start()
    try:
        while len(found) < frames:
            deliveries = consumer.receive(1.0)
            for each in deliveries:
                if each.content_type == batch_message.ARROW_TYPE:
                    rows = batch_message.decode(each.body, each.content_type, each.headers)
                    found += rows.column("raw_load").to_pylist()
            consumer.ack(deliveries)
    finally:
        consumer.stop()
    return found


def write(path: Path, *sizes: int) -> Path:
    data = [craft.udp_frame(ENDS, 40000, 9, bytes(size)) for size in sizes]
    frames = [
        Frame(n, 10**18 + n, None, len(each), LinkType.ETHERNET, each)
        for n, each in enumerate(data, 1)
    ]
    captures.write_frames(path, frames)
    return path


def test_a_filter_counts_what_it_leaves_out(tmp_path: Path, command: Command) -> None:
    path = write(tmp_path / "a.pcap", 1, 2, 100, 3)
    code, lines, _ = command(path, "--filter", "greater 100")
    assert code == 0
    assert lines[-1] == "4 frames = 1 published + 3 filtered + 0 refused + 0 shed"
    code, lines, _ = command(path, NETWORK_FILTER="tcp", PCAP_FILTER="less 100")
    assert lines[-1] == "4 frames = 3 published + 1 filtered + 0 refused + 0 shed"


def test_what_is_no_filter_is_wrong_usage(tmp_path: Path, command: Command) -> None:
    path = write(tmp_path / "a.pcap", 1)
    for flags in ([], ["--check"]):
        code, lines, last = command(path, "--filter", "tcp prot 80", *flags)
        assert (code, lines) == (2, [])
        assert last.startswith("capture-pcap: filter 'tcp prot 80': ")


def test_a_capture_given_twice_is_published_once(tmp_path: Path, command: Command) -> None:
    path, other = write(tmp_path / "a.pcap", 1, 2), write(tmp_path / "b.pcap", 1)
    copy = tmp_path / "copy.pcap"
    copy.write_bytes(path.read_bytes())
    code, lines, _ = command(path, other, copy, path)
    assert (code, len(lines)) == (0, 3)
    assert lines[-1] == "3 frames = 3 published + 0 filtered + 0 refused + 0 shed"


def test_payloads_are_cut_or_hashed_in_arrow_messages(tmp_path: Path, command: Command) -> None:
    path, key = write(tmp_path / "a.pcap", 1, 100), tmp_path / "key"
    key.write_bytes(bytes(32))
    key.chmod(0o600)
    assert command(path, "--payload-bytes", 3)[0] == 0
    assert payloads(command.settings, 2) == [b"\0", b"\0\0\0"]
    assert (
        command(path, "--payload-bytes", 3, "--payload", "hash", "--payload-key-file", key)[0] == 0
    )
    expected = [
        hashlib.blake2b(bytes(size), digest_size=16, key=bytes(32)).digest() for size in (1, 3)
    ]
    assert payloads(command.settings, 2) == expected


def test_json_messages_of_cut_payloads_are_wrong_usage(tmp_path: Path, command: Command) -> None:
    path = write(tmp_path / "a.pcap", 1)
    for flags in ([], ["--check"]):
        code, lines, last = command(path, "--messages", "json", *flags, PAYLOAD_BYTES="64")
        assert (code, lines) == (2, [])
        assert last == (
            "capture-pcap: --messages=json: JSON messages hold whole payloads as they are"
        )


def test_damage_is_named_with_its_byte_in_the_last_line(tmp_path: Path, command: Command) -> None:
    cut, whole = write(tmp_path / "cut.pcap", 10, 10), write(tmp_path / "whole.pcap", 1)
    os.truncate(cut, cut.stat().st_size - 1)
    code, lines, last = command(cut, whole)
    assert code == 1
    assert lines[-1] == "2 frames = 2 published + 0 filtered + 0 refused + 0 shed"
    assert last == (
        f"capture-pcap: {cut}: damaged at byte {24 + 16 + 52}: the file ends within a "
        "frame, with 51 of 52 bytes; the frames before the damage are published"
    )


def test_the_line_that_counts_is_printed_where_frames_are_shed(
    tmp_path: Path, command: Command
) -> None:
    large = write(tmp_path / "large.pcap", 1, 2)
    data = bytearray(large.read_bytes())
    data[16:20] = (2 * MAX_BODY_BYTES).to_bytes(4, "little")  # the snap length
    size = MAX_BODY_BYTES.to_bytes(4, "little")
    large.write_bytes(data + bytes(8) + 2 * size + os.urandom(MAX_BODY_BYTES))
    code, lines, last = command(large)
    assert code == 1
    assert lines[-1] == "3 frames = 2 published + 0 filtered + 0 refused + 1 shed"
    assert last.startswith("capture-pcap: 1 frames that were read are not published; ")
