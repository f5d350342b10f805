"""The datasets that flows, and packets with the ids of their flows, are written to.

Each is a file, or the part files of one unit in a partitioned dataset.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from network_pipeline.convert import Takes
from network_pipeline.dataset.exports import export
from network_pipeline.dataset.partitions import Partitions
from network_pipeline.flows import cic, layouts
from network_pipeline.flows.recording import FlowSettings, Recording, Targets
from network_pipeline.metrics import Counters


@dataclass(frozen=True)
class Outputs:
    """Where flows and, if asked for, packets are written: files, or directories of partitions.

    Packets keep ``payload_bytes`` of their payload (None: all that they have). ``is_cic`` asks for
    the columns of CICFlowMeter in the place of our own.
    """

    flows: str
    packets: str = ""
    payload_bytes: int | None = None
    is_cic: bool = False


@contextmanager
def recording(
    outputs: Outputs, settings: FlowSettings, counters: Counters, *, joins: bool = False
) -> Iterator[Recording]:
    """Yield what makes flows of rows; its datasets appear when the block ends without an error.

    In the block it is given rows, and told to finish.

    Raises:
        UsageError: a name ends in no format.
        DatasetError: rows cannot be written.
    """
    packets = _packets(Path(outputs.packets)) if outputs.packets else nullcontext()
    with _flows(Path(outputs.flows), is_cic=outputs.is_cic) as flows, packets as taking:
        targets = Targets(flows, taking, outputs.payload_bytes)
        yield Recording(targets, settings, counters, joins=joins)


@contextmanager
def part_recording(
    outputs: Outputs, part: str, settings: FlowSettings, counters: Counters
) -> Iterator[tuple[Recording, list[str]]]:
    """Yield a recording to the part files of one unit, and their names, known at the end.

    Raises:
        DatasetError: rows cannot be written.
    """
    files: list[str] = []
    begin_flows = partial(_flows, is_cic=outputs.is_cic)
    flows = Partitions(outputs.flows, part, begin_flows, "start_time")
    packets = Partitions(outputs.packets, part, _packets, "frame_time") if outputs.packets else None
    with flows, packets or nullcontext():
        targets = Targets(flows, packets, outputs.payload_bytes)
        yield Recording(targets, settings, counters, joins=True), files
    files += flows.files + (packets.files if packets else [])


@contextmanager
def _flows(path: Path, *, is_cic: bool) -> Iterator[Takes]:
    layout = cic.layout() if is_cic else layouts.flows()
    with export(path, layout) as flows:
        yield cic.Profile(flows) if is_cic else flows


def _packets(path: Path) -> AbstractContextManager[Takes]:
    return export(path, layouts.packets_with_flow())
