"""prepare-dataset: labelled here, on a cluster of two workers, from and to S3; the same bytes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pytest

from network_pipeline import places
from network_pipeline.errors import UsageError
from network_pipeline.labelled import making, prepare, splits
from tests.beyond.conftest import BUCKET
from tests.beyond.test_parts import contents
from tests.labelled import traffic
from tests.labelled.test_prepare import FILES

PLAN = prepare.Plan(splits.Plan("host", (0.7, 0.15, 0.15), 0))
PARTITIONED = replace(PLAN, is_partitioned=True)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> making.Inputs:
    """Seven captures; two of them once more, with a new one."""
    directory = tmp_path_factory.mktemp("packets")
    packets = traffic.dataset(directory)
    new = traffic.capture(directory / "scan-9.pcap", traffic.scan(9))
    files = [directory / "web-1.pcap", new, directory / "scan-2.pcap"]
    other = traffic.converted(files, directory / "other.parquet")
    rules = traffic.rules(directory)
    return making.Inputs([str(packets), str(other)], "network-pipeline", rules)


def test_a_dataset_is_the_same_wherever_it_is_made(
    tmp_path: Path, inputs: making.Inputs, cluster: str
) -> None:
    here, there = str(tmp_path / "dataset"), f"s3://{BUCKET}/dataset"
    making.make(here, inputs, PLAN)
    for path in inputs.files:
        target = f"s3://{BUCKET}/rows/{places.last(path)}"
        with places.written(target) as copy:
            copy.write_bytes(Path(path).read_bytes())
    elsewhere = [f"s3://{BUCKET}/rows/packets.parquet", f"s3://{BUCKET}/rows/oth*.parquet"]
    making.make(there, inputs._replace(files=elsewhere), PLAN, cluster)
    assert contents(there) == contents(here)
    before = contents(here)
    making.make(here, inputs, PLAN, cluster)
    assert contents(here) == before
    assert [each.name for each in tmp_path.iterdir()] == ["dataset"]
    said = json.loads(contents(here)["manifest.json"])["prepared"]
    assert said["rows"] == {"read": 400, "duplicates": 80, "written": 320, "unlabelled": 0}
    assert [each["rows"] for each in said["inputs"]] == [280, 40]


def test_partitions_are_the_same_wherever_they_are_made(
    tmp_path: Path, inputs: making.Inputs, cluster: str
) -> None:
    plan = PARTITIONED
    here, shared = (str(tmp_path / name / "dataset") for name in ("here", "shared"))
    there = f"s3://{BUCKET}/parts/dataset"
    for directory in ("here", "shared"):
        (tmp_path / directory).mkdir()
    making.make(here, inputs, plan)
    making.make(shared, inputs, plan, cluster)
    assert contents(shared) == contents(here)
    assert [each.name for each in (tmp_path / "shared").iterdir()] == ["dataset"]
    # What was there before goes away: a dataset of two files, and parts of other inputs.
    making.make(there, inputs, PLAN, cluster)
    making.make(there, inputs._replace(files=inputs.files[:1]), plan, cluster)
    with places.written(f"{there}/notes.txt") as path:
        path.write_text("mine")
    making.make(there, inputs, plan, cluster)
    found = contents(there)
    assert found.pop("notes.txt") == b"mine"
    assert found == contents(here)
    making.make(there, inputs, plan)
    making.make(there, inputs, PLAN)
    assert set(contents(there)) == {*FILES, "notes.txt"}


def test_partitions_hold_what_two_files_hold(tmp_path: Path, inputs: making.Inputs) -> None:
    for name, plan in (("files", PLAN), ("parts", PARTITIONED)):
        making.make(str(tmp_path / name), inputs, plan)
    rows = pl.read_parquet(tmp_path / "parts/rows.parquet/**/*.parquet", hive_partitioning=True)
    expected = pl.read_parquet(tmp_path / "files/rows.parquet")
    key = "session", "frame_number"
    assert rows.select(expected.columns).sort(key).equals(expected.sort(key))
    assert (rows["frame_time"].dt.date() == rows["date"]).all()
    view = pl.read_parquet(tmp_path / "files/training.parquet")
    training = pl.read_parquet(tmp_path / "parts/training.parquet")
    assert training.equals(rows.select(view.columns))
    for table in (
        pd.read_parquet(tmp_path / "parts/training.parquet"),
        ds.dataset(tmp_path / "parts/training.parquet", partitioning="hive").to_table().to_pandas(),
    ):
        assert list(table.columns) == view.columns
        assert len(table) == 320
    audited = [
        json.loads((tmp_path / name / "audit.json").read_text())["counts"]
        for name in ("files", "parts")
    ]
    assert audited[0] == audited[1]


def test_partitions_are_listed_in_the_manifest(tmp_path: Path, inputs: making.Inputs) -> None:
    making.make(str(tmp_path / "dataset"), inputs, PARTITIONED)
    found = contents(tmp_path / "dataset")
    manifest = json.loads(found["manifest.json"])
    files, sets = (
        [each for each in manifest["distribution"] if each["@type"] == kind]
        for kind in ("cr:FileObject", "cr:FileSet")
    )
    assert {each["contentUrl"]: each["sha256"] for each in files} == {
        name: hashlib.sha256(data).hexdigest()
        for name, data in found.items()
        if name.endswith(".parquet")
    }
    assert [each["includes"] for each in sets] == [
        "rows.parquet/**/*.parquet", "training.parquet/**/*.parquet",
    ]  # fmt: skip
    [source] = {json.dumps(f["source"]["fileSet"]) for f in manifest["recordSet"][0]["field"]}
    assert source == json.dumps({"@id": "rows.parquet"})


def test_partitions_name_no_source_that_is_anonymized(
    tmp_path: Path, inputs: making.Inputs
) -> None:
    making.make(str(tmp_path / "dataset"), inputs, replace(PARTITIONED, key=bytes(32)))
    names = [name for name in contents(tmp_path / "dataset") if name.endswith(".parquet")]
    assert names
    assert not [name for name in names if "edge" in name]


def test_what_fails_on_a_worker_is_said_as_here(
    tmp_path: Path, inputs: making.Inputs, cluster: str
) -> None:
    missing = inputs._replace(files=[*inputs.files, str(tmp_path / "none.csv")])
    for address in ("", cluster):
        with pytest.raises(UsageError, match=r"none\.csv: No such file or directory"):
            making.make(str(tmp_path / "dataset"), missing, PLAN, address)
    assert list(tmp_path.iterdir()) == []
