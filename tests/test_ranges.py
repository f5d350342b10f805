from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from network_pipeline.ranges import Numbers, Ranges, WrittenFrames, runs

LARGEST = 2**64 - 1
RUNS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 6)), max_size=40)


def array(numbers: Iterable[int]) -> Numbers:
    return np.array(list(numbers), np.uint64)


def held(written: WrittenFrames, session: str, numbers: Iterable[int]) -> list[int]:
    asked = array(numbers)
    return [int(number) for number in asked[written.holds(session, asked)]]


@given(RUNS)
def test_ranges_hold_what_a_set_holds_and_are_as_few_as_can_be(
    pairs: list[tuple[int, int]],
) -> None:
    ranges, plain = Ranges(), set[int]()
    for first, more in pairs:
        ranges.add(first, first + more)
        plain.update(range(first, first + more + 1))
        assert [n for n in range(50) if n in ranges] == sorted(plain)
        assert len(ranges) == sum(number - 1 not in plain for number in plain)


@given(RUNS, st.integers(1, 48), st.integers(0, 6))
def test_an_overlap_is_a_number_in_both(
    pairs: list[tuple[int, int]], first: int, more: int
) -> None:
    ranges = Ranges()
    for each, length in pairs:
        ranges.add(each, each + length)
    wanted = any(number in ranges for number in range(first, first + more + 1))
    assert ranges.overlaps(first, first + more) == wanted


def test_runs_of_consecutive_numbers() -> None:
    assert runs(array([])) == []
    assert runs(array([7])) == [(7, 7)]
    assert runs(array([1, 2, 3, 5, 9, 10, 4, 5])) == [(1, 3), (5, 5), (9, 10), (4, 5)]
    assert runs(array([LARGEST - 1, LARGEST, 1])) == [(LARGEST - 1, LARGEST), (1, 1)]


def test_a_session_that_passes_in_order_is_one_range() -> None:
    written = WrittenFrames()
    for first in range(1, 10_001, 100):
        written.add("s", array(range(first, first + 100)))
    assert len(written) == 1
    assert held(written, "s", [1, 10_000, 10_001]) == [1, 10_000]


def test_numbers_of_other_sessions_are_other_frames() -> None:
    written = WrittenFrames()
    written.add("a", array([1]))
    assert held(written, "a", [1, 2]) == [1]
    assert held(written, "b", [1]) == []


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.integers(1, 30), st.integers(0, 3)), max_size=200
    )
)
def test_what_is_remembered_is_bounded_and_true(keys: list[tuple[str, int, int]]) -> None:
    written, plain = WrittenFrames(max_ranges=5), set[tuple[str, int]]()
    for session, first, more in keys:
        numbers = range(first, first + more + 1)
        written.add(session, array(numbers))
        plain.update((session, number) for number in numbers)
        assert len(written) <= 5
        found = {(s, n) for s in "abcdef" for n in held(written, s, range(35))}
        assert found <= plain


def test_the_session_used_least_recently_is_forgotten_first() -> None:
    written = WrittenFrames(max_ranges=2)
    for session, number in (("old", 1), ("busy", 1), ("old", 2), ("new", 1)):
        written.add(session, array([number]))
    assert held(written, "busy", [1]) == []
    assert held(written, "old", [1]) == [1]
    assert held(written, "new", [1]) == [1]


def test_in_a_single_session_the_earliest_frames_are_forgotten_first() -> None:
    written = WrittenFrames(max_ranges=4)
    for number in (10, 20, 30, 40, 50):
        written.add("s", array([number]))
    assert held(written, "s", [10, 20, 30, 40, 50]) == [40, 50]


def test_frames_of_two_are_joined_and_shared_ones_are_seen() -> None:
    one, other = WrittenFrames(), WrittenFrames()
    one.add("a", array([1, 2, 3]))
    other.add("a", array([4, 5]))
    other.add("b", array([1]))
    assert not one.shares(other)
    one.join(other)
    assert one.shares(other)
    assert other.shares(one)
    assert (held(one, "a", range(1, 9)), held(one, "b", range(1, 9))) == ([1, 2, 3, 4, 5], [1])
