"""Labels: the first rule that matches, whatever the rules, and everything counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from network_pipeline.errors import UsageError
from network_pipeline.labelled import rules_file
from network_pipeline.labelled.labels import LABEL_COLUMNS, Labeller, Overlap
from tests.labelled import test_alerts, traffic


def labeller(path: Path, text: str) -> Labeller:
    file = path / "rules.yaml"
    file.write_text(text)
    made = Labeller(rules_file.load(file))
    made.load()
    return made


def labelled(made: Labeller, rows: Any) -> list[tuple[Any, ...]]:
    columns = made.label(rows)
    assert tuple(each.name for each in columns) == LABEL_COLUMNS
    return list(zip(*(each.to_list() for each in columns), strict=True))


PORTS = traffic.rows([{"udp_dport": port} for port in (1, 2, 3, 4, None)])


def rule(name: str, ports: str, label: str = "attack", **more: Any) -> str:
    match = {"dst": {"port": ports.split()}}
    said = {"name": name, "label": label, "class": name, "match": match, **more}
    return f"  - {json.dumps(said)}\n"


def test_the_first_rule_decides_and_says_where_it_stands(tmp_path: Path) -> None:
    text = "rules:\n" + rule("low", "1-2", overrides=["all"]) + rule("all", "1-3", "attempted")
    made = labeller(tmp_path, text)
    low = ("attack", "low", "low", "rules.yaml:2")
    assert labelled(made, PORTS) == [
        low, low, ("attempted", "all", "all", "rules.yaml:3"), (None,) * 4, (None,) * 4,
    ]  # fmt: skip
    counts = made.counts
    assert (counts.matched.tolist(), counts.decided.tolist(), counts.unlabelled) == (
        [2, 3],
        [2, 1],
        2,
    )
    first, other = made.entries
    assert made.overlaps() == [Overlap(first, other, 2, is_conflict=False)]
    made.check_conflicts()


def test_rules_that_contradict_each_other_are_an_error(tmp_path: Path) -> None:
    made = labeller(tmp_path, "rules:\n" + rule("low", "1-2") + rule("all", "1-3"))
    labelled(made, PORTS)
    labelled(made, PORTS)
    with pytest.raises(UsageError) as caught:
        made.check_conflicts()
    assert str(caught.value) == (
        "'low' (rules.yaml:2) and 'all' (rules.yaml:3) contradict each other about 4 rows; "
        "let one say overrides: [the other]"
    )


def test_rules_that_say_the_same_are_no_conflict(tmp_path: Path) -> None:
    more = {"class": "scan"}
    made = labeller(tmp_path, "rules:\n" + rule("a", "1", **more) + rule("b", "1-2", **more))
    labelled(made, PORTS)
    assert [each.is_conflict for each in made.overlaps()] == [False]
    made.check_conflicts()


def test_otherwise_is_for_the_rest_and_conflicts_with_nothing(tmp_path: Path) -> None:
    made = labeller(tmp_path, "rules:\n" + rule("one", "1") + "otherwise: {label: benign}\n")
    rest = ("benign", "benign", "otherwise", "rules.yaml:3")
    assert labelled(made, PORTS)[1:] == [rest] * 4
    assert (made.counts.matched.tolist(), made.counts.unlabelled, made.overlaps()) == (
        [1, 4],
        0,
        [],
    )


def test_alerts_come_behind_rules(tmp_path: Path) -> None:
    (tmp_path / "eve.json").write_text(
        json.dumps(test_alerts.eve())
        + "\n"
        + json.dumps(test_alerts.eve(alert={"signature": "WORM", "severity": 1}))
    )
    text = "alerts:\n  - {name: ids, format: suricata-eve, file: eve.json, within_seconds: 10}\n"
    made = labeller(tmp_path, text)
    worm = ("attack", "WORM", "ids: WORM", "eve.json")
    assert labelled(made, test_alerts.ROWS) == [worm, worm, *[(None,) * 4] * 3]
    made.check_conflicts()  # signatures of one file do not conflict
    made = labeller(tmp_path, "rules:\n" + rule("web", "80", "benign") + text)
    assert labelled(made, test_alerts.ROWS)[0][2] == "web"
    with pytest.raises(UsageError, match=r"'web' .* and 'ids: WORM' .* 1 rows"):
        made.check_conflicts()


def test_an_expression_needs_its_columns(tmp_path: Path) -> None:
    text = "rules: [{name: x, label: benign, match: {where: tcp_flag = 2}}]"
    with pytest.raises(
        UsageError, match=r"rules.yaml:1: rule 'x': where: there is no column tcp_f"
    ):
        labeller(tmp_path, text).check_columns(["tcp_flags"])


def test_an_expression_of_the_wrong_type(tmp_path: Path) -> None:
    made = labeller(tmp_path, "rules: [{name: x, label: benign, match: {where: udp_dport = 'a'}}]")
    with pytest.raises(UsageError, match=r"rules.yaml:1: rule 'x': where: cannot compare"):
        labelled(made, PORTS)


ranges = st.tuples(st.integers(1, 6), st.integers(1, 6)).map(sorted)


@given(
    st.lists(ranges, min_size=1, max_size=6), st.lists(st.integers(0, 7), min_size=1, max_size=30)
)
def test_as_in_plain_python(
    tmp_path_factory: pytest.TempPathFactory, spans: list[list[int]], ports: list[int]
) -> None:
    names = [f"r{place}" for place in range(len(spans))]
    text = "rules:\n" + "".join(
        rule(name, f"{first}-{last}", overrides=names[place + 1 :] or ["last"])
        for place, (name, (first, last)) in enumerate(zip(names, spans, strict=True))
    )
    text += rule("last", "9")
    made = labeller(tmp_path_factory.mktemp("rules"), text)
    found = labelled(made, traffic.rows([{"udp_dport": port} for port in ports]))
    matching = [[n for n, (a, b) in zip(names, spans, strict=True) if a <= p <= b] for p in ports]
    assert [row[2] for row in found] == [each[0] if each else None for each in matching]
    flat = [name for each in matching for name in each]
    assert made.counts.matched.tolist() == [*(flat.count(name) for name in names), 0]
    assert made.counts.unlabelled == sum(not each for each in matching)
    counted = {(one.first.name, one.other.name): one.rows for one in made.overlaps()}
    assert sum(counted.values()) == sum(len(each) - 1 for each in matching if each)
    made.check_conflicts()
