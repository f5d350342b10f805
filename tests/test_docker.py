"""The docker files, as far as they can be judged without a docker engine.

Where the compose plugin or the Dockerfile linter hadolint is on PATH they are run; elsewhere only
those two tests are skipped, also in CI, since neither is a Debian package.
"""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from network_pipeline import rules
from network_pipeline.options import CAPTURE_OPTIONS, PROCESSOR_OPTIONS
from network_pipeline.scripts import agent
from network_pipeline.supervisor import END_SECONDS, STUCK_SECONDS
from tests.test_docs import SERVICE_OPTIONS, SPLUNK_VARIABLES

ROOT = Path(__file__).resolve().parents[1]
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()
COMMANDS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"])
MONITORING = DOCKER / "monitoring"
COMPOSE = {path.stem: yaml.safe_load(path.read_text()) for path in DOCKER.glob("*.yml")}
SERVICES = [(file, name) for file, content in COMPOSE.items() for name in content["services"]]
OURS = [(file, name) for file, name in SERVICES if file == "pipeline"]

VARIABLES = {*(option.variable for option in SERVICE_OPTIONS), *SPLUNK_VARIABLES}

#: Those of the RabbitMQ image.
RABBITMQ_VARIABLES = {"RABBITMQ_DEFAULT_USER", "RABBITMQ_DEFAULT_PASS"}


