"""Matrices of bytes: a row per frame, columns filled in one step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool]


def big(values: Numbers, width: int) -> Bytes:
    """Return numbers as rows of ``width`` bytes, most significant first."""
    return values.astype(">u8").view(np.uint8).reshape(len(values), 8)[:, 8 - width :]


def row(values: list[int]) -> Bytes:
    """Return the same bytes for all frames, as a matrix of one row."""
    return np.array([values], np.uint8)


def columns(parts: list[Bytes]) -> Bytes:
    """Return matrices side by side; those of one row are repeated."""
    count = next((len(part) for part in parts if len(part) != 1), 1)
    return np.concatenate([np.broadcast_to(p, (count, p.shape[1])) for p in parts], axis=1)


def put(out: Bytes, starts: Numbers, rows: Bytes) -> None:
    """Write each row of a matrix where it begins."""
    out[starts[:, None] + np.arange(rows.shape[1])] = rows
