"""Partitioned datasets: made here, on a cluster of two workers, in S3; always the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from network_pipeline import cluster as cluster_module
from network_pipeline import places
from network_pipeline.cluster import results
from network_pipeline.convert import COUNTED, Plan
from network_pipeline.errors import NetworkPipelineError
from network_pipeline.flows import recording
from network_pipeline.flows.outputs import Outputs
from network_pipeline.flows.parts import FlowParts, units_of_datasets
from network_pipeline.flows.recording import FlowSettings
from network_pipeline.metrics import Counters
from network_pipeline.parts import Job, Outcome, PacketParts, make, units_of_captures
from network_pipeline.schema import COLUMN_NAMES
from tests.beyond.conftest import BUCKET
from tests.decode import captures
from tests.flows import making
from tests.flows.making import connection

PLAN = Plan(source="a/b=c%", batch_frames=3)
#: Seconds from the start of the frames that tests build to the end of that day.
MIDNIGHT = 6400
DAY, NEXT = (f"source=a%2Fb%3Dc%25/date=2023-11-{day}" for day in (14, 15))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Two connections; the times of the second go over midnight, back over it, and over it."""
    directory = tmp_path_factory.mktemp("captures")
    late = [(time + MIDNIGHT - 0.35, packet) for time, packet in connection()]
    late[5] = (MIDNIGHT - 0.01, late[5][1])
    paths = [directory / name for name in ("day.pcap", "night.pcap")]
    for path, timed in zip(paths, (connection(), late), strict=True):
        captures.write_frames(path, making.frames(timed))
    return [str(path) for path in paths]


def packets(inputs: Sequence[str], root: str, address: str = "", filter_text: str = "") -> Outcome:
    outcome = Outcome(Counters(*COUNTED))
    work = PacketParts(root, PLAN, filter_text)
    make(Job(work, units_of_captures(inputs), [root]), address, outcome)
    return outcome


def flows(inputs: Sequence[str], outputs: Outputs, address: str = "") -> Outcome:
    outcome = Outcome(Counters(*COUNTED, *recording.COUNTED))
    are_captures = inputs[0].endswith(".pcap")
    units = units_of_captures(inputs) if are_captures else units_of_datasets(inputs)
    work = FlowParts(outputs, FlowSettings(), PLAN)
    make(Job(work, units, [outputs.flows]), address, outcome)
    return outcome


def contents(root: str | Path) -> dict[str, bytes]:
    """What a directory holds, hidden files as well."""
    root = places.directory(str(root))
    found = {}
    for name in places.under(root, hidden=True):
        with places.fetched(name) as path:
            found[name.removeprefix(f"{root}/")] = path.read_bytes()
    return found


def test_rows_lie_by_source_and_date(tmp_path: Path, inputs: list[str]) -> None:
    outcome = packets(inputs, f"{tmp_path}/packets/")
    assert outcome.counters.snapshot() == {"frames": 16, "rows": 16, "filtered": 0, "refused": 0}
    rows = [
        (str(path.parent.relative_to(tmp_path / "packets")), pq.read_metadata(path).num_rows)
        for path in sorted(tmp_path.rglob("*.parquet"))
    ]
    assert sorted(rows) == [(DAY, 5), (DAY, 8), (NEXT, 3)]
    found = pl.read_parquet(f"{tmp_path}/packets/**/*.parquet", hive_partitioning=True)
    assert (found["frame_time"].dt.date() == found["date"]).all()
    assert found["source"].unique().to_list() == ["a/b=c%"]


def test_what_people_read_partitions_with(tmp_path: Path, inputs: list[str]) -> None:
    root = f"{tmp_path}/packets"
    packets(inputs, f"{root}/")
    columns = ["source", "session", "frame_number"]
    found = pl.read_parquet(f"{root}/**/*.parquet", hive_partitioning=True).select(columns).rows()
    assert {source for source, _, _ in found} == {"a/b=c%"}
    by_pandas = pd.read_parquet(root, partitioning=None)
    assert list(by_pandas[columns].itertuples(index=False, name=None)) == found
    assert tuple(by_pandas.columns) == COLUMN_NAMES
    for table in (
        ds.dataset(root, partitioning="hive").to_table(),
        pq.read_table(root, partitioning=None),
    ):
        assert [tuple(row.values()) for row in table.select(columns).to_pylist()] == found


def test_packets_are_the_same_wherever_they_are_made(
    tmp_path: Path, inputs: list[str], cluster: str
) -> None:
    here, elsewhere = f"{tmp_path}/here/", f"{tmp_path}/elsewhere/"
    one, other = packets(inputs, here), packets(inputs, elsewhere, cluster)
    assert contents(here) == contents(elsewhere)
    assert len(contents(here)) == 3
    assert one.counters.snapshot() == other.counters.snapshot()
    assert list(one.summary.lines(one.counters.snapshot())) == list(
        other.summary.lines(other.counters.snapshot())
    )


def test_s3_holds_the_same(tmp_path: Path, inputs: list[str], cluster: str) -> None:
    import s3fs  # noqa: PLC0415

    for path in inputs:
        s3fs.S3FileSystem().put_file(path, f"{BUCKET}/in/{Path(path).name}")
    packets(inputs, f"{tmp_path}/here/")
    remote = f"s3://{BUCKET}/packets/"
    packets([f"s3://{BUCKET}/in/*.pcap"], remote, cluster)
    assert contents(remote) == contents(tmp_path / "here")
    flows([f"{tmp_path}/here/"], Outputs(f"{tmp_path}/flows/"))
    flows([remote], Outputs(f"s3://{BUCKET}/flows/"), cluster)
    assert contents(f"s3://{BUCKET}/flows/") == contents(tmp_path / "flows")


