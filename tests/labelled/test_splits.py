"""Splits: nothing on two sides, the same seed the same split, each class where it is needed."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from network_pipeline.errors import UsageError
from network_pipeline.labelled import splits
from network_pipeline.labelled.splits import Group, Kind, Plan

BENIGN, SCAN, WORM = Kind("benign", "benign"), Kind("attack", "scan"), Kind("attack", "worm")
FRACTIONS = (0.7, 0.15, 0.15)

groups = st.lists(
    st.builds(
        Group, st.text(max_size=5), st.sampled_from([BENIGN, SCAN, WORM]), st.integers(1, 1000)
    ),
    min_size=1,
    max_size=60,
    unique_by=lambda each: each.name,
)
plans = st.builds(
    Plan,
    st.just("session"),
    st.sampled_from([FRACTIONS, (0.8, 0.0, 0.2), (0.34, 0.33, 0.33)]),
    st.integers(0, 3),
)


@given(groups, plans, st.randoms())
def test_every_group_has_one_side_whatever_the_order(
    some: list[Group], plan: Plan, random: Random
) -> None:
    found = splits.assign(some, plan)
    assert found.keys() == {group.name for group in some}
    assert {plan.fractions[fold] > 0 for fold in found.values()} == {True}
    shuffled = list(some)
    random.shuffle(shuffled)
    assert splits.assign(shuffled, plan) == found


@given(groups, plans)
def test_shares_are_met_up_to_the_largest_group(some: list[Group], plan: Plan) -> None:
    alone = [each._replace(kind=BENIGN) for each in some]
    found = splits.assign(alone, plan)
    total, largest = sum(each.rows for each in alone), max(each.rows for each in alone)
    for fold, share in enumerate(plan.fractions):
        rows = sum(each.rows for each in alone if found[each.name] == fold)
        assert rows <= share * total + largest


@given(groups, plans)
def test_a_class_of_three_groups_is_on_every_side(some: list[Group], plan: Plan) -> None:
    found = splits.assign(some, plan)
    for kind in {each.kind for each in some}:
        sides = [found[each.name] for each in some if each.kind == kind]
        if len(sides) >= 3:
            assert set(sides) == {fold for fold in range(3) if plan.fractions[fold]}


def test_attacks_that_were_recorded_once_are_in_training_and_in_test() -> None:
    some = [Group("a", SCAN, 100), Group("b", WORM, 50)]
    assert splits.assign(some, Plan("file", FRACTIONS, 0)) == {"a": 0, "b": 2}


def test_the_seed_matters() -> None:
    some = [Group(str(number), BENIGN, 10) for number in range(20)]
    one, other = (splits.assign(some, Plan("file", FRACTIONS, seed)) for seed in (0, 1))
    assert one != other
    assert sorted(one.values()) == sorted(other.values()) == [0] * 14 + [1] * 3 + [2] * 3


def test_sides_in_time_and_the_gap() -> None:
    times = np.arange(100) * 10
    plan = Plan("time", FRACTIONS, 0, gap_ns=20)
    found = splits.boundaries(times, plan)
    assert found == (700, 850, 20)
    folds = found.folds(times, times).tolist()
    assert folds == [0] * 68 + [-1] * 2 + [1] * 13 + [-1] * 2 + [2] * 15


def test_what_reaches_over_a_boundary_is_on_no_side() -> None:
    found = splits.Boundaries(700, 850, 20)
    starts = np.array([100, 100, 690, 700, 849, 850])
    ends = np.array([679, 680, 690, 829, 900, 999])
    assert found.folds(starts, ends).tolist() == [0, -1, -1, 1, -1, 2]


def test_without_validation_training_ends_where_the_test_begins() -> None:
    found = splits.boundaries(np.arange(10), Plan("time", (0.8, 0.0, 0.2), 0))
    assert found.folds(np.arange(10), np.arange(10)).tolist() == [0] * 8 + [2] * 2


@pytest.mark.parametrize("times", [[], [5, 5, 5, 5]])
def test_times_that_part_nothing(times: list[int]) -> None:
    with pytest.raises(UsageError, match="cannot split by time"):
        splits.boundaries(np.array(times, np.int64), Plan("time", FRACTIONS, 0))


@given(st.lists(st.integers(0, 10**6), min_size=10, unique=True), st.integers(0, 10**5))
def test_training_ends_before_the_test_begins(times: list[int], gap: int) -> None:
    moments = np.array(times, np.int64)
    folds = splits.boundaries(moments, Plan("time", FRACTIONS, 0, gap)).folds(moments, moments)
    known, asked = moments[folds == 0], moments[folds == 2]
    if len(known) and len(asked):
        assert asked.min() - known.max() > gap


def test_a_group_stands_for_its_attacks() -> None:
    nothing = Kind("", "")
    assert splits.main_kind({BENIGN: 1000, SCAN: 2, WORM: 3}) == WORM
    assert splits.main_kind({BENIGN: 1, nothing: 1000}) == BENIGN
    assert splits.main_kind({nothing: 5}) == nothing
