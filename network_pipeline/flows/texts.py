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
_ADDED_1, _ADDED_2, _ADDED_3, _ADDED_4 = 0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6
_STOP = 0x8000_0000  # the bit behind what is hashed
_DIGITS = 27  # of base64


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
        self.halves = 0  # of words, that are in the block
        self.schedule = np.zeros(16, np.uint32).data  # the block, then words of the last rounds
        self.digest = np.zeros(6, np.uint32).data  # and zeros that fill up base64's last group

    def write(self, flows: int, words: memoryview, ends: memoryview, out: memoryview) -> int:
        """Write the ids of so many flows: a column each of addresses' words, and of ``ends``.

        Rows of ``ends`` are IP version, protocol, kind of ports and both ports; each row of ``out``
        gets an id.
        """
        with nogil:
            for flow in range(flows):
                self._begin(words, ends, flow)
                self._hash()
                self._write(out, flow)
        return 0

    def _begin(self, words: memoryview, ends: memoryview, flow: int) -> int:
        """Fill the block with what is hashed and its length (RFC 3174 section 4).

        All that is hashed is a whole number of words and fits into one block.
        """
        first = 0
        if ends[2, flow] != _ONE_WAY and not _is_ordered(words, ends, flow):
            first = 1
        self.halves = 0
        self._put(self.seed)
        for side in range(2):
            end = side ^ first
            if ends[0, flow] == 6:
                self._put_word(words[2 * end, flow] >> 32)
                self._put_word(words[2 * end, flow])
                self._put_word(words[2 * end + 1, flow] >> 32)
            self._put_word(words[2 * end + 1, flow])
        self._put(ends[1, flow] << 8)
        if ends[2, flow] != _NO_PORTS:
            self._put(ends[3 + first, flow])
            self._put(ends[4 - first, flow])
        size = self.halves // 2
        for word in range(size, 15):
            self.schedule[word] = 0
        self.schedule[size] = _STOP
        self.schedule[15] = 32 * size
        return 0

    def _put(self, half: int) -> int:
        """Put 16 bits into the block."""
        at = self.halves // 2
        if self.halves % 2:
            self.schedule[at] |= half & 0xFFFF
        else:
            self.schedule[at] = (half & 0xFFFF) << 16
        self.halves += 1
        return 0

    def _put_word(self, word: int) -> int:
        self._put(word >> 16)
        return self._put(word)

    def _hash(self) -> int:
        """Hash the block (RFC 3174 section 6.2), a loop for each function of the rounds."""
        a, b, c, d, e = _BEGIN[0], _BEGIN[1], _BEGIN[2], _BEGIN[3], _BEGIN[4]
        for t in range(16):
            mix = e + self.schedule[t] + _ADDED_1 + (d ^ b & (c ^ d))
            a, b, c, d, e = _rotated(a, 5) + mix & _WORD, a, _rotated(b, 30), c, d
        for t in range(16, 20):
            mix = e + self._word(t) + _ADDED_1 + (d ^ b & (c ^ d))
            a, b, c, d, e = _rotated(a, 5) + mix & _WORD, a, _rotated(b, 30), c, d
        for t in range(20, 40):
            mix = e + self._word(t) + _ADDED_2 + (b ^ c ^ d)
            a, b, c, d, e = _rotated(a, 5) + mix & _WORD, a, _rotated(b, 30), c, d
        for t in range(40, 60):
            mix = e + self._word(t) + _ADDED_3 + (b & c | d & (b | c))
            a, b, c, d, e = _rotated(a, 5) + mix & _WORD, a, _rotated(b, 30), c, d
        for t in range(60, 80):
            mix = e + self._word(t) + _ADDED_4 + (b ^ c ^ d)
            a, b, c, d, e = _rotated(a, 5) + mix & _WORD, a, _rotated(b, 30), c, d
        self.digest[0] = a + _BEGIN[0] & _WORD
        self.digest[1] = b + _BEGIN[1] & _WORD
        self.digest[2] = c + _BEGIN[2] & _WORD
        self.digest[3] = d + _BEGIN[3] & _WORD
        self.digest[4] = e + _BEGIN[4] & _WORD
        return 0

    def _word(self, t: int) -> int:
        """Return a round's word, which takes the place of that of 16 rounds before."""
        word = self.schedule[t + 13 & 15] ^ self.schedule[t + 8 & 15]
        word = word ^ self.schedule[t + 2 & 15] ^ self.schedule[t & 15]
        word = _rotated(word, 1)
        self.schedule[t & 15] = word
        return word

    def _write(self, out: memoryview, flow: int) -> int:
        out[flow, 0] = _ONE
        out[flow, 1] = _COLON
        for place in range(_DIGITS):
            word = 6 * place // 32
            pair = self.digest[word]
            pair = pair << 32 | self.digest[word + 1]
            out[flow, 2 + place] = _BASE64[pair >> 58 - 6 * place % 32 & 63]
        out[flow, 2 + _DIGITS] = _EQUALS
        return 0


def _is_ordered(words: memoryview, ends: memoryview, flow: int) -> int:
    """Return whether the source is the lesser end."""
    if words[0, flow] != words[2, flow]:
        return 1 if words[0, flow] < words[2, flow] else 0
    if words[1, flow] != words[3, flow]:
        return 1 if words[1, flow] < words[3, flow] else 0
    return 1 if ends[3, flow] <= ends[4, flow] else 0


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> 32 - bits) & _WORD
