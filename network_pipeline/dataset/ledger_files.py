"""The ledger's file beside a dataset: read with limits, replaced as a whole.

``traffic.csv.part`` and ``traffic.csv`` have the same ledger, ``traffic.csv.ledger.json``: it stays
where it is when the file is finished.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from network_pipeline import ledger
from network_pipeline.dataset.writers import errors_of, sync_directory
from network_pipeline.ledger import DatasetLedger, LedgerError

ENDING = ".ledger.json"

#: Endings of datasets whose rows can be read; and of those that can be held against a ledger, the
#: ones in writing among them.
COMPLETE_ENDINGS = (".csv", ".parquet")
DATASET_ENDINGS = (".csv", ".csv.part", ".parquet")


def path_of(dataset: Path) -> Path:
    """Return where the ledger of a dataset file is."""
    return dataset.with_name(dataset.name.removesuffix(".part") + ENDING)


def read(path: Path) -> DatasetLedger | None:
    """Return the ledger in a file; None where there is no file.

    Raises:
        LedgerError: it holds no ledger of this version.
        DatasetError: it cannot be read.
    """
    with errors_of(path):
        try:
            with path.open("rb") as file:
                text = file.read(ledger.MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return None
    try:
        return ledger.parse_dataset(text)
    except LedgerError as error:
        raise LedgerError(f"{path}: {error}") from None


def losses(dataset: Path) -> Counter[str]:
    """Return how many frames a dataset has lost, by how, as the ledger beside it tells.

    Raises:
        LedgerError: it is none of this version.
        DatasetError: it cannot be read.
    """
    found: Counter[str] = Counter()
    beside = read(path_of(dataset))
    for session in beside.sessions.values() if beside else ():
        found["rejected"] += session.rejected
        if agent := session.agent:
            found.update(shed=agent.shed, kernel_dropped=agent.kernel_dropped)
    return +found


def write(path: Path, text: bytes, *, is_durable: bool) -> None:
    """Replace a file by ``text``, with mode 0600; readers see the old one or the new one.

    ``is_durable``: it survives a power cut when this returns; else it may be the old one then.

    Raises:
        DatasetError: the old one is still there.
    """
    hidden = path.with_name(f".{path.name}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with errors_of(path):
        with os.fdopen(os.open(hidden, flags, 0o600), "wb") as file:
            file.write(text)
            file.flush()
            if is_durable:
                os.fsync(file.fileno())
        hidden.rename(path)
        if is_durable:
            sync_directory(path.parent)
