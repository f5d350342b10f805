"""Reads dataset files and the ledgers beside them, and lets :mod:`.verify` judge them together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from network_pipeline.dataset import ledger_files
from network_pipeline.dataset.identities import IdentityReader
from network_pipeline.dataset.ledger_files import DATASET_ENDINGS
from network_pipeline.errors import UsageError
from network_pipeline.ledger import DatasetLedger, LedgerError
from network_pipeline.range_sets import Tally
from network_pipeline.verify import Dataset, SessionRows

#: Called with the number of bytes that were read.
Progress = Callable[[int], object]


def dataset_files(names: Sequence[str]) -> list[Path]:
    """Return the files to read: those named, and of directories every dataset in them, once each.

    A ledger in a directory whose dataset is not there stands for it, under the dataset's name.

    Raises:
        UsageError: one is not there, is no dataset by its name, or a directory has none.
    """
    found: dict[Path, Path] = {}
    for name in names:
        path = Path(name)
        listed = list(_in_directory(path)) if path.is_dir() else [path]
        if not listed and any(path.glob("source=*/")):
            raise UsageError(
                f"{path}: partitions; they have no ledgers, the command that made them said what "
                "was lost; to read them, name their files"
            )
        if not listed:
            raise UsageError(f"{path}: no dataset files in this directory")
        if not path.exists():
            raise UsageError(f"{path}: no such file")
        if not path.name.endswith(DATASET_ENDINGS) and not path.is_dir():
            raise UsageError(f"{path}: the name must end in {', '.join(DATASET_ENDINGS)}")
        found |= {each.resolve(): each for each in listed}
    return list(found.values())


def _in_directory(directory: Path) -> Iterator[Path]:
    present = sorted(path for path in directory.iterdir() if path.name.endswith(DATASET_ENDINGS))
    yield from present
    ledgers = {ledger_files.path_of(path) for path in present}
    for path in sorted(directory.glob(f"*{ledger_files.ENDING}")):
        if path not in ledgers:
            yield path.with_name(path.name.removesuffix(ledger_files.ENDING))


def examine(path: Path, progress: Progress = lambda _taken: None) -> Dataset:
    """Return what is known of one file.

    Raises:
        DatasetError: it cannot be read.
    """
    # The ledger first: rows that are appended meanwhile are then rows that it does not know yet.
    ledger, problems = _ledger(path)
    if not path.exists():
        lacking = sum(entry.written for entry in ledger.sessions.values()) if ledger else 0
        problems += [f"is not here, its ledger says that it has {lacking} rows"] if lacking else []
        return Dataset(path.name, ledger.size if ledger else 0, {}, problems, ledger)
    reader = IdentityReader(path, progress=progress)
    tallies: dict[str, Tally] = {}
    sources: dict[str, str] = {}
    for block in reader.blocks():
        for part in block.by_session():
            sources[part.session] = part.source
            tallies.setdefault(part.session, Tally()).add(part.numbers)
    if reader.torn_bytes:
        problems.append(f"a torn last line, {reader.torn_bytes} bytes")
    sessions = {
        name: SessionRows(sources[name], tally.rows, tally.numbers, tally.repeated)
        for name, tally in tallies.items()
    }
    return Dataset(path.name, reader.size, sessions, [*problems, *reader.problems], ledger)


def _ledger(path: Path) -> tuple[DatasetLedger | None, list[str]]:
    try:
        return ledger_files.read(ledger_files.path_of(path)), []
    except LedgerError as error:
        return None, [str(error)]
