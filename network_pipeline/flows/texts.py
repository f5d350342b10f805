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
    from network_pipeline.interpreted import boundscheck, nogil
else:
    from cython import boundscheck, nogil

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
    """Makes community ids with a seed of 16 bits.

    Eight flows are hashed side by side, each in a lane of its own: a column of ``schedule`` and
    ``digest``. A C compiler makes instructions for several lanes of the loops over them.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.halves = 0  # of words, that are in the block
        self.schedule = np.zeros((80, 8), np.uint32).data  # the block, then words of rounds
        self.digest = np.zeros((6, 8), np.uint32).data  # zeros fill up base64's last group

    def write(self, flows: int, words: memoryview, ends: memoryview, out: memoryview) -> int:
        """Write the ids of so many flows: a column each of addresses' words, and of ``ends``.

        Rows of ``ends`` are IP version, protocol, kind of ports and both ports; each row of ``out``
        gets an id.
        """
        with nogil:
            for first in range(0, flows, 8):
                lanes = min(8, flows - first)
                for lane in range(lanes):
                    self._begin(words, ends, first + lane, lane)
                self._hash()
                for lane in range(lanes):
                    self._write(out, first + lane, lane)
        return 0

    def _begin(self, words: memoryview, ends: memoryview, flow: int, lane: int) -> int:
        """Fill the block with what is hashed and its length (RFC 3174 section 4).

        All that is hashed is a whole number of words and fits into one block.
        """
        first = 0
        if ends[2, flow] != _ONE_WAY and not _is_ordered(words, ends, flow):
            first = 1
        self.halves = 0
        self._put(self.seed, lane)
        for side in range(2):
            end = side ^ first
            if ends[0, flow] == 6:
                self._put_word(words[2 * end, flow] >> 32, lane)
                self._put_word(words[2 * end, flow], lane)
                self._put_word(words[2 * end + 1, flow] >> 32, lane)
            self._put_word(words[2 * end + 1, flow], lane)
        self._put(ends[1, flow] << 8, lane)
        if ends[2, flow] != _NO_PORTS:
            self._put(ends[3 + first, flow], lane)
            self._put(ends[4 - first, flow], lane)
        size = self.halves // 2
        for word in range(size, 15):
            self.schedule[word, lane] = 0
        self.schedule[size, lane] = _STOP
        self.schedule[15, lane] = 32 * size
        return 0

    def _put(self, half: int, lane: int) -> int:
        """Put 16 bits into the block."""
        at = self.halves // 2
        if self.halves % 2:
            self.schedule[at, lane] |= half & 0xFFFF
        else:
            self.schedule[at, lane] = (half & 0xFFFF) << 16
        self.halves += 1
        return 0

    def _put_word(self, word: int, lane: int) -> int:
        self._put(word >> 16, lane)
        return self._put(word, lane)

    def _hash(self) -> int:
        """Hash the blocks (RFC 3174 section 6.1), a loop for each function of the rounds."""
        a = [0, 0, 0, 0, 0, 0, 0, 0]
        b = [0, 0, 0, 0, 0, 0, 0, 0]
        c = [0, 0, 0, 0, 0, 0, 0, 0]
        d = [0, 0, 0, 0, 0, 0, 0, 0]
        e = [0, 0, 0, 0, 0, 0, 0, 0]
        with boundscheck(False):
            for t in range(16, 80):
                for lane in range(8):
                    word = self.schedule[t - 3, lane] ^ self.schedule[t - 8, lane]
                    word = word ^ self.schedule[t - 14, lane] ^ self.schedule[t - 16, lane]
                    self.schedule[t, lane] = _rotated(word, 1)
            for lane in range(8):
                a[lane], b[lane], c[lane] = _BEGIN[0], _BEGIN[1], _BEGIN[2]
                d[lane], e[lane] = _BEGIN[3], _BEGIN[4]
            for t in range(20):
                for lane in range(8):
                    mix = d[lane] ^ b[lane] & (c[lane] ^ d[lane])
                    _turn(a, b, c, d, e, lane, mix + self.schedule[t, lane] + _ADDED_1)
            for t in range(20, 40):
                for lane in range(8):
                    mix = b[lane] ^ c[lane] ^ d[lane]
                    _turn(a, b, c, d, e, lane, mix + self.schedule[t, lane] + _ADDED_2)
            for t in range(40, 60):
                for lane in range(8):
                    mix = b[lane] & c[lane] | d[lane] & (b[lane] | c[lane])
                    _turn(a, b, c, d, e, lane, mix + self.schedule[t, lane] + _ADDED_3)
            for t in range(60, 80):
                for lane in range(8):
                    mix = b[lane] ^ c[lane] ^ d[lane]
                    _turn(a, b, c, d, e, lane, mix + self.schedule[t, lane] + _ADDED_4)
            for lane in range(8):
                self.digest[0, lane] = a[lane] + _BEGIN[0] & _WORD
                self.digest[1, lane] = b[lane] + _BEGIN[1] & _WORD
                self.digest[2, lane] = c[lane] + _BEGIN[2] & _WORD
                self.digest[3, lane] = d[lane] + _BEGIN[3] & _WORD
                self.digest[4, lane] = e[lane] + _BEGIN[4] & _WORD
        return 0

    def _write(self, out: memoryview, flow: int, lane: int) -> int:
        out[flow, 0] = _ONE
        out[flow, 1] = _COLON
        with boundscheck(False):
            for place in range(_DIGITS):
                word = 6 * place // 32
                pair = self.digest[word, lane]
                pair = pair << 32 | self.digest[word + 1, lane]
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


def _turn(
    a: list[int], b: list[int], c: list[int], d: list[int], e: list[int], lane: int, mix: int
) -> int:
    """End a round of a lane, in which ``mix`` is what is new."""
    mix = mix + e[lane] + _rotated(a[lane], 5)
    e[lane] = d[lane]
    d[lane] = c[lane]
    c[lane] = _rotated(b[lane], 30)
    b[lane] = a[lane]
    a[lane] = mix & _WORD
    return 0


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> 32 - bits) & _WORD
