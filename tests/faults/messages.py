"""Messages that no program of the suite would send."""

from __future__ import annotations

from network_pipeline import message
from network_pipeline.batch_message import ARROW_TYPE
from network_pipeline.message import JSON_TYPE, Message

STRANGER = "0b2f6a54-5d5c-4c5e-9a55-1f6f0f5e2a10"


def poison() -> list[Message]:
    """Return messages without a row in them; the last one says which frames it has."""
    return [
        Message(b"no json", JSON_TYPE, {}),
        Message(b"\xff" * 4096, ARROW_TYPE, {}),
        Message(b"[" * 100_000, JSON_TYPE, {}),
        Message(b"x", "application/x-python-serialize", {"first": "one", "count": -1}),
        Message(b"{}", JSON_TYPE, message.headers_of("lb9", STRANGER, 1, 3)),
    ]
