"""A message as the fields of a Redis stream entry, and back.

Reading never fails: whatever another program put into the stream comes out as a message that the
processor can judge, if only to set it aside.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """One stream entry; ``failures`` is how often it was delivered and not acknowledged."""

    id: bytes
    body: bytes
    content_type: str | None
    headers: dict[str, Any]
    failures: int = 0


def encode_entry(message: Mapping[str, Any]) -> tuple[bytes | str, ...]:
    """Return the fields and values of kombu's message dict, in XADD's order."""
    body = message["body"]
    content_type = message["content-type"]
    return (
        "body",
        body,
        *(("content_type", content_type) if content_type else ()),
        "headers",
        json.dumps(message["headers"], separators=(",", ":"), default=str),
    )


def decode_entry(identity: bytes, flat: Sequence[bytes] | None) -> Entry:
    """Return the message in an entry: its id, and its fields and values in turn."""
    fields = dict(zip(flat[::2], flat[1::2], strict=False)) if flat else {}
    content_type = fields.get(b"content_type")
    return Entry(
        identity,
        fields.get(b"body", b""),
        None if content_type is None else content_type.decode(errors="replace"),
        _headers(fields.get(b"headers")),
    )


def with_reason(entry: Entry, reason: str) -> tuple[bytes | str, ...]:
    """Return the fields of the entry's message with the reason among its headers."""
    return encode_entry(
        {
            "body": entry.body,
            "content-type": entry.content_type,
            "headers": {**entry.headers, "reason": reason},
        }
    )


def _headers(text: bytes | None) -> dict[str, Any]:
    try:
        headers = json.loads(text or b"{}")
    except (ValueError, RecursionError):
        return {}
    return headers if isinstance(headers, dict) else {}
