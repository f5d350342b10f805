from __future__ import annotations

import csv
import errno
import io
import logging
import multiprocessing
import os
import random
import stat
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path

import pandas as pd
import pytest

from network_pipeline.dataset import writers
from network_pipeline.dataset.flatten import lines, rows
from network_pipeline.dataset.writers import HEADER, CsvWriter, FileTaken
from network_pipeline.errors import DatasetError
from network_pipeline.schema import COLUMN_NAMES, COLUMNS, INTEGER_LIMITS
from tests.dataset import tmpfs
from tests.dataset.sample import SESSION, frame, frame_lines, frames, line

DNS_FRAME = frame(
    7,
    eth={"dst": "02:00:00:00:00:02", "src": "02:00:00:00:00:01", "type": 2048},
    ip={"version": 4, "ihl": 5, "chksum": 0, "src": "10.0.0.1", "dst": "10.0.0.2"},
    udp={"sport": 40000, "dport": 53, "len": 40, "chksum": 65535},
    dns={"id": 0, "qd": {"qname": 'a "b", c', "qtype": 1}},
    raw={"len": 3, "load": "0a0d22"},
)
DNS_LINE = (
    f"lb1,{SESSION},7,,,,,,"  # source ... frame_error
    "02:00:00:00:00:02,02:00:00:00:00:01,2048,"  # eth
    ",,,,,,,,"  # vlan, vlan2
    ",,,,,,,,,"  # arp
    "4,5,,,,,,,,0,10.0.0.1,10.0.0.2,,"  # ip
    ",,,,,,,,,,,,"  # ipv6
    ",,,,,"  # icmp
    ",,,,,,"  # icmpv6
    ",,,,,,,,,,,,,,,,,,"  # tcp
    "40000,53,40,65535,"  # udp
    '0,,,,,,,,,,,,,,,"a ""b"", c",1,,,,,,'  # dns
    "3,0a0d22,\n"  # raw, padding
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.csv"


@pytest.fixture
def writer(path: Path) -> Iterator[CsvWriter]:
    opened = CsvWriter(path)
    opened.open()
    yield opened
    opened.close()


def repaired(path: Path) -> str:
    writer = CsvWriter(path)
    writer.open()
    writer.close()
    return path.read_text()


# -- text ------------------------------------------------------------------------------------------


def test_the_text_of_rows_to_the_last_byte(writer: CsvWriter, path: Path) -> None:
    writer.append(lines([DNS_FRAME, frame(8)]))
    writer.append(lines([frame(2**64 - 1)]))
    assert path.read_bytes() == HEADER + (DNS_LINE + frame_lines([8, 2**64 - 1])).encode()


def test_the_header_names_the_columns_joined_by_commas(writer: CsvWriter, path: Path) -> None:
    assert path.read_text() == ",".join(COLUMN_NAMES) + "\n"


def test_text_beyond_ascii_is_utf8(writer: CsvWriter, path: Path) -> None:
    writer.append(lines([{**frame(1), "source": "Zürich-日本"}]))
    assert path.read_bytes().splitlines()[1].startswith("Zürich-日本,".encode())


def test_pandas_reads_back_integers_and_text(writer: CsvWriter, path: Path) -> None:
    limits = {c.name: INTEGER_LIMITS[c.type] for c in COLUMNS if c.type in INTEGER_LIMITS}
    nested = [DNS_FRAME, frame(8), frame(2**64 - 1, tcp={"seq": limits["tcp_seq"]})]
    writer.append(lines(nested))
    types = {
        c.name: c.type.replace("uint", "UInt") if c.type in INTEGER_LIMITS else "string[python]"
        for c in COLUMNS
    }
    read = pd.read_csv(path, dtype=types)
    pd.testing.assert_frame_equal(read, rows(nested))
    untyped = pd.read_csv(path)
    assert untyped["frame_number"].tolist() == [7, 8, 2**64 - 1]
    assert untyped["dns_qd_qname"].tolist()[:1] == ['a "b", c']


# -- creating and opening --------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_only_its_owner_may_read_a_file(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        repaired(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_is_continued(path: Path) -> None:
    for number in (1, 2, 3):
        writer = CsvWriter(path)
        writer.open()
        writer.append(lines(frames([number])))
        writer.close()
    assert path.read_text() == HEADER.decode() + frame_lines([1, 2, 3])


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n1,2\n",
        HEADER[:-1] + b",more\n",
        HEADER[:-1] + b"\r\n",
        b"\xef\xbb\xbf" + HEADER,
        b"\n",
    ],
)
def test_another_file_is_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        CsvWriter(path).open()
    assert str(caught.value) == (
        f"{path}: its first line does not name the {len(COLUMN_NAMES)} columns of this version; "
        "write to another file"
    )
    assert path.read_bytes() == content


def test_a_symbolic_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    path.symlink_to(target)
    for _ in ("dangling", "with a target"):
        for attempt in (CsvWriter(path).open, CsvWriter(path).check):
            with pytest.raises(DatasetError, match=r"rows\.csv: a symbolic link$"):
                attempt()
        target.write_bytes(b"")
    assert target.read_bytes() == b""


