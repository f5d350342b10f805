"""Files of rows: whatever the file, one shape."""

from __future__ import annotations

from pathlib import Path

import pytest

from network_pipeline.errors import UsageError
from network_pipeline.flows import outputs, recording
from network_pipeline.flows.recording import FlowSettings
from network_pipeline.labelled import tables
from network_pipeline.metrics import Counters
from tests.flows import making
from tests.flows.making import connection, udp


def test_flows_in_csv_are_those_in_parquet(tmp_path: Path) -> None:
    rows = making.rows_of(making.frames([*connection(), (1, udp())]))
    opened, found = [], []
    for ending in ("csv", "parquet"):
        name = str(tmp_path / f"flows.{ending}")
        counters = Counters(*recording.COUNTED)
        with outputs.recording(outputs.Outputs(name), FlowSettings(), counters) as made:
            made.append(rows)
            made.finish()
        [table] = tables.open_tables([name])
        [batch] = tables.batches(table, "network-pipeline")
        opened.append(table)
        found.append(batch)
    assert found[0].equals(found[1])
    assert found[0].height == 2
    assert opened[0].schema.equals(opened[1].schema)
    assert opened[0].roles == opened[1].roles
    assert opened[0].roles["end_reason"] == "context"


@pytest.mark.parametrize(
    ("name", "content", "form", "error"),
    [
        ("x.csv", bytes(range(256)) * 20, "network-pipeline", "neither packets"),
        ("x.csv", b"frame_number,a\x01\n1,2\n", "network-pipeline", "must be printable: 'a.x01'"),
        ("x.parquet", b"PAR1", "antinex", "files of the original tool end in .csv"),
    ],
)
def test_what_is_no_dataset_is_said(
    tmp_path: Path, name: str, content: bytes, form: str, error: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UsageError, match=error):
        tables.open_tables([str(path)], form)
