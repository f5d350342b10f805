"""The speed and the memory that this package is to have, each compared with what was measured.

Ratios are between programs of one run of the bench, CPU seconds are those of one core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from bench import contenders as programs
from bench.inputs import SERIES_FILES
from bench.results import Result, aligned, cpu_ratio

_Results = Mapping[str, Result]

#: Peaks that differ by less do not differ: so much is between runs of one program.
_PEAK_NOISE = 1.05


class Target(NamedTuple):
    """What is asked for: at most, or at least, so many of a unit.

    ``measured`` raises KeyError where a program it needs was not measured.
    """

    what: str
    sign: str
    asked: float
    unit: str
    measured: Callable[[_Results], float]

    def cells(self, results: _Results) -> list[str]:
        """Return the row of the table."""
        asked = f"{self.sign} {self.asked:,g} {self.unit}"
        try:
            value = self.measured(results)
        except KeyError as missing:
            return [self.what, asked, "", f"not measured: no {missing.args[0]}"]
        met = value <= self.asked if self.sign == "<=" else value >= self.asked
        digits = 0 if value >= 100 else 2
        return [self.what, asked, f"{value:,.{digits}f}", "met" if met else "not met"]


def _rate(name: str) -> Callable[[_Results], float]:
    return lambda results: 1 / results[name].frame_s


def _ratio(name: str, other: str) -> Callable[[_Results], float]:
    return lambda results: cpu_ratio(results[name], results[other])


def _peak(name: str) -> Callable[[_Results], float]:
    return lambda results: results[name].peak_mb


def _peak_ratio(name: str, other: str) -> Callable[[_Results], float]:
    return lambda results: results[name].peak_mb / results[other].peak_mb


_RATE = "frames/CPU s"
_SERIES = f"peak memory of {SERIES_FILES} captures in a row, by that of one"

TARGETS = (
    Target("decode, CPU time by tcpdump's", "<=", 3, "x",
           _ratio(programs.DECODE, programs.TCPDUMP)),
    Target("decode, speed by scapy's", ">=", 300, "x",
           _ratio(programs.SCAPY, programs.DECODE)),
    Target("capture to CSV", ">=", 400_000, _RATE, _rate(programs.CSV)),
    Target("capture to CSV, speed by tshark's", ">=", 20, "x",
           _ratio(programs.TSHARK, programs.CSV)),
    Target("capture to Parquet", ">=", 500_000, _RATE, _rate(programs.PARQUET)),
    Target("peak memory to CSV", "<=", 400, "MB", _peak(programs.CSV)),
    Target("peak memory to Parquet", "<=", 400, "MB", _peak(programs.PARQUET)),
    Target(f"{_SERIES}, CSV", "<=", _PEAK_NOISE, "x",
           _peak_ratio(programs.CSV_SERIES, programs.CSV)),
    Target(f"{_SERIES}, Parquet", "<=", _PEAK_NOISE, "x",
           _peak_ratio(programs.PARQUET_SERIES, programs.PARQUET)),
    Target("JSON messages to CSV, snapshots of 1,000", ">=", 10_000, _RATE,
           _rate(programs.MESSAGES)),
    Target("Arrow messages to CSV", ">=", 300_000, _RATE, _rate(programs.BATCHES_CSV)),
    Target("Arrow messages to Parquet", ">=", 400_000, _RATE, _rate(programs.BATCHES_PARQUET)),
    Target("flows of Parquet, speed by NFStream's with rows written", ">=", 5, "x",
           _ratio(programs.NFSTREAM_ROWS, programs.FLOWS)),
    Target("flows of Parquet", ">=", 294_000, _RATE, _rate(programs.FLOWS)),
    Target("flows of a SYN flood, CPU time by that of the mix", "<=", 2, "x",
           _ratio(programs.FLOWS_FLOOD, programs.FLOWS)),
    Target("peak memory, flows of a SYN flood", "<=", 1500, "MB", _peak(programs.FLOWS_FLOOD)),
    Target(f"peak memory, flows of {SERIES_FILES} datasets", "<=", 1500, "MB",
           _peak(programs.FLOWS_SERIES)),
)  # fmt: skip


def table(results: Sequence[Result]) -> Iterator[str]:
    """Yield the lines of the table of targets."""
    measured = {result.contender.name: result for result in results if result.is_measured}
    rows = [target.cells(measured) for target in TARGETS]
    return aligned([("targets", "asked", "measured", ""), *rows])
