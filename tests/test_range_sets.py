from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from network_pipeline.range_sets import LARGEST, RangeSet, Tally, repeated, union, up_to

NUMBERS = st.lists(st.integers(1, 30), max_size=30)
SETS = st.lists(st.sets(st.integers(1, 30)), max_size=4)


def of(numbers: set[int] | list[int]) -> RangeSet:
    return RangeSet.of_numbers(np.array(list(numbers), dtype=np.uint64))


def members(numbers: RangeSet) -> set[int]:
    pairs = numbers.pairs()
    assert all(a <= b for a, b in pairs)
    assert all(b + 1 < a for (_, b), (a, _) in itertools.pairwise(pairs))
    return {number for a, b in pairs for number in range(a, b + 1)}


@given(st.sets(st.integers(1, 30)), st.sets(st.integers(1, 30)))
def test_the_algebra_is_that_of_sets(one: set[int], other: set[int]) -> None:
    assert members(of(one)) == one
    assert members(of(one) | of(other)) == one | other
    assert members(of(one) & of(other)) == one & other
    assert members(of(one) - of(other)) == one - other
    assert of(one).count == len(one)
    assert of(one).last == max(one, default=0)
    assert bool(of(one)) == bool(one)
    assert (of(one) == of(other)) == (one == other)


@given(SETS)
def test_many_sets_at_once(sets: list[set[int]]) -> None:
    times = Counter(number for each in sets for number in each)
    assert members(union(of(each) for each in sets)) == set(times)
    assert members(repeated(of(each) for each in sets)) == {n for n in times if times[n] > 1}


@given(st.sets(st.integers(1, 30)), st.integers(0, 31))
def test_parts(numbers: set[int], bound: int) -> None:
    assert members(of(numbers).above(bound)) == {n for n in numbers if n > bound}
    assert members(of(numbers).lowest(bound)) == set(sorted(numbers)[:bound])
    asked = np.arange(1, 32, dtype=np.uint64)
    assert set(asked[of(numbers).contains(asked)].tolist()) == numbers


def test_pairs_in_any_order_that_overlap_or_touch() -> None:
    assert RangeSet([(9, 9), (4, 6), (1, 3), (5, 7)]).pairs() == [(1, 7), (9, 9)]


def test_the_largest_numbers() -> None:
    top = RangeSet([(LARGEST - 1, LARGEST)])
    everything = up_to(LARGEST)
    assert everything.count == LARGEST
    assert (everything - top).pairs() == [(1, LARGEST - 2)]
    assert (top - everything).pairs() == []
    assert (top | RangeSet([(1, 1)])).pairs() == [(1, 1), (LARGEST - 1, LARGEST)]
    assert everything.above(LARGEST).pairs() == []
    assert everything.above(LARGEST - 1).pairs() == [(LARGEST, LARGEST)]


def test_text_is_short() -> None:
    assert str(RangeSet([(1, 7), (9, 9)])) == "1-7, 9"
    assert str(RangeSet([(n, n) for n in range(1, 20, 2)])) == "1, 3, 5, 7, 9 and 5 more"


@given(st.lists(NUMBERS, max_size=6), st.booleans())
def test_a_tally_counts_what_a_counter_counts(blocks: list[list[int]], is_eager: bool) -> None:
    tally, times = Tally(), Counter[int]()
    if is_eager:
        tally._LEAST = 1  # merges after nearly every block
    for block in blocks:
        numbers = np.array(block, dtype=np.uint64)
        expected = [n not in times and n not in block[:place] for place, n in enumerate(block)]
        assert tally.fresh(numbers).tolist() == expected
        tally.add(numbers)
        times.update(block)
    assert tally.rows == times.total()
    assert members(tally.numbers) == set(times)
    assert members(tally.repeated) == {number for number in times if times[number] > 1}
