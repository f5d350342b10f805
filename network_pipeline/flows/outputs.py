"""The datasets that flows, and packets with the ids of their flows, are written to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from network_pipeline.dataset.exports import export
from network_pipeline.flows import cic, layouts
from network_pipeline.flows.recording import FlowSettings, Recording, Targets
from network_pipeline.metrics import Counters


@dataclass(frozen=True)
class Outputs:
    """Where flows and, if asked for, packets are written.

    Packets keep ``payload_bytes`` of their payload (None: all that they have). ``is_cic`` asks for
    the columns of CICFlowMeter in the place of our own.
    """

    flows: Path
    packets: Path | None = None
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
    packets_output = (
        export(outputs.packets, layouts.packets_with_flow()) if outputs.packets else nullcontext()
    )
    with (
        export(outputs.flows, cic.layout() if outputs.is_cic else layouts.flows()) as flows,
        packets_output as packets,
    ):
        targets = Targets(
            cic.Profile(flows) if outputs.is_cic else flows, packets, outputs.payload_bytes
        )
        yield Recording(targets, settings, counters, joins=joins)
