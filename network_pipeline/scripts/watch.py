"""The counters of a command for who watches it: metrics over HTTP, where a port is given."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from network_pipeline.metrics import Pulse, Reading
from network_pipeline.scripts import cli


def exposition(
    values: cli.Values, role: str, pulse: Pulse, read: Callable[[], Reading]
) -> AbstractContextManager[Any]:
    """Return what serves metrics while its block runs; nothing without a port."""
    if values["metrics_port"] is None:
        return nullcontext()
    from network_pipeline.exposition import Exposition  # noqa: PLC0415

    return Exposition(role, (values["metrics_address"], values["metrics_port"]), pulse, read)
