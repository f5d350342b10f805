"""packets-flows, by the command itself: captures, datasets, what it refuses."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from network_pipeline.flows.schema import FLOW_COLUMNS
from tests.decode import captures
from tests.flows import making, test_oracle
from tests.flows.making import connection

_PACKETS_FLOWS = "import sys; from network_pipeline.scripts.flows import main; sys.exit(main())"
_PACKETS_PCAP = _PACKETS_FLOWS.replace("flows", "pcap")
SOURCE = ("--source", "edge")


def run(*arguments: object, program: str = _PACKETS_FLOWS) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def made(*arguments: object, program: str = _PACKETS_FLOWS) -> str:
    done = run(*arguments, program=program)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("capture") / "x.pcap"
    captures.write_frames(path, making.frames(test_oracle.traffic(8, 300, 0.2)))
    return path


def test_a_capture_becomes_flows(tmp_path: Path) -> None:
    captures.write_frames(tmp_path / "x.pcap", making.frames(connection()))
    flows = tmp_path / "flows.csv"
    told = made(tmp_path / "x.pcap", "--output", flows, *SOURCE)
    assert told.endswith(
        "8 frames = 8 rows + 0 filtered + 0 refused\n"
        "1 flows\n"
        "8 rows = 8 packets in flows + 0 ICMP errors of flows + 0 duplicates + 0 without flow\n"
        f"{flows}\n"
    )
    with flows.open(newline="") as file:
        [row] = csv.DictReader(file)
    assert list(row) == [column.name for column in FLOW_COLUMNS]
    assert row["flow_id"] == f"{row['session']}-1"
    assert (row["source"], row["end_reason"], row["vlan_id"]) == ("edge", "3", "")
    assert row["start_time"] == "2023-11-14T22:13:20.000000000Z"
    assert (row["length_mean_fwd"], row["iat_min"]) == ("44", "100000000")
    assert row["first_directions"] == "0;1;0;0;1;1;0;1"


@pytest.mark.parametrize("name", ["flows.csv", "flows.parquet", "flows.jsonl", "cic.parquet"])
def test_the_same_capture_gives_the_same_bytes(tmp_path: Path, capture: Path, name: str) -> None:
    profile = ("--profile", "cic" if name.startswith("cic") else "all")
    written = set()
    for how in (("--batch-frames", 7), ("--threads", 3), ()):
        made(capture, "--output", tmp_path / name, *profile, *SOURCE, *how)
        written.add((tmp_path / name).read_bytes())
    assert len(written) == 1


def test_datasets_give_the_flows_of_their_capture(tmp_path: Path, capture: Path) -> None:
    flows = []
    made(capture, "--output", tmp_path / "flows.jsonl", *SOURCE)
    flows.append((tmp_path / "flows.jsonl").read_text())
    for name in ("packets.csv", "packets.parquet"):
        made(capture, "--output", tmp_path / name, *SOURCE, program=_PACKETS_PCAP)
        made(tmp_path / name, "--output", tmp_path / "flows.jsonl")
        flows.append((tmp_path / "flows.jsonl").read_text())
    assert flows[0].count("\n") > 100
    assert json.loads(flows[0].splitlines()[0])["source"] == "edge"
    assert flows[0] == flows[1] == flows[2]


@pytest.mark.parametrize("output", ["flows.csv", "flows/"])
def test_of_a_dataset_no_frames_are_counted(tmp_path: Path, capture: Path, output: str) -> None:
    made(capture, "--output", tmp_path / "packets.csv", program=_PACKETS_PCAP)
    done = run(tmp_path / "packets.csv", "--output", f"{tmp_path}/{output}")
    assert "packets-flows ended: flows=" in done.stderr


def test_flows_of_datasets_know_their_capture_files(tmp_path: Path, capture: Path) -> None:
    captures.write_frames(tmp_path / "y.pcap", making.frames(connection()))
    for name in ("x", "y"):
        files = {"x": capture, "y": tmp_path / "y.pcap"}
        of = (files[name], "--source", name)
        made(*of, "--output", tmp_path / f"{name}.parquet", program=_PACKETS_PCAP)
    flows = tmp_path / "flows.parquet"
    made(tmp_path / "x.parquet", tmp_path / "y.parquet", "--output", flows)
    facts = pq.read_metadata(flows).metadata
    assert facts[b"source"] == b"x,y"
    assert set(json.loads(facts[b"files"]).values()) == {"x.pcap", "y.pcap"}
    assert facts[b"sessions"].decode().split(",") == list(json.loads(facts[b"files"]))


def test_without_payloads_errors_are_flows_of_icmp(tmp_path: Path, capture: Path) -> None:
    packets = tmp_path / "packets.parquet"
    without = ("--payload-bytes", 0)
    made(capture, "--output", packets, *without, program=_PACKETS_PCAP)
    assert "+ 0 ICMP errors of flows" in made(packets, "--output", tmp_path / "flows.parquet")
    assert "+ 0 ICMP errors" not in made(capture, "--output", tmp_path / "flows.parquet")


def test_packets_know_their_flow(tmp_path: Path, capture: Path) -> None:
    outputs = (tmp_path / "flows.parquet", tmp_path / "packets.parquet")
    told = made(capture, "--output", outputs[0], "--packets", outputs[1], *SOURCE,
                "--payload-bytes", 3)  # fmt: skip
    assert told.endswith(f"{outputs[0]}\n{outputs[1]}\n")
    made(capture, "--output", tmp_path / "plain.parquet", *SOURCE, "--payload-bytes", 3,
         program=_PACKETS_PCAP)  # fmt: skip
    flows, packets = (pq.read_table(path) for path in outputs)
    assert packets.drop_columns("flow_id").equals(pq.read_table(tmp_path / "plain.parquet"))
    ids = packets["flow_id"].to_pylist()
    assert {each for each in ids if each} == set(flows["flow_id"].to_pylist())
    counted = sum(
        sum(flows[name].to_pylist()) for name in ("packets_fwd", "packets_bwd", "icmp_errors")
    )
    assert counted == len([each for each in ids if each])


def test_packets_of_a_dataset_know_their_flow(tmp_path: Path, capture: Path) -> None:
    made(capture, "--output", tmp_path / "a.parquet", "--packets", tmp_path / "a.csv", *SOURCE)
    made(capture, "--output", tmp_path / "plain.csv", *SOURCE, program=_PACKETS_PCAP)
    made(tmp_path / "plain.csv", "--output", tmp_path / "b.parquet", "--packets",
         tmp_path / "b.csv")  # fmt: skip
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_columns_say_their_role_and_unit(tmp_path: Path, capture: Path) -> None:
    made(capture, "--output", tmp_path / "flows.parquet")
    schema = pq.read_schema(tmp_path / "flows.parquet")
    for column in FLOW_COLUMNS:
        told = schema.field(column.name).metadata
        assert (told[b"role"], told[b"unit"]) == (column.role.encode(), column.unit.encode())
    assert b"sessions" in pq.read_metadata(tmp_path / "flows.parquet").metadata


def test_a_filter_and_times(tmp_path: Path) -> None:
    captures.write_frames(tmp_path / "x.pcap", making.frames(connection()))
    told = made(tmp_path / "x.pcap", "--output", tmp_path / "flows.csv", "--filter",
                "tcp src port 443", "--idle-timeout", "0.25")  # fmt: skip
    assert "\n2 flows\n" in told  # 0.1 s; 0.4, 0.5 and 0.7 s
    assert "8 frames = 4 rows + 4 filtered" in told


def test_a_damaged_capture_gives_its_flows_and_says_so(tmp_path: Path) -> None:
    captures.write_frames(tmp_path / "x.pcap", making.frames(connection()))
    (tmp_path / "x.pcap").write_bytes((tmp_path / "x.pcap").read_bytes()[:-3])
    done = run(tmp_path / "x.pcap", "--output", tmp_path / "flows.csv")
    assert done.returncode == 1
    assert "damaged" in done.stderr
    assert "7 rows = 7 packets in flows" in done.stdout


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("x.pcap",), "--output names"),
        (("x.pcap", "--output", "flows.txt"), "the name must end in"),
        (("x.pcap", "d.csv", "--output", "flows.csv"), "datasets and capture files at once"),
        (("d.csv", "--output", "flows.csv"), "no dataset of packets, it lacks "),
        (("none.csv", "--output", "flows.csv"), "cannot read none.csv"),
        (("none.parquet", "--output", "flows.csv"), "cannot read none.parquet"),
        (("x.parquet", "--output", "flows.csv"), "cannot read x.parquet"),
        (("d.csv", "--output", "d.csv"), "lacks"),
        (("x.pcap", "--output", "a.csv", "--packets", "a.csv"), "name one file"),
        (("d.csv", "--output", "a.csv", "--filter", "tcp"), "--filter selects frames"),
        (("x.pcap", "--output", "a.csv", "--community-id-seed", "65536"), "at most 65535"),
    ],
)
def test_what_is_refused_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    captures.write_frames(tmp_path / "x.pcap", making.frames(connection()))
    (tmp_path / "d.csv").write_text("a,b\n1,2\n")
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    before = set(os.listdir())
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert set(os.listdir()) == before


def test_an_input_is_no_output(tmp_path: Path) -> None:
    captures.write_frames(tmp_path / "x.pcap", making.frames(connection()))
    packets = tmp_path / "packets.csv"
    made(tmp_path / "x.pcap", "--output", packets, program=_PACKETS_PCAP)
    before = packets.read_bytes()
    assert run(packets, "--output", packets).returncode == 2
    assert run(packets, packets, "--output", tmp_path / "flows.csv").returncode == 2
    assert packets.read_bytes() == before


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("ip_src", "192.0.2.256", "ip_src: 1 rows hold no IPv4 address"),
        ("ip_src", "192.0.2", "ip_src: 1 rows hold no IPv4 address"),
        ("ipv6_src", "2001::1::2", "ipv6_src: a row holds no IPv6 address"),
        ("tcp_sport", "66000", "In CSV column"),
        ("session", "", "a row has no session"),
        ("raw_load", "abc", "odd length"),
    ],
)
def test_a_dataset_that_holds_something_else(
    tmp_path: Path, column: str, value: str, said: str
) -> None:
    captures.write_frames(tmp_path / "x.pcap", making.frames(connection()))
    packets = tmp_path / "packets.csv"
    made(tmp_path / "x.pcap", "--output", packets, program=_PACKETS_PCAP)
    head, first, *rest = packets.read_text().splitlines()
    cells = first.split(",")
    cells[head.split(",").index(column)] = value
    packets.write_text("\n".join([head, ",".join(cells), *rest]) + "\n")
    done = run(packets, "--output", tmp_path / "flows.csv")
    assert (done.returncode, (tmp_path / "flows.csv").exists()) == (1, False)
    assert said in done.stderr


def test_help_needs_no_heavy_package() -> None:
    program = (
        "import sys; from network_pipeline.scripts.flows import main\n"
        "main()\n"
        "print(*sorted({'numpy', 'pyarrow', 'pandas'} & set(sys.modules)))"
    )
    told = run("--help", program=program).stdout
    assert told.endswith("\n\n")
    assert "--idle-timeout" in told
