"""What the broker carries: one nested dict as JSON, with headers that say what it is.

Many frames in one message are :mod:`network_pipeline.batch_message`'s. A message is read in three
steps, cheapest first: content type and schema from the headers, size from the body's length, then
the values, each against its column in the schema table. Whatever fails raises
:class:`MessageError` with a reason that quotes no content, so that a processor can set the message
aside and go on. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from network_pipeline.errors import MessageError
from network_pipeline.schema import COLUMNS, INTEGER_LIMITS, SCHEMA_VERSION

JSON_TYPE = "application/json"

#: Of a message of either kind. The largest frame of a device (512 KiB, as hex) takes half of it.
MAX_BODY_BYTES = 2 * 1024 * 1024

#: A nested dict of one frame: layers by name, fields by scapy's names, absent ones left out.
Nested = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Message:
    """A body, its content type and its headers (numbers and short texts only)."""

    body: bytes
    content_type: str
    headers: Mapping[str, str | int]


def encode(nested: Nested, *, source: str, session: str) -> Message:
    """Return the JSON message of one frame.

    ``nested`` is what :func:`network_pipeline.decode.nested.decode` made of it; the message also
    says which agent (``source``) saw it and in which capture run (``session``, a UUID).
    """
    body = json.dumps(
        {"source": source, "session": session, **nested}, separators=(",", ":")
    ).encode()
    return Message(body, JSON_TYPE, headers_of(source, session, nested["frame"]["number"], 1))


def headers_of(source: str, session: str, first: int, count: int) -> dict[str, str | int]:
    """Return the headers of a message of ``count`` frames, whose first one's number is given."""
    return {
        "schema": SCHEMA_VERSION,
        "source": source,
        "session": session,
        "first": first,
        "count": count,
        "created": time.time_ns(),
    }


def decode(body: bytes, content_type: str | None, headers: Mapping[str, Any]) -> Nested:
    """Return the checked nested dict that a message holds.

    A message without a ``schema`` header is judged by its values alone, so that a program in any
    language can publish frames; one with another version's is refused.

    Raises:
        MessageError: it holds no frame, or one that this version has no columns for.
    """
    check_envelope(JSON_TYPE, body, content_type, headers)
    try:
        nested = json.loads(body)
    except (ValueError, RecursionError):
        raise MessageError("not JSON") from None
    if not isinstance(nested, dict):
        raise MessageError("JSON, but no object")
    _check_fields(nested, _FIELDS, "")
    _check_identity(nested)
    return nested


def check_envelope(
    wanted: str, body: bytes, content_type: str | None, headers: Mapping[str, Any]
) -> None:
    """Check what can be known of a message without reading its body.

    Raises:
        MessageError: not of the ``wanted`` content type, of another schema, or too large.
    """
    if content_type != wanted:
        raise MessageError(f"content type {content_type!r:.80} is not {wanted}")
    schema = headers.get("schema", SCHEMA_VERSION)
    if schema != SCHEMA_VERSION:
        raise MessageError(f"schema {schema!r:.40}, this processor writes {SCHEMA_VERSION}")
    if len(body) > MAX_BODY_BYTES:
        raise MessageError(f"{len(body)} bytes, the limit is {MAX_BODY_BYTES}")


def _check_identity(nested: Nested) -> None:
    for name in ("source", "session"):
        if not nested.get(name):
            raise MessageError(f"no {name}")
    if not (nested.get("frame") or {}).get("number"):
        raise MessageError("no frame.number")


def _check_fields(values: Nested, fields: Mapping[str, Any], prefix: str) -> None:
    for name, value in values.items():
        field = fields.get(name)
        if field is None:
            raise MessageError(f"{prefix}{name}: no such field"[:200])
        if value is None:
            continue
        if isinstance(field, dict):
            if not isinstance(value, dict):
                raise MessageError(f"{prefix}{name}: not an object")
            _check_fields(value, field, f"{prefix}{name}.")
        elif not field(value):
            raise MessageError(f"{prefix}{name}: not a valid value")


_FIRST_TIME = "1677-09-21T00:12:43.145224193Z"
_LAST_TIME = "2262-04-11T23:47:16.854775807Z"


def _integer_up_to(limit: int) -> Callable[[object], bool]:
    return lambda value: type(value) is int and 0 <= value <= limit


def _text_like(pattern: str) -> Callable[[object], bool]:
    matches = re.compile(pattern).fullmatch
    return lambda value: type(value) is str and matches(value) is not None


_looks_like_time = _text_like(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z")


def _is_time(value: object) -> bool:
    """Return whether it is a time that 64 bits of nanoseconds can say; texts are in its order."""
    return _looks_like_time(value) and _FIRST_TIME <= str(value) <= _LAST_TIME


#: Characters that no text may hold, since a line of CSV is a row: controls and line breaks.
_CONTROLS = "\\x00-\\x1f\\x7f-\\x9f\u2028\u2029"

#: What UTF-8 text must look like by column type, in the syntax of :mod:`re` and of RE2.
TEXT_PATTERNS = {
    "mac": r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}",
    "ipv4": r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}",
    "ipv6": r"[0-9a-f:.]{2,45}",
    "string": f"[^{_CONTROLS}]*",
}

#: Tests by column type.
_CHECKS: dict[str, Callable[[object], bool]] = {
    **{name: _text_like(pattern) for name, pattern in TEXT_PATTERNS.items()},
    "hex": _text_like(r"(?:[0-9a-f]{2})*"),
    "string": _text_like(rf"[^{_CONTROLS}\ud800-\udfff]*"),  # half characters are no UTF-8
    "timestamp[ns, UTC]": _is_time,
    **{name: _integer_up_to(limit) for name, limit in INTEGER_LIMITS.items()},
}


def _field_tree() -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for column in COLUMNS:
        place = tree
        for key in column.path[:-1]:
            place = place.setdefault(key, {})
        place[column.path[-1]] = _CHECKS[column.type]
    return tree


_FIELDS = _field_tree()
