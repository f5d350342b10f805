from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network_pipeline.dataset.flatten import rows
from network_pipeline.message import Nested
from network_pipeline.schema import COLUMN_NAMES, COLUMNS, INTEGER_LIMITS, Column
from tests.dataset.sample import frame


def cells(nested: Nested) -> dict[str, Any]:
    """Return the cells of the only row that are not absent."""
    table = rows([nested])
    assert len(table) == 1
    return {name: table[name].iloc[0] for name in COLUMN_NAMES if not pd.isna(table[name].iloc[0])}


def put(nested: Nested, column: Column, value: object) -> None:
    place = nested
    for key in column.path[:-1]:
        place = place.setdefault(key, {})
    place[column.path[-1]] = value


def values_of(column: Column) -> st.SearchStrategy[object]:
    if column.type in INTEGER_LIMITS:
        return st.integers(0, INTEGER_LIMITS[column.type])
    return st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=5)


def test_all_columns_in_order_with_the_types_of_the_schema() -> None:
    table = rows([frame(1)])
    assert tuple(table.columns) == COLUMN_NAMES
    expected = {
        column.name: column.type.replace("uint", "UInt")
        if column.type in INTEGER_LIMITS
        else "string"
        for column in COLUMNS
    }
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == expected


def test_no_rows_have_all_columns_too() -> None:
    table = rows([])
    assert len(table) == 0
    assert tuple(table.columns) == COLUMN_NAMES


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_a_value_comes_from_its_place(column: Column) -> None:
    value = INTEGER_LIMITS.get(column.type, "text")
    nested = frame(1)
    put(nested, column, value)
    assert cells(nested) == {**cells(frame(1)), column.name: value}


def test_absent_is_neither_zero_nor_makes_its_neighbours_floats() -> None:
    table = rows([frame(1, tcp={"seq": 2**32 - 1}), frame(2), frame(3, tcp={"seq": 0})])
    assert table["tcp_seq"].tolist() == [2**32 - 1, pd.NA, 0]


@pytest.mark.parametrize("others", [[], [1], [2**53 + 1, 2**63 - 1], [2**63, 2**63 + 1]])
def test_frame_numbers_are_exact_to_the_last_bit(others: list[int]) -> None:
    numbers = [*others, 2**64 - 1]
    assert rows([frame(number) for number in numbers])["frame_number"].tolist() == numbers


def test_null_is_absent_for_a_value_a_group_and_a_layer() -> None:
    nulls = frame(1, ip=None, tcp={"sport": None, "options": None}, eth={"dst": None})
    assert cells(nulls) == cells(frame(1))


def test_an_empty_text_is_not_absent() -> None:
    assert cells(frame(1, raw={"len": 0, "load": ""})) == {
        **cells(frame(1)), "raw_len": 0, "raw_load": ""
    }  # fmt: skip


def test_layers_of_a_batch_do_not_mix() -> None:
    table = rows([frame(1, udp={"sport": 53}), frame(2, tcp={"sport": 80, "options": {"mss": 9}})])
    chosen = ["frame_number", "tcp_sport", "tcp_options_mss", "udp_sport"]
    assert table[chosen].to_numpy().tolist() == [[1, pd.NA, pd.NA, 53], [2, 80, 9, pd.NA]]


@settings(max_examples=60)
@given(st.data())
def test_any_batch_agrees_with_a_look_up(data: st.DataObject) -> None:
    identity = {"source", "session", "frame_number"}
    optional = [column for column in COLUMNS if column.name not in identity]
    batch, expected = [], []
    for number in data.draw(st.lists(st.integers(1, 2**64 - 1), min_size=1, max_size=4)):
        nested = frame(number)
        wanted: dict[str, object] = {}
        for column in data.draw(st.lists(st.sampled_from(optional), unique=True, max_size=8)):
            wanted[column.name] = data.draw(values_of(column) | st.none())
            put(nested, column, wanted[column.name])
        batch.append(nested)
        expected.append(wanted | {"frame_number": number})
    table = rows(batch).astype(object)
    for position, wanted in enumerate(expected):
        row = table.iloc[position].drop(["source", "session"])
        found = {name: value for name, value in row.items() if not pd.isna(value)}
        assert found == {name: value for name, value in wanted.items() if value is not None}
