"""Capture files to a dataset file, without a broker between them.

Files are read one after another, each a session of its own. What is damaged gives its whole frames
and is named at the end; the others go on. Every frame that was found is a row, or it is counted: as
filtered where the filter did not select it, as refused where nothing here decodes its link type or
the filter cannot be applied to it::

    frames = rows + filtered + refused

The ledger beside the dataset says so, with the numbers of those that are no rows, as it does beside
a processor's.

With several threads, one reads and writes while the others decode. Batches do not copy frames: each
keeps the buffer that it lies in alive until it is decoded.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import pyarrow as pa

from network_pipeline import ledger, payload_key
from network_pipeline.capture.file_filter import FileFilter
from network_pipeline.capture.inputs import Input
from network_pipeline.capture.pcap import CaptureFile, DamagedCapture
from network_pipeline.dataset import ledger_files
from network_pipeline.dataset.writers import FileTaken, errors_of
from network_pipeline.decode.columnar import decode_batch
from network_pipeline.errors import DatasetError, NetworkPipelineError
from network_pipeline.frames import FrameBatch
from network_pipeline.ledger import DatasetLedger, SessionLedger
from network_pipeline.metrics import Counters
from network_pipeline.ordered import in_order
from network_pipeline.range_sets import RangeSet, Tally
from network_pipeline.summary import Summary

COUNTED = ("frames", "rows", "filtered", "refused")

_log = logging.getLogger(__name__)


def check_output(path: Path) -> None:
    """See whether a dataset may appear under a name, before hours of work on it.

    Raises:
        DatasetError: a directory has that name, or a processor writes that file.
    """
    if path.is_dir():
        raise DatasetError(f"{path}: a directory has this name")
    with errors_of(path), suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileTaken(f"{path}: a processor writes this file") from None


@dataclass(frozen=True)
class Plan:
    """How rows are made of frames.

    ``payload_bytes`` limits the payload that rows keep; None: all of it. With a ``payload_key``
    they hold digests of that. ``batch_frames`` are decoded at once.
    """

    source: str
    batch_frames: int
    payload_bytes: int | None = None
    payload_key: bytes | None = None
    filter: FileFilter | None = None
    threads: int = 1


class Takes(Protocol):
    """What rows are given to: an export, or what makes something else of them."""

    facts: dict[str, str]

    def append(self, batch: pa.RecordBatch) -> None:
        """Take rows, all of one session, in order.

        Raises:
            DatasetError: they cannot be written.
        """


class _Decoded(NamedTuple):
    rows: pa.RecordBatch
    filtered: int
    refused: Counter[str]


class Conversion:
    """Reads capture files and appends their rows to an export, or to what takes them like one.

    ``counters`` must have those of :data:`COUNTED`.
    """

    def __init__(self, export: Takes, counters: Counters, plan: Plan) -> None:
        self._export = export
        self._counters = counters
        self._plan = plan
        self._summary = Summary()
        self._ledgers: dict[str, SessionLedger] = {}
        self._capture: CaptureFile | None = None
        self._bytes_before = 0

    def reading(self) -> tuple[str, int]:
        """Return the file that is read, and how many bytes of all files were, as on the disk."""
        if capture := self._capture:
            return capture.name, self._bytes_before + capture.position
        return "", self._bytes_before

    @property
    def session(self) -> str:
        """The session of the file that was read last."""
        return next(reversed(self._ledgers), "")

    def run(self, inputs: Sequence[Input], stop: threading.Event) -> Summary:
        """Convert the files, or those before ``stop`` is set; return what came of it.

        Raises:
            UsageError: a file is not there or cannot be read.
            DatasetError: rows cannot be written.
            NetworkPipelineError: all files are damaged before their first frame.
        """
        names: dict[str, str] = {}
        for path, size in inputs:
            with CaptureFile(path, batch_frames=self._plan.batch_frames, stop=stop) as capture:
                self._capture = capture
                if stop.is_set():
                    break
                # Bytes of a name that are no UTF-8 cannot be in a dataset.
                name = os.fsencode(Path(capture.name).name).decode(errors="backslashreplace")
                names[capture.session] = name
                self._convert(capture)
            self._bytes_before += size or 0
            self._capture = None
        if stop.is_set():
            _log.warning("stopped: the dataset has the frames that were read until then")
        elif (damaged := self._summary.damaged) and not self._counters["frames"]:
            files = ", ".join(each.name for each in damaged)
            raise NetworkPipelineError(f"{files}: not one frame can be read, so nothing is written")
        self._export.facts |= self._facts(names)
        return self._summary

    def keep_ledger(self, path: Path) -> None:
        """Write the ledger beside the dataset, which is complete; none beside JSON lines.

        Raises:
            DatasetError: it cannot be written.
        """
        if not path.name.endswith(ledger_files.DATASET_ENDINGS):
            return
        with errors_of(path):
            size = path.stat().st_size
        told = DatasetLedger(path.name, size, at=time.time_ns(), sessions=self._ledgers)
        ledger_files.write(ledger_files.path_of(path), told.text(), is_durable=True)

    def _convert(self, capture: CaptureFile) -> None:
        decode = partial(self._decoded, capture.session)
        before, written = self._counters["frames"], Tally()
        for rows, filtered, refused in in_order(
            decode, self._batches(capture), threads=self._plan.threads
        ):
            self._counters.add("frames", rows.num_rows + filtered)
            self._counters.add("filtered", filtered)
            self._note_refused(refused)
            if rows.num_rows:
                self._export.append(rows)
                self._counters.add("rows", rows.num_rows)
                self._summary.count(rows)
                written.add(rows.column("frame_number").to_numpy())
        for name, count in capture.refused().items():
            _log.warning("%s: %d frames of link type %s left out", capture.name, count, name)
        self._note_refused(capture.refused())
        self._note_session(capture.session, self._counters["frames"] - before, written.numbers)

    def _note_session(self, session: str, frames: int, written: RangeSet) -> None:
        source, count = self._plan.source, written.count
        agent = ledger.of_file(source, session, frames, written)
        self._ledgers[session] = SessionLedger(
            source, count, count, frames=tuple(written.pairs()), agent=agent
        )

    def _batches(self, capture: CaptureFile) -> Iterator[FrameBatch]:
        """Yield the batches of a file up to its end or damage."""
        try:
            yield from capture
        except DamagedCapture as damage:
            _log.error("%s", damage)
            self._summary.damaged.append(damage)

    def _decoded(self, session: str, batch: FrameBatch) -> _Decoded:
        plan = self._plan
        filtered, refused = 0, Counter[str]()
        if plan.filter:
            batch, filtered, refused = plan.filter.select(batch)
        rows = decode_batch(
            batch,
            source=plan.source,
            session=session,
            payload_bytes=plan.payload_bytes,
            payload_key=plan.payload_key,
        )
        return _Decoded(rows, filtered, refused)

    def _note_refused(self, refused: Counter[str]) -> None:
        self._summary.refused += refused
        self._counters.add("frames", refused.total())
        self._counters.add("refused", refused.total())

    def _facts(self, names: Mapping[str, str]) -> dict[str, str]:
        """Return what a dataset says about itself, of files by session; never the key."""
        facts = {"source": self._plan.source, "sessions": ",".join(names)}
        facts["files"] = json.dumps(names, ensure_ascii=False)
        if self._plan.filter:
            facts["filter"] = self._plan.filter.text
        if self._plan.payload_key:
            name = payload_key.name(self._plan.payload_key)
            facts["payload"] = f"BLAKE2b-128 digests, key {name}"
        return facts
