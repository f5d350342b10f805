"""The ledger of the dataset file that a processor writes, kept while it runs.

What it says of rows is a cache: the rows have their session and number, so after a crash the part
of the file that the ledger does not know is read, or all of it where the ledger is gone or does not
fit. Therefore it is replaced without waiting for the disk, and only as often as costs a tenth of
the time. What agents say and which frames were set aside is nowhere else: that is on disk before
its messages are acknowledged.

Ranges of numbers and sessions are bounded. What is forgotten marks its session as incomplete: it
lets duplicates through, never loses a frame.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from network_pipeline import ledger
from network_pipeline.dataset import ledger_files
from network_pipeline.dataset.writers import HEADER, errors_of
from network_pipeline.errors import DatasetError
from network_pipeline.ledger import AgentLedger, DatasetLedger, LedgerError, SessionLedger
from network_pipeline.range_sets import LARGEST, Numbers, RangeSet
from network_pipeline.schema import SCHEMA_VERSION

logger = logging.getLogger(__name__)

#: Sessions of a file, and ranges of numbers of each, rows and set aside ones apart.
MAX_SESSIONS = 10_000
MAX_RANGES = 262_144
MAX_REJECTED_RANGES = 10_000

#: Part of the time that replacing the ledger may take.
_SHARE = 0.1

#: Frames that a message set aside can have held by its headers: as many as a batch may.
_MAX_CLAIMED = 1_000_000


@dataclass
class _Session:
    source: str = ""
    written: int = 0
    duplicate: int = 0
    rejected: int = 0
    frames: RangeSet = field(default_factory=RangeSet)
    rejected_frames: RangeSet = field(default_factory=RangeSet)
    is_incomplete: bool = False
    agent: AgentLedger | None = None
    pending: list[Numbers] = field(default_factory=list)

    def merge(self) -> None:
        """Take in the numbers that were written since the last time."""
        if self.pending:
            self.frames |= RangeSet.of_numbers(np.concatenate(self.pending))
            self.pending = []
        if len(self.frames) > MAX_RANGES:
            self.frames = _upper_half(self.frames)
            self.is_incomplete = True

    def entry(self) -> SessionLedger:
        self.merge()
        return SessionLedger(
            source=self.source,
            received=self.written + self.duplicate + self.rejected,
            written=self.written,
            duplicate=self.duplicate,
            rejected=self.rejected,
            frames=tuple(self.frames.pairs()),
            rejected_frames=tuple(self.rejected_frames.pairs()),
            is_incomplete=self.is_incomplete,
            agent=self.agent,
        )


class Book:
    """Keeps the ledger of one dataset file after another: ``open`` begins with the next one.

    ``path`` is that of the ledger, None before the first file and between two; what is noted then
    goes into the ledger of the next. ``has_changed``: something was noted since it was opened or
    saved.
    """

    def __init__(self) -> None:
        self.path: Path | None = None
        self.has_changed = False
        self._dataset = ""
        self._sessions: dict[str, _Session] = {}
        self._unnamed_rejected = 0
        self._due_at = 0.0

    def open(self, dataset: Path, *, is_new: bool = False) -> None:
        """Begin with a file that is locked and whose half last line is cut off, or with none.

        The rows of a file that ``is_new`` are still to be noted.

        Raises:
            DatasetError: it cannot be read.
        """
        before, unnamed = ({}, 0) if self.path else (self._sessions, self._unnamed_rejected)
        self.path = ledger_files.path_of(dataset)
        self._dataset = dataset.name.removesuffix(".part")
        self._sessions, self._unnamed_rejected, self._due_at = {}, 0, 0.0
        self.has_changed = False
        if not is_new and dataset.exists():
            self._begin(self._read(self.path), dataset)
        self._unnamed_rejected += unnamed
        self.has_changed |= unnamed > 0
        for name, session in before.items():
            self._take_over(name, session)

    def close(self) -> None:
        """Let go of the file, whose ledger is saved."""
        self.path = None
        self._sessions, self._unnamed_rejected, self.has_changed = {}, 0, False

    def frames(self) -> Iterator[tuple[str, RangeSet]]:
        """Yield the sessions with the numbers of their rows."""
        for name, session in self._sessions.items():
            session.merge()
            yield name, session.frames

    def wrote(self, source: str, session: str, numbers: Numbers) -> None:
        """Note rows that are durable in the file."""
        entry = self._session(session, source)
        entry.written += len(numbers)
        entry.pending.append(numbers)
        if len(entry.pending) >= 4096:
            entry.merge()

    def dropped(self, session: str, count: int) -> None:
        """Note frames that came again and were dropped."""
        self._session(session, "").duplicate += count

    def rejected(self, headers: Mapping[str, Any]) -> None:
        """Note a message that is set aside, by what its headers claim."""
        claim = _claim(headers)
        if claim is None:
            self._unnamed_rejected += 1
            self.has_changed = True
            return
        source, session, first, last, count = claim
        entry = self._session(session, source)
        entry.rejected += count
        entry.rejected_frames |= RangeSet([(first, last)])
        if len(entry.rejected_frames) > MAX_REJECTED_RANGES:
            entry.rejected_frames = _upper_half(entry.rejected_frames)
            entry.is_incomplete = True

    def heard(self, agent: AgentLedger) -> None:
        """Note what the agent of a session says."""
        entry = self._session(agent.session, agent.source)
        entry.agent = ledger.newer(entry.agent, agent)

    def save(self, size: int, *, is_durable: bool = False) -> None:
        """Replace the ledger's file; ``size`` is how much of the dataset holds what was noted.

        Raises:
            DatasetError: the old one is still there.
        """
        if self.path is None:
            raise DatasetError("there is no dataset yet that the ledger could be beside")
        began = time.monotonic()
        sessions = {name: session.entry() for name, session in self._sessions.items()}
        made = DatasetLedger(
            dataset=self._dataset,
            size=size,
            unnamed_rejected=self._unnamed_rejected,
            at=time.time_ns(),
            sessions=sessions,
        )
        ledger_files.write(self.path, made.text(), is_durable=is_durable)
        self.has_changed = False
        ended = time.monotonic()
        self._due_at = ended + (ended - began) * (1 / _SHARE - 1)

    def is_due(self) -> bool:
        """Whether replacing the ledger's file again would take no more than its part."""
        return self.path is not None and time.monotonic() >= self._due_at

    def _session(self, name: str, source: str) -> _Session:
        self.has_changed = True
        session = self._sessions.setdefault(name, _Session())
        session.source = source or session.source
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.pop(next(iter(self._sessions)))
        return session

    # -- beginning

    def _begin(self, found: DatasetLedger | None, dataset: Path) -> None:
        if found and not self._restore(found, dataset):
            logger.warning("%s does not fit its dataset and is made anew", self.path)
            found = None
        if not found:
            self._read_rows(dataset, 0)

    def _take_over(self, name: str, noted: _Session) -> None:
        session = self._session(name, noted.source)
        session.agent = ledger.newer(session.agent, noted.agent)
        session.duplicate += noted.duplicate
        session.rejected += noted.rejected
        session.rejected_frames |= noted.rejected_frames

    @staticmethod
    def _read(path: Path) -> DatasetLedger | None:
        try:
            found = ledger_files.read(path)
        except LedgerError as error:
            logger.warning("made anew: %s", error)
            return None
        return found if found and found.schema == SCHEMA_VERSION else None

    def _restore(self, found: DatasetLedger, dataset: Path) -> bool:
        """Begin with what the ledger says and the rows behind it; False: they do not fit."""
        self._unnamed_rejected = found.unnamed_rejected
        for name, entry in found.sessions.items():
            self._sessions[name] = _Session(
                source=entry.source,
                written=entry.written,
                duplicate=entry.duplicate,
                rejected=entry.rejected,
                frames=RangeSet(entry.frames),
                rejected_frames=RangeSet(entry.rejected_frames),
                is_incomplete=entry.is_incomplete,
                agent=entry.agent,
            )
        if self._read_rows(dataset, found.size):
            return True
        for session in self._sessions.values():
            session.written, session.frames, session.pending = 0, RangeSet(), []
        return False

    def _read_rows(self, dataset: Path, offset: int) -> bool:
        with errors_of(dataset):
            if dataset.stat().st_size == max(offset, len(HEADER)):
                return True
        # Polars, which it takes, is slow to import, and most files are new.
        from network_pipeline.dataset.identities import IdentityReader  # noqa: PLC0415

        reader = IdentityReader(dataset)
        for block in reader.blocks(offset):
            for part in block.by_session():
                self.wrote(part.source, part.session, part.numbers)
        for problem in reader.problems:
            logger.warning("%s: %s", dataset, problem)
        return not (offset and reader.problems)


