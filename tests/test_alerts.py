"""The alerts of ``docker/monitoring``: made of metrics that exist, and said when they should be.

Where Prometheus' promtool is on PATH, it checks the files and runs the rules on made-up series, one
sample each ten seconds; elsewhere only that is skipped, also in CI.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.test_exposition import KNOWN

MONITORING = Path(__file__).resolve().parents[1] / "docker" / "monitoring"
RULES = [
    rule
    for group in yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
LABELS = {"job": "network-pipeline", "instance": "127.0.0.1:9106"}
AGENT, PROCESSOR = "network_pipeline_agent_", "network_pipeline_processor_"

#: Of each alert: series, by metric, worker and bound, that begin when all is well; when it is not
#: said yet, and when it is; the sentence.
CASES: dict[str, tuple[dict[tuple[str, ...], str], str, str, str]] = {
    "Silent": (
        {("up", ""): "1x12 0x60"}, "2m", "3m20s",
        "127.0.0.1:9106 has answered today, and does not any more",
    ),
    "FramesShed": (
        {(f"{AGENT}shed_frames_total", ""): "0x12 0+100x60"}, "2m", "7m10s",
        "127.0.0.1:9106 loses 10 frames/s: its buffer or its spool is full",
    ),
    "KernelDrops": (
        {(f"{AGENT}kernel_dropped_frames_total", "0"): "0x12 0+100x60"}, "2m", "7m10s",
        "127.0.0.1:9106 loses 10 frames/s: it is slower than its traffic",
    ),
    "SpoolDamaged": (
        {(f"{AGENT}damaged_frames_total", ""): "0x180 90x360"}, "30m", "1h",
        "127.0.0.1:9106 could not read 90 frames from its spool",
    ),
    "BrokerAway": (
        {(f"{PROCESSOR}broker_connected", ""): "1x12 0x60"}, "2m50s", "3m20s",
        "127.0.0.1:9106 has no broker; captures spool, processors wait",
    ),
    "AgentWorkerDown": (
        {(f"{AGENT}worker_up", "1"): "1x12 0x60"}, "2m50s", "3m20s",
        "worker 1 of 127.0.0.1:9106 is down or stands still",
    ),
    "AgentWorkerDied": (
        {(f"{AGENT}worker_restarts_total", "1"): "0x12 1x60"}, "2m", "3m",
        "worker 1 of 127.0.0.1:9106 died and was started again",
    ),
    "ProcessorWorkerDied": (
        {(f"{PROCESSOR}worker_restarts_total", ""): "0x12 1x60"}, "2m", "3m",
        "a worker of 127.0.0.1:9106 died and was started again",
    ),
    "FramesRejected": (
        {(f"{PROCESSOR}rejected_frames_total", ""): "0x180 1x360"}, "30m", "1h",
        "127.0.0.1:9106 set 1 frames aside: network-pipeline rejected",
    ),
    "Lag": (
        {
            (f"{PROCESSOR}lag_seconds_bucket", "", "60.0"): "0+10x30 300x90",
            (f"{PROCESSOR}lag_seconds_bucket", "", "300.0"): "0+10x120",
            (f"{PROCESSOR}lag_seconds_bucket", "", "+Inf"): "0+10x120",
        },
        "9m", "18m", "rows of 127.0.0.1:9106 are durable 4m 57s after their capture",
    ),
}  # fmt: skip


def test_every_metric_of_the_alerts_exists() -> None:
    for rule in RULES:
        found = re.findall(r"network_pipeline_(?:agent|processor)_(\w+)", rule["expr"])
        assert found or rule["expr"].startswith("up"), rule
        assert set(found) <= KNOWN


def test_prometheus_loads_them_and_compose_mounts_them() -> None:
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    assert config["rule_files"] == ["alerts.yml"]
    services = yaml.safe_load((MONITORING / "compose.yml").read_text())["services"]
    places = {mount.split(":")[1] for mount in services["prometheus"]["volumes"]}
    assert places >= {f"/etc/prometheus/{name}.yml" for name in ("prometheus", "alerts")}


def promtool(*arguments: str) -> None:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("needs promtool")
    run = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_promtool_takes_the_files() -> None:
    promtool("check", "config", str(MONITORING / "prometheus.yml"))


def labels(worker: str, *le: str) -> dict[str, str]:
    made = {**LABELS, "worker": worker, "le": "".join(le)}
    return {name: value for name, value in made.items() if value}


def series(metric: str, *of: str) -> str:
    return f"{metric}{{{','.join(f'{name}={value!r}' for name, value in labels(*of).items())}}}"


def case(name: str) -> dict[str, Any]:
    made, quiet, loud, sentence = CASES[name]
    [rule] = [rule for rule in RULES if rule["alert"] == f"NetworkPipeline{name}"]
    found = labels(next(iter(made))[1])
    if name == "Lag":  # of all buckets of an instance
        del found["job"]
    said = {
        "exp_labels": {**rule["labels"], **found}, "exp_annotations": {"summary": sentence}
    }  # fmt: skip
    return {
        "interval": "10s",
        "input_series": [{"series": series(*of), "values": each} for of, each in made.items()],
        "alert_rule_test": [
            {"eval_time": quiet, "alertname": rule["alert"], "exp_alerts": []},
            {"eval_time": loud, "alertname": rule["alert"], "exp_alerts": [said]},
        ],
    }


def test_every_alert_has_a_case() -> None:
    assert {f"NetworkPipeline{name}" for name in CASES} == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize("name", CASES)
def test_it_is_said_when_something_is_wrong_and_not_before(name: str, tmp_path: Path) -> None:
    file = tmp_path / "tests.yml"
    file.write_text(yaml.safe_dump(
        {"rule_files": [str(MONITORING / "alerts.yml")], "evaluation_interval": "10s",
         "tests": [case(name)]}
    ))  # fmt: skip
    promtool("test", "rules", str(file))
