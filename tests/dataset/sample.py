"""Nested dicts of frames, as ``message.decode`` returns them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from network_pipeline.message import Nested
from network_pipeline.schema import COLUMN_NAMES

SESSION = "0b2f6a54-5d5c-4c5e-9a55-1f6f0f5e2a10"


def frame(number: int, **layers: Any) -> Nested:
    return {"source": "lb1", "session": SESSION, "frame": {"number": number}, **layers}


def frames(numbers: Iterable[int]) -> list[Nested]:
    return [frame(number) for number in numbers]


def line(**cells: object) -> str:
    """Return a line of CSV with these cells filled (values that need no quotes)."""
    assert not set(cells) - set(COLUMN_NAMES)
    return ",".join(str(cells.get(name, "")) for name in COLUMN_NAMES) + "\n"


def frame_lines(numbers: Iterable[int]) -> str:
    """Return the lines of ``frames(numbers)``."""
    return "".join(line(source="lb1", session=SESSION, frame_number=number) for number in numbers)
