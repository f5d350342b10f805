"""prepare-dataset and audit-dataset as commands, on packets that were captured by our own code."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import polars as pl
import pyarrow.parquet as pq
import pytest

from network_pipeline.flows import datasets, outputs, recording
from network_pipeline.flows.recording import FlowSettings
from network_pipeline.labelled import meaning, splitting, tables
from network_pipeline.ledger import AgentLedger, DatasetLedger, SessionLedger
from network_pipeline.metrics import Counters
from network_pipeline.schema import COLUMN_NAMES, COLUMNS
from network_pipeline.scripts import prepare_dataset
from tests import logging_state
from tests.labelled import traffic
from tests.labelled.test_cryptopan import KEY

COMMANDS = {"prepare-dataset": prepare_dataset.prepare, "audit-dataset": prepare_dataset.audit}
FILES = {
    "README.md", "audit.json", "manifest.json", "report.html", "rows.parquet", "training.parquet",
}  # fmt: skip
ADDED = ["file", "label", "label_class", "label_rule", "label_source", "split"]


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def run(name: str, *arguments: object, **variables: str) -> Done:
    """Run a command in this process, which has the packages loaded that take long to load."""
    out, err = io.StringIO(), io.StringIO()
    with (
        logging_state.kept(),
        mock.patch.dict(os.environ, variables),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = COMMANDS[name]([*map(str, arguments)])
    return Done(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def packets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return traffic.dataset(tmp_path_factory.mktemp("packets"))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, packets: Path) -> Iterator[Path]:
    directory = tmp_path_factory.mktemp("prepared")
    output = directory / "dataset"
    done = run("prepare-dataset", packets, "--labels", traffic.rules(directory), "--output", output)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == str(output)
    yield output
    assert os.listdir(directory) == ["dataset", "rules.yaml"] or set(os.listdir(directory)) == {
        "dataset", "rules.yaml",
    }  # fmt: skip


def digests(directory: Path) -> dict[str, str]:
    return {
        each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in directory.iterdir()
    }


def said(directory: Path) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((directory / "manifest.json").read_text())["prepared"]
    return manifest


def findings(directory: Path, level: str) -> list[tuple[str, str]]:
    audited = json.loads((directory / "audit.json").read_text())
    return [(f["check"], f["subject"]) for f in audited["findings"] if f["level"] == level]


def test_what_a_dataset_is(prepared: Path, packets: Path) -> None:
    assert {each.name for each in prepared.iterdir()} == FILES
    rows = pl.read_parquet(prepared / "rows.parquet")
    assert rows.columns == [*COLUMN_NAMES, *ADDED]
    before = pl.read_parquet(packets)
    assert rows.select(COLUMN_NAMES).equals(before)
    counts = rows.group_by("file", "label", "label_class", "label_rule", "label_source").len()
    assert sorted(counts.rows()) == sorted(
        [
            *(
                (f"web-{n}.pcap", "benign", "benign", "otherwise", "rules.yaml:6", 40)
                for n in (1, 2, 3, 4)
            ),
            *(
                (f"scan-{n}.pcap", "attack", "portscan", "scans", "rules.yaml:2", 40)
                for n in (1, 2, 3)
            ),
        ]
    )


def test_each_capture_is_on_one_side_and_each_side_has_attacks(prepared: Path) -> None:
    rows = pl.read_parquet(prepared / "rows.parquet")
    sides = rows.group_by("file").agg(pl.col("split").unique())
    assert sides["split"].list.len().to_list() == [1] * 7
    attacks = rows.filter(pl.col("label") == "attack").group_by("split").len()
    assert dict(attacks.iter_rows()) == {"train": 40, "validation": 40, "test": 40}


def test_the_training_view_has_features_and_labels_only(prepared: Path) -> None:
    rows = pl.read_parquet(prepared / "rows.parquet")
    training = pl.read_parquet(prepared / "training.parquet")
    features = [column.name for column in COLUMNS if column.role == "feature"]
    assert training.columns == [*features, "label", "label_class", "split"]
    assert training.equals(rows.select(training.columns))
    assert not {"ip_src", "tcp_dport", "frame_time", "ip_ttl", "session"} & set(training.columns)


def test_columns_say_their_role(prepared: Path) -> None:
    schema = pq.read_schema(prepared / "rows.parquet")
    roles = {column.name: column.metadata[b"role"].decode() for column in schema}
    assert roles == {
        **{column.name: column.role for column in COLUMNS},
        "file": "identity",
        **dict.fromkeys(ADDED[1:], "label"),
    }


def test_the_manifest(prepared: Path, packets: Path) -> None:
    manifest = json.loads((prepared / "manifest.json").read_text())
    files = {each["name"]: each["sha256"] for each in manifest["distribution"]}
    assert files == {name: digests(prepared)[name] for name in ("rows.parquet", "training.parquet")}
    facts = manifest["prepared"]
    assert facts["rows"] == {"read": 280, "duplicates": 0, "written": 280, "unlabelled": 0}
    [source] = facts["inputs"]
    assert (source["name"], source["rows"], source["facts"]["source"]) == (
        "packets.parquet", 280, "edge",
    )  # fmt: skip
    assert source["sha256"] == hashlib.sha256(packets.read_bytes()).hexdigest()
    assert [(r["name"], r["matched"], r["decided"]) for r in facts["rules"]] == [
        ("scans", 120, 120), ("otherwise", 160, 160),
    ]  # fmt: skip
    split = facts["split"]
    assert (split["by"], split["groups"], split["rows_in_none"]) == ("session", 7, 0)
    assert sum(split["rows"].values()) == 280
    assert str(prepared.parent) not in (prepared / "manifest.json").read_text()


def test_the_same_inputs_give_the_same_bytes(prepared: Path, packets: Path, tmp_path: Path) -> None:
    labels = traffic.rules(tmp_path)
    output = tmp_path / "dataset"
    for _ in range(2):  # the second time it replaces the first
        done = run("prepare-dataset", packets, "--labels", labels, "--output", output)
        assert done.returncode == 0, done.stderr
        assert digests(output) == digests(prepared)
    assert sorted(os.listdir(tmp_path)) == ["dataset", "rules.yaml"]


def test_the_size_of_batches_does_not_matter(
    prepared: Path, packets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (tables, splitting):
        monkeypatch.setattr(module, "BATCH_ROWS", 7)
    labels, output = traffic.rules(tmp_path), tmp_path / "dataset"
    done = run("prepare-dataset", packets, "--labels", labels, "--output", output)
    assert done.returncode == 0, done.stderr
    assert digests(output) == digests(prepared)


def test_csv_gives_the_same_rows(prepared: Path, tmp_path: Path) -> None:
    files = traffic.dataset(tmp_path, "csv")
    # CSV does not say which files it was made of: the rules do.
    labels = traffic.rules(tmp_path, "captures: '*.pcap'\n" + traffic.RULES)
    done = run("prepare-dataset", files, "--labels", labels, "--output", tmp_path / "dataset")
    assert done.returncode == 0, done.stderr
    for name in ("rows.parquet", "training.parquet"):
        ours, theirs = (pl.read_parquet(place / name) for place in (tmp_path / "dataset", prepared))
        assert ours.drop("label_source", strict=False).equals(
            theirs.drop("label_source", strict=False)
        )


def test_frames_that_came_before_are_dropped(packets: Path, tmp_path: Path) -> None:
    rows = pl.read_parquet(packets)
    rows[:100].write_parquet(tmp_path / "one.parquet")
    pl.concat([rows[50:], rows[260:]]).write_parquet(tmp_path / "two.parquet")
    pl.concat([rows[:100]]).write_parquet(tmp_path / "again.parquet")
    labels = traffic.rules(tmp_path, "rules: [{name: x, label: benign, match: {protocol: udp}}]")
    inputs = [tmp_path / f"{name}.parquet" for name in ("one", "two", "again")]
    done = run("prepare-dataset", *inputs, "--labels", labels, "--output", tmp_path / "dataset")
    assert done.returncode == 0, done.stderr
    assert "again.parquet is the same as" in done.stderr
    found = pl.read_parquet(tmp_path / "dataset" / "rows.parquet")
    assert found.select(COLUMN_NAMES).equals(rows)
    facts = said(tmp_path / "dataset")
    assert facts["rows"] == {"read": 350, "duplicates": 70, "written": 280, "unlabelled": 280}
    assert [each["rows"] for each in facts["inputs"]] == [100, 180]
    assert found["label"].null_count() == 280


@pytest.mark.parametrize("by", ["file", "connection", "host"])
def test_groups_are_on_one_side(packets: Path, tmp_path: Path, by: str) -> None:
    labels = traffic.rules(tmp_path)
    output = tmp_path / "dataset"
    done = run("prepare-dataset", packets, "--labels", labels, "--output", output, "--split-by", by)
    assert done.returncode == 0, done.stderr
    rows = pl.read_parquet(output / "rows.parquet")
    names = rows.columns
    key = {
        "file": pl.col("file"),
        "connection": meaning.connection(names),
        "host": meaning.pair(names),
    }[by]
    sides = rows.select(key.alias("key"), "split").group_by("key").agg(pl.col("split").unique())
    assert set(sides["split"].list.len()) == {1}
    # Web clients are four, scans come from one host, connections are 40 and ports 120.
    assert said(output)["split"]["groups"] == {"file": 7, "connection": 160, "host": 5}[by]
    assert ("groups", "connections") not in findings(output, "failure")


def test_split_by_time_with_a_gap(packets: Path, tmp_path: Path) -> None:
    labels, output = traffic.rules(tmp_path), tmp_path / "dataset"
    arguments = ["--split-by", "time", "--purge-seconds", "20", "--fractions", "0.5,0.0,0.5"]
    done = run("prepare-dataset", packets, "--labels", labels, "--output", output, *arguments)
    assert done.returncode == 0, done.stderr
    rows = pl.read_parquet(output / "rows.parquet").with_columns(
        pl.col("frame_time").cast(pl.Int64)
    )
    last = rows.filter(pl.col("split") == "train")["frame_time"].max()
    first = rows.filter(pl.col("split") == "test")["frame_time"].min()
    assert isinstance(last, int)
    assert isinstance(first, int)
    assert first - last > 20 * traffic.SECOND_NS
    facts = said(output)["split"]
    assert facts["rows"]["validation"] == 0
    assert facts["rows"]["train"] + facts["rows"]["test"] + facts["rows_in_none"] == 280
    assert facts["rows_in_none"] == rows["split"].null_count() > 0


def test_the_audit_passes_an_honest_split_and_says_what_it_found(prepared: Path) -> None:
    done = run("audit-dataset", prepared)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{prepared}:\n")
    assert "0 failures" in done.stdout.splitlines()[-1]
    as_json = run("audit-dataset", prepared, "--format", "json")
    assert as_json.stdout == (prepared / "audit.json").read_text()
    assert run("audit-dataset", prepared, "--fail-on", "warning").returncode == 1


def test_the_audit_fails_a_random_split(prepared: Path, tmp_path: Path) -> None:
    """What a split by row hides: both sides have rows of the same connections."""
    directory = tmp_path / "random"
    directory.mkdir()
    for name in FILES:
        (directory / name).write_bytes((prepared / name).read_bytes())
    schema = pq.read_schema(prepared / "rows.parquet")
    rows = pl.read_parquet(prepared / "rows.parquet")
    sides = pl.Series("split", ["train", "train", "test"] * 100)[: rows.height]
    pq.write_table(
        rows.with_columns(sides).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema),
        directory / "rows.parquet",
    )
    done = run("audit-dataset", directory)
    assert done.returncode == 1
    assert done.stderr == f"audit-dataset: not as it should be: {directory}\n"
    lines = [line for line in done.stdout.splitlines() if line.startswith("failure")]
    assert lines == [
        "failure  groups           connections: 40 with rows in training and in test, 160 rows",
        "failure  groups           sessions: 7 with rows in training and in test, 280 rows",
    ]


def test_a_kept_port_is_in_the_view_and_fails_the_audit(packets: Path, tmp_path: Path) -> None:
    labels, output = traffic.rules(tmp_path), tmp_path / "dataset"
    done = run(
        "prepare-dataset", packets, "--labels", labels, "--output", output, "--keep", "tcp_dport"
    )
    assert done.returncode == 0, done.stderr
    assert "tcp_dport" in pl.read_parquet(output / "training.parquet").columns
    assert findings(output, "failure") == [("separability", "tcp_dport")]
    assert "<code>tcp_dport</code>" in (output / "report.html").read_text()
    assert run("audit-dataset", output).returncode == 1


def test_anonymized(packets: Path, tmp_path: Path) -> None:
    labels, key = traffic.rules(tmp_path), tmp_path / "key"
    key.write_bytes(KEY)
    key.chmod(0o600)
    arguments = ["--anonymize", "yes", "--key-file", key]
    for name in ("one", "two"):
        output = tmp_path / name / "dataset"
        output.parent.mkdir()
        done = run("prepare-dataset", packets, "--labels", labels, "--output", output, *arguments)
        assert done.returncode == 0, done.stderr
    assert digests(tmp_path / "one" / "dataset") == digests(tmp_path / "two" / "dataset")
    rows = pl.read_parquet(output / "rows.parquet")
    before = pl.read_parquet(packets)
    assert not set(rows["ip_src"]) & set(before["ip_src"])
    assert rows["ip_src"].n_unique() == before["ip_src"].n_unique()
    assert set(rows["raw_load"]) == {None}
    assert rows["raw_len"].equals(before["raw_len"])
    whole = b"".join(path.read_bytes() for path in output.iterdir())
    assert traffic.ATTACKER.encode() not in whole
    assert said(output)["inputs"][0]["facts"].keys() == {"schema"}
    # The split was made before, by who they are: it is the same as without.
    assert said(output)["anonymized"] is True


def test_a_key_is_made_when_it_is_first_needed(packets: Path, tmp_path: Path) -> None:
    labels = traffic.rules(tmp_path)
    arguments = ("prepare-dataset", packets, "--labels", labels, "--anonymize", "yes")
    state = {"XDG_STATE_HOME": str(tmp_path / "state")}
    for name in ("one", "two"):
        done = run(*arguments, "--output", tmp_path / name, **state)
        assert done.returncode == 0, done.stderr
    one, two = (digests(tmp_path / name)["rows.parquet"] for name in ("one", "two"))
    assert one == two
    [key] = (tmp_path / "state").rglob("anonymize.key")
    assert (key.stat().st_mode & 0o777, key.stat().st_size) == (0o600, 32)


def test_losses_of_ledgers_are_told(packets: Path, tmp_path: Path) -> None:
    live, flows = tmp_path / "live.parquet", tmp_path / "flows.parquet"
    live.write_bytes(packets.read_bytes())
    agent = AgentLedger("edge", "one", captured=300, kernel_dropped=4, shed=3)
    sessions = {"one": SessionLedger(rejected=2, agent=agent), "two": SessionLedger()}
    ledger = DatasetLedger("live.parquet", sessions=sessions)
    (tmp_path / "live.parquet.ledger.json").write_bytes(ledger.text())
    counters = Counters(*recording.COUNTED)
    of = outputs.Outputs(str(flows))
    with outputs.recording(of, FlowSettings(), counters, joins=True) as made:
        datasets.read([str(live)], made, threading.Event(), all_columns=False)
        made.finish()
    labels, output = traffic.rules(tmp_path), tmp_path / "dataset"
    for path in (live, flows):  # those of packets are those of their flows
        done = run("prepare-dataset", path, "--labels", labels, "--output", output)
        assert done.returncode == 0, done.stderr
        [losses] = [each["losses"] for each in said(output)["inputs"]]
        assert losses == {"rejected": 2, "shed": 3, "kernel_dropped": 4}
        assert ("losses", path.name) in findings(output, "warning")
    (tmp_path / "live.parquet.ledger.json").write_text("{}")
    code, error = wrong(tmp_path, [live])
    assert code == 1
    assert "live.parquet.ledger.json: " in error


def test_flows_are_prepared_like_packets(tmp_path: Path) -> None:
    count = 60
    flows = pl.DataFrame(
        {
            "flow_id": [f"f{n}" for n in range(count)],
            "session": [f"s{n % 6}" for n in range(count)],
            "src_ip": [f"192.0.2.{n % 6}" for n in range(count)],
            "dst_ip": ["198.51.100.1"] * count,
            "src_port": [1000 + n for n in range(count)],
            "dst_port": [80, 22] * (count // 2),
            "protocol": [6] * count,
            "start_time": [n * traffic.SECOND_NS for n in range(count)],
            "end_time": [n * traffic.SECOND_NS + 5 for n in range(count)],
            "packets": [n % 7 for n in range(count)],
            "first_lengths": [[n % 3, 40] for n in range(count)],
        }
    ).with_columns(pl.col("start_time", "end_time").cast(pl.Datetime("ns", "UTC")))
    flows.write_parquet(tmp_path / "flows.parquet")
    text = flows.drop("first_lengths")
    text.write_csv(tmp_path / "flows.csv", datetime_format="%Y-%m-%dT%H:%M:%S%.9fZ")
    rule = "{name: ssh, label: attack, class: guess, match: {between: {port: 22}}}"
    labels = traffic.rules(tmp_path, f"rules: [{rule}]\notherwise: {{label: benign}}")
    for ending in ("parquet", "csv"):
        output = tmp_path / ending
        done = run("prepare-dataset", tmp_path / f"flows.{ending}", "--labels", labels, "--output",
                   output, "--split-by", "host")  # fmt: skip
        assert done.returncode == 0, done.stderr
        training = pl.read_parquet(output / "training.parquet")
        features = [name for name in training.columns if name not in ADDED]
        lists = ["first_lengths"] if ending == "parquet" else []
        assert features == ["protocol", "packets", *lists]
        assert dict(training.group_by("label").len().iter_rows()) == {"attack": 30, "benign": 30}
        times = pl.read_parquet(output / "rows.parquet")["end_time"]
        assert times.cast(pl.Int64)[7] == 7 * traffic.SECOND_NS + 5
        assert times.dtype == pl.Datetime("ns", "UTC")
        assert said(output)["kind"] == "flows"
        fields = json.loads((output / "manifest.json").read_text())["recordSet"][1]["field"]
        assert {each["name"]: each["dataType"] for each in fields}["packets"] == "sc:Integer"
        repeated = [each["name"] for each in fields if each.get("repeated")]
        assert repeated == lists
        assert said(output)["split"]["groups"] == 6


def test_packets_of_no_session_are_taken_as_they_are(packets: Path, tmp_path: Path) -> None:
    pl.read_parquet(packets).drop("session").write_parquet(tmp_path / "x.parquet")
    done = run("prepare-dataset", tmp_path / "x.parquet", "--labels", traffic.rules(
        tmp_path, "rules: [{name: a, label: benign, match: {between: {port: 80}}}]"),
        "--output", tmp_path / "out", "--split-by", "connection")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert said(tmp_path / "out")["rows"]["written"] == 280


def test_alerts_are_accounted_for(packets: Path, tmp_path: Path) -> None:
    guess = {"ts": 1_700_000_100.0, "note": "SSH::Password_Guessing", "src": traffic.ATTACKER}
    scan = {"ts": 1_700_000_100.0, "note": "Scan", "src": traffic.ATTACKER, "dst": traffic.SERVER}
    notices = "".join(json.dumps(each) + "\n" for each in (guess, scan))
    (tmp_path / "notice.log").write_text(notices)
    (tmp_path / "eve.json").write_text('{"event_type": "stats"}\n')
    labels = traffic.rules(
        tmp_path,
        """\
