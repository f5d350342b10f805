"""The units: what they may do, what they run, and what systemd itself says of them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from network_pipeline import settings
from network_pipeline.options import LOG_OPTION, PROCESSOR_OPTIONS
from network_pipeline.scripts import agent
from network_pipeline.supervisor import END_SECONDS, TURN_SECONDS

ROOT = Path(__file__).resolve().parents[1]
UNITS = sorted((ROOT / "systemd").glob("*.service"))
COMMANDS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
VARIABLES = {option.variable for option in (*agent.OPTIONS, *PROCESSOR_OPTIONS, LOG_OPTION)}
SYSTEMD_ANALYZE = shutil.which("systemd-analyze")

#: Of 10, as `systemd-analyze security` counts; the agent must have its capability and sockets.
MOST_EXPOSURE = {"network-agent": 2.1, "packets-redis": 1.6, "packets-rabbitmq": 1.6}


def lines(unit: Path) -> Iterator[tuple[str, str]]:
    for line in unit.read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            name, equals, value = line.partition("=")
            assert equals, line
            yield name, value


def test_all_are_looked_at() -> None:
    assert {unit.stem for unit in UNITS} == set(MOST_EXPOSURE)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_runs_its_command_with_no_more_rights_than_it_needs(unit: Path) -> None:
    found = dict(lines(unit))
    assert unit.stem in COMMANDS
    assert found["ExecStart"] == f"/opt/network-pipeline/bin/{unit.stem}"
    captures = unit.stem == "network-agent"
    capabilities = "CAP_NET_RAW" if captures else ""
    assert found.get("AmbientCapabilities", "") == capabilities
    assert found["CapabilityBoundingSet"] == capabilities
    families = set(found["RestrictAddressFamilies"].split())
    capturing = {"AF_PACKET", "AF_NETLINK"}  # the names of devices are asked for by netlink
    assert families == {"AF_INET", "AF_INET6", "AF_UNIX"} | (capturing if captures else set())
    for name in ("DynamicUser", "NoNewPrivileges", "ProtectHome", "PrivateDevices"):
        assert found[name] == "yes"
    assert (found["ProtectSystem"], found["Restart"]) == ("strict", "always")
    # A second SIGTERM, the supervisor's own, ends a processor at once; a worker of the agent takes
    # it as the first, and would be killed with a supervisor that was ("mixed").
    assert found["KillMode"] == ("control-group" if captures else "mixed")
    assert float(found["TimeoutStopSec"]) > END_SECONDS
    assert found["StateDirectory"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_variables_exist(unit: Path) -> None:
    values = [value for name, value in lines(unit) if name == "Environment"]
    names = set(re.findall(r"(\w+)=", " ".join(values)))
    assert names <= VARIABLES | {"XDG_STATE_HOME", "PYTHONUNBUFFERED"}


def test_the_agent_is_watched_and_reloaded() -> None:
    found = dict(lines(ROOT / "systemd" / "network-agent.service"))
    assert (found["Type"], found["ExecReload"]) == ("notify", "/bin/kill -HUP $MAINPID")
    assert float(found["WatchdogSec"]) > 10 * TURN_SECONDS
    assert found["WatchdogSignal"] == "SIGTERM"
    state = settings.state_dir({"XDG_STATE_HOME": "/var/lib"})
    assert state == Path("/var/lib") / found["StateDirectory"]


def test_the_example_names_variables_that_exist() -> None:
    text = (ROOT / "systemd" / "agent.env.example").read_text()
    pairs = dict(re.findall(r"^#?([A-Z_]+)=(\S+)$", text, re.MULTILINE))
    options = {option.variable: option for option in agent.OPTIONS}
    assert len(pairs) == 6
    for name in pairs:
        options[name].value(None, pairs)


@pytest.mark.skipif(SYSTEMD_ANALYZE is None, reason="needs systemd-analyze")
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_finds_nothing_wrong(unit: Path, tmp_path: Path) -> None:
    copy = tmp_path / unit.name
    copy.write_text(re.sub(r"(?<=^ExecStart=)\S+", sys.executable, unit.read_text(), flags=re.M))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (verified.returncode, verified.stderr) == (0, "")
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(copy)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    exposure = re.search(r"Overall exposure level for \S+: ([\d.]+)", judged.stdout)
    assert exposure, judged.stderr
    assert float(exposure[1]) <= MOST_EXPOSURE[unit.stem]
