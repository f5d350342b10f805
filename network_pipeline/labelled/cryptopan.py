"""Crypto-PAn: addresses become others, and two with a common prefix have one as long afterwards.

J. Xu, J. Fan, M. Ammar, S. Moon: Prefix-preserving IP address anonymization, ICNP 2002. The key is
32 bytes: a key for AES-128, and what the padding is made of. Bit n of the result is bit n of the
address, exclusive-or the first bit of the encrypted first n bits, which are padded to a block. IPv4
addresses fill 4 bytes of the block, IPv6 ones all 16, so that both are as other implementations
have them.

All blocks of many addresses are encrypted at once.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

KEY_BYTES = 32

_BLOCK_BYTES = 16
#: Addresses of one call: 128 blocks of 16 bytes for each.
_MOST_AT_ONCE = 4096


class CryptoPan:
    """Anonymizes addresses with a key of :data:`KEY_BYTES`."""

    def __init__(self, key: bytes) -> None:
        # ECB is what the scheme is defined with: blocks are random functions' inputs, no message.
        self._cipher = Cipher(algorithms.AES(key[:_BLOCK_BYTES]), modes.ECB())  # noqa: S305
        self._pad = np.frombuffer(self._encrypt(key[_BLOCK_BYTES:KEY_BYTES]), np.uint8)

    def texts(self, addresses: Sequence[str]) -> list[str | None]:
        """Return addresses, IPv4 and IPv6 in any order, anonymized; None for what is no address."""
        parsed = [_parsed(each) for each in addresses]
        found: list[str | None] = [None] * len(parsed)
        for width, kind in ((4, ipaddress.IPv4Address), (16, ipaddress.IPv6Address)):
            places = [at for at, packed in enumerate(parsed) if packed and len(packed) == width]
            packed = b"".join(parsed[at] or b"" for at in places)
            for at, result in zip(places, self._anonymized(packed, width), strict=True):
                found[at] = str(kind(result))
        return found

    def _anonymized(self, packed: bytes, width: int) -> Iterator[bytes]:
        addresses = np.frombuffer(packed, np.uint8).reshape(-1, width)
        for first in range(0, len(addresses), _MOST_AT_ONCE):
            some = addresses[first : first + _MOST_AT_ONCE]
            for row in some ^ self._one_time_pads(some):
                yield row.tobytes()

    def _one_time_pads(self, addresses: NDArray[np.uint8]) -> NDArray[np.uint8]:
        count, width = addresses.shape
        bits = width * 8
        blocks = np.empty((count, bits, _BLOCK_BYTES), np.uint8)
        blocks[:] = self._pad
        known = _prefix_masks(bits)
        blocks[:, :, :width] = addresses[:, np.newaxis, :] & known | self._pad[:width] & ~known
        encrypted = np.frombuffer(self._encrypt(blocks.tobytes()), np.uint8)
        first_bits = encrypted[::_BLOCK_BYTES].reshape(count, bits) >> 7
        return np.packbits(first_bits, axis=1)

    def _encrypt(self, blocks: bytes) -> bytes:
        return self._cipher.encryptor().update(blocks)


def _prefix_masks(bits: int) -> NDArray[np.uint8]:
    """Return, for every length from 0, the mask of a prefix of that many bits."""
    ones = np.tril(np.ones((bits, bits), np.uint8), -1)
    return np.packbits(ones, axis=1)


def _parsed(text: str) -> bytes | None:
    try:
        return ipaddress.ip_address(text).packed
    except ValueError:
        return None
