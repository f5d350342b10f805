"""Values as text."""

from __future__ import annotations

import pytest

from network_pipeline.decode import text

SECOND = 1_000_000_000


@pytest.mark.parametrize(
    ("time_ns", "expected"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (1_700_000_000_123_456_789, "2023-11-14T22:13:20.123456789Z"),
        (951_782_400 * SECOND, "2000-02-29T00:00:00.000000000Z"),
        (2**63 - 1, "2262-04-11T23:47:16.854775807Z"),
        (2**63, None),
        (-(2**63) + 1, "1677-09-21T00:12:43.145224193Z"),
        (-(2**63), None),
        (253_402_300_799 * SECOND, None),
        (2**64 * SECOND, None),
    ],
)
def test_time(time_ns: int, expected: str | None) -> None:
    assert text.time(time_ns) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("00000000000000000000000000000000", "::"),
        ("00000000000000000000000000000001", "::1"),
        ("20010db8000000000001000000000001", "2001:db8::1:0:0:1"),
        ("20010db8000100010001000000010001", "2001:db8:1:1:1:0:1:1"),
        ("00000000000000000000ffffc0000201", "::ffff:192.0.2.1"),
        ("fe80000000000000000000000000000a", "fe80::a"),
    ],
)
def test_ipv6(address: str, expected: str) -> None:
    assert text.ipv6(bytes.fromhex(address)) == expected


def test_ipv4_and_mac() -> None:
    assert text.ipv4(b"\xc0\x00\x02\xff") == "192.0.2.255"
    assert text.mac(b"\x02\x00\x5e\x10\x00\xff") == "02:00:5e:10:00:ff"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("eth0", "eth0"),
        ("wlan-\u00e9", "wlan-\u00e9"),
        ("silly!\r\nname", r"silly!\r\nname"),
        ("\x00\x85\u2028\udcff", r"\x00\x85\u2028\udcff"),
    ],
)
def test_printable(name: str, expected: str) -> None:
    assert text.printable(name) == expected
