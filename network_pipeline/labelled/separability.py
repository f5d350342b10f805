"""How well one column alone tells classes apart: areas under ROC curves, by ranks.

An area of 0.5 is a coin, 1 tells every row. Two are computed for each class against all others, and
the larger is taken. *In order*: the larger the value, the more likely the class, or the less.
*By value*: rows get the share of the class among the rows of the other half that have their value,
so that a port number counts as much in the midst of others as at their end. Values there are the
most frequent ones or, of numbers, ranges with equally many rows. An absent value is a value, less
than all others.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

#: Values or ranges that are told apart, at most, and how many rows each has in the mean, at least.
_MOST_VALUES = 256
_LEAST_ROWS = 20

Codes = NDArray[np.intp]


class Area(NamedTuple):
    """The class that a column tells best, and how well: 0.5 to 1."""

    label_class: str
    area: float


def best_area(column: pl.Series, classes: dict[str, NDArray[np.bool_]]) -> Area:
    """Return the class that a column tells best from all other rows."""
    ordered = _ordered(column)
    valued = _values(column, ordered)
    areas = [
        Area(name, max(_in_order(ordered, is_class), _by_value(valued, is_class)))
        for name, is_class in sorted(classes.items())
    ]
    return max(areas, key=lambda each: each.area, default=Area("", 0.5))


def area(scores: Codes, is_class: NDArray[np.bool_]) -> float:
    """Return the area for scores that are numbered from 0: that of the Mann-Whitney statistic."""
    size = int(scores.max()) + 1 if len(scores) else 0
    inside = np.bincount(scores[is_class], minlength=size).astype(np.float64)
    outside = np.bincount(scores[~is_class], minlength=size).astype(np.float64)
    pairs = inside.sum() * outside.sum()
    if pairs == 0:
        return 0.5
    below = np.cumsum(outside) - outside
    return float((inside * (below + outside / 2)).sum() / pairs)


def _in_order(codes: Codes, is_class: NDArray[np.bool_]) -> float:
    found = area(codes, is_class)
    return max(found, 1 - found)


def _by_value(codes: Codes, is_class: NDArray[np.bool_]) -> float:
    halves = np.arange(len(codes)) % 2 == 0
    return (
        _learned(codes[halves], is_class[halves], codes[~halves], is_class[~halves])
        + _learned(codes[~halves], is_class[~halves], codes[halves], is_class[halves])
    ) / 2


def _learned(
    known: Codes, known_class: NDArray[np.bool_], codes: Codes, is_class: NDArray[np.bool_]
) -> float:
    """Return the area on rows for the shares that values have on known ones."""
    size = _MOST_VALUES + 2
    rows = np.bincount(known, minlength=size)
    inside = np.bincount(known[known_class], minlength=size)
    shares = (inside + known_class.mean()) / (rows + 1) if len(known) else inside
    _, places = np.unique(shares, return_inverse=True)
    return area(places[codes], is_class)


def _ordered(column: pl.Series) -> Codes:
    """Return the values numbered in their order, absent ones 0."""
    ranks = column.rank("dense").fill_null(0).to_numpy()
    return ranks.astype(np.intp)


def _values(column: pl.Series, ordered: Codes) -> Codes:
    counts = np.bincount(ordered)
    most = min(_MOST_VALUES, max(2, len(ordered) // _LEAST_ROWS))
    if len(counts) <= most:
        return ordered
    if column.dtype.is_numeric() or column.dtype.is_temporal():
        below = np.cumsum(counts) - counts
        bins: Codes = (below * most // len(ordered)) + 1
        bins[0] = 0
        return bins[ordered]
    frequent = np.argsort(-counts, kind="stable")[: most - 1]
    codes = np.full(len(counts), most)
    codes[frequent] = np.arange(len(frequent))
    return codes[ordered]
