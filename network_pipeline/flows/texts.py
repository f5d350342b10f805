"""Texts of ended flows: their addresses and their community ids.

A community id is ``1:`` and the base64 of the SHA-1 of seed, addresses, protocol and ports, the
lesser end first, so that other tools that saw a flow give it the same one. Source:
https://github.com/corelight/community-id-spec, version 1; SHA-1: RFC 3174; base64: RFC 4648.

Compiled, see :mod:`network_pipeline.interpreted`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from network_pipeline.decode.written import Text
from network_pipeline.flows.fields import ICMP_ONE_WAY, NO_PORTS

if not TYPE_CHECKING:
    from network_pipeline.interpreted import nogil
else:
    from cython import nogil

#: Bytes of a community id.
COMMUNITY_BYTES: Final = 30

_NO_PORTS = NO_PORTS
_ONE_WAY = ICMP_ONE_WAY
_WORD = 0xFFFF_FFFF
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_ONE = ord("1")
_COLON = ord(":")
_EQUALS = ord("=")
_BEGIN = np.array((0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0), np.uint32).data
_ADDED = np.array((0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6), np.uint32).data
_BLOCK_BYTES = 64
_ROUNDS = 80


def addresses(versions: memoryview, data: memoryview, text: Text, offsets: memoryview) -> int:
    """Write addresses, each in 16 bytes of ``data``; IPv4 has the last four."""
    with nogil:
        for row in range(len(versions)):
            if versions[row] == 4:
                text.ipv4(data, 16 * row + 12)
            else:
                text.ipv6(data, 16 * row)
            offsets[row + 1] = text.used
    return 0


class CommunityIds:
    """Makes community ids with a seed of 16 bits."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.block = np.zeros(_BLOCK_BYTES, np.uint8).data
        self.size = 0
        self.schedule = np.zeros(_ROUNDS, np.uint32).data
        self.digest = np.zeros(21, np.uint8).data  # and a byte that fills up base64's last group

    def write(self, flows: int, words: memoryview, ends: memoryview, text: Text) -> int:
        """Write the ids of so many flows: a column each of addresses' words, and of ``ends``.

        Rows of ``ends`` are IP version, protocol, kind of ports and both ports.
        """
        with nogil:
            for flow in range(flows):
                self._begin(words, ends, flow)
                self._hash()
                self._write(text)
        return 0

    def _begin(self, words: memoryview, ends: memoryview, flow: int) -> int:
        """Fill the block with what is hashed and its length (RFC 3174 section 4)."""
        first = 0
        if ends[2, flow] != _ONE_WAY and not _is_ordered(words, ends, flow):
            first = 1
        self.size = 0
        self._put(self.seed, 2)
        for side in range(2):
            end = side ^ first
            if ends[0, flow] == 4:
                self._put(words[2 * end + 1, flow], 4)
            else:
                self._put(words[2 * end, flow], 8)
                self._put(words[2 * end + 1, flow], 8)
        self._put(ends[1, flow], 1)
        self._put(0, 1)
        if ends[2, flow] != _NO_PORTS:
            self._put(ends[3 + first, flow], 2)
            self._put(ends[4 - first, flow], 2)
        bits = 8 * self.size
        self._put(0x80, 1)
        while self.size < _BLOCK_BYTES - 2:
            self._put(0, 1)
        return self._put(bits, 2)

    def _put(self, value: int, size: int) -> int:
        for byte in range(size):
            self.block[self.size + byte] = value >> 8 * (size - 1 - byte) & 0xFF
        self.size += size
        return 0

    def _hash(self) -> int:
        """Hash the block (RFC 3174 section 6.1); all that is hashed fits into one."""
        self._expand()
        a, b, c, d, e = _BEGIN[0], _BEGIN[1], _BEGIN[2], _BEGIN[3], _BEGIN[4]
        for t in range(_ROUNDS):
            mix = _mixed(t // 20, b, c, d) + _ADDED[t // 20] & _WORD
            mix = _rotated(a, 5) + mix + e + self.schedule[t] & _WORD
            a, b, c, d, e = mix, a, _rotated(b, 30), c, d
        self._store(0, a)
        self._store(1, b)
        self._store(2, c)
        self._store(3, d)
        return self._store(4, e)

    def _expand(self) -> int:
        """Make a word for each round from the words of the block."""
        for t in range(16):
            at = 4 * t
            high = self.block[at] << 8 | self.block[at + 1]
            self.schedule[t] = (high << 16 | self.block[at + 2] << 8 | self.block[at + 3]) & _WORD
        for t in range(16, _ROUNDS):
            word = self.schedule[t - 3] ^ self.schedule[t - 8]
            word = word ^ self.schedule[t - 14] ^ self.schedule[t - 16]
            self.schedule[t] = _rotated(word, 1)
        return 0

    def _store(self, word: int, value: int) -> int:
        value = value + _BEGIN[word] & _WORD
        for byte in range(4):
            self.digest[4 * word + byte] = value >> 24 - 8 * byte & 0xFF
        return 0

    def _write(self, text: Text) -> int:
        text.byte(_ONE)
        text.byte(_COLON)
        for at in range(0, 21, 3):
            group = self.digest[at] << 16 | self.digest[at + 1] << 8 | self.digest[at + 2]
            for place in range(4):
                if at < 18 or place < 3:
                    text.byte(_BASE64[group >> 18 - 6 * place & 63])
        return text.byte(_EQUALS)


def _is_ordered(words: memoryview, ends: memoryview, flow: int) -> int:
    """Return whether the source is the lesser end."""
    if words[0, flow] != words[2, flow]:
        return 1 if words[0, flow] < words[2, flow] else 0
    if words[1, flow] != words[3, flow]:
        return 1 if words[1, flow] < words[3, flow] else 0
    return 1 if ends[3, flow] <= ends[4, flow] else 0


def _mixed(quarter: int, b: int, c: int, d: int) -> int:
    """Return the function of the rounds' quarter (RFC 3174 section 5)."""
    if quarter == 0:
        return b & c | (b ^ _WORD) & d
    if quarter == 2:
        return b & c | b & d | c & d
    return b ^ c ^ d


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> 32 - bits) & _WORD
