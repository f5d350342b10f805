"""TCP options: bytes and what they say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network_pipeline.decode import options

NOTHING = options.Options(
    mss=None, wscale=None, sackok=None, sack=None, tsval=None, tsecr=None, error=False
)

CASES = [
    ("none", "", {}),
    ("only padding", "0101010100000000", {}),
    ("mss", "020405b4", {"mss": 1460}),
    ("window scale", "030307", {"wscale": 7}),
    ("window scale beyond 14 stays as on the wire", "0303ff", {"wscale": 255}),
    ("sack permitted", "0402", {"sackok": 1}),
    ("sack", "05120000000100000002fffffffeffffffff", {"sack": "1-2;4294967294-4294967295"}),
    ("timestamps", "080a0000000affffffff", {"tsval": 10, "tsecr": 4294967295}),
    ("timestamps of 0", "080a0000000000000000", {"tsval": 0, "tsecr": 0}),
    (
        "all of them",
        "020405b40402080a000000010000000201030307",
        {"mss": 1460, "sackok": 1, "tsval": 1, "tsecr": 2, "wscale": 7},
    ),
    ("nothing counts after the end", "00020405b4", {}),
    ("an unknown one is stepped over", "fd04aaaa0402", {"sackok": 1}),
    ("the first of two counts", "020405b402040001", {"mss": 1460}),
    ("a wrong length is passed by", "0206010203040402", {"sackok": 1, "error": True}),
    ("the right one after a wrong one counts", "020305020405b4", {"mss": 1460, "error": True}),
    ("no blocks", "05020402", {"sackok": 1, "error": True}),
    ("half a block", "050600000001", {"error": True}),
    ("length 0", "020405b40300", {"mss": 1460, "error": True}),
    ("length 1", "020405b40301", {"mss": 1460, "error": True}),
    ("past the end", "020405b4080a00", {"mss": 1460, "error": True}),
    ("no length", "020405b408", {"mss": 1460, "error": True}),
]


@pytest.mark.parametrize(
    ("data", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_options(data: str, expected: dict[str, Any]) -> None:
    assert options.parse(bytes.fromhex(data)) == NOTHING._replace(**expected)


@given(st.binary(max_size=64))
def test_any_bytes_are_read(data: bytes) -> None:
    found = options.parse(data)
    assert found.wscale is None or 0 <= found.wscale <= 255
    assert (found.tsval is None) == (found.tsecr is None)


@given(st.binary(max_size=40))
def test_what_is_cut_off_never_changes_what_was_read(data: bytes) -> None:
    whole = options.parse(data)
    for size in range(len(data)):
        cut = options.parse(data[:size])
        for value, of_whole in zip(cut[:-1], whole[:-1], strict=True):
            assert value is None or value == of_whole
