"""Crypto-PAn: the vectors that its authors and other implementations publish, and what it keeps."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from network_pipeline.labelled.cryptopan import CryptoPan

#: Key and IPv4 addresses of the authors' sample; IPv6 ones are those of yacryptopan.
KEY = bytes((
    21, 34, 23, 141, 51, 164, 207, 128, 19, 10, 91, 22, 73, 144, 125, 16,
    216, 152, 143, 131, 121, 121, 101, 39, 98, 87, 76, 45, 42, 132, 34, 2,
))  # fmt: skip
VECTORS = {
    "128.11.68.132": "135.242.180.132",
    "129.118.74.4": "134.136.186.123",
    "130.132.252.244": "133.68.164.234",
    "141.223.7.43": "141.167.8.160",
    "141.233.145.108": "141.129.237.235",
    "152.163.225.39": "151.140.114.167",
    "156.29.3.236": "147.225.12.42",
    "64.34.154.117": "0.221.154.117",
    "64.39.15.238": "0.219.7.41",
    "::1": "78ff:f001:9fc0:20df:8380:b1f1:704:ed",
    "::2": "78ff:f001:9fc0:20df:8380:b1f1:704:ef",
    "::ffff": "78ff:f001:9fc0:20df:8380:b1f1:704:f838",
    "2001:db8::1": "4401:2bc:603f:d91d:27f:ff8e:e6f1:dc1e",
    "2001:db8::2": "4401:2bc:603f:d91d:27f:ff8e:e6f1:dc1c",
}


def test_published_vectors_together_and_alone() -> None:
    pan = CryptoPan(KEY)
    assert pan.texts(list(VECTORS)) == list(VECTORS.values())
    assert [pan.texts([each])[0] for each in VECTORS] == list(VECTORS.values())


def test_what_is_no_address_is_none() -> None:
    assert CryptoPan(KEY).texts(["", "host", "192.0.2", "::1"])[:3] == [None] * 3
    assert CryptoPan(KEY).texts([]) == []


def common(one: int, other: int, bits: int) -> int:
    """Return how many bits two addresses have in common at their beginning."""
    return bits - (one ^ other).bit_length()


addresses = st.one_of(
    st.tuples(*[st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address)] * 2),
    st.tuples(*[st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address)] * 2),
)


@given(addresses, st.binary(min_size=32, max_size=32))
def test_prefixes_stay_as_long_as_they_are(
    pair: tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, ...], key: bytes
) -> None:
    bits = pair[0].max_prefixlen
    results = CryptoPan(key).texts([str(each) for each in pair])
    one, other = (int(ipaddress.ip_address(each or "")) for each in results)
    assert common(one, other, bits) == common(int(pair[0]), int(pair[1]), bits)
