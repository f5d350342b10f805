from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network_pipeline.dataset import identities
from network_pipeline.dataset.identities import IdentityReader
from network_pipeline.dataset.writers import HEADER
from network_pipeline.errors import DatasetError
from network_pipeline.range_sets import LARGEST
from tests.dataset.files import Row, csv_file, csv_lines, parquet_file

ROWS: list[Row] = [("a", 1), ("b", 7), ("a", 2), ("a", 2), ("b", LARGEST)]


def rows_of(reader: IdentityReader, offset: int = 0) -> list[Row]:
    """Return the rows in the file's order, and check that blocks give their own lines back."""
    found: list[Row] = []
    for block in reader.blocks(offset):
        by_place: dict[int, Row] = {}
        for part in block.by_session():
            assert part.source == "lb1"
            numbers, places = part.numbers.tolist(), part.places.tolist()
            by_place |= {p: (part.session, n) for p, n in zip(places, numbers, strict=True)}
        found += [by_place[place] for place in sorted(by_place)]
    return found


@pytest.mark.parametrize("name", ["x.csv", "x.csv.part", "x.parquet"])
def test_rows_of_either_format(tmp_path: Path, name: str) -> None:
    make = parquet_file if name.endswith("parquet") else csv_file
    reader = IdentityReader(make(tmp_path / name, ROWS))
    assert rows_of(reader) == ROWS
    assert (reader.problems, reader.torn_bytes) == ([], 0)
    assert reader.size == (tmp_path / name).stat().st_size


def test_progress_comes_to_the_size(tmp_path: Path) -> None:
    read: list[int] = []
    for make, name in ((csv_file, "x.csv"), (parquet_file, "x.parquet")):
        read.clear()
        reader = IdentityReader(make(tmp_path / name, ROWS), progress=read.append)
        assert rows_of(reader) == ROWS
        before = len(HEADER) if make is csv_file else 0
        assert sum(read) + before == reader.size


def test_the_rows_behind_an_offset(tmp_path: Path) -> None:
    path = csv_file(tmp_path / "x.csv", ROWS)
    offset = len(HEADER) + len(csv_lines(ROWS[:3]))
    assert rows_of(IdentityReader(path), offset) == ROWS[3:]
    assert rows_of(IdentityReader(path), path.stat().st_size) == []
    for wrong in (offset + 1, path.stat().st_size + 1):
        reader = IdentityReader(path)
        assert rows_of(reader, wrong) == []
        assert reader.problems == [f"no line begins at byte {wrong}"]


def test_what_is_no_row_is_counted_and_shifts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    good, torn = csv_lines([("a", 5)]), b"lb1,a,9,2018"
    nameless = csv_lines([("", 1), ("a", 0)]) + csv_lines([("a", 3)]).replace(b",3,", b",3x,")
    odd = b"\n" + good[:-1] + b",\n" + b'"' + good + b"lb1,a,4\n"
    path.write_bytes(HEADER + good + odd + good + nameless + good + torn)
    reader = IdentityReader(path)
    assert rows_of(reader) == [("a", 5)] * 3
    assert reader.problems == ["4 lines without 111 cells", "3 rows that name no frame"]
    assert reader.torn_bytes == len(torn)


def test_quoted_cells_are_cells(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    quoted = csv_lines([("a", 1)], dns_qd_qname='"x,""y"""')
    path.write_bytes(HEADER + quoted + csv_lines([("a", 2)]) + quoted)
    assert rows_of(IdentityReader(path)) == [("a", 1), ("a", 2), ("a", 1)]
    path.write_bytes(HEADER + csv_lines([("a", 1)], source='"lb,1"'))
    [block] = IdentityReader(path).blocks()
    assert [part.source for part in block.by_session()] == ["lb,1"]


def test_bytes_that_are_no_text_hurt_their_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(HEADER + b"\xff" + csv_lines([("a", 1)]) + csv_lines([("a", 2)]))
    [block] = IdentityReader(path).blocks()
    assert block.identity["frame_number"].to_list() == [1, 2]
    path.write_bytes(HEADER + csv_lines([("a", 1)], eth_dst='"\xff"').replace(b"\xc3", b""))
    reader = IdentityReader(path)
    assert rows_of(reader) == []
    assert reader.problems == ["1 lines without 111 cells"]


def test_a_header_of_another_kind_and_a_torn_one(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"time,what\n1,2\n")
    reader = IdentityReader(path)
    assert rows_of(reader) == []
    assert reader.problems == ["its first line does not name the 111 columns of this schema"]
    for size in (0, 5, len(HEADER) - 1):
        path.write_bytes(HEADER[:size])
        reader = IdentityReader(path)
        assert rows_of(reader) == []
        assert (reader.problems, reader.torn_bytes) == ([], size)


def test_parquet_of_another_schema_and_damaged(tmp_path: Path) -> None:
    path = parquet_file(tmp_path / "x.parquet", ROWS)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"frame_number", b"frame_nimber"))
    reader = IdentityReader(path)
    assert rows_of(reader) == []
    assert len(reader.problems) == 1
    assert reader.problems[0].startswith("its schema is ")
    path.write_bytes(content[:-20])
    reader = IdentityReader(path)
    assert rows_of(reader) == []
    assert reader.problems[0].startswith("damaged: ")


def test_a_line_without_end_is_not_kept_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identities, "BLOCK_BYTES", 1000)
    path = csv_file(tmp_path / "x.csv", [("a", 1)], torn=b"x" * 5000)
    reader = IdentityReader(path)
    assert rows_of(reader) == [("a", 1)]
    assert len(reader.problems) == 1
    assert reader.problems[0].startswith("has a line of more than ")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="No such file"):
        rows_of(IdentityReader(tmp_path / "x.csv"))


LINES = st.sampled_from(
    [
        (csv_lines([("a", 1)]), [("a", 1)]),
        (csv_lines([("b", 22)]), [("b", 22)]),
        (csv_lines([("a", 3)], dns_qd_qname='"x,y"'), [("a", 3)]),
        (b"lb1,a,4\n", []),
        (b'"\n', []),
        (csv_lines([("a", 0)]), []),
    ]
)


@given(st.lists(LINES, max_size=12), st.integers(130, 600))
def test_blocks_of_any_size_give_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[bytes, list[Row]]], size: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(HEADER + b"".join(text for text, _ in lines))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identities, "BLOCK_BYTES", size)
        assert rows_of(IdentityReader(path)) == [row for _, rows in lines for row in rows]
