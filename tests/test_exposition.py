"""Metrics over HTTP, as Prometheus and an orchestrator read them."""

from __future__ import annotations

import http.client
import json
import logging
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from network_pipeline import exposition
from network_pipeline.errors import UsageError
from network_pipeline.exposition import Exposition
from network_pipeline.metrics import Histogram, Pulse, Reading
from tests import servers

ROOT = Path(__file__).resolve().parents[1]

#: Names of all metrics, without their prefix.
KNOWN = {
    *(f"{name}_frames_total" for name in exposition.FRAMES),
    *(f"{name}_total" for name in exposition.AMOUNTS),
    *exposition.GAUGES,
    *(f"{name}_{part}" for name in exposition.HISTOGRAMS for part in ("bucket", "sum", "count")),
}


def get(port: int, path: str) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.getheader("Content-Type", ""), answer.read().decode()


def values(text: str) -> dict[str, float]:
    """Return the samples, each by its name and its bound if it has one."""
    return {
        sample.name + sample.labels.get("le", ""): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture
def port() -> int:
    [port] = servers.free_ports(1)
    return port


@pytest.fixture
def frames() -> dict[str, int]:
    return {"captured": 7, "shed": 2}


@pytest.fixture
def pulse() -> Pulse:
    return Pulse()


@pytest.fixture
def served(port: int, frames: dict[str, int], pulse: Pulse) -> Iterator[int]:
    sizes = Histogram(1, 10)
    sizes.observe(1, 3)
    sizes.observe(10)
    sizes.observe(400)
    gauges = {"spooled_frames": 5, "broker_connected": False}

    def read() -> Reading:
        return Reading(frames, gauges, {"message_frames": sizes.snapshot()}, {"captured_bytes": 99})

    with Exposition("agent", ("127.0.0.1", port), pulse, read):
        yield port


def test_everything_is_read_as_it_stands(served: int, frames: dict[str, int]) -> None:
    status, kind, text = get(served, "/metrics")
    assert status == 200
    assert kind.startswith("text/plain; version=")
    found = values(text)
    prefix = "network_pipeline_agent"
    assert {name: value for name, value in found.items() if name.startswith(prefix)} == {
        f"{prefix}_captured_frames_total": 7,
        f"{prefix}_shed_frames_total": 2,
        f"{prefix}_captured_bytes_total": 99,
        f"{prefix}_spooled_frames": 5,
        f"{prefix}_broker_connected": 0,
        f"{prefix}_message_frames_bucket1.0": 3,
        f"{prefix}_message_frames_bucket10.0": 4,
        f"{prefix}_message_frames_bucket+Inf": 5,
        f"{prefix}_message_frames_count": 5,
        f"{prefix}_message_frames_sum": 413,
    }
    assert found["process_resident_memory_bytes"] > 1e6
    frames["shed"] = 3
    assert values(get(served, "/metrics")[2])[f"{prefix}_shed_frames_total"] == 3


def test_a_loop_that_stands_still_is_not_healthy(
    served: int, pulse: Pulse, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert get(served, "/healthz")[::2] == (200, "ok\n")
    monkeypatch.setattr(pulse, "age", lambda: exposition.HEALTHY_SECONDS + 1)
    assert get(served, "/healthz")[::2] == (503, "stands still since 61 s\n")


def test_other_paths_are_not_found(served: int) -> None:
    assert get(served, "/")[::2] == (404, "/metrics or /healthz\n")


def test_a_client_that_hangs_up_is_nobody_elses_business(
    served: int, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", served)) as client:
                client.sendall(b"GET /metr")
        assert get(served, "/healthz")[0] == 200
    assert capsys.readouterr().err == ""
    assert "Traceback" not in caplog.text


def test_a_port_that_is_taken(served: int) -> None:
    second = Exposition("agent", ("127.0.0.1", served), Pulse(), lambda: Reading({}, {}, {}))
    with pytest.raises(UsageError, match=f"no metrics on 127.0.0.1 port {served}: Address"), second:
        pass


def test_every_metric_of_the_dashboard_exists() -> None:
    dashboard = json.loads((ROOT / "docker" / "monitoring" / "dashboard.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
        for name in re.findall(r"network_pipeline_(?:agent|processor)_(\w+)", target["expr"])
    }
    assert asked <= KNOWN
    assert asked >= {f"{name}_frames_total" for name in ("captured", "shed", "written")}
