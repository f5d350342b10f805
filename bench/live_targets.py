"""What capture is to reach, compared with what the live bench measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

from bench.results import aligned

#: Names of programs, as the table has them.
AGENT = "network-agent to Redis"
TCPDUMP = "tcpdump -w /dev/null"
SCAPY = "scapy sniff"


class Measured(Protocol):
    """The best trial of a program."""

    @property
    def rate(self) -> float:
        """Frames in a second."""

    @property
    def cpu_us(self) -> float:
        """CPU time of a frame."""


def targets(best: Mapping[str, Measured]) -> Iterator[str]:
    """Yield the lines of the table."""
    asked: list[tuple[str, str, float, str, Callable[[], float]]] = [
        ("agent, CPU time of a packet", "<=", 2.5, "us", lambda: best[AGENT].cpu_us),
        ("agent, loss-free rate by scapy's", ">=", 100, "x",
         lambda: best[AGENT].rate / best[SCAPY].rate),
        ("agent, loss-free rate by tcpdump's", ">=", 0.5, "x",
         lambda: best[AGENT].rate / best[TCPDUMP].rate),
    ]  # fmt: skip
    rows = []
    for what, sign, limit, unit, measure in asked:
        try:
            value = measure()
        except KeyError as missing:
            rows.append([what, f"{sign} {limit:g} {unit}", "", f"not measured: {missing.args[0]}"])
            continue
        met = value <= limit if sign == "<=" else value >= limit
        rows.append(
            [what, f"{sign} {limit:g} {unit}", f"{value:,.2f}", "met" if met else "not met"]
        )
    return aligned([("targets", "asked", "measured", ""), *rows])
