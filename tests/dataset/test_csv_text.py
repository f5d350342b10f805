"""Lines of CSV from record batches, cell by cell and to the last byte."""

from __future__ import annotations

import csv
import io
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network_pipeline.dataset import csv_cells, csv_text
from network_pipeline.decode import text
from network_pipeline.frames import Frame
from network_pipeline.schema import COLUMN_NAMES, COLUMNS, INTEGER_LIMITS, arrow_schema
from tests.decode import interpreted
from tests.decode.batches import decoded
from tests.decode.samples import all_samples

LARGEST = 2**63 - 1


@pytest.fixture(params=["as it is built", "interpreted"])
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "interpreted":
        monkeypatch.setattr(csv_text, "csv_cells", interpreted.module(csv_cells))


def batch(**columns: list[Any]) -> pa.RecordBatch:
    """Return rows with these values, absent elsewhere."""
    schema = arrow_schema()
    [rows] = {len(values) for values in columns.values()}
    arrays = []
    for field in schema:
        is_dictionary = pa.types.is_dictionary(field.type)
        kind = field.type.value_type if is_dictionary else field.type
        array = pa.array(columns.get(field.name, [None] * rows), kind)
        arrays.append(array.dictionary_encode() if is_dictionary else array)
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def cells(rows: pa.RecordBatch) -> list[dict[str, str]]:
    """Return the cells that have text, by row, after the form of the lines was checked."""
    written = bytes(csv_text.lines(rows)).decode()
    assert written.count("\n") == rows.num_rows
    read = list(csv.reader(io.StringIO(written, newline="")))
    assert [len(row) for row in read] == [len(COLUMN_NAMES)] * rows.num_rows
    return [
        {name: value for name, value in zip(COLUMN_NAMES, row, strict=True) if value}
        for row in read
    ]


@pytest.mark.usefixtures("loop")
def test_numbers_up_to_their_limits() -> None:
    limits = {column.name: INTEGER_LIMITS.get(column.type) for column in COLUMNS}
    columns = {name: [0, 9, 10, limit, None] for name, limit in limits.items() if limit}
    found = cells(batch(**columns))
    for row, expected in enumerate((0, 9, 10)):
        assert found[row] == dict.fromkeys(columns, str(expected))
    assert found[3] == {name: str(values[3]) for name, values in columns.items()}
    assert found[4] == {}


@pytest.mark.usefixtures("loop")
def test_texts_are_quoted_where_they_need_it() -> None:
    values = ["", "plain", "a,b", 'say "x"', '"', ",", "Zürich-日本", None]
    rows = batch(dns_qd_qname=values)
    assert [row.get("dns_qd_qname", "") for row in cells(rows)] == [v or "" for v in values]
    before = "," * COLUMN_NAMES.index("dns_qd_qname")
    after = "," * (len(COLUMN_NAMES) - len(before) - 1)
    quoted = ["", "plain", '"a,b"', '"say ""x"""', '""""', '","', "Zürich-日本", ""]
    lines = "".join(f"{before}{value}{after}\n" for value in quoted)
    assert bytes(csv_text.lines(rows)).decode() == lines


@pytest.mark.usefixtures("loop")
def test_bytes_are_hex() -> None:
    found = cells(batch(raw_load=[b"", b"\x00\xff", bytes(range(256)), None]))
    assert [row.get("raw_load") for row in found] == [None, "00ff", bytes(range(256)).hex(), None]


@pytest.mark.usefixtures("loop")
@pytest.mark.parametrize(
    ("time_ns", "expected"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z"),
        (4_107_542_399_999_999_999, "2100-02-28T23:59:59.999999999Z"),
        (4_107_542_400_000_000_000, "2100-03-01T00:00:00.000000000Z"),
        (LARGEST, "2262-04-11T23:47:16.854775807Z"),
        (-LARGEST, "1677-09-21T00:12:43.145224193Z"),
    ],
)
def test_times(time_ns: int, expected: str) -> None:
    rows = batch(frame_time=[0])
    times = pa.array([time_ns], pa.int64()).cast(pa.timestamp("ns", "UTC"))
    place = rows.schema.get_field_index("frame_time")
    rows = rows.set_column(place, rows.schema.field(place), times)
    assert cells(rows) == [{"frame_time": expected}]


@settings(max_examples=300)
@given(st.integers(-LARGEST, LARGEST))
def test_times_are_those_of_the_nested_decoder(time_ns: int) -> None:
    cell = csv_text._Cells(1)
    cell.add("timestamp[ns, UTC]", pa.array([time_ns], pa.int64()).cast(pa.timestamp("ns")))
    assert bytes(cell.written()).decode() == f"{text.time(time_ns)}\n"


def samples() -> pa.RecordBatch:
    return decoded(
        [
            Frame(number, 10**18 + number, "eth0", len(s.data), s.link_type, s.data)
            for number, s in enumerate(all_samples(), start=1)
        ]
    )


@pytest.mark.usefixtures("loop")
def test_a_part_of_a_batch_has_its_part_of_the_lines() -> None:
    rows = samples()
    lines = bytes(csv_text.lines(rows)).splitlines(keepends=True)
    assert len(lines) == rows.num_rows
    for first, count in ((0, 1), (1, 7), (13, 64), (rows.num_rows - 1, 1), (5, 0)):
        part = rows.slice(first, count)
        assert bytes(csv_text.lines(part)) == b"".join(lines[first : first + count])


@pytest.mark.usefixtures("loop")
def test_columns_that_are_present_alike_at_first_may_differ_later() -> None:
    one, other = [1, None] * 40, [1, None] * 30 + [None, 1] * 10
    rows = batch(tcp_sport=one, udp_sport=other)
    for first in (0, 3, 8, 59):
        assert cells(rows.slice(first)) == [
            {name: "1" for name, value in (("tcp_sport", a), ("udp_sport", b)) if value}
            for a, b in zip(one[first:], other[first:], strict=True)
        ]


@pytest.mark.parametrize("name", ["tcp_seq", "frame_time", "dns_qd_qname", "raw_load"])
def test_a_buffer_may_end_with_a_part_of_a_value(name: str) -> None:
    # Arrow takes such a buffer for valid, so a message may bring one.
    rows = samples()
    place = rows.schema.get_field_index(name)
    array = rows.column(place)
    buffers = array.buffers()
    buffers[1] = pa.py_buffer(buffers[1].to_pybytes() + b"xyz")
    longer = pa.Array.from_buffers(array.type, len(array), buffers, array.null_count)
    columns = [*rows.columns[:place], longer, *rows.columns[place + 1 :]]
    damaged = pa.RecordBatch.from_arrays(columns, schema=rows.schema)
    damaged.validate(full=True)
    assert bytes(csv_text.lines(damaged)) == bytes(csv_text.lines(rows))


def test_interpreted_and_compiled_lines_are_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = samples()
    written = bytes(csv_text.lines(rows))
    monkeypatch.setattr(csv_text, "csv_cells", interpreted.module(csv_cells))
    assert bytes(csv_text.lines(rows)) == written
