"""The rules file: what makes a row benign, an attack or an attempted one, and where that is known.

::

    captures: ../pcaps/*.pcap       # names sessions by the files that they were made of
    rules:
      - name: ssh-guessing
        label: attack               # benign, attack or attempted (an attack without effect)
        class: brute-force          # what benign ones need not have
        overrides: [office]         # rules further down that may say otherwise of the same rows
        match:                      # all of these
          between: [{network: 203.0.113.9}, {network: 192.0.2.0/24, port: 22}]
          time: {from: 2018-01-27T17:00:00Z, to: 2018-01-27T18:00:00Z}
    alerts:
      - {name: suricata, format: suricata-eve, file: eve.json, label: attack}
    otherwise: {label: benign}      # rows that nothing matched; without it they have no label

The first rule that matches labels the row; alerts come behind all rules.
"""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from network_pipeline import rules
from network_pipeline.errors import UsageError
from network_pipeline.labelled import conditions, yaml_items
from network_pipeline.labelled.conditions import Condition, End
from network_pipeline.labelled.yaml_items import Item

STATES = ("benign", "attack", "attempted")
ALERT_FORMATS = ("suricata-eve", "zeek-notice")

#: Seconds before and after an alert's own times in which rows of its connection are its.
_ALERT_SECONDS = 60.0

#: What expressions must not have, also in a text: whoever wrote the file could read others with it.
_BEYOND_THE_ROW = re.compile(r"\b(?:select|values|read_\w+)\b|\(\s*from\b|/\*|--", re.IGNORECASE)


@dataclass(frozen=True)
class Rule:
    """One rule: rows that meet all conditions get its label and class."""

    name: str
    line: int
    label: str
    label_class: str
    overrides: Sequence[str]
    conditions: Sequence[Condition]
    columns: frozenset[str]


@dataclass(frozen=True)
class AlertFile:
    """Alerts of another tool; their class is their own name where the file gives none."""

    name: str
    line: int
    label: str
    label_class: str | None
    format: str
    path: Path
    within_ns: int


@dataclass(frozen=True)
class Otherwise:
    """What rows are that nothing matched."""

    line: int
    label: str
    label_class: str


@dataclass(frozen=True)
class RulesFile:
    """A rules file, read and checked."""

    name: str
    sha256: str
    rules: Sequence[Rule]
    alerts: Sequence[AlertFile]
    otherwise: Otherwise | None
    captures: Sequence[Path]


def load(path: Path) -> RulesFile:
    """Read a rules file.

    Raises:
        UsageError: it cannot be read, or something in it is wrong; the rule and line are named.
    """
    top = yaml_items.load(path)
    found = top.mapping("captures", "rules", "alerts", "otherwise")
    ruled = [_rule(item) for item in found["rules"].each()] if "rules" in found else []
    alerts = [_alert_file(each, path.parent) for each in _optional(found, "alerts")]
    if not ruled and not alerts:
        raise top.error("has neither rules nor alerts")
    _check_names(top, ruled, alerts)
    return RulesFile(
        path.name,
        hashlib.sha256(path.read_bytes()).hexdigest(),
        ruled,
        alerts,
        _otherwise(found["otherwise"]) if "otherwise" in found else None,
        [file for each in _optional(found, "captures") for file in _globbed(each, path.parent)],
    )


def _optional(found: dict[str, Item], key: str) -> Sequence[Item]:
    return found[key].each() if key in found else ()


def _check_names(top: Item, ruled: Sequence[Rule], alerts: Sequence[AlertFile]) -> None:
    names = [*(each.name for each in ruled), *(each.name for each in alerts)]
    for name in names:
        if names.count(name) > 1:
            raise top.error(f"two rules are named {name!r}")
    for rule in ruled:
        for name in rule.overrides:
            if name not in names[names.index(rule.name) + 1 :]:
                raise UsageError(
                    f"{top.file}:{rule.line}: rule {rule.name!r}: overrides {name!r}, "
                    "which is no rule further down"
                )


def _rule(item: Item) -> Rule:
    item = _named(item, "rule")
    given = item.mapping("name", "label", "class", "overrides", "match")
    label, label_class = _labels(item, given)
    if "match" not in given:
        raise item.error("needs match: what rows it is about")
    match = given["match"].mapping(*_CONDITIONS, "where")
    if not match:
        raise given["match"].error(f"must have some of {', '.join((*_CONDITIONS, 'where'))}")
    parsed = [_CONDITIONS[key](each) for key, each in match.items() if key != "where"]
    columns: frozenset[str] = frozenset()
    if "where" in match:
        expression = match["where"].parsed(_expression)
        columns = frozenset(expression.meta.root_names())
        parsed.append(conditions.where(expression))
    names = [each.text() for each in _optional(given, "overrides")]
    return Rule(given["name"].text(), item.line, label, label_class, names, parsed, columns)


