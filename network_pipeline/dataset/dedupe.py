"""Copies datasets without the rows of frames that came before, by session and number.

Inputs are read in the order given, as streams; which numbers came is kept as ranges. A CSV's lines
are copied byte by byte. The copy appears under its name when it is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from network_pipeline.dataset import ledger_files
from network_pipeline.dataset.exports import CsvExport, ParquetExport
from network_pipeline.dataset.identities import Block, IdentityReader
from network_pipeline.dataset.writers import errors_of
from network_pipeline.errors import DatasetError, UsageError
from network_pipeline.range_sets import Tally


@dataclass
class Copied:
    """How many rows were ``kept`` and ``dropped``, and ``torn``: bytes of half lines left out."""

    kept: int = 0
    dropped: int = 0
    torn: int = 0


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

    Raises:
        UsageError: the files are not all CSV or all Parquet, or a processor writes the output.
        DatasetError: an input holds what is no row, or a file cannot be read or written.
    """
    kinds = {Path(path.name.removesuffix(".part")).suffix for path in (*inputs, output)}
    if len(kinds) > 1 or output.suffix not in _COPIES:
        raise UsageError(f"inputs and output must all end in {' or all in '.join(_COPIES)}")
    if ledger_files.path_of(output).exists():
        raise UsageError(f"{output}: has a ledger, so a processor wrote it; name another output")
    copied, known = Copied(), dict[str, Tally]()
    with _COPIES[output.suffix](output) as copy:
        for path in inputs:
            _copy(IdentityReader(path, is_whole=True, progress=progress), copy, known, copied)
    return copied


def _copy(
    reader: IdentityReader, copy: _CsvCopy | _ParquetCopy, known: dict[str, Tally], copied: Copied
) -> None:
    for block in reader.blocks():
        places = _first_places(block, known)
        copy.take(block, places)
        copied.kept += len(places)
        copied.dropped += len(block.identity) - len(places)
    if reader.problems:
        raise DatasetError(f"{reader.path}: {'; '.join(reader.problems)}; nothing was written")
    copied.torn += reader.torn_bytes


def _first_places(block: Block, known: dict[str, Tally]) -> NDArray[np.uint32]:
    """Return the places of the rows whose frames have not come before, and note them."""
    chosen = [np.zeros(0, np.uint32)]
    for part in block.by_session():
        tally = known.setdefault(part.session, Tally())
        chosen.append(part.places[tally.fresh(part.numbers)])
        tally.add(part.numbers)
    return np.sort(np.concatenate(chosen))
