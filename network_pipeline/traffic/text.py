"""Texts of the simulators: messages, times, addresses, and received bytes as a person sees them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime

#: What a simulator is given to talk with: it takes one line, or one message of several lines.
Say = Callable[[str], None]

#: Longer messages are cut where they are shown; what is sent and echoed is always whole.
SHOWN_BYTES = 8192


def message(protocol: str) -> str:
    """Return a message that is found again in a dataset: local time and a random UUID."""
    return f"testing {protocol} msg time={datetime.now():%Y-%m-%d %H:%M:%S} - {uuid.uuid4()}"


def timestamp() -> str:
    """Return the local time as ``2018-01-27T17:40:04.915469``."""
    return datetime.now().isoformat(timespec="microseconds")


def address_text(host: str, port: int) -> str:
    """Return host and port as one text, IPv6 addresses in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def shown(content: bytes) -> str:
    """Return received bytes as text for a terminal.

    Line ends become line feeds. Bytes that are no UTF-8 and characters that a terminal would act
    upon are escaped, so that nobody who sends a message controls the terminal that shows it.
    """
    text = content[:SHOWN_BYTES].decode("utf-8", "backslashreplace").replace("\r\n", "\n")
    more = len(content) - SHOWN_BYTES
    return "".join(map(_printable, text)) + (f"... and {more} bytes more" if more > 0 else "")


def _printable(character: str) -> str:
    if character.isprintable() or character in "\n\t":
        return character
    return character.encode("unicode_escape").decode("ascii")