def _alert_file(item: Item, directory: Path) -> AlertFile:
    keys = ("name", "label", "class", "format", "file", "within_seconds")
    item = _named(item, "alerts")
    given = item.mapping(*keys)
    for key in ("format", "file"):
        if key not in given:
            raise item.error(f"needs {key}")
    label = given["label"].parsed(rules.one_of(*STATES)) if "label" in given else "attack"
    seconds = _ALERT_SECONDS
    if "within_seconds" in given:
        seconds = given["within_seconds"].parsed(rules.number(0))
    return AlertFile(
        given["name"].text(),
        item.line,
        label,
        given["class"].parsed(_word) if "class" in given else None,
        given["format"].parsed(rules.one_of(*ALERT_FORMATS)),
        directory / given["file"].text(),
        round(seconds * 1e9),
    )


def _otherwise(item: Item) -> Otherwise:
    item = item.named("otherwise")
    given = item.mapping("label", "class")
    return Otherwise(item.line, *_labels(item, given))


def _named(item: Item, kind: str) -> Item:
    name = item.value.get("name") if isinstance(item.value, dict) else None
    if name is None:
        raise item.error(f"{kind} without a name")
    return item.named(f"{kind} {name.parsed(_word)!r}")


def _labels(item: Item, given: dict[str, Item]) -> tuple[str, str]:
    if "label" not in given:
        raise item.error(f"needs label: {', '.join(STATES)}")
    label = given["label"].parsed(rules.one_of(*STATES))
    if "class" in given:
        return label, given["class"].parsed(_word)
    if label != "benign":
        raise item.error(f"{label} needs class: which attack it is")
    return label, label


def _word(text: str) -> str:
    if not re.fullmatch(r"[^\x00-\x1f\x7f]{1,200}", text):
        raise ValueError("must be 1 to 200 printable characters")
    return text


def _expression(text: str) -> pl.Expr:
    if found := _BEYOND_THE_ROW.search(text):
        raise ValueError(f"must be about one row, without subqueries and comments: no {found[0]}")
    try:
        return pl.sql_expr(text)
    except pl.exceptions.PolarsError as error:
        raise ValueError(str(error).partition("\n")[0]) from None


def _globbed(item: Item, directory: Path) -> list[Path]:
    found = sorted(glob.glob(item.text(), root_dir=directory))
    if not found:
        raise item.error(f"captures: {item.text()}: no such file")
    return [directory / each for each in found]


# -- conditions by their key -----------------------------------------------------------------------


def _texts(name: str) -> Callable[[Item], Condition]:
    return lambda item: conditions.matches(name, [each.text() for each in item.each()])


def _protocols(item: Item) -> Condition:
    numbers = [each.parsed(conditions.protocol_number) for each in item.each()]
    return conditions.protocol(numbers)


def _end(item: Item) -> End:
    given = item.mapping("network", "port")
    if not given:
        raise item.error("must have network, port or both")
    return End(
        [each.parsed(conditions.network) for each in _optional(given, "network")],
        [each.parsed(conditions.ports) for each in _optional(given, "port")],
    )


def _side(name: str) -> Callable[[Item], Condition]:
    return lambda item: conditions.end_is(_end(item), name)


def _between(item: Item) -> Condition:
    ends = [_end(each) for each in item.each()]
    if len(ends) > 2:
        raise item.error("between has one or two ends")
    return conditions.between(ends)


def _windows(item: Item) -> Condition:
    windows = []
    for each in item.each():
        given = each.mapping("from", "to")
        if len(given) < 2:
            raise each.error("must have from and to")
        first, last = (given[key].parsed(conditions.time_ns) for key in ("from", "to"))
        if first >= last:
            raise each.error("from must be before to")
        windows.append((first, last))
    return conditions.starts_in(windows)


_CONDITIONS: dict[str, Callable[[Item], Any]] = {
    "source": _texts("source"),
    "session": _texts("session"),
    "file": _texts("file"),
    "protocol": _protocols,
    "between": _between,
    "src": _side("src"),
    "dst": _side("dst"),
    "time": _windows,
}
