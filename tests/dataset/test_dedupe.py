from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from network_pipeline.dataset import identities
from network_pipeline.dataset.dedupe import Copied, dedupe
from network_pipeline.dataset.identities import IdentityReader
from network_pipeline.dataset.writers import HEADER
from network_pipeline.errors import DatasetError, UsageError
from network_pipeline.schema import SCHEMA_VERSION
from tests.dataset.files import Row, csv_file, csv_lines, parquet_file

ONE: list[Row] = [("a", 1), ("b", 1), ("a", 1), ("a", 3)]
OTHER: list[Row] = [("a", 2), ("a", 3), ("b", 2)]
KEPT: list[Row] = [("a", 1), ("b", 1), ("a", 3), ("a", 2), ("b", 2)]

Make = Callable[[Path, Iterable[Row]], Path]


def test_lines_are_copied_byte_by_byte(tmp_path: Path) -> None:
    one = csv_file(tmp_path / "one.csv", ONE, torn=b"lb1,a")
    other = csv_file(tmp_path / "other.csv.part", OTHER)
    copied = dedupe([one, other], tmp_path / "out.csv")
    assert copied == Copied(kept=5, dropped=2, torn=5)
    assert (tmp_path / "out.csv").read_bytes() == HEADER + csv_lines(KEPT)
    assert (tmp_path / "out.csv").stat().st_mode & 0o777 == 0o600


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    one, other = (
        parquet_file(tmp_path / "1.parquet", ONE),
        parquet_file(tmp_path / "2.parquet", OTHER),
    )
    out = tmp_path / "out.parquet"
    assert dedupe([one, other], out) == Copied(kept=5, dropped=2)
    table = pq.read_table(out)
    found = zip(table["session"].to_pylist(), table["frame_number"].to_pylist(), strict=True)
    assert list(found) == KEPT
    assert table.schema.equals(pq.read_table(one).schema)
    assert pq.read_metadata(out).metadata[b"schema"] == SCHEMA_VERSION.encode()


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 9)), max_size=40))
def test_of_each_frame_the_first_row_is_kept(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row]
) -> None:
    base = tmp_path_factory.getbasetemp()
    path, out = csv_file(base / "in.csv", rows), base / "out.csv"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identities, "BLOCK_BYTES", 700)
        copied = dedupe([path], out)
    assert out.read_bytes() == HEADER + csv_lines(dict.fromkeys(rows))
    assert (copied.kept, copied.dropped) == (len(set(rows)), len(rows) - len(set(rows)))


def test_an_input_with_other_lines_gives_no_output(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "x.csv", ONE)
    path.write_bytes(path.read_bytes() + b"half,a,line\n")
    with pytest.raises(DatasetError, match="1 lines without 111 cells; nothing was written"):
        dedupe([path], tmp_path / "out.csv")
    assert [each.name for each in tmp_path.iterdir()] == ["x.csv"]


def test_a_file_may_be_its_own_copy(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "x.csv", ONE)
    dedupe([path], path)
    assert path.read_bytes() == HEADER + csv_lines([("a", 1), ("b", 1), ("a", 3)])
    assert not IdentityReader(path).problems


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "x.csv", ONE)
    for output in ("out.parquet", "out.jsonl"):
        with pytest.raises(UsageError, match=r"all end in \.csv or all in \.parquet"):
            dedupe([path], tmp_path / output)
    (tmp_path / "live.csv.ledger.json").write_text("{}")
    with pytest.raises(UsageError, match="has a ledger"):
        dedupe([path], tmp_path / "live.csv")
