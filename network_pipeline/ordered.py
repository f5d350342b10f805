"""Work on many things at once, with the results in order.

The calling thread takes the things from where they come and gets the results, the other threads
work. A few more things are on the way than there are threads, so that these have work while the
calling thread is busy with a result, and memory is bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

#: How many more things than threads are on the way.
LOOK_AHEAD = 8

_Thing = TypeVar("_Thing")
_Result = TypeVar("_Result")


def in_order(
    work: Callable[[_Thing], _Result], things: Iterable[_Thing], *, threads: int
) -> Iterator[_Result]:
    """Yield ``work(thing)`` for all things; what it raises is raised in its place.

    One thread is the calling one, which then works itself.
    """
    if threads == 1:
        yield from map(work, things)
        return
    pool = ThreadPoolExecutor(threads - 1)
    on_the_way: deque[Future[_Result]] = deque()
    try:
        for thing in things:
            on_the_way.append(pool.submit(work, thing))
            while len(on_the_way) == threads + LOOK_AHEAD or (on_the_way and on_the_way[0].done()):
                yield on_the_way.popleft().result()
        while on_the_way:
            yield on_the_way.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
