"""Whether the rows of datasets are all there, frame by frame: a judgement from facts, without I/O.

A session's frames are numbered from 1. Every number up to the highest that is known of is a row, or
was set aside (rejected), or it is missing; and every missing one must be explained:

- **shed**: the agent's ledger names it as lost;
- **under way**: the session has not ended, so it may wait in the agent, its spool or the queue;
- **spooled**: the agent ended while so many frames waited on its disk, to be sent by the next one;
- **died**: the agent was killed, and no frame after this one came: agents send in order, so what
  was in its memory is the end of the session. But what the broker had confirmed must be there.

What is left is *unexplained*. With ``is_final`` nothing is under way or spooled any more. Rows must
be there once; counts must add up in themselves and with the rows. Each thing that is wrong is one
complaint; the datasets add up where there is none.

The datasets must be all that the session's processors wrote: a frame in a file that is not among
them is missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from network_pipeline import ledger
from network_pipeline.ledger import AgentLedger, DatasetLedger, SessionLedger
from network_pipeline.range_sets import RangeSet, repeated, union, up_to
from network_pipeline.schema import SCHEMA_VERSION

NOTHING = RangeSet()

#: What may have become of a frame that is no row, as an account counts it.
MISSING = ("rejected", "shed", "under_way", "spooled", "died")


@dataclass(frozen=True)
class SessionRows:
    """The rows of one session in one file: how many, whose numbers, and which are there twice."""

    source: str
    rows: int
    numbers: RangeSet
    repeated: RangeSet = NOTHING


@dataclass(frozen=True)
class Dataset:
    """What is known of one file: its rows by session, what is wrong with it, its ledger.

    ``size`` is that of the file in bytes.
    """

    name: str
    size: int
    sessions: Mapping[str, SessionRows]
    problems: Sequence[str] = ()
    ledger: DatasetLedger | None = None


@dataclass(frozen=True)
class Account:
    """What became of the frames of one session. All counts are of frames.

    ``frames`` is the highest number known of: the distinct rows and ``rejected``, ``shed``,
    ``under_way``, ``spooled``, ``died`` and unexplained frames together. ``duplicate`` rows come on
    top; ``kernel_dropped`` and ``not_sampled`` frames never had a number.
    """

    session: str
    source: str
    state: str
    frames: int
    rows: int
    duplicate: int
    rejected: int
    shed: int
    under_way: int
    spooled: int
    died: int
    kernel_dropped: int
    not_sampled: int
    unexplained: RangeSet
    complaints: Sequence[str]


@dataclass(frozen=True)
class Verdict:
    """The accounts of all sessions, and every complaint: of files first, then of sessions."""

    accounts: Sequence[Account]
    complaints: Sequence[str]
    unnamed_rejected: int

    @property
    def text(self) -> str:
        """The verdict in one line."""
        rows = sum(account.rows for account in self.accounts)
        counts = {
            name.replace("_", " "): sum(getattr(account, name) for account in self.accounts)
            for name in ("duplicate", *MISSING, "kernel_dropped", "not_sampled")
        }
        counts["unexplained"] = sum(account.unexplained.count for account in self.accounts)
        named = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
        judgement = "do NOT add up" if self.complaints else "add up"
        said = f"{rows:,} rows of {len(self.accounts):,} sessions {judgement}"
        return f"{said}: {named}" if named else said


@dataclass
class _Session:
    """Everything about one session, from all files."""

    rows: list[SessionRows] = field(default_factory=list)
    entries: list[SessionLedger] = field(default_factory=list)

    @property
    def agent(self) -> AgentLedger | None:
        newest = None
        for entry in self.entries:
            newest = ledger.newer(newest, entry.agent)
        return newest

    @property
    def source(self) -> str:
        names = [rows.source for rows in self.rows] + [entry.source for entry in self.entries]
        return next(filter(None, names), "")


def judge(datasets: Sequence[Dataset], *, is_final: bool = False) -> Verdict:
    """Judge the files together."""
    complaints = [text for dataset in datasets for text in _file_complaints(dataset)]
    sessions: dict[str, _Session] = defaultdict(_Session)
    for dataset in datasets:
        for name, rows in dataset.sessions.items():
            sessions[name].rows.append(rows)
        for name, entry in _entries(dataset).items():
            sessions[name].entries.append(entry)
    accounts = [_account(name, sessions[name], is_final) for name in sorted(sessions)]
    complaints += [text for account in accounts for text in account.complaints]
    unnamed = sum(each.ledger.unnamed_rejected for each in datasets if each.ledger)
    return Verdict(accounts, complaints, unnamed)


# -- one file


def _entries(dataset: Dataset) -> Mapping[str, SessionLedger]:
    return dataset.ledger.sessions if dataset.ledger else {}


def _file_complaints(dataset: Dataset) -> Iterable[str]:
    yield from (f"{dataset.name}: {problem}" for problem in dataset.problems)
    if dataset.ledger is None:
        return
    if dataset.ledger.schema != SCHEMA_VERSION:
        yield f"{dataset.name}: its ledger is of schema {dataset.ledger.schema}, not of this one"
    if dataset.size < dataset.ledger.size:
        lacking = dataset.ledger.size - dataset.size
        yield f"{dataset.name}: {lacking} bytes shorter than its ledger says"
    for session, entry in dataset.ledger.sessions.items():
        for text in _entry_complaints(dataset, session, entry):
            yield f"{dataset.name}: session {session}: {text}"


def _entry_complaints(dataset: Dataset, session: str, entry: SessionLedger) -> Iterable[str]:
    found = dataset.sessions.get(session, SessionRows("", 0, NOTHING))
    if entry.received != entry.written + entry.duplicate + entry.rejected:
        yield (
            f"received {entry.received} is not written {entry.written} + duplicate "
            f"{entry.duplicate} + rejected {entry.rejected}"
        )
    gone = RangeSet(entry.frames) - found.numbers
    if gone:
        yield f"{gone.count} rows are gone that were written: {gone}"
    is_current = dataset.ledger is not None and dataset.ledger.size == dataset.size
    if entry.written > found.rows or (is_current and entry.written < found.rows):
        yield f"its ledger says that {entry.written} rows were written, there are {found.rows}"


# -- one session


def _account(name: str, session: _Session, is_final: bool) -> Account:
    agent = session.agent
    numbers = union(rows.numbers for rows in session.rows)
    again = union([*(rows.repeated for rows in session.rows), repeated(_numbers(session))])
    rows = sum(each.rows for each in session.rows)
    rejected = union(RangeSet(entry.rejected_frames) for entry in session.entries) - numbers
    known = numbers | rejected
    frames = max(known.last, agent.last if agent else 0)
    reasons = _explained(up_to(frames) - known, known, agent, is_final)
    complaints = [
        f"session {name}: {text}"
        for text in (
            *_agent_complaints(agent, known),
            *([f"{rows - numbers.count} duplicate rows: {again}"] if again else []),
            *_unexplained_complaints(reasons["unexplained"], agent),
        )
    ]
    return Account(
        session=name,
        source=session.source or (agent.source if agent else ""),
        state=_state(agent),
        frames=frames,
        rows=rows,
        duplicate=rows - numbers.count,
        rejected=rejected.count,
        kernel_dropped=agent.kernel_dropped if agent else 0,
        not_sampled=agent.not_sampled if agent else 0,
        unexplained=reasons.pop("unexplained"),
        complaints=complaints,
        **{reason: missing.count for reason, missing in reasons.items()},
    )


def _numbers(session: _Session) -> list[RangeSet]:
    return [rows.numbers for rows in session.rows]


def _state(agent: AgentLedger | None) -> str:
    if agent is None:
        return "unknown"
    return agent.ended or "running"


def _explained(
    missing: RangeSet, known: RangeSet, agent: AgentLedger | None, is_final: bool
) -> dict[str, RangeSet]:
    """Return the missing frames by reason; those without one are ``unexplained``."""
    reasons = dict.fromkeys(MISSING[1:], NOTHING)
    if agent is None:
        return {**reasons, "unexplained": missing}
    reasons["shed"] = _shed(missing, agent)
    rest = missing - reasons["shed"]
    if agent.ended == ledger.KILLED:
        reasons["died"] = _died(rest, known, agent, is_final)
    elif is_final:
        pass
    elif agent.ended:
        # Which ones is not known, only how many; the agent sends in order.
        reasons["spooled"] = rest - rest.lowest(rest.count - agent.spooled)
    else:
        reasons["under_way"] = rest
    explained = union(reasons.values())
    return {**reasons, "unexplained": missing - explained}


def _shed(missing: RangeSet, agent: AgentLedger) -> RangeSet:
    lost = RangeSet(agent.lost)
    named = missing & lost
    if not agent.is_incomplete:
        return named
    # Of the others only their number is known.
    return named | (missing - named).lowest(agent.shed - lost.count)


def _died(rest: RangeSet, known: RangeSet, agent: AgentLedger, is_final: bool) -> RangeSet:
    """Return what was in the killed agent's memory, and perhaps still is in its spool."""
    tail = rest.above(known.last)
    confirmed = agent.published + (agent.spooled if is_final else 0)
    came = (known - RangeSet(agent.lost)).count
    return tail - tail.lowest(confirmed - came)


def _agent_complaints(agent: AgentLedger | None, known: RangeSet) -> Iterable[str]:
    if agent is None:
        return
    is_over = agent.ended == ledger.STOPPED
    if agent.captured < agent.accounted or (is_over and agent.captured != agent.accounted):
        yield (
            f"captured {agent.captured} is not published {agent.published} + spooled "
            f"{agent.spooled} + shed {agent.shed} + kernel_dropped {agent.kernel_dropped} "
            f"+ not_sampled {agent.not_sampled}"
        )
    named = RangeSet(agent.lost).count
    if is_over and (named > agent.shed or (named < agent.shed and not agent.is_incomplete)):
        yield f"shed {agent.shed} frames, but {named} are named"
    beyond = known.above(agent.last)
    if is_over and beyond:
        yield f"{beyond.count} frames after {agent.last}, the last of its agent: {beyond}"


def _unexplained_complaints(unexplained: RangeSet, agent: AgentLedger | None) -> Iterable[str]:
    if unexplained:
        why = "" if agent else " (its agent sent no ledger)"
        yield f"{unexplained.count} frames missing, unexplained{why}: {unexplained}"
