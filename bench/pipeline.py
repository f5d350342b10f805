"""The pipeline in a namespace: a Redis that is reached through a file, an agent, a processor."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis

from tests.netns import Namespace

_COMMAND = "import sys; from network_pipeline.scripts.{} import {} as main; sys.exit(main())"
_DATABASE = 1
_SECONDS = 60.0


class Pipeline:
    """Runs while its block does; the agent captures on ``veth0``.

    ``counts`` is what the agent says at its end, ``rows`` what is in the dataset, both of frames;
    CPU seconds are those of processes that have ended.
    """

    def __init__(self, where: Namespace, directory: Path, workers: int) -> None:
        self._where = where
        self._parent = directory
        self._workers = workers
        self._processor: subprocess.Popen[bytes] | None = None
        self.counts: dict[str, int] = {}
        self.rows = 0
        self.agent_cpu_s = self.processor_cpu_s = 0.0

    def __enter__(self) -> Self:
        self._directory = Path(tempfile.mkdtemp(dir=self._parent))
        self._directory.chmod(0o755)
        self._socket = self._directory / "redis.sock"
        self._redis = self._start_redis()
        self._log = self._directory / "agent.log"
        self._agent = self._start_agent()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in (self._agent, self._processor, self._redis):
            if process and process.returncode is None:
                process.kill()
                process.wait()
        shutil.rmtree(self._directory)

    @property
    def agent_pid(self) -> int:
        """The supervisor's process."""
        return self._agent.pid

    @property
    def processor_pid(self) -> int:
        """The processor's process."""
        assert self._processor
        return self._processor.pid

    @property
    def redis_pid(self) -> int:
        """The broker's process."""
        return self._redis.pid

    def start_processor(self, *options: str) -> None:
        """Begin to make rows, in CSV files."""
        command = [sys.executable, "-c", _COMMAND.format("packets", "redis"), *self._broker(),
                   "--dir", str(self._directory), "--name", "rows",
                   "--save-after-num", "50000", *options]  # fmt: skip
        log_path = self._directory / "processor.log"
        with log_path.open("wb") as log:
            self._processor = subprocess.Popen(command, stdout=log, stderr=log)
        _await(lambda: "writing to" in log_path.read_text())

    def end_agent(self) -> None:
        """End the agent in good order; see what it counted."""
        self._agent.send_signal(signal.SIGTERM)
        self.agent_cpu_s = _cpu_of_ended(self._agent)
        [text] = re.findall(r"network-agent ended: (.*)$", self._log.read_text(), re.MULTILINE)
        self.counts = {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", text)}

    def take_rows(self) -> int:
        """Remove files of rows that are whole; return how many rows they had."""
        rows = 0
        for path in self._directory.glob("rows*.csv"):
            rows += _rows_of(path)
            path.unlink()
        return rows

    def end_processor(self, taken: int = 0) -> None:
        """Wait until there is a row for all that was published; count the rows, and the taken."""
        assert self._processor
        ends = time.monotonic() + _SECONDS
        published = self.counts["published"] - taken
        while (self._rows() < published or self._waiting()) and time.monotonic() < ends:
            time.sleep(0.2)
        self._processor.send_signal(signal.SIGTERM)
        self.processor_cpu_s = _cpu_of_ended(self._processor)
        self.rows = taken + self._rows()

    def verify(self) -> list[dict[str, Any]]:
        """Return what became of each worker's frames, once all have ended.

        Raises:
            CalledProcessError: they do not add up.
        """
        program = [sys.executable, "-c", _COMMAND.format("main", "main"), "verify", "--final"]
        said = subprocess.check_output([*program, "--json", str(self._directory)])
        accounts: list[dict[str, Any]] = json.loads(said)["sessions"]
        return accounts

    def _waiting(self) -> int:
        """Return the messages that are not acknowledged: rows, and what the agent says of them."""
        with redis.Redis(unix_socket_path=str(self._socket), db=_DATABASE) as client:
            return int(client.xlen("NEW_PACKETS"))

    def _rows(self) -> int:
        return sum(_rows_of(path) for path in self._directory.glob("rows*.csv*")
                   if path.suffix in (".csv", ".part"))  # fmt: skip

    def _broker(self) -> tuple[str, ...]:
        return ("--broker", f"redis+socket://{self._socket}?virtual_host={_DATABASE}")

    def _start_redis(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", str(self._socket),
             "--unixsocketperm", "777", "--dir", str(self._directory), "--save", "",
             "--appendonly", "no"],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        _await(self._socket.exists)
        return process

    def _start_agent(self) -> subprocess.Popen[bytes]:
        """Return the agent when it captures."""
        command = self._where.command(
            sys.executable, "-c", _COMMAND.format("agent", "main"), *self._broker(),
            "--device", "veth0", "--filter", "ether dst 02:00:00:00:00:99",
            "--payload-bytes", "64", "--workers", str(self._workers),
        )  # fmt: skip
        with self._log.open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        _await(lambda: "capturing with" in self._log.read_text())
        return process


def _rows_of(path: Path) -> int:
    """Return the lines of a file without its header; it may get its final name meanwhile."""
    try:
        with path.open("rb") as file:
            lines = sum(part.count(b"\n") for part in iter(lambda: file.read(1 << 20), b""))
    except FileNotFoundError:
        return 0
    return max(lines - 1, 0)


def _cpu_of_ended(process: subprocess.Popen[bytes]) -> float:
    """Wait for a process; return what it and its children used."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def _await(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + _SECONDS
    while not holds():
        if time.monotonic() > ends:
            raise TimeoutError("a part of the pipeline did not start")
        time.sleep(0.02)
