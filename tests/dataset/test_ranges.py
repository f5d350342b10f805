from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from network_pipeline.dataset.ranges import Ranges, WrittenFrames

NUMBERS = st.lists(st.integers(0, 40), max_size=60)


@given(NUMBERS)
def test_ranges_hold_what_a_set_holds(numbers: list[int]) -> None:
    ranges, plain = Ranges(), set[int]()
    for number in numbers:
        ranges.add(number)
        plain.add(number)
        assert [n for n in range(-1, 42) if n in ranges] == sorted(plain)


@given(NUMBERS)
def test_ranges_are_as_few_as_can_be(numbers: list[int]) -> None:
    ranges = Ranges()
    for number in numbers:
        ranges.add(number)
    assert len(ranges) == sum(number - 1 not in numbers for number in set(numbers))


def test_a_session_that_passes_in_order_is_one_range() -> None:
    written = WrittenFrames()
    for number in range(1, 10_001):
        written.add(("s", number))
    assert len(written) == 1
    assert ("s", 1) in written
    assert ("s", 10_000) in written
    assert ("s", 10_001) not in written


def test_numbers_of_other_sessions_are_other_frames() -> None:
    written = WrittenFrames()
    written.add(("a", 1))
    assert ("a", 1) in written
    assert ("b", 1) not in written


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 30)), max_size=200))
def test_what_is_remembered_is_bounded_and_true(keys: list[tuple[str, int]]) -> None:
    written, plain = WrittenFrames(max_ranges=5), set[tuple[str, int]]()
    for key in keys:
        written.add(key)
        plain.add(key)
        assert len(written) <= 5
        everything = {(session, number) for session in "abcdef" for number in range(31)}
        assert {other for other in everything if other in written} <= plain


def test_the_session_used_least_recently_is_forgotten_first() -> None:
    written = WrittenFrames(max_ranges=2)
    for key in (("old", 1), ("busy", 1), ("old", 2), ("new", 1)):
        written.add(key)
    assert ("busy", 1) not in written
    assert ("old", 1) in written
    assert ("new", 1) in written


def test_in_a_single_session_the_earliest_frames_are_forgotten_first() -> None:
    written = WrittenFrames(max_ranges=4)
    for number in (10, 20, 30, 40, 50):
        written.add(("s", number))
    assert [n for n in (10, 20, 30, 40, 50) if ("s", n) in written] == [40, 50]
