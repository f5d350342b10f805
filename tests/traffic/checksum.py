"""The Internet checksum (RFC 1071), written apart from the code under test."""

from __future__ import annotations

import struct


def folded(content: bytes) -> int:
    """Return the one's complement sum; 0xFFFF over bytes that include their right checksum."""
    padded = content + b"\0" * (len(content) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total
