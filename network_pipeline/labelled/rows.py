"""A batch of rows as conditions ask for it: arrays of addresses, ports, times, made when asked for.

Addresses are compared as numbers. A batch has each of its addresses parsed once, however many rows
and networks there are.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from network_pipeline.labelled import meaning

Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"
Mask: TypeAlias = "NDArray[np.bool_]"

_HALF = 2**64 - 1


class Addresses(NamedTuple):
    """A column of addresses: the distinct ones as two halves, and which of them each row has.

    ``versions`` is 4 or 6, 0 for what is no address.
    """

    versions: NDArray[np.uint8]
    highs: NDArray[np.uint64]
    lows: NDArray[np.uint64]
    places: NDArray[np.intp]

    def within(self, network: Network) -> Mask:
        """Say for every row whether its address is in a network."""
        base, mask = int(network.network_address), int(network.netmask)
        found = self.versions == network.version
        found &= (self.highs & np.uint64(mask >> 64)) == np.uint64(base >> 64)
        found &= (self.lows & np.uint64(mask & _HALF)) == np.uint64(base & _HALF)
        inside: Mask = found[self.places]
        return inside


class Rows:
    """A batch; ``files`` names capture files by session, ``name`` is that of the dataset."""

    def __init__(self, frame: pl.DataFrame, files: Mapping[str, str], name: str) -> None:
        self.frame = frame
        self._files = files
        self._name = name

    def __len__(self) -> int:
        return self.frame.height

    def addresses(self, name: str) -> Addresses:
        """Return the addresses of ``src`` or ``dst``."""
        return self._src if name == "src" else self._dst

    def numbers(self, name: str) -> NDArray[np.int64]:
        """Return ports or protocols; -1 where there is none."""
        found = self._column(name).cast(pl.Int64).fill_null(meaning.NONE)
        return found.to_numpy()

    def times(self, name: str) -> NDArray[np.int64]:
        """Return ``start`` or ``end``, nanoseconds since the epoch, or :data:`meaning.NO_TIME`."""
        found = self._column(name).cast(pl.Int64).fill_null(meaning.NO_TIME)
        return found.to_numpy()

    def texts(self, name: str) -> pl.Series:
        """Return the column ``source`` or ``session``, or the names of files, with nulls."""
        if name != "file" and name in self.frame.columns:
            return self.frame[name].cast(pl.String)
        if name == "file":
            return self._file_names
        return pl.repeat(None, len(self), dtype=pl.String, eager=True)

    @functools.cached_property
    def connections(self) -> pl.Series:
        """What both directions of a connection share; null for rows without addresses."""
        return self._evaluated(meaning.connection(self.frame.columns))

    @functools.cached_property
    def pairs(self) -> pl.Series:
        """The two hosts of each row, in either direction."""
        return self._evaluated(meaning.pair(self.frame.columns))

    @functools.cached_property
    def _file_names(self) -> pl.Series:
        sessions = self.texts("session")
        names = dict(self._files)
        return sessions.replace_strict(names, default=self._name, return_dtype=pl.String)

    @functools.cached_property
    def _src(self) -> Addresses:
        return _addresses(self._column("src").cast(pl.String))

    @functools.cached_property
    def _dst(self) -> Addresses:
        return _addresses(self._column("dst").cast(pl.String))

    def _column(self, name: str) -> pl.Series:
        return self._evaluated(meaning.value(name, self.frame.columns))

    def _evaluated(self, expression: pl.Expr) -> pl.Series:
        found = self.frame.select(expression.alias("found"))["found"]
        return found if len(found) == len(self) else found.new_from_index(0, len(self))


def _addresses(column: pl.Series) -> Addresses:
    column = column.fill_null("")
    distinct = column.unique(maintain_order=True)
    codes = pl.Series(np.arange(len(distinct)))
    places = column.replace_strict(distinct, codes, return_dtype=pl.Int64).to_numpy()
    parsed = [_parsed(text) for text in distinct.to_list()]
    versions, highs, lows = zip(*parsed, strict=True) if parsed else ((), (), ())
    return Addresses(
        np.array(versions, np.uint8),
        np.array(highs, np.uint64),
        np.array(lows, np.uint64),
        places.astype(np.intp),
    )


def _parsed(text: Any) -> tuple[int, int, int]:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return 0, 0, 0
    number = int(address)
    return address.version, number >> 64, number & _HALF
