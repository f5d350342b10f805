from __future__ import annotations

import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from network_pipeline import logs
from network_pipeline.errors import UsageError
from tests import logging_state

PACKAGED = Path(logs.__file__).parent / "log"
LINE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} - network_pipeline\.tests - %s - %s\n"

log = logging.getLogger("network_pipeline.tests")


@pytest.fixture(autouse=True)
def _logging_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("LOG_DICT", raising=False)
    with logging_state.kept():
        yield


def test_talk_goes_to_stderr_from_info_on(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup(None, None, name="capture-tcp")
    log.debug("hidden")
    log.info("shown %d", 1)
    log.warning("careful")
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(LINE % ("INFO", "shown 1") + LINE % ("WARNING", "careful"), err)


def test_stderr_is_looked_up_for_every_record(monkeypatch: pytest.MonkeyPatch) -> None:
    logs.setup(None, None, name="capture-tcp")
    display = io.StringIO()
    monkeypatch.setattr(sys, "stderr", display)
    log.info("in the live display")
    assert "in the live display" in display.getvalue()


def test_a_second_set_up_replaces_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        logs.setup(None, None, name="capture-tcp")
    log.info("once")
    assert capsys.readouterr().err.count("once") == 1


def test_a_configuration_of_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "out.log"
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "handlers": {
            "file": {"class": "logging.FileHandler", "filename": str(target)},
            "console": {"class": "logging.StreamHandler"},
        },
        "root": {"level": "DEBUG", "handlers": ["file"]},
    }
    Path(tmp_path, "mine.json").write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path)
    logs.setup(Path("mine.json"), None, name="capture-tcp")
    log.debug("redis://:hunter2@localhost")
    for handler in logging.root.handlers:
        handler.close()
    assert target.read_text() == "redis://:***@localhost\n"
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "not JSON: "),
        ("[]", "must have handlers, and root with handlers"),
        ("{}", "must have handlers, and root with handlers"),
        ('{"version": 1, "handlers": {}, "root": {"handlers": []}}', "root names no handler"),
        ('{"version": 1, "handlers": {}, "root": {"handlers": ["a"]}}', "or one that is not there"),
        (
            '{"version": 1, "handlers": {"a": {"class": "no.such.Class"}},'
            ' "root": {"handlers": ["a"]}}',
            "Unable to configure handler 'a': Cannot resolve 'no.such.Class': No module named 'no'",
        ),
        (
            '{"version": 2, "handlers": {"a": {"class": "logging.NullHandler"}},'
            ' "root": {"handlers": ["a"]}}',
            "Unsupported version: 2",
        ),
    ],
)
def test_a_wrong_configuration_names_file_and_problem(
    tmp_path: Path, content: str, expected: str
) -> None:
    file = tmp_path / "wrong.json"
    file.write_text(content)
    with pytest.raises(UsageError, match=re.escape(f"logging configuration {file}: ")) as error:
        logs.setup(file, None, name="capture-tcp")
    assert expected in str(error.value)


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "missing.json"
    with pytest.raises(UsageError, match=f"{missing}: No such file or directory"):
        logs.setup(missing, None, name="capture-tcp")


def test_a_configuration_in_a_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_DICT", "{}")
    with pytest.raises(UsageError, match="LOG_DICT: unset it"):
        logs.setup(None, None, name="capture-tcp")


SAY = """
import logging, sys
from pathlib import Path
from network_pipeline import logs
logs.setup(Path(sys.argv[1]) if sys.argv[1:] else None, None, name="capture-tcp")
logging.getLogger("network_pipeline.tests").info("hello")
logging.getLogger("network_pipeline.tests").debug("details")
logging.getLogger("amqp").debug("a frame")
logs.shutdown()
"""


