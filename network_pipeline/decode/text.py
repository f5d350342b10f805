"""Values as text: addresses, names of hosts and capture times, each written in one way only."""

from __future__ import annotations

import functools
import re
import socket
from datetime import UTC, datetime, timedelta

from network_pipeline.frames import NO_TIME, known_time

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

#: Characters that no text of a message may hold: controls, line breaks and lone surrogates.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@functools.lru_cache(maxsize=64)  # a capture has few devices, and names them in every frame
def printable(name: str) -> str:
    r"""Return a device's name with ``\r``, ``\x07`` and the like for what cannot be printed."""
    return _UNPRINTABLE.sub(_escape, name)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def mac(address: bytes) -> str:
    """Return ``aa:bb:cc:dd:ee:ff`` for six bytes."""
    return address.hex(":")


def ipv4(address: bytes) -> str:
    """Return the dotted decimal form of four bytes."""
    return socket.inet_ntoa(address)


def ipv6(address: bytes) -> str:
    """Return the text of sixteen bytes (RFC 5952), IPv4-mapped ones with a dotted end."""
    return socket.inet_ntop(socket.AF_INET6, address)


def time(time_ns: int) -> str | None:
    """Return ``YYYY-mm-ddTHH:MM:SS.nnnnnnnnnZ`` for nanoseconds since the epoch (UTC).

    ``None`` where :func:`~network_pipeline.frames.known_time` has none.
    """
    if known_time(time_ns) == NO_TIME:
        return None
    second, nanosecond = divmod(time_ns, 1_000_000_000)
    return f"{_second(second)}.{nanosecond:09d}Z"


@functools.lru_cache(maxsize=4)  # frames come in the order of time, many in one second
def _second(second: int) -> str:
    return (_EPOCH + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S")