alerts:
  - {name: zeek, format: zeek-notice, file: notice.log, class: scan, within_seconds: 3600}
  - {name: suricata, format: suricata-eve, file: eve.json}
otherwise: {label: benign}
""",
    )
    output = tmp_path / "out"
    done = run("prepare-dataset", packets, "--labels", labels, "--output", output)
    assert done.returncode == 0, done.stderr
    assert said(output)["alerts"] == [
        {
            "name": name,
            "file": file,
            "sha256": hashlib.sha256((tmp_path / file).read_bytes()).hexdigest(),
            "alerts": alerts,
            "without_connection": others,
        }
        for name, file, alerts, others in (
            ("zeek", "notice.log", 2, 1), ("suricata", "eve.json", 0, 0),
        )
    ]  # fmt: skip
    assert [
        line.split("  ")[-1]
        for line in done.stdout.splitlines()
        if line.split()[:2] in (["warning", "rules"], ["note", "rules"])
    ] == [
        "zeek: 1 of 2 alerts name no two hosts, and label nothing",
        "suricata: no alerts in eve.json",
        "coverage: rules and alerts decided 42.9% of rows, otherwise 57.1%",
    ]
    digest = hashlib.sha256(notices.encode()).hexdigest()
    assert f"sha256 <code>{digest}</code>" in (output / "report.html").read_text()


def wrong(
    tmp_path: Path, files: list[Path], *arguments: str, text: str = traffic.RULES
) -> tuple[int, str]:
    labels = traffic.rules(tmp_path, text)
    done = run(
        "prepare-dataset", *files, "--labels", labels, "--output", tmp_path / "out", *arguments
    )
    assert done.stdout == ""
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]
    return done.returncode, done.stderr


def test_bad_inputs_are_one_line(packets: Path, tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1")
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    assert wrong(tmp_path, [tmp_path / "none.csv"])[0] == 2
    assert "No such file" in wrong(tmp_path, [tmp_path / "none.parquet"])[1]
    assert "x.parquet: " in wrong(tmp_path, [tmp_path / "x.parquet"])[1]
    assert "neither packets" in wrong(tmp_path, [tmp_path / "x.csv"])[1]
    assert "ends in .parquet or .csv" in wrong(tmp_path, [tmp_path / "rules.yaml"])[1]
    assert "no column ip_source to keep" in wrong(tmp_path, [packets], "--keep", "ip_source")[1]
    assert "must be three shares" in wrong(tmp_path, [packets], "--fractions", "1,1,1")[1]
    assert (
        "rule 'x': unknown key"
        in wrong(tmp_path, [packets], text="rules: [{name: x, label: benign, match: {ip: 1}}]")[1]
    )
    assert wrong(tmp_path, [packets], text=traffic.RULES.replace("scan-*", "*") + """
