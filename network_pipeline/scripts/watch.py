"""The counters of a command for who watches it: metrics over HTTP, where a port is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from network_pipeline.scripts import cli

if TYPE_CHECKING:
    from network_pipeline.metrics import Histogram, Pulse


def exposition(  # noqa: PLR0913  one of each
    values: cli.Values,
    role: str,
    pulse: Pulse,
    *,
    histograms: Mapping[str, Histogram],
    frames: Callable[[], Mapping[str, int]],
    gauges: Callable[[], Mapping[str, float]],
) -> AbstractContextManager[Any]:
    """Return what serves metrics while its block runs; nothing without a port."""
    if values["metrics_port"] is None:
        return nullcontext()
    from network_pipeline.exposition import Exposition  # noqa: PLC0415

    place = (values["metrics_address"], values["metrics_port"])
    return Exposition(role, place, pulse, frames=frames, gauges=gauges, histograms=histograms)
