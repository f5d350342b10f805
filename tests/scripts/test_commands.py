"""Every entry point: help that teaches, at once; versions, completion, bad flags and variables."""

import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from network_pipeline import __version__
from network_pipeline.frames import Frame, LinkType
from tests.decode import captures

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


ALL_COMMANDS = "import sys; from network_pipeline.scripts.main import main; sys.exit(main())"
PCAP = "import sys; from network_pipeline.scripts.pcap import main; sys.exit(main())"


def shell(line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash, where ``$RUN`` is ``network-pipeline`` and ``$PCAP`` packets-pcap."""
    for name, code in {"$RUN": ALL_COMMANDS, "$PCAP": PCAP}.items():
        line = line.replace(name, shlex.join([sys.executable, "-c", code]))
    return subprocess.run(
        ["bash", "-c", line],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **variables},
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("arguments", ["columns", "--help", "--print-completion bash", "--version"])
def test_who_reads_no_further_is_no_error(arguments: str) -> None:
    ended = shell(f"set -o pipefail; $RUN {arguments} | true")
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", ["columns", "--print-completion bash"])
def test_an_output_that_cannot_be_written_is_one_line(arguments: str, unbuffered: str) -> None:
    ended = shell(f"$RUN {arguments} > /dev/full", PYTHONUNBUFFERED=unbuffered)
    assert ended.returncode == 1
    assert ended.stderr.startswith("network-pipeline: ")
    assert ended.stderr.endswith("No space left on device\n")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_error_and_no_file_takes_its_place(
    closed: str, tmp_path: Path
) -> None:
    capture, *outputs = (tmp_path / name for name in ("one.pcap", "one.csv", "other.csv"))
    captures.write_frames(capture, [Frame(1, 10**18, None, 60, LinkType.ETHERNET, bytes(60))])
    for output, streams in zip(outputs, ("", closed), strict=True):
        assert shell(f"$PCAP {capture} --output {output} {streams}").returncode == 0
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


@pytest.mark.parametrize("gone", ["2>/dev/full", "2> >(true)"])
def test_where_nobody_hears_it_the_work_is_done_and_the_exit_code_is_right(
    gone: str, tmp_path: Path
) -> None:
    capture, output = tmp_path / "one.pcap", tmp_path / "one.csv"
    captures.write_frames(capture, [Frame(1, 10**18, None, 60, LinkType.ETHERNET, bytes(60))])
    assert shell(f"$PCAP {capture} --output {output} {gone}").returncode == 0
    assert output.read_bytes().count(b"\n") == 2
    assert shell(f"$PCAP {tmp_path}/absent.pcap --output {output} {gone}").returncode == 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_an_encoding_lacks_is_escaped(encoding: str) -> None:
    shown = run("packets-redis", "--help", PYTHONIOENCODING=encoding)
    assert shown.returncode == 0
    assert r"NAME-1, NAME-2, \u2026" in shown.stdout.replace("\n", " ").replace("  ", "")


@pytest.mark.parametrize("line", ["verify ''", "dedupe '' --output both.csv"])
def test_an_empty_name_does_not_stand_for_all_that_is_here(line: str) -> None:
    refused = shell(f"$RUN {line}")
    assert refused.returncode == 2
    assert "a name is empty" in refused.stderr


@pytest.mark.parametrize(
    "name", ["packets-pcap", "packets-flows", "capture-pcap", "prepare-dataset", "audit-dataset"]
)
def test_an_empty_name_of_an_input_is_wrong_usage(name: str) -> None:
    refused = run(name, "")
    assert refused.returncode == 2
    assert refused.stderr.endswith(f"{name}: error: argument FILE: a name is empty\n")
