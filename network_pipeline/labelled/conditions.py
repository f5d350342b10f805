"""What rules may ask of a row, each as a function from a batch to one truth value a row.

A value that a row does not have meets no condition.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl

from network_pipeline.labelled import meaning
from network_pipeline.labelled.rows import Mask, Network, Rows

Condition: TypeAlias = "Callable[[Rows], Mask]"

_SECOND_NS = 1_000_000_000
#: RFC 3339, section 5.6: date and time, a fraction, and the offset that says which time it is.
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


class End(NamedTuple):
    """One end of a connection: networks and ports, of which one of each must hold; empty: any."""

    networks: Sequence[Network]
    ports: Sequence[tuple[int, int]]

    def holds(self, rows: Rows, address: str, port: str) -> Mask:
        """Say for every row whether the end in these columns is such a one."""
        held = np.ones(len(rows), np.bool_)
        if self.networks:
            held &= any_of([rows.addresses(address).within(each) for each in self.networks])
        if self.ports:
            numbers = rows.numbers(port)
            held &= any_of([(numbers >= first) & (numbers <= last) for first, last in self.ports])
        return held


def any_of(masks: Sequence[Mask]) -> Mask:
    """Return where at least one of the masks holds."""
    found: Mask = np.logical_or.reduce(masks)
    return found


def end_is(end: End, side: str) -> Condition:
    """The row's own source (``src``) or destination (``dst``) is such an end."""
    port = "sport" if side == "src" else "dport"
    return lambda rows: end.holds(rows, side, port)


def between(ends: Sequence[End]) -> Condition:
    """One end of the row is the first, the other the second (or any), in either direction."""
    one, other = (*ends, End((), ()))[:2]

    def condition(rows: Rows) -> Mask:
        forward = one.holds(rows, "src", "sport") & other.holds(rows, "dst", "dport")
        return forward | one.holds(rows, "dst", "dport") & other.holds(rows, "src", "sport")

    return condition


def protocol(numbers: Sequence[int]) -> Condition:
    """The IP protocol is one of these, or ARP (:data:`meaning.PROTOCOLS`)."""
    return lambda rows: np.isin(rows.numbers("protocol"), numbers)


def matches(name: str, patterns: Sequence[str]) -> Condition:
    """``name`` (``source``, ``session`` or ``file``) matches one of the patterns, as a whole."""
    expression = "|".join(f"(?:{fnmatch.translate(each)})" for each in patterns)
    compiled = re.compile(expression)

    def condition(rows: Rows) -> Mask:
        texts = rows.texts(name)
        fitting = [text for text in texts.unique().drop_nulls() if compiled.fullmatch(text)]
        found: Mask = texts.is_in(fitting).fill_null(value=False).to_numpy()
        return found

    return condition


def starts_in(windows: Sequence[tuple[int, int]]) -> Condition:
    """The row's first moment lies in one of the windows: nanoseconds, the second one outside."""

    def condition(rows: Rows) -> Mask:
        start = rows.times("start")
        return any_of([(start >= first) & (start < last) for first, last in windows])

    return condition


def where(expression: pl.Expr) -> Condition:
    """An expression over the columns is true."""

    def condition(rows: Rows) -> Mask:
        found = rows.frame.select(expression.alias("found"))["found"]
        if found.dtype != pl.Boolean:
            raise ValueError("is neither true nor false")
        if len(found) != len(rows):
            raise ValueError("says nothing of each row by itself")
        truths: Mask = found.fill_null(value=False).to_numpy()
        return truths

    return condition


# -- values in texts: ValueError with the rule -----------------------------------------------------


def network(text: str) -> Network:
    """Parse an address or a network such as 192.0.2.0/24 or 2001:db8::/32."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise ValueError(
            "must be an address or a network such as 192.0.2.0/24, host bits zero"
        ) from None


def ports(text: str) -> tuple[int, int]:
    """Parse a port or a range such as 8000-8099."""
    found = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", text, re.ASCII)
    first, last = (int(each or found[1]) for each in found.groups()) if found else (1, 0)
    if not 0 <= first <= last <= 65535:
        raise ValueError("must be a port or a range such as 8000-8099")
    return first, last


def protocol_number(text: str) -> int:
    """Parse the name or number of an IP protocol, or ``arp``."""
    if text.lower() in meaning.PROTOCOLS:
        return meaning.PROTOCOLS[text.lower()]
    if not re.fullmatch(r"\d{1,3}", text, re.ASCII) or int(text) > 255:
        raise ValueError(f"must be 0 to 255 or one of {', '.join(meaning.PROTOCOLS)}")
    return int(text)


def time_ns(text: str) -> int:
    """Parse a time of RFC 3339 with its offset; return nanoseconds since the epoch."""
    found = _TIME.fullmatch(text)
    try:
        if not found:
            raise ValueError
        moment = datetime.fromisoformat(found[1] + found[3].upper())
    except ValueError:
        raise ValueError("must be a time with its offset, such as 2018-01-27T17:40:04Z") from None
    whole = moment - datetime(1970, 1, 1, tzinfo=UTC)
    seconds = whole.days * 86_400 + whole.seconds
    return seconds * _SECOND_NS + int((found[2] or "").ljust(9, "0"))
