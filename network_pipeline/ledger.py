"""What became of every frame of a session, as its agent and the datasets tell it.

An agent's ledger says how many frames it captured and what became of them on its side, and names
those it had to shed. It travels through the queue behind the frames, and the newest one counts. A
dataset's ledger, a JSON file beside it, says for every session which numbers were written there,
which were set aside, and what the session's agent said last. Together they tell every frame that
is missing from one that never was: :mod:`network_pipeline.verify` does.

Both are read with limits and checked value by value, since anybody who may publish can send one.
For an agent, once it ended, and for a dataset at any time::

    captured = published + spooled + shed + kernel_dropped + not_sampled
    received = written + duplicate + rejected
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from network_pipeline.errors import DatasetError, MessageError
from network_pipeline.message import Message
from network_pipeline.metrics import OUTCOMES
from network_pipeline.range_sets import RangeSet, up_to
from network_pipeline.schema import SCHEMA_VERSION

#: Content type of the message that holds an agent's ledger.
LEDGER_TYPE = "application/vnd.network-pipeline.ledger+json"

#: Of both forms; a reader refuses any other.
VERSION = 1

#: Ranges of lost frames in an agent's ledger; the latest are kept.
MAX_LOST_RANGES = 10_000
#: Bytes of an agent's ledger, which is far more than that many ranges take.
MAX_AGENT_BYTES = 1024 * 1024
#: Bytes of a dataset's ledger, which is far more than its writer lets it become.
MAX_FILE_BYTES = 64 * 1024 * 1024

STOPPED = "stopped"
KILLED = "killed"

#: Ranges of frame numbers, each with its first and its last, in order and apart.
Pairs = tuple[tuple[int, int], ...]

_LARGEST = 2**64 - 1
_NAME = re.compile("[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,200}")


class LedgerError(DatasetError):
    """A ledger's file or text that is none, or none of this version."""


@dataclass(frozen=True)
class AgentLedger:
    """What an agent says of one session; counts are of frames.

    ``sequence`` grows with every ledger of a session: clocks may be set back. ``last`` is the
    highest number given to a frame, ``lost`` names frames that were shed, all of them unless
    ``is_incomplete``. ``spooled`` ones wait on the agent's disk. ``ended`` is empty while the agent
    runs. ``at`` is when this was written, in nanoseconds since 1970.
    """

    source: str
    session: str
    sequence: int = 0
    captured: int = 0
    kernel_dropped: int = 0
    not_sampled: int = 0
    shed: int = 0
    spooled: int = 0
    published: int = 0
    last: int = 0
    lost: Pairs = ()
    is_incomplete: bool = False
    ended: str = ""
    at: int = 0

    @property
    def accounted(self) -> int:
        """The captured frames of which it is known what became of them."""
        return sum(getattr(self, name) for name in OUTCOMES)

    def message(self) -> Message:
        """Return the message that carries this ledger; it holds no frames (``count`` is 0)."""
        headers: dict[str, str | int] = {
            "schema": SCHEMA_VERSION,
            "source": self.source,
            "session": self.session,
            "first": 0,
            "count": 0,
            "created": self.at,
        }
        return Message(self.text(), LEDGER_TYPE, headers)

    def text(self) -> bytes:
        """Return the ledger as JSON."""
        return _json({"version": VERSION, **asdict(self)})


def of_file(source: str, session: str, frames: int, published: RangeSet) -> AgentLedger:
    """Return the ledger of a capture file's session: what is not ``published`` was left out.

    ``frames`` is how many the file has; they are numbered from 1.
    """
    lost, is_incomplete = latest((up_to(frames) - published).pairs())
    return AgentLedger(
        source,
        session,
        sequence=1,
        captured=frames,
        shed=frames - published.count,
        published=published.count,
        last=frames,
        lost=lost,
        is_incomplete=is_incomplete,
        ended=STOPPED,
        at=time.time_ns(),
    )


@dataclass(frozen=True)
class SessionLedger:
    """What a dataset's ledger says of one session; counts are of frames.

    ``frames`` are the numbers of the rows in the file, all of them unless ``is_incomplete``;
    ``rejected_frames`` those of messages that were set aside, by their headers.
    """

    source: str = ""
    received: int = 0
    written: int = 0
    duplicate: int = 0
    rejected: int = 0
    frames: Pairs = ()
    rejected_frames: Pairs = ()
    is_incomplete: bool = False
    agent: AgentLedger | None = None


@dataclass(frozen=True)
class DatasetLedger:
    """The ledger beside a dataset file, ``dataset`` by name.

    ``size`` is how many bytes of the file it knows: rows behind that were written by a processor
    that was killed then. ``unnamed_rejected`` counts messages that were set aside and did not say
    which frames they held. ``is_copy``: of datasets that were made one. ``at`` is when this was
    written, in nanoseconds since 1970.
    """

    dataset: str
    size: int = 0
    schema: str = SCHEMA_VERSION
    is_copy: bool = False
    unnamed_rejected: int = 0
    at: int = 0
    sessions: Mapping[str, SessionLedger] = field(default_factory=dict)

    def text(self) -> bytes:
        """Return the ledger as JSON, a line per session."""
        head = {name: getattr(self, name) for name in _DATASET_CHECKS}
        lines = [
            _json(session) + b": " + _json(asdict(entry))
            for session, entry in self.sessions.items()
        ]
        inner = _json({"version": VERSION, **head})[:-1]
        return inner + b',"sessions":{\n' + b",\n".join(lines) + b"\n}}\n"


