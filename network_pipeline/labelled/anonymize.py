"""Rows without the names of hosts: with one key the same ones everywhere, without it nobody's.

Addresses go through Crypto-PAn and keep their prefixes' structure; Ethernet addresses and texts
that identify (DNS names, agents, flow ids) become keyed BLAKE2b digests. Payloads, raw options and
the checksums that cover addresses are taken out: what they hold cannot be known. Numbers, times and
sessions stay as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TypeAlias

import polars as pl

from network_pipeline.labelled import meaning
from network_pipeline.labelled.cryptopan import CryptoPan
from network_pipeline.schema import COLUMNS

_TYPES = {column.name: column.type for column in COLUMNS}

#: Columns that are emptied.
_CLEARED = frozenset((
    "ip_options", "ip_chksum", "icmp_chksum", "icmpv6_chksum", "tcp_chksum", "tcp_options_raw",
    "udp_chksum", "raw_load", "padding_load",
))  # fmt: skip
#: Texts that hold several answers, joined.
_JOINED = frozenset(("dns_an_rrname", "dns_an_rdata"))
#: Texts that say which capture a row is of, and name nobody.
_KEPT = frozenset(("session", "frame_time"))
_ADDRESSES = frozenset((*meaning.COLUMNS["src"], *meaning.COLUMNS["dst"]))

_DIGEST_BYTES = 16
_MAC_BYTES = 6
_GROUP_BIT = 0x01
_LOCAL_BIT = 0x02
_BROADCAST = "ff:ff:ff:ff:ff:ff"

_Change: TypeAlias = "Callable[[list[str]], list[str | None]]"


class Anonymizer:
    """Changes batches; ``roles`` has the role of every column."""

    def __init__(self, key: bytes, roles: Mapping[str, str]) -> None:
        self._roles = roles
        self._addresses = CryptoPan(key)
        # AES has the key itself, as every tool of this kind takes it; digests have one made of it.
        self._key = hashlib.blake2b(key=key, person=b"names").digest()

    def anonymize(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return rows with the same columns."""
        return frame.with_columns(
            changed for column in frame if (changed := self._changed(column)) is not None
        )

    def _changed(self, column: pl.Series) -> pl.Series | None:
        if column.name in _CLEARED:
            return pl.Series(column.name, [None], column.dtype).new_from_index(0, len(column))
        if column.dtype != pl.String or column.name in _KEPT:
            return None
        if change := self._change(column.name):
            return _each_once(column, change)
        return None

    def _change(self, name: str) -> _Change | None:
        kind = _TYPES.get(name, "")
        if kind in ("ipv4", "ipv6") or name in _ADDRESSES:
            return self._addresses.texts
        if kind == "mac" or name.endswith("_mac"):
            return lambda texts: [self._mac(text) for text in texts]
        if name in _JOINED:
            return lambda texts: [self._joined(text) for text in texts]
        if self._roles.get(name) == "identity":
            return lambda texts: [self._digest(text) for text in texts]
        return None

    def _mac(self, text: str) -> str:
        """Return an address that nobody assigned; groups stay groups, broadcast stays itself."""
        if text == _BROADCAST:
            return text
        digest = hashlib.blake2b(
            text.encode(), key=self._key, digest_size=_MAC_BYTES, person=b"mac"
        ).digest()
        group = int(text[:2], 16) & _GROUP_BIT
        first = digest[0] & ~_GROUP_BIT | _LOCAL_BIT | group
        return bytes((first, *digest[1:])).hex(":")

    def _joined(self, text: str) -> str:
        parts = text.split(";")
        known = self._addresses.texts(parts)
        return ";".join(
            address or self._digest(part) for part, address in zip(parts, known, strict=True)
        )

    def _digest(self, text: str) -> str:
        # Names are the same in either case (RFC 4343).
        return hashlib.blake2b(
            text.lower().encode(), key=self._key, digest_size=_DIGEST_BYTES, person=b"name"
        ).hexdigest()


def _each_once(column: pl.Series, change: _Change) -> pl.Series:
    distinct = column.drop_nulls().unique(maintain_order=True)
    changed = pl.Series(change(distinct.to_list()), dtype=pl.String)
    return column.replace_strict(distinct, changed, default=None, return_dtype=pl.String)
