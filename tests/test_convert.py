"""packets-pcap: capture files to a dataset file, by the command itself."""

from __future__ import annotations

import csv
import fcntl
import gzip
import hashlib
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sysconfig
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from network_pipeline import audit, payload_key
from network_pipeline.capture.file_filter import FileFilter
from network_pipeline.capture.inputs import inputs
from network_pipeline.convert import COUNTED, Conversion, Plan
from network_pipeline.dataset.exports import export
from network_pipeline.frames import Frame, LinkType
from network_pipeline.metrics import Counters
from network_pipeline.traffic import craft
from network_pipeline.verify import judge
from tests import needs, netns
from tests.capture.capture_files import COMPRESS, SHARED, Pcap, Pcapng
from tests.dataset import tmpfs
from tests.decode import captures, samples

SCRIPTS = Path(sysconfig.get_path("scripts"))
COMMAND = SCRIPTS / "packets-pcap"
ENDS = craft.Ends("02:00:00:00:00:01", "02:00:00:00:00:02", "192.0.2.1", "192.0.2.2")


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Ten datagrams, the payload of each with its number."""
    data = [craft.udp_frame(ENDS, 40000, 9, b"payload %d" % number) for number in range(1, 11)]
    frames = [
        Frame(number, 1_700_000_000_000_000_000 + number, None, len(each), LinkType.ETHERNET, each)
        for number, each in enumerate(data, 1)
    ]
    path = tmp_path / "ten.pcap"
    captures.write_frames(path, frames)
    return path


def run(
    *arguments: object, command: str = "packets-pcap", stdin: bytes = b"", **variables: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [SCRIPTS / command, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=120,
        env={**os.environ, **variables},
    )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_file_becomes_rows(tmp_path: Path, capture: Path) -> None:
    output = tmp_path / "x.csv"
    done = run(capture, "--output", output, "--source", "edge-1", "--payload-bytes", "7")
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode() == (
        "layer                             rows\n"
        "eth                                 10\n"
        "ip                                  10\n"
        "udp                                 10\n"
        "\n"
        "10 frames = 10 rows + 0 filtered + 0 refused\n"
        f"{output}\n"
    )
    found = rows(output)
    assert [row["frame_number"] for row in found] == [str(number) for number in range(1, 11)]
    assert found[9]["frame_time"] == "2023-11-14T22:13:20.000000010Z"
    assert {row["source"] for row in found} == {"edge-1"}
    assert {(row["raw_len"], row["raw_load"]) for row in found} == {
        ("9", b"payload".hex()),
        ("10", b"payload".hex()),
    }


def test_a_name_that_is_no_utf8_is_escaped(tmp_path: Path, capture: Path) -> None:
    named = capture.rename(tmp_path / os.fsdecode(b"t\xe4glich.pcap"))
    output = tmp_path / "x.parquet"
    done = run(named, "--output", output)
    assert done.returncode == 0, done.stderr
    files = json.loads(pq.read_schema(output).metadata[b"files"])
    assert list(files.values()) == [r"t\xe4glich.pcap"]


def test_the_same_file_gives_the_same_bytes(tmp_path: Path, capture: Path) -> None:
    # Its session is made of its content, so a frame has the same identity in every run.
    for name in ("a.parquet", "b.parquet"):
        assert run(capture, "--output", tmp_path / name, "--batch-frames", "3").returncode == 0
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_pipe_and_a_compressed_file_give_the_same_rows(tmp_path: Path, capture: Path) -> None:
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(capture.read_bytes()))
    assert run(packed, "--output", tmp_path / "packed.csv").returncode == 0
    done = run("-", "--output", tmp_path / "piped.csv", stdin=capture.read_bytes())
    assert done.returncode == 0, done.stderr
    expected = [row["raw_load"] for row in rows(tmp_path / "packed.csv")]
    assert [row["raw_load"] for row in rows(tmp_path / "piped.csv")] == expected
    assert len(expected) == 10


def test_a_damaged_file_is_named_and_the_others_go_on(tmp_path: Path, capture: Path) -> None:
    damaged = tmp_path / "cut.pcap"
    damaged.write_bytes(capture.read_bytes()[:-5])
    output = tmp_path / "x.csv"
    done = run(damaged, capture, "--output", output)
    assert done.returncode == 1
    assert b"cut.pcap: damaged at byte " in done.stderr
    assert b"damaged: " in done.stderr
    assert len(rows(output)) == 9 + 10


@pytest.mark.parametrize("command", ["packets-pcap", "packets-flows"])
def test_what_is_no_capture_leaves_the_output_as_it_was(tmp_path: Path, command: str) -> None:
    text, output = tmp_path / "notes.txt", tmp_path / "x.csv"
    text.write_text("Neither pcap nor pcapng.\n")
    output.write_text("of an earlier run")
    done = run(text, "--output", output, command=command)
    assert done.returncode == 1
    assert done.stderr.decode().splitlines()[-1] == (
        f"{command}: {text}: not one frame can be read, so nothing is written"
    )
    assert output.read_text() == "of an earlier run"


def test_a_missing_file_leaves_nothing_behind(tmp_path: Path) -> None:
    done = run(tmp_path / "none.pcap", "--output", tmp_path / "x.csv")
    assert done.returncode == 2
    assert b"none.pcap" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_frames_of_other_link_types_are_counted_and_said(tmp_path: Path, capture: Path) -> None:
    content = bytearray(capture.read_bytes())
    content[20:24] = (105).to_bytes(4, "little")  # IEEE 802.11
    capture.write_bytes(content)
    done = run(capture, "--output", tmp_path / "x.csv")
    assert done.returncode == 0
    assert done.stdout.decode() == (
        "refused link type               frames\n"
        "IEEE802_11 (105)                    10\n"
        "\n"
        "10 frames = 0 rows + 0 filtered + 10 refused\n"
        f"{tmp_path / 'x.csv'}\n"
    )
    assert b"IEEE802_11" in done.stderr
    assert rows(tmp_path / "x.csv") == []


def test_the_table_of_everything(tmp_path: Path) -> None:
    """Three interfaces, of which one is not decoded, a frame that is cut, and a damaged end."""
    ethernet = craft.udp_frame(ENDS, 40000, 9, b"payload")
    built = Pcapng()
    built.section(">")
    for name, link_type in (("eth0", 1), ("wlan0", 127), ("tun0", 101)):
        built.interface(name, link_type=link_type)
    records = [(0, ethernet), (1, bytes(30)), (2, ethernet[14:]), (0, ethernet[:20])]
    for interface, data in records:
        built.block(6, struct.pack(">5I", interface, 0, 1, len(data), len(data)) + _padded(data))
    path = tmp_path / "x.pcapng"
    path.write_bytes(built.data + b"cut")
    output = tmp_path / "x.csv"
    done = run(path, "--output", output)
    assert done.returncode == 1
    name = f"{path!s:24}"
    assert done.stdout.decode() == (
        "layer                             rows\n"
        "eth                                  2\n"
        "ip                                   2\n"
        "udp                                  2\n"
        "\n"
        "frame error                       rows\n"
        "ip:truncated                         1\n"
        "\n"
        "refused link type                frames\n"
        "IEEE802_11_RADIOTAP (127)             1\n"
        "\n"
        f"{'damaged file':{len(name)}}       at byte\n"
        f"{name}{len(built.data):>14,}\n"
        "\n"
        "4 frames = 3 rows + 0 filtered + 1 refused\n"
        f"{output}\n"
    )
    assert [row["frame_interface"] for row in rows(output)] == ["eth0", "tun0", "eth0"]


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


# -- filter ----------------------------------------------------------------------------------------


def test_a_filter_counts_what_it_leaves_out(tmp_path: Path, capture: Path) -> None:
    output = tmp_path / "x.parquet"
    done = run(capture, "--output", output, "--filter", "len = 52", "--batch-frames", "3")
    assert done.returncode == 0, done.stderr
    assert b"\n10 frames = 1 rows + 9 filtered + 0 refused\n" in done.stdout
    assert pq.read_table(output)["frame_number"].to_pylist() == [10]
    assert pq.read_metadata(output).metadata[b"filter"] == b"len = 52"


def test_a_filter_has_a_variable_of_its_own(tmp_path: Path, capture: Path) -> None:
    # One that is set for captures must not thin out files.
    output = tmp_path / "x.csv"
    done = run(capture, "--output", output, NETWORK_FILTER="tcp", PCAP_FILTER="udp port 9")
    assert b"\n10 frames = 10 rows + 0 filtered" in done.stdout
    done = run(capture, "--output", output, PCAP_FILTER="tcp")
    assert b"10 frames = 0 rows + 10 filtered" in done.stdout


def test_what_is_no_filter_writes_nothing(tmp_path: Path, capture: Path) -> None:
    output = tmp_path / "x.csv"
    output.write_text("what was there before")
    done = run(capture, "--output", output, "--filter", "tcp prot 80")
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr.startswith(b"packets-pcap: filter 'tcp prot 80': ")
    assert output.read_text() == "what was there before"


def test_a_link_type_that_a_filter_is_none_for(tmp_path: Path, capture: Path) -> None:
    bare = Pcap(network=101)
    bare.frame(40)
    (tmp_path / "bare.pcap").write_bytes(bare.data)
    output = tmp_path / "x.csv"
    chosen = ("--filter", "ether src 02:00:00:00:00:01")
    done = run(tmp_path / "bare.pcap", capture, "--output", output, *chosen)
    assert done.returncode == 1
    assert b"11 frames = 10 rows + 0 filtered + 1 refused" in done.stdout
    assert b"packets-pcap: frames of link type RAW (101) are refused: filter " in done.stderr
    assert len(rows(output)) == 10


# -- payload ---------------------------------------------------------------------------------------


def test_digests_are_the_same_for_the_same_key(tmp_path: Path, capture: Path) -> None:
    state = str(tmp_path / "state")
    for name in ("a.parquet", "b.parquet", "c.csv"):
        done = run(capture, "--output", tmp_path / name, "--payload", "hash", XDG_STATE_HOME=state)
        assert done.returncode == 0, done.stderr
    key = payload_key.load(tmp_path / "state" / "network-pipeline" / "payload.key")
    expected = [
        hashlib.blake2b(b"payload %d" % number, key=key, digest_size=16).digest()
        for number in range(1, 11)
    ]
    for name in ("a.parquet", "b.parquet"):
        assert pq.read_table(tmp_path / name)["raw_load"].to_pylist() == expected
        metadata = pq.read_metadata(tmp_path / name).metadata
        assert metadata[b"payload"] == f"BLAKE2b-128 digests, key {payload_key.name(key)}".encode()
        assert key not in (tmp_path / name).read_bytes()
    found = rows(tmp_path / "c.csv")
    assert [row["raw_load"] for row in found] == [digest.hex() for digest in expected]
    assert {row["raw_len"] for row in found} == {"9", "10"}


def test_digests_are_of_the_payload_that_rows_would_keep(tmp_path: Path, capture: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)
    hashed = ("--payload", "hash", "--payload-key-file", key)
    assert (
        run(capture, "--output", tmp_path / "7.csv", *hashed, "--payload-bytes", 7).returncode == 0
    )
    digest = hashlib.blake2b(b"payload", key=b"k" * 32, digest_size=16).hexdigest()
    assert {row["raw_load"] for row in rows(tmp_path / "7.csv")} == {digest}
    assert (
        run(capture, "--output", tmp_path / "0.csv", *hashed, "--payload-bytes", 0).returncode == 0
    )
    assert {row["raw_load"] for row in rows(tmp_path / "0.csv")} == {""}


def test_a_key_that_others_read_is_refused(tmp_path: Path, capture: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"0123456789abcdef")
    key.chmod(0o644)
    output = tmp_path / "x.csv"
    done = run(capture, "--output", output, "--payload", "hash", "--payload-key-file", key)
    assert (done.returncode, output.exists()) == (2, False)
    assert b"chmod 600" in done.stderr
    assert b"0123456789abcdef" not in done.stderr


# -- batches, threads, formats ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples of Ethernet, and behind them a damaged end."""
    ethernet = [each for each in samples.all_samples() if each.link_type == LinkType.ETHERNET]
    path = tmp_path_factory.mktemp("mixed") / "mixed.pcap"
    captures.write_frames(path, [each.frame(number) for number, each in enumerate(ethernet, 1)])
    with path.open("ab") as file:
        file.write(b"cut")
    return path


