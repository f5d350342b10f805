"""prepare-dataset: labelled here, on a cluster of two workers, from and to S3; the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from network_pipeline import places
from network_pipeline.errors import UsageError
from network_pipeline.labelled import making, prepare, splits
from tests.beyond.conftest import BUCKET
from tests.beyond.test_parts import contents
from tests.labelled import traffic

PLAN = prepare.Plan(splits.Plan("host", (0.7, 0.15, 0.15), 0))


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


def test_what_fails_on_a_worker_is_said_as_here(
    tmp_path: Path, inputs: making.Inputs, cluster: str
) -> None:
    missing = inputs._replace(files=[*inputs.files, str(tmp_path / "none.csv")])
    for address in ("", cluster):
        with pytest.raises(UsageError, match=r"none\.csv: No such file or directory"):
            making.make(str(tmp_path / "dataset"), missing, PLAN, address)
    assert list(tmp_path.iterdir()) == []