def test_flows_of_partitions_are_those_of_their_captures(
    tmp_path: Path, inputs: list[str], cluster: str
) -> None:
    packets(inputs, f"{tmp_path}/packets/")
    for name, given, address in (
        ("captures", inputs, ""),
        ("cluster", inputs, cluster),
        ("datasets", [f"{tmp_path}/packets/"], ""),
    ):
        outputs = Outputs(f"{tmp_path}/{name}/flows/", f"{tmp_path}/{name}/packets/")
        outcome = flows(given, outputs, address)
        counts = outcome.counters.snapshot()
        assert (counts["flows"], counts["packets"], counts["without_flow"]) == (2, 16, 0)
    assert contents(tmp_path / "captures") == contents(tmp_path / "cluster")
    assert contents(tmp_path / "captures/flows") == contents(tmp_path / "datasets/flows")
    found = pl.read_parquet(f"{tmp_path}/captures/flows/**/*.parquet", hive_partitioning=True)
    facts = found.select("out_of_order", "end_reason", "packets_fwd")
    assert sorted(facts.rows()) == [(0, 3, 4), (1, 3, 4)]
    ids, again = (
        pl.read_parquet(f"{tmp_path}/{name}/packets/**/*.parquet", hive_partitioning=False)
        for name in ("captures", "datasets")
    )
    assert ids.rows() == again.rows()
    assert set(ids["flow_id"]) == set(found["flow_id"])


def test_an_input_that_fails_is_named_and_the_others_go_on(
    tmp_path: Path, inputs: list[str], cluster: str
) -> None:
    damaged = tmp_path / "cut.pcap"
    damaged.write_bytes(Path(inputs[0]).read_bytes()[:-5])
    missing = str(tmp_path / "none.pcap")
    again = tmp_path / "again.pcap"
    again.write_bytes(Path(inputs[0]).read_bytes())
    outcome = packets([missing, str(damaged), *inputs, str(again)], f"{tmp_path}/packets/", cluster)
    assert outcome.counters.snapshot() == {"frames": 23, "rows": 23, "filtered": 0, "refused": 0}
    with pytest.raises(NetworkPipelineError) as raised:
        outcome.raise_problems()
    assert str(raised.value) == (
        f"failed: cannot read {missing}: No such file or directory; "
        f"damaged: {damaged}; the frames before the damage are rows"
    )


def test_an_input_takes_the_place_of_what_it_gave_before(tmp_path: Path, inputs: list[str]) -> None:
    root = tmp_path / "packets"
    packets(inputs, f"{root}/")
    before = contents(root)
    [night] = [name for name in before if name.startswith(NEXT)]
    left_by_a_dead_worker = root / DAY / f".{Path(night).name}.1-0.part"
    left_by_a_dead_worker.touch()
    (root / "notes.txt").touch()
    # Its SYN was before midnight.
    outcome = packets(inputs[1:], f"{root}/", filter_text="tcp[tcpflags] & tcp-syn != 0")
    assert outcome.counters["rows"] == 2
    after = contents(root)
    assert set(before) - set(after) == {night}
    assert set(after) - set(before) == {"notes.txt"}
    assert [name for name in after if name in before and after[name] != before[name]] == [
        night.replace(NEXT, DAY)
    ]


def _die_once(marker: str) -> int:
    if not os.path.exists(marker):
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 7


def test_what_a_dead_worker_had_is_done_again(tmp_path: Path, cluster: str) -> None:
    units = [str(tmp_path / name) for name in ("a", "b")]
    assert list(results(_die_once, units, cluster)) == [(units[0], 7), (units[1], 7)]


def test_no_scheduler_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("network_pipeline.cluster._CONNECT_SECONDS", 0.3)
    with pytest.raises(NetworkPipelineError, match="no dask scheduler answers at tcp://"):
        packets(["x.pcap"], f"{tmp_path}/packets/", "tcp://127.0.0.1:1")


@pytest.mark.parametrize("version", [None, "0.0.9"])
def test_a_worker_with_another_version_is_named(version: str | None) -> None:
    told = {name: {"packages": {"network_pipeline": name}} for name in ("1.0", version)}
    versions = {
        "client": told["1.0"],
        "scheduler": told["1.0"],
        "workers": {"tcp://w:1": told[version]},
    }
    with pytest.raises(NetworkPipelineError) as raised:
        cluster_module._check(versions, "tcp://s:1")
    assert str(raised.value) == (
        f"tcp://w:1: has network-pipeline {version or 'not at all'}, and this command 1.0: "
        "install the same everywhere"
    )


def test_the_command(tmp_path: Path, inputs: list[str], cluster: str) -> None:
    program = "import sys; from network_pipeline.scripts.pcap import main; sys.exit(main())"
    root = f"{tmp_path}/packets/"
    arguments = [*inputs, "--output", root, "--source", PLAN.source, "--dask", cluster]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"16 frames = 16 rows + 0 filtered + 0 refused\n{root}\n")
    packets(inputs, f"{tmp_path}/here/")
    assert contents(root) == contents(tmp_path / "here")
