"""A frame: captured bytes and what the source knows about them."""

from __future__ import annotations

import enum
from typing import NamedTuple


class LinkType(enum.IntEnum):
    """What the first byte of a frame belongs to (numbers of the tcpdump.org LINKTYPE registry)."""

    NULL = 0
    ETHERNET = 1
    RAW = 101
    LOOP = 108
    LINUX_SLL = 113
    IPV4 = 228
    IPV6 = 229
    LINUX_SLL2 = 276


class Frame(NamedTuple):
    """One captured frame.

    ``number`` is its 1-based position in the session; ``time_ns`` the capture time in nanoseconds
    since the epoch (UTC); ``wire_len`` its bytes on the wire, ``len(data)`` those captured.
    """

    number: int
    time_ns: int
    interface: str | None
    wire_len: int
    link_type: LinkType
    data: bytes
