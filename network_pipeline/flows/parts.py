"""Part files of flows: of each capture file, or of each dataset of packets, by itself.

A unit is what no flow goes beyond. Capture files are, each is a session. So are the files that
partitions have of one input, which lie in a directory for each day: they have the same name, and
are read together, in the order of their frames. Any other dataset is taken as one unit: the flows
of a session that goes on in another file are cut there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from network_pipeline import places
from network_pipeline.convert import Plan
from network_pipeline.dataset.ledger_files import COMPLETE_ENDINGS
from network_pipeline.flows import datasets, outputs
from network_pipeline.flows.outputs import Outputs
from network_pipeline.flows.recording import FlowSettings, Recording, new_counters
from network_pipeline.metrics import Counters
from network_pipeline.parts import Made, Unit, convert, opened, with_filter


def units_of_datasets(names: Sequence[str]) -> list[Unit]:
    """Return datasets of packets as units, in the order of their first files.

    Raises:
        UsageError: there is no such file, or it cannot be reached.
    """
    found = dict.fromkeys(places.expand(names, COMPLETE_ENDINGS))
    return [Unit(files) for files in datasets.together(list(found))]


@dataclass(frozen=True)
class FlowParts:
    """Makes part files of flows, and of their packets if asked for, of one unit at a time.

    ``plan`` says how rows are made of the frames of captures, ``filter`` is the text of its filter.
    """

    outputs: Outputs
    settings: FlowSettings
    plan: Plan
    filter: str = ""

    def __call__(self, unit: Unit) -> Made:
        """Make those of one.

        Raises:
            UsageError: it cannot be read, or is no dataset of packets.
            DatasetError: rows cannot be read or written.
        """
        with opened(unit) as (paths, made):
            counters = new_counters(of_captures=not datasets.is_dataset(str(paths[0])))
            with outputs.part_recording(self.outputs, made.part, self.settings, counters) as (
                recording,
                files,
            ):
                self._read(paths, recording, counters, made)
                recording.finish()
            made.files = files
        made.counts = counters.snapshot()
        made.without_flow.update(recording.without_flow())
        return made

    def _read(
        self, paths: Sequence[Path], recording: Recording, counters: Counters, made: Made
    ) -> None:
        names = [str(path) for path in paths]
        if datasets.is_dataset(names[0]):
            datasets.check(names)
            all_columns = bool(self.outputs.packets)
            datasets.read(names, recording, Event(), all_columns=all_columns)
        else:
            convert(paths[0], recording, with_filter(self.plan, self.filter), counters, made)
