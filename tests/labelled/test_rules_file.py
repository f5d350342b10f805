"""The rules file: what is wrong in it is said with the rule and the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from network_pipeline.errors import UsageError
from network_pipeline.labelled import rules_file

HEAD = "rules:\n  - name: one\n    label: attack\n    class: scan\n"


def load(tmp_path: Path, text: str) -> rules_file.RulesFile:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    return rules_file.load(path)


def test_everything_a_rule_can_say(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").touch()
    (tmp_path / "b.pcap").touch()
    found = load(
        tmp_path,
        """\
captures: "*.pcap"
rules:
  - name: one
    label: attempted
    class: scan
    overrides: [two]
    match:
      source: [edge-1, edge-2]
      session: 5b1a*
      file: "*.pcap"
      protocol: [tcp, 17]
      between: [{network: 192.0.2.0/24}, {network: "2001:db8::/32", port: [22, 8000-8099]}]
      src: {port: 1-1024}
      dst: {network: [192.0.2.1, 192.0.2.2]}
      time:
        - {from: 2018-01-27T15:40:04Z, to: 2018-01-27T17:40:05.5+01:00}
        - {from: 2018-01-27T18:00:00Z, to: 2018-01-27T19:00:00Z}
      where: tcp_flags = 2 AND frame_len > 60
  - {name: two, label: benign, match: {protocol: arp}}
alerts:
  - {name: ids, format: suricata-eve, file: eve.json, class: web, within_seconds: 1.5}
otherwise: {label: benign}
""",
    )
    one, two = found.rules
    assert (one.name, one.line, one.label, one.label_class) == ("one", 3, "attempted", "scan")
    assert (one.overrides, len(one.conditions)) == (["two"], 9)
    assert one.columns == {"tcp_flags", "frame_len"}
    assert (two.line, two.label, two.label_class, len(two.conditions)) == (
        19,
        "benign",
        "benign",
        1,
    )
    [alerts] = found.alerts
    assert alerts == rules_file.AlertFile(
        "ids", 21, "attack", "web", "suricata-eve", tmp_path / "eve.json", 1_500_000_000
    )
    assert found.otherwise == rules_file.Otherwise(22, "benign", "benign")
    assert found.captures == [tmp_path / "a.pcap", tmp_path / "b.pcap"]
    assert found.name == "rules.yaml"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "is empty"),
        ("rules: [", "rules.yaml: while parsing"),
        ("[]", "rules.yaml:1: must have captures, rules, alerts, otherwise"),
        ("otherwise: {label: benign}", "rules.yaml:1: has neither rules nor alerts"),
        ("rule: []", "rules.yaml:1: unknown key 'rule'"),
        ("rules: [{label: attack}]", "rules.yaml:1: rule without a name"),
        ("rules: &a [*a]", "rules.yaml:1: aliases are not supported"),
        ("rules: []", "rules.yaml:1: is empty"),
        (HEAD, "rules.yaml:2: rule 'one': needs match"),
        (HEAD + "    match: {}", "rules.yaml:5: rule 'one': must have some of source"),
        (HEAD + "    match: {protcol: tcp}", "rules.yaml:5: rule 'one': unknown key 'protcol'"),
        (HEAD + "    match: {protocol: tpc}", "5: rule 'one': tpc: must be 0 to 255 or one of"),
        (
            HEAD + "    match: {src: {network: 192.0.2.1/24}}",
            "5: rule 'one': 192.0.2.1/24: must be",
        ),
        (HEAD + "    match: {src: {port: 65536}}", "rule 'one': 65536: must be a port or a range"),
        (HEAD + "    match: {src: {port: 9-8}}", "rule 'one': 9-8: must be a port or a range"),
        (HEAD + "    match: {src: {}}", "rule 'one': must have network, port or both"),
        (HEAD + "    match: {between: [{port: 1}, {port: 2}, {port: 3}]}", "one or two ends"),
        (
            HEAD + "    match:\n      file:\n        - a\n        - {}",
            "8: rule 'one': must be a text",
        ),
        (HEAD + "    match: {time: {from: 2018-01-27T17:40:04Z}}", "must have from and to"),
        (
            HEAD + "    match: {time: {from: 2018-01-27 17:40:04, to: 2018-01-28T00:00:00Z}}",
            "rule 'one': 2018-01-27 17:40:04: must be a time with its offset",
        ),
        (
            HEAD + "    match: {time: {from: 2018-01-27T17:40:04Z, to: 2018-01-27T17:40:04Z}}",
            "from must be before to",
        ),
        (HEAD + "    match: {where: 'tcp_flags ='}", "rules.yaml:5: rule 'one': tcp_flags =: "),
        (
            HEAD + "    match: {where: 'frame_len IN (SELECT 1)'}",
            "rules.yaml:5: rule 'one': frame_len IN (SELECT 1): must be about one row, "
            "without subqueries and comments: no SELECT",
        ),
        (HEAD + "    name: two\n", "rules.yaml:5: 'name' is there twice"),
        (
            HEAD + "    match: {protocol: tcp}\n    overrides: [two]",
            "rules.yaml:2: rule 'one': overrides 'two', which is no rule further down",
        ),
        (
            HEAD + "    match: {protocol: tcp}\n  - {name: one, label: benign, match: {file: x}}",
            "two rules are named 'one'",
        ),
        (
            "rules: [{name: x, label: evil, class: y, match: {file: x}}]",
            "rules.yaml:1: rule 'x': evil: must be one of benign, attack, attempted",
        ),
        ("rules: [{name: x, label: attack, match: {file: x}}]", "attack needs class"),
        ("rules: [{name: x, match: {file: x}}]", "rule 'x': needs label"),
        ("alerts: [{name: x, file: y}]", "rules.yaml:1: alerts 'x': needs format"),
        ("alerts: [{name: x, file: y, format: snort}]", "snort: must be one of suricata-eve"),
        (HEAD + "    match: {protocol: tcp}\ncaptures: '*.none'", "captures: *.none: no such file"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, text)
    assert error in str(caught.value)


def test_scalars_are_texts_whatever_they_look_like(tmp_path: Path) -> None:
    found = load(tmp_path, "rules: [{name: no, label: benign, class: 22:22, match: {file: 1e3}}]")
    assert (found.rules[0].name, found.rules[0].label_class) == ("no", "22:22")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        rules_file.load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    "text",
    [
        "(select column_1 from read_csv('{}')) = 'x'",
        "frame_len IN (SELECT/**/column_1 FROM/**/\"read_csv\"('{}'))",
        "frame_len IN (FROM read_csv('{}'))",
        "frame_len IN ( from\n read_csv('{}'))",
        "frame_len IN (/**/FROM/**/read_csv('{}'))",
        "frame_len IN (VALUES (1))",
        "frame_len IN (WITH a AS (SELECT 1) SELECT 1)",
    ],
)
def test_an_expression_reads_no_files(tmp_path: Path, text: str) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("secret\n1\n")
    with pytest.raises(ValueError, match="must be about one row") as caught:
        rules_file._expression(text.format(secret))
    assert "valid columns" not in str(caught.value)
