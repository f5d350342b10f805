"""What an audit says: findings with a level, for a person and for a program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

#: From bad to good. A failure makes results on the dataset wrong; a warning may explain them.
LEVELS = ("failure", "warning", "note")


class Finding(NamedTuple):
    """One thing that was found: by which check, how bad, about what, in words and numbers."""

    check: str
    level: str
    subject: str
    text: str
    numbers: Mapping[str, Any]


def failure(check: str, subject: str, text: str, **numbers: Any) -> Finding:
    """Return a finding that makes results wrong."""
    return Finding(check, "failure", subject, text, numbers)


def warning(check: str, subject: str, text: str, **numbers: Any) -> Finding:
    """Return a finding that may explain results."""
    return Finding(check, "warning", subject, text, numbers)


def note(check: str, subject: str, text: str, **numbers: Any) -> Finding:
    """Return a finding that is good to know."""
    return Finding(check, "note", subject, text, numbers)


def ordered(found: Sequence[Finding]) -> list[Finding]:
    """Return findings, the worst first, otherwise as they were found."""
    return sorted(found, key=lambda each: LEVELS.index(each.level))


def counts(found: Sequence[Finding]) -> dict[str, int]:
    """Return how many findings there are of every level."""
    return {level: sum(each.level == level for each in found) for level in LEVELS}


def lines(found: Sequence[Finding]) -> Iterator[str]:
    """Yield a table."""
    width = max((len(each.check) for each in found), default=0)
    for each in ordered(found):
        yield f"{each.level:8} {each.check:{width}}  {each.subject}: {each.text}"
    yield ", ".join(f"{count} {level}s" for level, count in counts(found).items())
