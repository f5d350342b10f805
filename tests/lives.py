"""Lives of child processes that end at random points of their work, by themselves.

A parent that waits for progress and then kills is as slow as its machine: meanwhile a child may
have done all there was to do. A signal that nothing catches ends a process as SIGKILL does: at
once, and without a last word of Python's.
"""

from __future__ import annotations

import random
import signal
from dataclasses import dataclass
from multiprocessing.process import BaseProcess

_JOIN_SECONDS = 60.0


@dataclass
class Life:
    """How much work a process may do, and how many seconds it lives then."""

    work: int
    seconds: float

    def spend(self, work: int) -> None:
        """Count work that is about to be done; from the end of it on the time runs."""
        before, self.work = self.work, self.work - work
        if self.work <= 0 < before:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_REAL, self.seconds)


def random_life(chance: random.Random, most_work: int, most_seconds: float) -> Life:
    """Return a life of at least one piece of work and some time."""
    return Life(chance.randrange(1, most_work), chance.uniform(1e-6, most_seconds))


def outlive(child: BaseProcess) -> None:
    """Start a child and wait for the end of its life."""
    child.start()
    try:
        child.join(_JOIN_SECONDS)
        assert child.exitcode == -signal.SIGALRM
    finally:
        child.kill()
        child.join()