def parse_agent(text: bytes) -> AgentLedger:
    """Return the checked ledger of an agent.

    Raises:
        LedgerError: it is none, or none of this version; the text quotes nothing of it.
    """
    if len(text) > MAX_AGENT_BYTES:
        raise LedgerError(f"a ledger of {len(text)} bytes, the limit is {MAX_AGENT_BYTES}")
    values = _object(text)
    _check_version(values)
    return _agent(values)


def of_message(body: bytes, headers: Mapping[str, Any]) -> AgentLedger:
    """Return the agent's ledger that a message of type :data:`LEDGER_TYPE` holds.

    Raises:
        MessageError: it holds none, or that of another session than its headers say.
    """
    try:
        found = parse_agent(body)
    except LedgerError as error:
        raise MessageError(str(error)) from None
    if headers.get("session", found.session) != found.session:
        raise MessageError("a ledger of another session than its headers say")
    return found


def parse_dataset(text: bytes) -> DatasetLedger:
    """Return the checked ledger of a dataset.

    Raises:
        LedgerError: it is none, or none of this version; one of another schema is no error.
    """
    if len(text) > MAX_FILE_BYTES:
        raise LedgerError(f"a ledger of {len(text)} bytes, the limit is {MAX_FILE_BYTES}")
    values = _object(text)
    _check_version(values)
    sessions = values.get("sessions")
    if not isinstance(sessions, dict):
        raise LedgerError("a ledger without sessions")
    entries = {_checked(name, is_name, "session"): _entry(sessions[name]) for name in sessions}
    for session, entry in entries.items():
        if entry.agent and entry.agent.session != session:
            raise LedgerError("a ledger with an agent's of another session")
    return DatasetLedger(**_values(values, _DATASET_CHECKS), sessions=entries)


def newer(one: AgentLedger | None, other: AgentLedger | None) -> AgentLedger | None:
    """Return the one that was written later; the first where they are equal.

    An agent's heir may know an older one than the broker got: that it was killed is news anyway.
    """
    if one is None or other is None:
        return one or other
    older, newest = (one, other) if _age(other) > _age(one) else (other, one)
    if older.ended == KILLED and not newest.ended:
        return replace(newest, ended=KILLED)
    return newest


def _age(ledger: AgentLedger) -> tuple[int, int, bool]:
    return (ledger.sequence, ledger.captured, bool(ledger.ended))


# -- reading


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _object(text: bytes) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise LedgerError("a ledger that is not JSON") from None
    if not isinstance(values, dict):
        raise LedgerError("a ledger that is no JSON object")
    return values


def _check_version(values: Mapping[str, Any]) -> None:
    version = values.get("version")
    if type(version) is not int or version != VERSION:
        raise LedgerError(f"a ledger of version {version!r:.20}, this program reads {VERSION}")


def _entry(values: object) -> SessionLedger:
    if not isinstance(values, dict):
        raise LedgerError("a ledger with a session that is no JSON object")
    agent = values.get("agent")
    if agent is not None and not isinstance(agent, dict):
        raise LedgerError("a ledger whose agent is no JSON object")
    found = _values(values, _SESSION_CHECKS)
    return SessionLedger(**found, agent=None if agent is None else _agent(agent))


def _agent(values: Mapping[str, Any]) -> AgentLedger:
    found = AgentLedger(**_values(values, _AGENT_CHECKS))
    if found.ended not in ("", STOPPED, KILLED):
        raise LedgerError("a ledger whose 'ended' is not valid")
    return found


def _values(
    values: Mapping[str, Any], checks: Mapping[str, Callable[[Any], bool]]
) -> dict[str, Any]:
    found = {name: _checked(values.get(name), check, name) for name, check in checks.items()}
    for name, value in found.items():
        if isinstance(value, list):
            found[name] = tuple((first, last) for first, last in value)
    return found


def _checked(value: Any, is_valid: Callable[[Any], bool], name: str) -> Any:
    if not is_valid(value):
        raise LedgerError(f"a ledger whose {name!r} is not valid")
    return value


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= _LARGEST


def _is_flag(value: object) -> bool:
    return type(value) is bool


def is_name(value: object) -> bool:
    """Whether it is a text that can name a source or a session."""
    return type(value) is str and _NAME.fullmatch(value) is not None


def _is_name_or_empty(value: object) -> bool:
    return value == "" or is_name(value)


def _are_pairs(value: object) -> bool:
    if not isinstance(value, list):
        return False
    before = -1
    for pair in value:
        if not (isinstance(pair, list) and len(pair) == 2 and all(map(_is_count, pair))):
            return False
        if not before + 1 < pair[0] <= pair[1]:
            return False
        before = pair[1]
    return True


_AGENT_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "source": is_name,
    "session": is_name,
    **dict.fromkeys(
        (
            "sequence",
            "captured",
            "kernel_dropped",
            "not_sampled",
            "shed",
            "spooled",
            "published",
            "last",
        ),
        _is_count,
    ),
    "lost": _are_pairs,
    "is_incomplete": _is_flag,
    "ended": _is_name_or_empty,
    "at": _is_count,
}

_SESSION_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "source": _is_name_or_empty,
    **dict.fromkeys(("received", "written", "duplicate", "rejected"), _is_count),
    "frames": _are_pairs,
    "rejected_frames": _are_pairs,
    "is_incomplete": _is_flag,
}

_DATASET_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "dataset": lambda value: type(value) is str,
    "size": _is_count,
    "schema": is_name,
    "is_copy": _is_flag,
    "unnamed_rejected": _is_count,
    "at": _is_count,
}


def latest(lost: Sequence[tuple[int, int]]) -> tuple[Pairs, bool]:
    """Return as many of the last ranges as an agent's ledger holds, and whether some are left."""
    return tuple(lost[-MAX_LOST_RANGES:]), len(lost) > MAX_LOST_RANGES
