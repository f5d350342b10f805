"""Results come in order, errors in their place, and no more is on the way than was said."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from network_pipeline.ordered import LOOK_AHEAD, in_order

THREADS = (1, 2, 3, 8)


@pytest.mark.parametrize("threads", THREADS)
def test_results_are_in_order_whichever_is_first(threads: int) -> None:
    later = threading.Event()

    def work(number: int) -> int:
        if number == 0 and threads > 2:
            assert later.wait(30)  # until another one has overtaken it
        else:
            later.set()
        return -number

    assert list(in_order(work, range(100), threads=threads)) == [-n for n in range(100)]


@pytest.mark.parametrize("threads", THREADS)
def test_nothing_makes_nothing(threads: int) -> None:
    assert list(in_order(str, [], threads=threads)) == []


@pytest.mark.parametrize("threads", THREADS)
def test_an_error_comes_after_the_results_before_it(threads: int) -> None:
    def work(number: int) -> int:
        if number == 5:
            raise ValueError("five")
        return number

    results = in_order(work, range(50), threads=threads)
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="five"):
        next(results)


@pytest.mark.parametrize("threads", THREADS)
def test_few_things_are_on_the_way(threads: int) -> None:
    taken = 0

    def things() -> Iterator[int]:
        nonlocal taken
        for number in range(200):
            taken += 1
            yield number

    most = 1 if threads == 1 else threads + LOOK_AHEAD
    for got, _ in enumerate(in_order(str, things(), threads=threads)):
        assert taken - got <= most


@pytest.mark.parametrize("threads", THREADS)
def test_threads_end_with_whoever_stops_listening(threads: int) -> None:
    before = threading.active_count()
    results = in_order(str, range(1000), threads=threads)
    assert next(results) == "0"
    results.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