def test_what_is_no_file_is_refused(path: Path, tmp_path: Path) -> None:
    os.mkfifo(path)
    for attempt in (CsvWriter(path).open, CsvWriter(path).check):
        with pytest.raises(DatasetError, match=r"rows\.csv: not a regular file$"):
            attempt()
    with pytest.raises(DatasetError, match=r"Is a directory$"):
        CsvWriter(tmp_path).open()
    with pytest.raises(DatasetError, match=r"No such file or directory$"):
        CsvWriter(tmp_path / "none" / "rows.csv").open()


def test_a_second_writer_is_refused(writer: CsvWriter, path: Path) -> None:
    for attempt in (CsvWriter(path).open, CsvWriter(path).check):
        with pytest.raises(FileTaken, match=r"rows\.csv: another processor writes this file$"):
            attempt()
    writer.append(lines(frames([1])))
    writer.close()
    assert repaired(path) == HEADER.decode() + frame_lines([1])


def test_a_new_file_must_not_exist(path: Path) -> None:
    path.write_bytes(b"")
    with pytest.raises(FileTaken, match=r"rows\.csv: exists already$"):
        CsvWriter(path, new=True).open()
    assert path.read_bytes() == b""


def test_a_check_changes_nothing(path: Path, tmp_path: Path) -> None:
    CsvWriter(path).check()
    assert list(tmp_path.iterdir()) == []
    torn = HEADER + b"half a li"
    path.write_bytes(torn)
    CsvWriter(path).check()
    assert path.read_bytes() == torn


# -- what a crash leaves ---------------------------------------------------------------------------


