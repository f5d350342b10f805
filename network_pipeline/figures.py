"""What a worker shows of itself beside its counts of frames: whole numbers in a row of its slot.

First what goes up and down, then what only grows: bytes, and the histograms of its messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from network_pipeline.agent import MESSAGE_SIZES
from network_pipeline.metrics import Distribution

if TYPE_CHECKING:
    from network_pipeline.agent import Agent
    from network_pipeline.broker.publisher import Publisher

_GAUGES = ("waiting_messages", "queue_messages", "broker_connected")
_BYTES = len(_GAUGES)
_HISTOGRAMS = _BYTES + 1

#: How many numbers there are; a histogram has one beyond its bounds, and its sum.
WIDTH = _HISTOGRAMS + sum(len(bounds) + 2 for bounds in MESSAGE_SIZES.values())


def of(agent: Agent[Any], publisher: Publisher) -> list[int]:
    """Return the figures of a worker."""
    sizes = (agent.histograms[name].snapshot() for name in MESSAGE_SIZES)
    return [
        publisher.waiting(),
        publisher.queue_messages,
        int(publisher.is_connected),
        agent.captured_bytes,
        *chain.from_iterable((*one.counts, int(one.total)) for one in sizes),
    ]


def added(past: Sequence[int], last: Sequence[int]) -> list[int]:
    """Return what only grows, of the workers before and the last one together."""
    sums = [one + other for one, other in zip(past, last, strict=True)]
    return [*last[:_BYTES], *sums[_BYTES:]]


def gauges(found: Sequence[int]) -> Mapping[str, int]:
    """Return what goes up and down, by its metric."""
    return dict(zip(_GAUGES, found, strict=False))


def captured_bytes(found: Sequence[int]) -> int:
    """Return the bytes of the frames that were captured."""
    return found[_BYTES]


def histograms(found: Sequence[int]) -> Mapping[str, Distribution]:
    """Return the histograms, by their metric."""
    read: dict[str, Distribution] = {}
    place = _HISTOGRAMS
    for name, bounds in MESSAGE_SIZES.items():
        end = place + len(bounds) + 1
        read[name] = Distribution(bounds, found[place:end], found[end])
        place = end + 1
    return read
