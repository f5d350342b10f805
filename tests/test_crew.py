"""Workers as processes: started again when they die, ended in good order, the worst code counts."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from network_pipeline import crew as module
from network_pipeline import settings
from network_pipeline.crew import Crew
from network_pipeline.errors import NetworkPipelineError
from tests import servers

#: Notes its process and ends with a code when it is told to.
WORKER = """
import os, signal, sys
path, code = sys.argv[1], int(sys.argv[2])
signal.signal(signal.SIGTERM, lambda *_: sys.exit(code))
with open(path, "a") as file:
    file.write(f"{os.getpid()}\\n")
while True:
    signal.pause()
"""


def worker(path: Path, code: int = 0) -> list[str]:
    return [sys.executable, "-c", WORKER, str(path), str(code)]


def exits(code: int) -> list[str]:
    return [sys.executable, "-c", f"raise SystemExit({code})"]


def pids(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


@contextmanager
def running(crew: Crew) -> Iterator[list[int]]:
    """Run it in a thread; afterwards the list has its exit code."""
    stop, codes = threading.Event(), list[int]()

    def run() -> None:
        try:
            crew.run(stop)
            codes.append(0)
        except NetworkPipelineError as error:
            codes.append(error.exit_code)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield codes
    finally:
        stop.set()
        thread.join()


def test_a_killed_worker_is_started_again_and_counted(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    crew = Crew([worker(one), worker(two)], os.environ)
    with running(crew) as codes:
        servers.wait_until(lambda: len(pids(one)) == len(pids(two)) == 1, "both workers")
        os.kill(pids(one)[0], signal.SIGKILL)
        servers.wait_until(lambda: len(pids(one)) == 2, "the next worker")
    assert (codes, crew.restarts, len(pids(two))) == ([0], 1, 1)


def test_a_worker_that_ends_unasked_is_started_again(tmp_path: Path) -> None:
    path = tmp_path / "one"
    crew = Crew([worker(path)], os.environ)
    with running(crew) as codes:
        servers.wait_until(lambda: len(pids(path)) == 1, "the worker")
        os.kill(pids(path)[0], signal.SIGTERM)
        servers.wait_until(lambda: len(pids(path)) == 2, "the next worker")
    assert (codes, crew.restarts) == ([0], 1)


def test_one_that_cannot_begin_ends_all_with_its_code(tmp_path: Path) -> None:
    crew = Crew([worker(tmp_path / "one"), exits(3)], os.environ)
    with pytest.raises(NetworkPipelineError, match="workers ended with errors") as caught:
        crew.run(threading.Event())
    assert (caught.value.exit_code, crew.restarts) == (3, 0)


def test_one_that_ran_for_a_while_is_started_again_though_it_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STEADY_SECONDS", 0.0)
    path = tmp_path / "one"
    crew = Crew([worker(path, code=1)], os.environ)
    with running(crew):
        servers.wait_until(lambda: len(pids(path)) == 1, "the worker")
        os.kill(pids(path)[0], signal.SIGTERM)
        servers.wait_until(lambda: len(pids(path)) == 2, "the next worker")
    assert crew.restarts == 1


def test_the_worst_code_of_those_that_ended_is_the_command_s(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("one", "two", "three")]
    crew = Crew([worker(path, code) for path, code in zip(paths, (1, 4, 0), strict=True)], {})
    with running(crew) as codes:
        servers.wait_until(lambda: all(map(pids, paths)), "all workers")
    assert codes == [4]


def test_one_that_there_is_no_room_for_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path, tries, popen = tmp_path / "one", list[object](), subprocess.Popen

    def cramped(*given: Any, **named: Any) -> subprocess.Popen[bytes]:
        tries.append(given)
        if len(tries) < 3:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return popen(*given, **named)

    monkeypatch.setattr(subprocess, "Popen", cramped)
    crew = Crew([worker(path)], os.environ)
    with running(crew) as codes:
        servers.wait_until(lambda: len(pids(path)) == 1, "the worker")
    assert (codes, crew.restarts, len(tries)) == ([0], 0, 3)
    said = [line for line in caplog.messages if "cannot be started" in line]
    assert len(said) == 2
    assert said[0].startswith(
        "worker 1 cannot be started: Resource temporarily unavailable; the next try is in 0."
    )


#: Notes what it knows of those before it, and waits.
KNOWING = """
import os, signal, sys
from network_pipeline import settings
with open(sys.argv[1], "a") as file:
    file.write(f"{os.getpid()} {settings.restarts(os.environ)}\\n")
while True:
    signal.pause()
"""


def test_a_worker_knows_how_many_before_it_died(tmp_path: Path) -> None:
    path = tmp_path / "one"
    command = [sys.executable, "-c", KNOWING, str(path)]

    def lines() -> list[str]:
        return path.read_text().splitlines() if path.exists() else []

    with running(Crew([command], settings.for_workers(os.environ, "rows"))):
        for count in (1, 2):
            servers.wait_until(lambda: len(lines()) == count, "the worker")  # noqa: B023
            os.kill(int(lines()[-1].split()[0]), signal.SIGKILL)
        servers.wait_until(lambda: len(lines()) == 3, "the third worker")
    assert [line.split()[1] for line in lines()] == ["0", "1", "2"]
    assert settings.restarts(settings.with_restarts({}, 7)) == 0  # whose crew is not there
