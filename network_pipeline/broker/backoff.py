"""How long to wait before the next try."""

from __future__ import annotations

import random

_LEAST_SECONDS = 0.1
_MOST_SECONDS = 5.0


class BackOff:
    """Delays that double from 0.1 s to 5 s, each shortened at random by up to a half.

    The randomness keeps agents that lost the same broker from coming back in step.
    """

    def __init__(self) -> None:
        self._delay = _LEAST_SECONDS

    def next(self) -> float:
        """Return the seconds to wait now; the next ones will be twice as many."""
        delay, self._delay = self._delay, min(self._delay * 2, _MOST_SECONDS)
        return delay * random.uniform(0.5, 1.0)  # noqa: S311

    def reset(self) -> None:
        """Begin again with the shortest delay."""
        self._delay = _LEAST_SECONDS
