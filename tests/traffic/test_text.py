from __future__ import annotations

import re

import pytest

from network_pipeline.traffic import text


def test_a_message_has_time_and_uuid() -> None:
    time = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    pattern = rf"testing UDP msg time={time} - [0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}"
    first, second = text.message("UDP"), text.message("UDP")
    assert re.fullmatch(pattern, first)
    assert first != second


def test_a_timestamp_always_has_microseconds() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}", text.timestamp())


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        (b"plain", "plain"),
        ("naïve ✓".encode(), "naïve ✓"),
        (b"a\r\nb\n\tc", "a\nb\n\tc"),
        (b"\x00\xff\x1b[31m\r", "\\x00\\xff\\x1b[31m\\r"),
        ("\u202e\u009b".encode(), "\\u202e\\x9b"),
        (b"", ""),
    ],
)
def test_shown_is_safe_on_a_terminal(received: bytes, expected: str) -> None:
    assert text.shown(received) == expected


def test_shown_is_bounded() -> None:
    assert (
        text.shown(b"x" * (text.SHOWN_BYTES + 5)) == "x" * text.SHOWN_BYTES + "... and 5 bytes more"
    )


def test_ipv6_addresses_stand_in_brackets() -> None:
    assert text.address_text("127.0.0.1", 80) == "127.0.0.1:80"
    assert text.address_text("::1", 80) == "[::1]:80"