def on_a_terminal(*arguments: str, **variables: str) -> str:
    """Run SAY with a terminal as stderr; return what it shows."""
    master, slave = pty.openpty()
    try:
        environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR")}
        run = subprocess.run(
            [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", SAY, *arguments],
            env={**environment, **variables},
            stdout=subprocess.PIPE,
            stderr=slave,
            check=True,
        )
        assert run.stdout == b""
        return os.read(master, 65536).decode()
    finally:
        os.close(master)
        os.close(slave)


def test_colours_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.fullmatch(r"\x1b\[32m\S+ \S+ - network.* - INFO - hello\x1b\[0m\r\n", on_a_terminal())
    assert "\x1b" not in on_a_terminal(NO_COLOR="1")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    plain = subprocess.run([sys.executable, "-c", SAY], capture_output=True, text=True, check=True)
    assert re.fullmatch(LINE % ("INFO", "hello"), plain.stderr)


@pytest.mark.parametrize("config", [None, PACKAGED / "colors-logging.json"])
def test_a_package_that_logs_what_it_raises_as_well_is_silent(
    config: Path | None, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.setup(config, None, name="packets-pcap")
    logging.getLogger("gcsfs").error("out of retries")
    assert not capsys.readouterr().err


def test_the_packaged_colours_show_details_of_our_own_alone() -> None:
    shown = on_a_terminal(str(PACKAGED / "colors-logging.json"))
    assert re.search(r"\x1b\[36m\S+ \S+ - network_pipeline.tests - DEBUG - details\x1b\[0m", shown)
    assert "a frame" not in shown


@pytest.mark.parametrize(
    "variables",
    [
        {"LOG_CFG": "/nowhere/at/all.json", "SHARED_LOG_CFG": "/nowhere.json"},
        {"SPLUNK_DEBUG": "1", "DEBUG_SHARED_LOG_CFG": "1"},
        {"PYTHONWARNINGS": "default::DeprecationWarning:spylunking.log.setup_logging"},
    ],
)
def test_spylunkings_own_variables_change_nothing(variables: dict[str, str]) -> None:
    shown = on_a_terminal(NO_COLOR="1", **variables)
    assert shown.endswith(" - INFO - hello\r\n")


def test_a_splunk_variable_that_is_no_number() -> None:
    run = subprocess.run(
        [sys.executable, "-c", SAY],
        env={**os.environ, "SPLUNK_TIMEOUT": "soon"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "UsageError: a SPLUNK_* variable must be a number" in run.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nothing to hide", "nothing to hide"),
        ("http://localhost:80/path", "http://localhost:80/path"),
        ("amqp://guest:guest@localhost:5672//", "amqp://guest:***@localhost:5672//"),
        ("rediss://:p%40ss@host/1", "rediss://:***@host/1"),
        ("redis://u:p@ss:w/rd?#@host/1 and a@b", "redis://u:***@host/1 and a@b"),
        ("amqp://a:b@h1;amqp://c:d@h2", "amqp://a:***@h1;amqp://c:***@h2"),
        ("('amqp://a:b@h1','amqp://c:d@h2')", "('amqp://a:***@h1','amqp://c:***@h2')"),
        ("redis://host/1?password=x&ssl=1", "redis://host/1?password=***&ssl=1"),
        ("user@host ://", "user@host ://"),
    ],
)
def test_passwords_in_urls(text: str, expected: str) -> None:
    assert logs.without_passwords(text) == expected


class Url:
    def __str__(self) -> str:
        return "redis://:hunter2@host"


def test_passwords_are_taken_out_of_messages_arguments_and_tracebacks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.setup(None, None, name="capture-tcp")
    log.info("broker redis://:hunter2@host")
    log.info("broker %s", "redis://:hunter2@host")
    log.info("broker %s of %d", Url(), 1)
    log.info("broker %(url)s", {"url": "redis://:hunter2@host"})
    url = "redis://:hunter2@host"
    try:
        raise OSError(f"cannot reach {url}")
    except OSError:
        log.exception("failed")
    err = capsys.readouterr().err
    assert "hunter2" not in err
    assert err.count("broker redis://:***@host") == 4
    assert "Traceback" in err
    assert "OSError: cannot reach redis://:***@host" in err


def test_arguments_that_do_not_fit_are_not_shown(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup(None, None, name="capture-tcp")
    log.info("one %d", "redis://:hunter2@host")
    log.info("two %s %s", *["redis://:hunter2@host"])
    err = capsys.readouterr().err
    assert "one %d (with arguments that do not fit)" in err
    assert "two %s %s (with arguments that do not fit)" in err
    assert "hunter2" not in err


def test_a_record_without_passwords_keeps_its_arguments() -> None:
    record = log.makeRecord("n", logging.INFO, "f", 1, "%d rows", (5,), None)
    assert logs.PasswordFilter().filter(record)
    assert (record.msg, record.args) == ("%d rows", (5,))
