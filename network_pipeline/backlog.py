"""What waits for a snapshot: deliveries in order of arrival, and which of their frames are new.

A delivery of a frame that is known already waits too: it may be acknowledged only after the rows
that arrived before it, since one of those may be its original.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from network_pipeline.ranges import Numbers, WrittenFrames
from network_pipeline.rows import Rows

if TYPE_CHECKING:
    from network_pipeline.broker.consumer import Delivery


@dataclass(slots=True)
class _Entry:
    """A delivery; ``rows`` are those of its frames that are to be written, ``numbers`` theirs."""

    delivery: Delivery
    session: str
    frames: int
    rows: Rows
    numbers: Numbers
    memory: int
    since: float

    @property
    def is_nested(self) -> bool:
        """Whether it holds a frame as JSON."""
        return bool(self.session) and not isinstance(self.rows, pa.RecordBatch)

    def forget_first(self, count: int) -> None:
        """Take the first rows for done."""
        self.frames -= count
        self.numbers = self.numbers[count:]
        if isinstance(self.rows, pa.RecordBatch):
            self.rows = self.rows.slice(count)


class Backlog:
    """Deliveries that wait, how many ``frames`` and new ``rows`` they hold, and their ``memory``.

    The memory of a JSON message is counted as the length of its body, and as ``nested_memory`` too.
    """

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._known = WrittenFrames()
        self.frames = self.rows = self.memory = self.nested_memory = 0

    def __len__(self) -> int:
        """Return the number of deliveries."""
        return len(self._entries)

    @property
    def since(self) -> float:
        """When the oldest delivery arrived, on the monotonic clock."""
        return self._entries[0].since

    @property
    def is_suspect(self) -> bool:
        """Whether the oldest delivery may be one that ends its processor."""
        return bool(self._entries) and self._entries[0].delivery.is_suspect

    def holds(self, session: str, numbers: Numbers) -> NDArray[np.bool_]:
        """Say for each frame of a session, by its number, whether it waits."""
        return self._known.holds(session, numbers)

    def add(
        self,
        delivery: Delivery,
        found: Rows,
        session: str,
        numbers: Numbers,
        is_new: NDArray[np.bool_],
    ) -> None:
        """Let a delivery wait that holds these frames of a session, of which some are new."""
        memory = len(delivery.body)
        if isinstance(found, pa.RecordBatch):
            memory = max(memory, found.get_total_buffer_size())  # nbytes takes longer
            found = found if is_new.all() else found.filter(pa.array(is_new))
        else:
            self.nested_memory += memory
        fresh = numbers[is_new]
        self._entries.append(
            _Entry(delivery, session, len(numbers), found, fresh, memory, time.monotonic())
        )
        self._known.add(session, fresh)
        self.frames += len(numbers)
        self.rows += len(fresh)
        self.memory += memory

    def add_word(self, delivery: Delivery) -> None:
        """Let a message without frames wait for the rows that arrived before it."""
        none, memory = np.zeros(0, np.uint64), len(delivery.body)
        self._entries.append(_Entry(delivery, "", 0, {}, none, memory, time.monotonic()))
        self.memory += memory

    def pieces(self) -> list[Rows]:
        """Return the rows to write, in order."""
        return [entry.rows for entry in self._entries if len(entry.numbers)]

    def written(self, count: int) -> Iterator[tuple[str, Numbers]]:
        """Yield the first ``count`` rows to write, by session and numbers, and forget them."""
        self.rows -= count
        self.frames -= count
        for entry in self._entries:
            done = entry.numbers[:count]
            if len(done):
                yield entry.session, done
                entry.forget_first(len(done))
                count -= len(done)

    def settle(self) -> tuple[list[Delivery], Counter[str]]:
        """Take out all deliveries before the first row to write.

        Returns:
            The deliveries, and how many of their frames were not new, by session.
        """
        first = next((n for n, entry in enumerate(self._entries) if len(entry.numbers)), None)
        done = self._entries[:first]
        left = [] if first is None else self._entries[first:]
        duplicates: Counter[str] = Counter()
        for entry in done:
            duplicates[entry.session] += entry.frames
        self.frames -= duplicates.total()
        self.memory -= sum(entry.memory for entry in done)
        self.nested_memory -= sum(entry.memory for entry in done if entry.is_nested)
        self._entries = left
        if not left:
            self._known = WrittenFrames()
        return [entry.delivery for entry in done], duplicates

    def clear(self) -> None:
        """Forget everything."""
        self._entries = []
        self._known = WrittenFrames()
        self.frames = self.rows = self.memory = self.nested_memory = 0
