from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network_pipeline.losses import Gaps, Losses
from network_pipeline.message import JSON_TYPE, Message


def message(**headers: int) -> Message:
    return Message(b"", JSON_TYPE, headers)


def test_losses_are_named_by_the_headers_of_a_message() -> None:
    losses = Losses()
    losses.add(message(first=3, count=1))
    losses.add(message(first=10, count=4))
    losses.add(message(first=20, count=2, last=25))  # four of these were lost before
    losses.add(message(first=0, count=0))
    assert losses.pairs() == [(3, 3), (10, 13), (20, 25)]
    assert not losses.is_incomplete


def test_a_loss_without_a_number_leaves_the_names_incomplete() -> None:
    losses = Losses()
    losses.add(message(count=2))
    assert (losses.pairs(), losses.is_incomplete) == ([], True)


def test_the_latest_of_many_ranges_are_kept() -> None:
    losses = Losses(max_ranges=3)
    for number in (1, 3, 5):
        losses.add_range(number, number)
    assert not losses.is_incomplete
    losses.add_range(7, 7)
    assert (losses.pairs(), losses.is_incomplete) == ([(5, 5), (7, 7)], True)


@pytest.mark.parametrize(
    ("batches", "last", "lost"),
    [
        ([], 0, []),
        ([], 3, [(1, 3)]),
        ([[1, 2, 3], [4]], 4, []),
        ([[2], [], [5, 6]], 8, [(1, 1), (3, 4), (7, 8)]),
        ([[1, 4, 6]], 6, [(2, 3), (5, 5)]),
    ],
)
def test_what_is_passed_over_is_lost(
    batches: Sequence[Sequence[int]], last: int, lost: list[tuple[int, int]]
) -> None:
    gaps = Gaps(Losses())
    for numbers in batches:
        gaps.see(numbers)
    gaps.end(last)
    assert gaps.losses.pairs() == lost


@given(st.sets(st.integers(1, 60)), st.integers(1, 9))
def test_every_number_is_seen_or_lost(seen: set[int], size: int) -> None:
    gaps, numbers = Gaps(Losses()), sorted(seen)
    for place in range(0, len(numbers), size):
        gaps.see(numbers[place : place + size])
    gaps.end(60)
    lost = {n for first, last in gaps.losses.pairs() for n in range(first, last + 1)}
    assert lost == set(range(1, 61)) - seen
