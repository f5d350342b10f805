"""The generator: the same bytes for a seed, and the traffic that it promises."""

from __future__ import annotations

import hashlib
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from bench import generate
from network_pipeline.capture.pcap import CaptureFile
from network_pipeline.decode.nested import decode
from network_pipeline.message import Nested
from tests import needs
from tests.capture.capture_files import read

_FRAMES = 3_000


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bench") / "capture.pcap"
    generate.write(path, _FRAMES, seed=1)
    return path


@pytest.fixture(scope="module")
def decoded(capture: Path) -> list[Nested]:
    return [decode(frame) for frame in read(capture)[0]]


def test_a_seed_gives_the_same_bytes(capture: Path, tmp_path: Path) -> None:
    digests = set()
    for name, seed in (("again", 1), ("other", 2)):
        generate.write(tmp_path / name, _FRAMES, seed)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 2
    assert hashlib.sha256(capture.read_bytes()).hexdigest() in digests


def test_any_number_of_frames_is_written(tmp_path: Path) -> None:
    for frames in (0, 1, generate.CHUNK_FRAMES + 1):
        generate.write(tmp_path / "capture", frames, seed=3)
        with CaptureFile(tmp_path / "capture") as capture:
            assert sum(len(batch) for batch in capture) == frames


def test_frames_decode_without_errors(decoded: list[Nested]) -> None:
    assert [nested["frame"].get("error") for nested in decoded] == [None] * _FRAMES


def test_traffic_is_mixed_as_promised(decoded: list[Nested]) -> None:
    layers = Counter(layer for nested in decoded for layer in nested)
    shares = {"tcp": 0.7, "udp": 0.2, "dns": 0.1, "arp": 0.04, "ipv6": 0.096}
    for layer, share in shares.items():
        assert layers[layer] / _FRAMES == pytest.approx(share, abs=0.02), layer
    assert layers["icmp"] + layers["icmpv6"] == pytest.approx(0.06 * _FRAMES, rel=0.3)
    lengths = [nested["frame"]["len"] for nested in decoded]
    assert 440 < sum(lengths) / _FRAMES < 540


def test_connections_have_handshakes_and_options(decoded: list[Nested]) -> None:
    segments = [nested["tcp"] for nested in decoded if "tcp" in nested]
    flags = Counter(segment["flags"] for segment in segments)
    assert 0 <= flags[2] - flags[18] < 10, "SYN, then SYN and ACK"
    assert all("tsval" in segment["options"] for segment in segments)
    assert sum("sack" in segment["options"] for segment in segments) > _FRAMES // 200


def test_every_answer_follows_its_question(decoded: list[Nested]) -> None:
    asked = set()
    for nested in decoded:
        if message := nested.get("dns"):
            question = (message["id"], message["qd"]["qname"])
            if message["qr"]:
                assert question in asked
                assert message["ancount"] == len(message["an"]["rdata"].split(";"))
            asked.add(question)
    assert len(asked) > _FRAMES // 30


def test_a_flood_is_of_connections_that_begin(tmp_path: Path) -> None:
    generate.write(tmp_path / "capture", 500, seed=1, is_flood=True)
    nested = [decode(frame) for frame in read(tmp_path / "capture")[0]]
    assert [each["frame"].get("error") for each in nested] == [None] * 500
    assert {(each["tcp"]["flags"], each["tcp"]["dport"]) for each in nested} == {(2, 443)}
    assert len({(each["ip"]["src"], each["tcp"]["sport"]) for each in nested}) == 500


def test_checksums_of_ipv4_are_right(capture: Path) -> None:
    needs.program("tshark")
    command = ["tshark", "-n", "-r", str(capture), "-o", "ip.check_checksum:TRUE"]
    command += ["-Y", "ip.checksum.status != 1"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=120)
    assert done.stdout == b""