def converted(path: Path, output: Path, plan: Plan) -> list[str]:
    """Convert in this process; return the table."""
    counters = Counters(*COUNTED)
    with export(output) as dataset:
        summary = Conversion(dataset, counters, plan).run(inputs([str(path)]), threading.Event())
    return list(summary.lines(counters.snapshot()))


@pytest.mark.parametrize("name", ["x.csv", "x.parquet", "x.jsonl"])
@pytest.mark.parametrize("text", ["", "tcp or udp"])
@pytest.mark.parametrize("key", [None, b"k" * 32], ids=["kept", "hashed"])
def test_bytes_depend_neither_on_batches_nor_on_threads(
    tmp_path: Path, mixed: Path, name: str, text: str, key: bytes | None
) -> None:
    tables, written = set(), set()
    for batch_frames in (1, 7, 65_536):
        for threads in (1, 2, 3):
            chosen = FileFilter(text) if text else None
            plan = Plan("edge", batch_frames, payload_key=key, filter=chosen, threads=threads)
            tables.add("\n".join(converted(mixed, tmp_path / name, plan)))
            written.add((tmp_path / name).read_bytes())
    assert len(tables) == 1
    assert len(written) == 1
    assert len(written.pop()) > 10_000


@pytest.mark.parametrize("compress", COMPRESS.values(), ids=COMPRESS)
def test_a_big_endian_nanosecond_file_compressed(
    tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    built = Pcap(">", 0xA1B23C4D)
    for size in (60, 61):
        built.frame(size)
    path = tmp_path / "x.pcap"
    path.write_bytes(compress(built.data))
    output = tmp_path / "x.parquet"
    assert run(path, "--output", output).returncode == 0
    times = pq.read_table(output)["frame_time"].cast("int64").to_pylist()
    assert times == [frame.time_ns for frame in built.frames]


@pytest.mark.skipif(not SHARED.is_dir(), reason="there are no shared captures")
def test_all_shared_captures_at_once(tmp_path: Path) -> None:
    paths = sorted(SHARED.glob("*.pcap*"))
    done = run(*paths, "--output", tmp_path / "all.parquet", "--threads", "2")
    assert done.returncode == 1
    table = done.stdout.decode()
    damaged = table.partition("damaged file")[2].partition("\n\n")[0]
    names = [Path(line.split()[0]).name for line in damaged.splitlines()[1:]]
    assert names == ["fmt-cut-bad-caplen.pcap", "fmt-pcapng-epb-unbounded.pcapng"]
    assert all(name in done.stderr.decode() for name in names)
    counted = table.splitlines()[-2].replace(",", "").split()
    frames, selected, refused = (int(counted[place]) for place in (0, 3, 9))
    assert frames == selected + refused
    assert pq.read_metadata(tmp_path / "all.parquet").num_rows == selected > 19_000


# -- a live pipe -----------------------------------------------------------------------------------


def test_tcpdump_into_a_pipe(tmp_path: Path) -> None:
    needs.program("tcpdump")
    output = tmp_path / "x.csv"
    with netns.namespace() as made:
        tcpdump = subprocess.Popen(
            ["ip", "netns", "exec", made.name, "tcpdump", "-i", "lo", "-U", "--immediate-mode",
             "-c", "5", "-w", "-", "udp port 9"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert tcpdump.stderr
        while b"listening on" not in tcpdump.stderr.readline():
            pass
        process = subprocess.Popen([COMMAND, "-", "--output", str(output)], stdin=tcpdump.stdout)
        with made.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
            for number in range(5):
                sending.sendto(b"payload %d" % number, ("127.0.0.1", 9))
        assert process.wait(60) == 0
        assert tcpdump.wait(60) == 0
    expected = [(b"payload %d" % number).hex() for number in range(5)]
    assert [row["raw_load"] for row in rows(output)] == expected


def test_a_signal_ends_a_silent_pipe_with_what_came(tmp_path: Path, capture: Path) -> None:
    output = tmp_path / "x.csv"
    process = subprocess.Popen([COMMAND, "-", "--output", str(output), "--threads", "2"],
                               stdin=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    assert process.stdin
    process.stdin.write(capture.read_bytes())
    process.stdin.flush()
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".x.csv.*.part")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 0, talk
    assert b"stopped: the dataset has the frames that were read until then" in talk
    assert output.exists()


# -- the dataset's place ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.csv", "x.parquet"])
def test_the_ledger_explains_what_is_no_row(tmp_path: Path, capture: Path, name: str) -> None:
    radio = bytearray(capture.read_bytes())
    radio[20:24] = (105).to_bytes(4, "little")
    (tmp_path / "radio.pcap").write_bytes(radio)
    output = tmp_path / "out" / name
    output.parent.mkdir()
    done = run(capture, tmp_path / "radio.pcap", "--output", output, "--filter", "len = 51")
    assert done.returncode == 0, done.stderr
    [found] = [audit.examine(path) for path in audit.dataset_files([str(output.parent)])]
    verdict = judge([found], is_final=True)
    assert list(verdict.complaints) == []
    accounts = sorted((each.frames, each.rows, each.shed) for each in verdict.accounts)
    assert accounts == [(10, 0, 10), (10, 9, 1)]


def test_json_lines_have_no_ledger(tmp_path: Path, capture: Path) -> None:
    assert run(capture, "--output", tmp_path / "x.jsonl").returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ten.pcap", "x.jsonl"]


def test_a_file_given_twice_is_read_once(tmp_path: Path, capture: Path) -> None:
    copy = tmp_path / "copy.pcap"
    copy.write_bytes(capture.read_bytes())
    done = run(capture, copy, capture, "--output", tmp_path / "x.csv")
    assert done.returncode == 0
    assert done.stderr.count(b"is read once") == 2
    assert b"10 frames = 10 rows" in done.stdout


@pytest.mark.parametrize("name", ["x.csv", "x.parquet"])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path, capture: Path, name: str) -> None:
    noise = random.Random(1)  # that no compression makes small
    data = [bytes(12) + b"\x12\x34" + noise.randbytes(5000) for _ in range(200)]
    path = tmp_path / "large.pcap"
    captures.write_frames(path, [Frame(1, 0, None, 5014, LinkType.ETHERNET, each) for each in data])
    with tmpfs.mounted(tmp_path / "disk", 200) as disk:
        (disk / name).write_text("what was there before")
        done = run(path, capture, "--output", disk / name)
        assert done.returncode == 1
        assert f"packets-pcap: {disk / name}: No space left on device\n" in done.stderr.decode()
        assert (disk / name).read_text() == "what was there before"
        assert [each.name for each in disk.iterdir()] == [name]


def test_places_where_no_dataset_can_be(tmp_path: Path, capture: Path) -> None:
    (tmp_path / "directory.csv").mkdir()
    for output, reason in (
        (tmp_path / "none" / "x.csv", "No such file or directory"),
        (tmp_path / "directory.csv", "a directory has this name"),
    ):
        done = run(capture, "--output", output)
        assert done.returncode == 1
        assert done.stderr.decode() == f"packets-pcap: {output}: {reason}\n"


def test_the_file_of_a_processor_is_left_alone(tmp_path: Path, capture: Path) -> None:
    output = tmp_path / "live.csv"
    output.write_text("rows")
    with output.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = run(capture, OUTPUT_CSV=str(output))
    assert done.returncode == 1
    assert b"a processor writes this file" in done.stderr
    assert output.read_text() == "rows"
