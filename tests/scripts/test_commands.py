"""Every entry point: help that teaches, at once; versions, completion, bad flags and variables."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from network_pipeline import __version__

ROOT = Path(__file__).resolve().parents[2]
ENTRY_POINTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
    "scripts"
]
HEAVY = (
    *("kombu", "numpy", "pandas", "polars", "pyarrow", "redis"),
    *("rich", "scapy", "shtab", "spylunking"),
    *("cryptography", "jinja2", "matplotlib", "yaml"),
)


def run(
    name: str, *arguments: str, after: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    module, function = ENTRY_POINTS[name].split(":")
    code = (
        f"import sys; sys.argv[0] = {name!r}\n"
        f"from {module} import {function} as command\n"
        f"try:\n    code = command()\nexcept SystemExit as end:\n    code = end.code\n"
        f"{after}\nsys.exit(code)"
    )
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **variables}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_help_teaches_and_imports_nothing_heavy(name: str) -> None:
    shown = run(name, "--help", after=f"print('HEAVY', [m for m in {HEAVY} if m in sys.modules])")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(f"usage: {name} ")
    assert "examples:" in shown.stdout
    assert shown.stdout.endswith("HEAVY []\n")


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_version(name: str) -> None:
    assert run(name, "--version").stdout == f"{name} {__version__}\n"


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_completion_names_the_command_and_bash_takes_it(name: str) -> None:
    script = run(name, "--print-completion", "bash").stdout
    assert f" {name}\n" in script
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


@pytest.mark.parametrize("name", ENTRY_POINTS)
def test_an_unknown_flag_is_wrong_usage(name: str) -> None:
    refused = run(name, "--no-such-flag")
    assert refused.returncode == 2
    assert "no-such-flag" in refused.stderr or "required" in refused.stderr


@pytest.mark.parametrize("text", ["abc", "0", "-1"])
def test_a_bad_variable_is_one_line_and_wrong_usage(text: str) -> None:
    refused = run("packets-redis", SAVE_AFTER_NUM=text)
    assert refused.returncode == 2
    assert refused.stdout == ""
    assert refused.stderr == (
        f"packets-redis: SAVE_AFTER_NUM={text}: must be a whole number of at least 1\n"
    )


def test_a_broker_that_nobody_answers_at_is_exit_code_3() -> None:
    refused = run("packets-redis", "--broker", "redis://localhost:1/0", "--dir", "/tmp", "--check")
    assert refused.returncode == 3
    assert refused.stderr.startswith("packets-redis: ")
    assert "redis://localhost:1/0" in refused.stderr
    assert refused.stderr.count("\n") == 1
