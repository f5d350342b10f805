"""What an agent says of its session, and of sessions whose agent died without a last word.

Every ledger is kept in a file, ``SESSION.json``, before it is published; the lock on
``SESSION.lock`` shows that the session's agent lives. A file without a lock is what a killed agent
left: the next agent on this host says in its place that it was killed. Files go away when what they
say has been published, so a word may come twice, and none is missing.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from network_pipeline import ledger
from network_pipeline.ledger import AgentLedger, LedgerError
from network_pipeline.message import Message
from network_pipeline.metrics import OUTCOMES

logger = logging.getLogger(__name__)

#: Time between two ledgers of a session in which anything moved: in its file, and published.
NOTE_SECONDS = 1.0
TELL_SECONDS = 10.0

_COUNTS = ("captured", *OUTCOMES)


class SessionBook:
    """The ledgers of one session, kept in ``directory``, which is made with mode 0700.

    Without a directory, or one that cannot be written, an agent that is killed has no last word.
    """

    def __init__(self, directory: Path | None, *, source: str, session: str) -> None:
        self._directory = directory
        self._newest = AgentLedger(source, session)
        self._told = 0
        self._note_at = self._tell_at = 0.0
        self._locked: dict[Path, int] = {}

    def start(self) -> list[Message]:
        """Lock the session's file; return what is to be published for sessions that died."""
        if self._directory is None:
            return []
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            left = list(self._left_over(self._directory))
            self._lock(self._path_in(self._directory))
            self._keep(self._newest)
        except OSError as error:
            logger.warning("%s: %s; a killed agent leaves no word", self._directory, error.strerror)
            self.close(is_published=False)
            return []
        for found in left:
            how = (
                "was killed" if found.ended == ledger.KILLED else "could not publish its last word"
            )
            logger.info("the agent of session %s %s: telling it now", found.session, how)
        return [found.message() for found in left]

    def is_due(self) -> bool:
        """Whether it is time to note the counts again."""
        return time.monotonic() >= self._note_at

    def note(
        self,
        counts: Mapping[str, int],
        last: int,
        lost: Sequence[tuple[int, int]],
        *,
        is_incomplete: bool = False,
        is_over: bool = False,
    ) -> None:
        """Keep the ledger as it stands in its file.

        Args:
            counts: captured, kernel_dropped, shed and published, in frames, and what else is known
                of spooled and not_sampled.
            last: the highest number given to a frame.
            lost: ranges of the numbers of shed frames, in order.
            is_incomplete: more were shed than ``lost`` names.
            is_over: every captured frame is in one of the counts, and none will come.
        """
        self._note_at = time.monotonic() + NOTE_SECONDS
        named, is_cut = ledger.latest(lost)
        known: dict[str, Any] = {name: counts.get(name, 0) for name in _COUNTS}
        noted = replace(
            self._newest,
            last=last,
            lost=named,
            is_incomplete=is_incomplete or is_cut,
            ended=ledger.STOPPED if is_over else "",
            **known,
        )
        if noted != self._newest:
            self._newest = replace(noted, sequence=noted.sequence + 1, at=time.time_ns())
            self._keep(self._newest)

    def news(self) -> Message | None:
        """Return the ledger to publish: now and then, and at the end; None if it was, or not yet.

        Without a change there is nothing to publish.
        """
        newest = self._newest
        is_time = newest.ended or time.monotonic() >= self._tell_at
        if not is_time or newest.sequence == self._told:
            return None
        self._tell_at = time.monotonic() + TELL_SECONDS
        self._told = newest.sequence
        return newest.message()

    def close(self, *, is_published: bool) -> None:
        """Let go; files go away if the words of all sessions in them are published."""
        for path, descriptor in self._locked.items():
            try:
                if is_published:
                    path.unlink(missing_ok=True)
                    _lock_of(path).unlink(missing_ok=True)
            except OSError as error:
                logger.warning("%s: %s; it may be told again", path, error.strerror)
            finally:
                os.close(descriptor)
        self._locked = {}

    def _path_in(self, directory: Path) -> Path:
        return directory / f"{self._newest.session}.json"

    def _left_over(self, directory: Path) -> Iterator[AgentLedger]:
        found_in = [*directory.glob("*.json"), *directory.glob("*.lock")]
        for session in sorted({path.stem for path in found_in}):
            path = directory / f"{session}.json"
            was_begun = _lock_of(path).exists()
            if not self._lock(path):
                continue
            try:
                found = ledger.parse_agent(path.read_bytes())
            except FileNotFoundError:
                if not was_begun:  # its agent had its last word just now
                    continue
                # Its disk was full.
                found = AgentLedger(self._newest.source, session)
            except LedgerError as error:
                aside = path.rename(path.with_suffix(".damaged"))
                _lock_of(path).unlink()
                logger.warning("%s: left out: %s; kept as %s", path, error, aside)
                continue
            if not found.ended:
                found = replace(found, ended=ledger.KILLED, sequence=found.sequence + 1)
            yield found

    def _lock(self, path: Path) -> bool:
        """Take the session in a file for ours; False where its agent lives."""
        beside = _lock_of(path)
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        if not os.fstat(descriptor).st_nlink:  # who held it has removed it in good order
            os.close(descriptor)
            return False
        self._locked[path] = descriptor
        return True

    def _keep(self, told: AgentLedger) -> None:
        path = self._path_in(self._directory) if self._directory else None
        if path in self._locked:
            _replace(path, told)


def bury(directory: Path, session: str, counts: Mapping[str, int]) -> None:
    """Say in a session's file that its agent was killed, with counts that outlived it.

    Where the file is gone, or the agent had its last word, nothing is said.
    """
    path = directory / f"{session}.json"
    try:
        known = ledger.parse_agent(path.read_bytes())
    except (LedgerError, OSError):
        return
    if not known.ended:
        found: dict[str, Any] = {name: counts[name] for name in _COUNTS}
        told = replace(
            known,
            sequence=known.sequence + 1,
            last=counts["captured"] - counts["kernel_dropped"] - counts["not_sampled"],
            is_incomplete=known.is_incomplete or counts["shed"] > known.shed,
            ended=ledger.KILLED,
            at=time.time_ns(),
            **found,
        )
        _replace(path, told)


def _replace(path: Path, told: AgentLedger) -> None:
    hidden = path.with_suffix(".new")
    try:
        hidden.write_bytes(told.text())
        hidden.chmod(0o600)
        hidden.rename(path)
    except OSError as error:
        logger.debug("%s: %s", path, error.strerror)


def _lock_of(path: Path) -> Path:
    return path.with_suffix(".lock")
