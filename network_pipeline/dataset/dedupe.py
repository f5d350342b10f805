"""Copies datasets without the rows of frames that came before, by session and number.

Inputs are read in the order given, as streams; which numbers came is kept as ranges. A CSV's lines
are copied byte by byte. The copy appears under its name when it is complete; what the ledgers of
the inputs say goes into one beside it, so that the copy can be verified without them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from network_pipeline import ledger
from network_pipeline.dataset import ledger_files
from network_pipeline.dataset.book import MAX_RANGES
from network_pipeline.dataset.exports import CsvExport, ParquetExport, packets
from network_pipeline.dataset.identities import Block, IdentityReader
from network_pipeline.dataset.writers import errors_of
from network_pipeline.errors import DatasetError, UsageError
from network_pipeline.ledger import DatasetLedger, LedgerError, SessionLedger
from network_pipeline.range_sets import RangeSet, Tally


@dataclass
class Copied:
    """How many rows were ``kept`` and ``dropped``, and ``torn``: bytes of half lines left out."""

    kept: int = 0
    dropped: int = 0
    torn: int = 0


@dataclass
class _Known:
    """The rows of a session that came."""

    source: str
    tally: Tally = field(default_factory=Tally)


class _CsvCopy(CsvExport):
    def take(self, block: Block, places: NDArray[np.uint32]) -> None:
        assert self._file is not None
        with errors_of(self.path):
            self._file.write(block.text if len(places) == len(block.ends) else block.lines(places))


class _ParquetCopy(ParquetExport):
    def take(self, block: Block, places: NDArray[np.uint32]) -> None:
        assert block.table is not None
        for batch in block.table.take(places).to_batches():
            self.append(batch)


_COPIES: Mapping[str, type[_CsvCopy | _ParquetCopy]] = {".csv": _CsvCopy, ".parquet": _ParquetCopy}


def dedupe(
    inputs: Sequence[Path], output: Path, progress: Callable[[int], object] = lambda _taken: None
) -> Copied:
    """Copy the rows of the inputs to ``output``, of each frame the first one.

    Of an input that is not there its ledger is taken.

    Raises:
        UsageError: the files are not all CSV or all Parquet, or a processor writes the output.
        DatasetError: an input holds what is no row, or a file cannot be read or written.
        LedgerError: the ledger of an input cannot be understood.
    """
    kinds = {Path(path.name.removesuffix(".part")).suffix for path in (*inputs, output)}
    if len(kinds) > 1 or output.suffix not in _COPIES:
        raise UsageError(f"inputs and output must all end in {' or all in '.join(_COPIES)}")
    if _is_a_processors(output):
        raise UsageError(f"{output}: has a ledger, so a processor wrote it; name another output")
    ledgers = [ledger_files.read(ledger_files.path_of(path)) for path in inputs]
    copied, known = Copied(), dict[str, _Known]()
    with _COPIES[output.suffix](output, packets()) as copy:
        for path in filter(Path.exists, inputs):  # others are ledgers without a dataset
            _copy(IdentityReader(path, is_whole=True, progress=progress), copy, known, copied)
    _write_ledger(output, [each for each in ledgers if each], known)
    return copied


def _is_a_processors(dataset: Path) -> bool:
    try:
        found = ledger_files.read(ledger_files.path_of(dataset))
    except LedgerError:
        return True
    return found is not None and not found.is_copy


def _copy(
    reader: IdentityReader, copy: _CsvCopy | _ParquetCopy, known: dict[str, _Known], copied: Copied
) -> None:
    for block in reader.blocks():
        places = _first_places(block, known)
        copy.take(block, places)
        copied.kept += len(places)
        copied.dropped += len(block.identity) - len(places)
    if reader.problems:
        raise DatasetError(f"{reader.path}: {'; '.join(reader.problems)}; nothing was written")
    copied.torn += reader.torn_bytes


def _first_places(block: Block, known: dict[str, _Known]) -> NDArray[np.uint32]:
    """Return the places of the rows whose frames have not come before, and note them."""
    chosen = [np.zeros(0, np.uint32)]
    for part in block.by_session():
        tally = known.setdefault(part.session, _Known(part.source)).tally
        chosen.append(part.places[tally.fresh(part.numbers)])
        tally.add(part.numbers)
    return np.sort(np.concatenate(chosen))


def _write_ledger(
    output: Path, ledgers: Sequence[DatasetLedger], known: Mapping[str, _Known]
) -> None:
    sessions = {name: _entry_of_rows(rows) for name, rows in known.items()}
    for each in ledgers:
        for name, entry in each.sessions.items():
            sessions[name] = _joined(sessions.get(name, SessionLedger()), entry)
    made = DatasetLedger(
        dataset=output.name,
        size=output.stat().st_size,
        is_copy=True,
        unnamed_rejected=sum(each.unnamed_rejected for each in ledgers),
        at=time.time_ns(),
        sessions=sessions,
    )
    ledger_files.write(ledger_files.path_of(output), made.text(), is_durable=True)


def _entry_of_rows(rows: _Known) -> SessionLedger:
    numbers = rows.tally.numbers
    return SessionLedger(
        source=rows.source,
        received=rows.tally.rows,
        written=numbers.count,
        duplicate=rows.tally.rows - numbers.count,
        frames=tuple(numbers.pairs()[-MAX_RANGES:]),
        is_incomplete=len(numbers) > MAX_RANGES,
    )


def _joined(copied: SessionLedger, entry: SessionLedger) -> SessionLedger:
    """Add what an input's ledger says besides its rows."""
    rejected = RangeSet(copied.rejected_frames) | RangeSet(entry.rejected_frames)
    return replace(
        copied,
        source=copied.source or entry.source,
        received=copied.received + entry.duplicate + entry.rejected,
        duplicate=copied.duplicate + entry.duplicate,
        rejected=copied.rejected + entry.rejected,
        rejected_frames=tuple(rejected.pairs()),
        is_incomplete=copied.is_incomplete or entry.is_incomplete,
        agent=ledger.newer(copied.agent, entry.agent),
    )