def test_a_line_torn_at_any_byte_is_cut_off(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = HEADER + frame_lines([1, 2, 3]).encode()
    for size in range(len(HEADER) + len(frame_lines([1])), len(whole)):
        path.write_bytes(whole[:size])
        caplog.clear()
        kept = repaired(path)
        assert kept == whole[: whole.rfind(b"\n", 0, size) + 1].decode()
        said = [f"{path}: cut off {size - len(kept)} bytes of a torn last line"]
        assert [record.getMessage() for record in caplog.records] == said * (size > len(kept))


def test_a_torn_line_longer_than_a_block_is_cut_off(path: Path) -> None:
    path.write_bytes(HEADER + frame_lines([1]).encode() + bytes(200_000))
    assert repaired(path) == HEADER.decode() + frame_lines([1])


@pytest.mark.parametrize("size", [0, 1, 2, len(HEADER) // 2, len(HEADER) - 2, len(HEADER) - 1])
def test_a_torn_header_is_begun_again(
    path: Path, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(HEADER[:size])
    assert repaired(path) == HEADER.decode()
    said = [f"{path}: cut off {size} bytes of a torn last line"]
    assert [record.getMessage() for record in caplog.records] == said * (size > 0)


def _write_until_killed(path: Path, first: int, progress: Connection) -> None:
    writer = CsvWriter(path)
    writer.open()
    for number in range(first, first + 100_000, 200):
        writer.append(lines(frames(range(number, number + 200))))
        progress.send(number + 199)


def test_a_killed_writer_leaves_whole_snapshots_and_at_most_a_torn_line(path: Path) -> None:
    # What was reported durable is there after each kill, and repair leaves whole lines only.
    forking, chance = multiprocessing.get_context("fork"), random.Random(1)
    last = 0
    for _ in range(20):
        receiving, sending = forking.Pipe(duplex=False)
        process = forking.Process(target=_write_until_killed, args=(path, last + 1, sending))
        process.start()
        for _ in range(chance.randint(1, 3)):
            durable = receiving.recv()
        receiving.poll(chance.random() * 0.01)
        process.kill()
        process.join()
        numbers = [int(row["frame_number"]) for row in csv.DictReader(io.StringIO(repaired(path)))]
        assert numbers == list(range(1, len(numbers) + 1))
        last = len(numbers)
        assert last >= durable
    assert path.read_text() == HEADER.decode() + frame_lines(range(1, last + 1))


# -- what fails ------------------------------------------------------------------------------------


def test_a_full_disk_takes_none_of_the_rows(tmp_path: Path) -> None:
    with tmpfs.mounted(tmp_path / "small", size_kib=128) as place:
        path = place / "rows.csv"
        writer = CsvWriter(path)
        writer.open()
        writer.append(lines(frames([1, 2])))
        before = path.read_bytes()
        ballast = tmpfs.fill(place)
        many = lines(frames(range(3, 200)))
        for _ in range(3):
            with pytest.raises(DatasetError) as caught:
                writer.append(many)
            assert str(caught.value) == f"{path}: No space left on device"
            assert path.read_bytes() == before
        ballast.unlink()
        writer.append(many)
        writer.close()
        assert path.read_text() == HEADER.decode() + frame_lines(range(1, 200))


def test_a_full_disk_leaves_no_new_file(tmp_path: Path) -> None:
    with tmpfs.mounted(tmp_path / "small", size_kib=64) as place:
        tmpfs.fill(place)
        path = place / "rows.csv"
        with pytest.raises(DatasetError, match=r"No space left on device$"):
            CsvWriter(path, new=True).open()
        assert not path.exists()


def fail(*_arguments: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def test_rows_that_could_not_be_synced_are_taken_back(
    writer: CsvWriter, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fail)
        with pytest.raises(DatasetError, match=r"rows\.csv: Input/output error$"):
            writer.append(lines(frames([1])))
    assert path.read_bytes() == HEADER
    writer.append(lines(frames([2])))
    assert path.read_text() == HEADER.decode() + frame_lines([2])


@pytest.mark.parametrize("ending", ["the next rows", "closing"])
def test_what_could_not_be_taken_back_at_once_is_taken_back_later(
    writer: CsvWriter, path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", fail)
        patched.setattr(os, "ftruncate", fail)
        with pytest.raises(DatasetError, match=r"rows\.csv: Input/output error$"):
            writer.append(lines(frames([1, 2])))
    assert path.read_text() == HEADER.decode() + frame_lines([1, 2])
    if ending == "closing":
        writer.close()
        assert path.read_bytes() == HEADER
    else:
        writer.append(lines(frames([3])))
        assert path.read_text() == HEADER.decode() + frame_lines([3])


def test_a_write_in_pieces_is_continued(
    writer: CsvWriter, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, left: write(descriptor, left[:7]))
    writer.append(lines(frames([1, 2])))
    assert path.read_text() == HEADER.decode() + frame_lines([1, 2])


def test_a_deleted_file_is_begun_again(
    writer: CsvWriter, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer.append(lines(frames([1])))
    path.unlink()
    writer.append(lines(frames([2])))
    assert path.read_text() == HEADER.decode() + frame_lines([2])
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} is gone, beginning it again"
    ]


def test_a_directory_that_is_gone_is_an_error_until_it_is_back(
    writer: CsvWriter, path: Path, tmp_path: Path
) -> None:
    away = tmp_path.with_name("away")
    path.unlink()
    tmp_path.rename(away)
    for _ in range(2):
        with pytest.raises(DatasetError, match=r"No such file or directory$"):
            writer.append(lines(frames([1])))
    away.rename(tmp_path)
    writer.append(lines(frames([1])))
    assert path.read_text() == HEADER.decode() + frame_lines([1])


# -- cost and readers ------------------------------------------------------------------------------


def bytes_moved() -> tuple[int, int]:
    lines = Path("/proc/thread-self/io").read_text().splitlines()
    figures = dict(line.split(": ") for line in lines)
    return int(figures["rchar"]), int(figures["wchar"])


def cost(path: Path) -> tuple[int, int]:
    """Return the bytes that this thread reads and writes to open a file and append a row."""
    text = lines(frames([1]))
    before = bytes_moved()
    writer = CsvWriter(path)
    writer.open()
    writer.append(text)
    after = bytes_moved()
    writer.close()
    return after[0] - before[0], after[1] - before[1]


def test_the_cost_of_a_snapshot_does_not_depend_on_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    block = HEADER + line(source="x" * 200).encode() * 400
    small, large = tmp_path / "small.csv", tmp_path / "large.csv"
    small.write_bytes(block)
    large.write_bytes(block + line(source="x" * 200).encode() * 50_000)
    cost(small)
    read_small, written_small = cost(small)
    read_large, written_large = cost(large)
    assert written_small == written_large == len(frame_lines([1]))
    assert abs(read_large - read_small) < 100  # the figures themselves are read too


def _copy(path: Path, command: str, report: Connection) -> None:
    """Copy as fast as can be; report of each copy whether it is whole lines with all columns."""
    copy, commas = path.with_suffix("." + command), len(COLUMN_NAMES) - 1
    while True:
        if command == "cp":
            os.spawnlp(os.P_WAIT, "cp", "cp", str(path), str(copy))
            text = copy.read_bytes()
        else:
            text = path.read_bytes()
        whole = text.endswith(b"\n") and text.count(b",") == commas * text.count(b"\n")
        report.send(whole)


@pytest.mark.usefixtures("leases")
def test_whoever_copies_the_file_gets_whole_lines(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine the copiers, which never pause, may all be kept from closing the file.
    monkeypatch.setattr(writers, "_PATIENCE_SECONDS", 60.0)
    writer = CsvWriter(path)
    writer.open()
    forking = multiprocessing.get_context("fork")
    whole: dict[Connection, list[bool]] = {}
    processes = []
    for command in ("cp", "read", "read again"):
        receiving, sending = forking.Pipe(duplex=False)
        whole[receiving] = []
        processes.append(forking.Process(target=_copy, args=(path, command, sending)))
    snapshot = lines(frames(range(400)))
    try:
        for process in processes:
            process.start()
        while min(map(len, whole.values())) < 50:
            for report in wait(list(whole)):
                assert isinstance(report, Connection)
                whole[report].append(report.recv())
            writer.append(snapshot)
    finally:
        for process in processes:
            process.kill()
            process.join()
        writer.close()
    assert all(map(all, whole.values()))