""" + "alerts: [{name: i, format: suricata-eve, file: none.json}]\n")[0] == 2  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_contradictions_leave_nothing(packets: Path, tmp_path: Path) -> None:
    text = traffic.RULES.replace(
        "otherwise", "  - {name: web, label: benign, match: {protocol: tcp}}\notherwise"
    )
    code, error = wrong(tmp_path, [packets], text=text)
    assert (code, error) == (
        2,
        "prepare-dataset: 'scans' (rules.yaml:2) and 'web' (rules.yaml:6) contradict each other "
        "about 120 rows; let one say overrides: [the other]\n",
    )


def test_no_rows(packets: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text(",".join(COLUMN_NAMES) + "\n")
    code, error = wrong(tmp_path, [tmp_path / "empty.csv"])
    assert (code, error) == (2, f"prepare-dataset: {tmp_path}/empty.csv: there are no rows\n")


def test_a_signal_ends_it_and_leaves_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "slow.csv")
    code = (
        "from network_pipeline.scripts.prepare_dataset import prepare as p; raise SystemExit(p())"
    )
    arguments = ["slow.csv", "--labels", str(traffic.rules(tmp_path)), "--output", "out"]
    with (
        subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
        (tmp_path / "slow.csv").open("w"),
    ):  # it is open there as well now
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert error.splitlines()[-1].endswith(": stopped; nothing was written")
    assert sorted(os.listdir(tmp_path)) == ["rules.yaml", "slow.csv"]


def test_a_prepared_dataset_is_no_input(prepared: Path, tmp_path: Path) -> None:
    code, error = wrong(tmp_path, [prepared / "rows.parquet"])
    assert code == 2
    assert "has file, label, label_class, label_rule, label_source, split already" in error


def test_what_is_no_dataset_is_not_replaced(packets: Path, tmp_path: Path) -> None:
    labels = traffic.rules(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    done = run("prepare-dataset", packets, "--labels", labels, "--output", tmp_path / "out")
    assert done.returncode == 1
    assert "exists and is no dataset" in done.stderr
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


def test_no_dataset_to_audit(tmp_path: Path) -> None:
    done = run("audit-dataset", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "no dataset" in done.stderr