def service(file: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = COMPOSE[file]["services"][name]
    return found


def test_all_files_are_looked_at() -> None:
    assert set(COMPOSE) == {"redis", "rabbitmq", "pipeline"}
    assert [name for _, name in OURS] == [
        "packets-redis",
        "capture-tcp",
        "capture-udp",
        "capture-arp",
        "capture-icmp",
    ]


@pytest.mark.parametrize(("file", "name"), OURS)
def test_a_service_runs_a_command_that_exists(file: str, name: str) -> None:
    command = service(file, name)["command"]
    assert command == [name]
    assert name in COMMANDS


@pytest.mark.parametrize(("file", "name"), SERVICES)
def test_no_service_has_more_rights_than_it_needs(file: str, name: str) -> None:
    found = service(file, name)
    captures = name.startswith("capture-")
    assert "privileged" not in found
    assert found["cap_drop"] == ["ALL"]
    assert found.get("cap_add", []) == (["NET_RAW"] if captures else [])
    # File capabilities do not work with no-new-privileges, and nothing but a capture needs them.
    hardened = found.get("security_opt", []) == ["no-new-privileges:true"]
    assert hardened is not captures
    assert found.get("network_mode") == ("host" if captures else None)
    assert found.get("user") == {"redis": "redis", "rabbitmq": "rabbitmq"}.get(name)
    assert not any(mount.startswith(("/", ".")) for mount in found.get("volumes", []))


@pytest.mark.parametrize(("file", "name"), SERVICES)
def test_ports_are_open_on_this_host_only(file: str, name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in service(file, name).get("ports", []))


@pytest.mark.parametrize(("file", "name"), SERVICES)
def test_an_image_of_others_has_a_version(file: str, name: str) -> None:
    found = service(file, name)
    assert "build" in found or re.search(r":\d+\.\d+-", found["image"])


@pytest.mark.parametrize(("file", "name"), OURS)
def test_a_service_uses_variables_that_exist(file: str, name: str) -> None:
    environment = service(file, name)["environment"]
    interpolated = re.findall(r"\$\{(\w+)", yaml.safe_dump(environment))
    assert {*environment, *interpolated} <= VARIABLES
    default = environment["FORWARD_BROKER_URL"].removeprefix("${FORWARD_BROKER_URL:-").rstrip("}")
    assert rules.broker_url(default) == default


def test_both_sides_meet_at_the_broker() -> None:
    (redis,) = COMPOSE["redis"]["services"].values()
    assert redis["ports"] == ["127.0.0.1:6379:6379"]
    for _, name in OURS:
        host = "127.0.0.1" if name.startswith("capture-") else "redis"
        url = service("pipeline", name)["environment"]["FORWARD_BROKER_URL"]
        assert url == f"${{FORWARD_BROKER_URL:-redis://{host}:6379/15}}"


def test_redis_keeps_what_it_holds() -> None:
    words = service("redis", "redis")["command"]
    pairs = dict(zip(words[1::2], words[2::2], strict=True))
    assert pairs["--appendonly"] == "yes"
    assert pairs["--appendfsync"] == "everysec"
    assert pairs["--maxmemory-policy"] == "noeviction"
    assert "redis:/data" in service("redis", "redis")["volumes"]


def test_prometheus_reads_what_the_services_serve() -> None:
    served = {service(file, name)["environment"]["METRICS_PORT"]: name for file, name in OURS}
    read = re.findall(r"- 127.0.0.1:(\d+)  # (\S+)", (MONITORING / "prometheus.yml").read_text())
    assert {int(port): name for port, name in read} == {**served, 9106: "network-agent"}
    assert "127.0.0.1:9105:9105" in service("pipeline", "packets-redis")["ports"]


def test_the_daemon_set_of_the_docs_is_one_that_runs() -> None:
    """Kubernetes is not here; what can be judged is that the agent and the image fit it."""
    page = (ROOT / "docs" / "agent.rst").read_text()
    block = re.search(r"^\.\. code-block:: yaml\n\n((?:    .*\n|\n)+)", page, re.MULTILINE)
    assert block
    found = yaml.safe_load(textwrap.dedent(block[1]))
    assert (found["apiVersion"], found["kind"]) == ("apps/v1", "DaemonSet")
    template = found["spec"]["template"]
    assert found["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
    pod = template["spec"]
    assert pod["hostNetwork"] is True
    assert pod["terminationGracePeriodSeconds"] > END_SECONDS
    [container] = pod["containers"]
    assert container["command"] == ["network-agent"]
    names = {variable["name"] for variable in container["env"]}
    known = {option.variable: option for option in agent.OPTIONS}
    assert names == {"FORWARD_BROKER_URL", "METRICS_ADDRESS"} <= set(known)
    flags = {option.flag: option for option in agent.OPTIONS}
    given = dict(zip(container["args"][::2], container["args"][1::2], strict=True))
    for flag, value in given.items():
        flags[flag].value(value, {})
    assert pod["securityContext"]["runAsUser"] == 10001  # as in the image
    security = container["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"], "add": ["NET_RAW"]}
    # The capability comes from the file that is run.
    assert "allowPrivilegeEscalation" not in security
    port = int(given["--metrics-port"])
    annotations = template["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(port)
    assert annotations["prometheus.io/path"] == "/metrics"
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"] == {"path": "/healthz", "port": port}
    liveness = container["livenessProbe"]
    # A stuck worker is the supervisor's to end, before the pod is.
    assert liveness["periodSeconds"] * liveness["failureThreshold"] > STUCK_SECONDS + 10
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert set(mounts) == {volume["name"] for volume in pod["volumes"]}
    assert given["--spool-dir"].startswith(mounts["spool"] + "/")


def test_monitoring_is_made_of_files_that_exist_and_open_on_this_host_only() -> None:
    services = yaml.safe_load((MONITORING / "compose.yml").read_text())["services"]
    for found in services.values():
        assert found["cap_drop"] == ["ALL"]
        assert re.search(r":v?\d+\.\d+\.\d+$", found["image"])
        files = [mount.split(":")[0] for mount in found["volumes"] if mount.startswith("./")]
        assert files
        assert all((MONITORING / file).is_file() for file in files)
    assert "--web.listen-address=127.0.0.1:9090" in services["prometheus"]["command"]
    assert services["grafana"]["environment"] == {"GF_SERVER_HTTP_ADDR": "127.0.0.1"}


@pytest.mark.parametrize(
    ("example", "known"),
    [("pipeline.env.example", VARIABLES), ("rabbitmq.env.example", RABBITMQ_VARIABLES)],
)
def test_an_example_names_variables_that_exist_and_no_secret(example: str, known: set[str]) -> None:
    lines = (DOCKER / example).read_text().splitlines()
    pairs = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", "\n".join(lines), re.MULTILINE))
    assert pairs
    assert set(pairs) <= known
    assert not any(value for name, value in pairs.items() if "PASS" in name or "TOKEN" in name)
    for option in (*CAPTURE_OPTIONS, *PROCESSOR_OPTIONS):
        if option.variable in pairs:
            option.value(None, pairs)


def test_the_image_runs_as_a_user_with_the_capability_in_one_interpreter() -> None:
    assert re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE) == ["10001:10001"]
    assert DOCKERFILE.count("setcap") == 1
    assert "setcap cap_net_raw+ep python-net-raw" in DOCKERFILE
    patterns = re.search(r"python-net-raw\|\" (.*) \\", DOCKERFILE)
    assert patterns
    chosen = {
        command
        for command in COMMANDS
        if any(fnmatch.fnmatch(command, pattern) for pattern in patterns[1].split())
    }
    assert chosen == {
        name
        for name in COMMANDS
        if name.startswith(("capture-", "arp-", "icmp-")) or name == "network-agent"
    }


def test_the_image_has_compiled_loops() -> None:
    build, _ = DOCKERFILE.split("\nFROM ", 2)[1:]
    assert "install -y --no-install-recommends gcc libc6-dev" in build
    assert "from network_pipeline.decode.columnar import COMPILED; assert COMPILED" in build


def test_the_image_is_made_of_files_that_exist() -> None:
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    sources = {source for line in copied for source in line.split()}
    assert all((ROOT / source).exists() for source in sources)
    let_through = re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert set(let_through) == sources
    bases = set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))
    assert bases == {"python:3.13-slim-bookworm"}


@pytest.mark.parametrize("file", sorted(COMPOSE))
def test_compose_takes_the_file(file: str) -> None:
    plugin = ["docker", "compose"]
    if shutil.which("docker-compose"):
        plugin = ["docker-compose"]
    elif not shutil.which("docker") or subprocess.run([*plugin, "version"], check=False).returncode:
        pytest.skip("needs docker compose")
    command = [*plugin, "-f", str(DOCKER / f"{file}.yml"), "config", "--quiet"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("needs hadolint")
    run = subprocess.run(
        [hadolint, str(DOCKER / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert (run.returncode, run.stdout) == (0, "")
