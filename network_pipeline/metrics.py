"""Counts of one process. Whatever happens to a frame or a message moves exactly one of them."""

from __future__ import annotations

import threading


class Counters:
    """Named counts that several threads may add to."""

    def __init__(self, *names: str) -> None:
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(names, 0)

    def add(self, name: str, amount: int = 1) -> None:
        """Add to a count; an unknown name is a ``KeyError``: a typo is never a new count."""
        with self._lock:
            self._counts[name] += amount

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def snapshot(self) -> dict[str, int]:
        """Return all counts as they stand together."""
        with self._lock:
            return dict(self._counts)

    def __str__(self) -> str:
        return " ".join(f"{name}={count}" for name, count in self.snapshot().items())