def read_frames(dataset: Path) -> Iterator[tuple[str, RangeSet]]:
    """Yield sessions and numbers of the rows that a file's ledger knows, without its rows."""
    try:
        found = ledger_files.read(ledger_files.path_of(dataset))
    except LedgerError as error:
        logger.warning("left out: %s", error)
        return
    for name, entry in found.sessions.items() if found else ():
        yield name, RangeSet(entry.frames)


def read_rows(dataset: Path) -> Iterator[tuple[str, RangeSet]]:
    """Yield sessions and numbers of all rows of a file, those that its ledger does not know too.

    Raises:
        DatasetError: it cannot be read.
    """
    book = Book()
    book.open(dataset)
    yield from book.frames()


def _upper_half(numbers: RangeSet) -> RangeSet:
    return RangeSet(numbers.pairs()[len(numbers) // 2 :])


def _claim(headers: Mapping[str, Any]) -> tuple[str, str, int, int, int] | None:
    """Return source, session, first and last number, and count by the headers, if credible."""
    source, session = headers.get("source"), headers.get("session")
    first, count = headers.get("first"), headers.get("count")
    if not (ledger.is_name(source) and ledger.is_name(session)):
        return None
    if type(first) is not int or type(count) is not int or not 1 <= count <= _MAX_CLAIMED:
        return None
    if not 1 <= first <= LARGEST - count:
        return None
    last = headers.get("last", first + count - 1)
    if type(last) is not int or not first + count - 1 <= last < first + _MAX_CLAIMED:
        return None
    return str(source), str(session), first, last, count
