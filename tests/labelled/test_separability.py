"""Areas against the definition: pairs of a row in the class and one outside, counted."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from network_pipeline.labelled import separability


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1))
def test_the_area_is_the_share_of_pairs_in_order(rows: list[tuple[int, bool]]) -> None:
    inside = [score for score, is_class in rows if is_class]
    outside = [score for score, is_class in rows if not is_class]
    wins = sum((one > other) + (one == other) / 2 for one in inside for other in outside)
    expected = wins / (len(inside) * len(outside)) if inside and outside else 0.5
    found = separability.area(
        np.array([score for score, _ in rows]), np.array([c for _, c in rows])
    )
    assert found == pytest.approx(expected)


def best(values: list[object], is_class: list[bool]) -> float:
    column = pl.Series(values, strict=False)
    return separability.best_area(column, {"it": np.array(is_class)}).area


def test_larger_or_smaller_values_tell() -> None:
    rows = [False] * 50 + [True] * 50
    assert best(list(range(100)), rows) == 1.0
    assert best(list(range(100, 0, -1)), rows) == 1.0


def test_a_value_in_the_midst_of_others_tells() -> None:
    ports = [22, 80, 443] * 40
    assert best([*ports], [port == 80 for port in ports]) == 1.0
    assert best([*map(str, ports)], [port == 80 for port in ports]) == 1.0


def test_absence_tells() -> None:
    assert best([None, 5] * 50, [True, False] * 50) == 1.0


def test_a_constant_is_a_coin() -> None:
    assert best([7] * 20, [True, False] * 10) == 0.5
    assert best([None] * 20, [True, False] * 10) == 0.5


def test_many_values_without_meaning_are_nearly_a_coin() -> None:
    random = np.random.default_rng(1)
    values = random.integers(0, 2**32, 4000)
    is_class = random.random(4000) < 0.3
    assert best(values.tolist(), is_class.tolist()) < 0.56
    assert best([f"{each:x}" for each in values], is_class.tolist()) < 0.56


def test_the_class_that_is_told_best_is_named() -> None:
    classes = {"half": np.array([True, False] * 10), "all": np.array([False] * 10 + [True] * 10)}
    found = separability.best_area(pl.Series(range(20)), classes)
    assert found == separability.Area("all", 1.0)
