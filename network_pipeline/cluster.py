"""The same work on many units: one after another in this process, or on a cluster of dask.

What comes of it is told in the order of the units, so whoever adds it up gets the same wherever it
was done. A unit that fails does not end the others. On a cluster, one whose worker dies is done
again by another worker: work must be such that doing it twice is doing it once.

Dask's processes trust each other: their messages can hold any code. They belong in a network of
their own, or behind TLS (``DASK_DISTRIBUTED__COMM__...``, dask's own settings).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar, cast

from network_pipeline.errors import NetworkPipelineError, UsageError

Unit = TypeVar("Unit")
Result = TypeVar("Result")

_PACKAGE = "network_pipeline"

#: How long a scheduler has to answer.
_CONNECT_SECONDS = 10

_log = logging.getLogger(__name__)


class Failed(NamedTuple):
    """What became of a unit instead of a result."""

    error: NetworkPipelineError


def results(
    work: Callable[[Unit], Result], units: Sequence[Unit], address: str
) -> Iterator[tuple[Unit, Result | Failed]]:
    """Yield every unit, in order, with what came of it.

    ``address`` is that of a scheduler of dask; without one the work is done here. What it raises
    of our own errors is a failure of the unit.

    Raises:
        UsageError: dask is not installed.
        NetworkPipelineError: the scheduler does not answer, or no longer.
    """
    if not address:
        for unit in units:
            yield unit, _attempted(work, unit)
        return
    with _client(address) as client:
        futures = client.map(partial(_attempted, work), units, pure=False)
        for unit, future in zip(units, futures, strict=True):
            yield unit, _result(future, address)


def result(found: Result | Failed) -> Result:
    """Return what came of a unit.

    Raises:
        NetworkPipelineError: it failed.
    """
    if isinstance(found, Failed):
        raise found.error
    return found


def _attempted(work: Callable[[Unit], Result], unit: Unit) -> Result | Failed:
    try:
        return work(unit)
    except NetworkPipelineError as error:
        return Failed(error)


@contextmanager
def _client(address: str) -> Iterator[Any]:
    try:
        from distributed import Client  # noqa: PLC0415  an extra, and slow to import
    except ImportError:
        raise UsageError("dask is not installed: pip install 'network-pipeline[dask]'") from None

    try:
        client = cast("Any", Client)(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise NetworkPipelineError(f"no dask scheduler answers at {address}: {reason}") from None
    try:
        _check(client.get_versions(packages=[_PACKAGE]), address)
        yield client
    finally:
        client.close(timeout=_CONNECT_SECONDS)


def _check(versions: Mapping[str, Any], address: str) -> None:
    """See that scheduler and workers have what this process has: work is done by their code."""
    ours = versions["client"]["packages"][_PACKAGE]
    if not versions["workers"]:
        _log.warning("the scheduler at %s has no workers yet: the work waits for them", address)
    for name, told in {
        f"scheduler {address}": versions["scheduler"],
        **versions["workers"],
    }.items():
        if (theirs := told["packages"][_PACKAGE]) != ours:
            raise NetworkPipelineError(
                f"{name}: has network-pipeline {theirs or 'not at all'}, and this command {ours}: "
                "install the same everywhere"
            )


def _result(future: Any, address: str) -> Any:
    from distributed import CancelledError, KilledWorker  # noqa: PLC0415
    from distributed.comm.core import CommClosedError  # noqa: PLC0415

    try:
        return future.result()
    except KilledWorker as error:
        died = f"{error.allowed_failures + 1} workers died at it"
        return Failed(NetworkPipelineError(died))
    except (CancelledError, CommClosedError) as error:
        raise NetworkPipelineError(f"lost the dask scheduler at {address}: {error}") from None
