"""The table of an agent's workers, on a terminal and from elsewhere."""

from __future__ import annotations

import contextlib
import fcntl
import http.server
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from rich.console import Console

from network_pipeline import agent_table
from network_pipeline.errors import NetworkPipelineError
from network_pipeline.exposition import Exposition
from network_pipeline.metrics import Pulse, Reading
from tests import netns, servers
from tests.agents import Agent, Site
from tests.capture.sniffing import Cable, send_datagrams

HEADS = ["worker", "packets/s", "bytes/s", "captured", "published", "drops", "shed", "lost",
         "queue", "spool", "restarts"]  # fmt: skip

HIDE_CURSOR, SHOW_CURSOR = b"\x1b[?25l", b"\x1b[?25h"


def families(captured: tuple[int, int], up: tuple[int, int] = (1, 1)) -> list[Metric]:
    prefix = "network_pipeline_agent"
    counter = CounterMetricFamily(f"{prefix}_captured_frames", "", labels=["worker"])
    gauge = GaugeMetricFamily(f"{prefix}_worker_up", "", labels=["worker"])
    for number in (0, 1):
        counter.add_metric([str(number)], captured[number])
        gauge.add_metric([str(number)], up[number])
    return [counter, gauge, CounterMetricFamily("process_cpu_seconds", "", value=1)]


def cells(text: str) -> list[list[str]]:
    """Return the words of the table's lines."""
    return [line.split() for line in text.splitlines() if re.search(r"\w", line)]


def test_paces_are_of_the_time_between_and_all_are_summed() -> None:
    before = agent_table.figures(families((1000, 20)))
    now = agent_table.figures(families((20_001_000, 25), up=(1, 0)))
    console = Console(width=80)
    with console.capture() as drawn:
        console.print(agent_table.table(now, before, 2.0))
    nothing = ["0"] * 7
    assert cells(drawn.get()) == [
        HEADS,
        ["0", "10,000k", "0", "20,001k", *nothing],
        ["1", "down", "2", "0", "25", *nothing],
        ["all", "10,000k", "0", "20,001k", *nothing],
    ]


def test_status_says_the_same_as_the_agent(site: Site, cable: Cable) -> None:
    agent = site.agent("--device", "veth0", "--protocols", "udp", "--workers", "2",
                       "--metrics-port", "9106")  # fmt: skip
    agent.await_capture()
    for _ in range(30):
        send_datagrams(cable[0], "10.99.0.2", 10)

    def published() -> float:
        with site.where.entered():
            found = agent_table.ask(("127.0.0.1", 9106))
        return sum(each["published_frames_total"] for each in found.values())

    servers.wait_until(lambda: published() == 300, "300 frames published")
    asking = Agent(site.where, site.directory / "status", "--metrics-port", "9106", "--status")
    assert asking.wait() == 0
    heads, *workers, whole = cells(asking.said())
    assert heads == HEADS
    assert [row[0] for row in workers] == ["0", "1"]
    assert sum(int(row[3]) for row in workers) == 300
    assert whole == ["all", "0", "0", "300", "300", *["0"] * 6]


def test_no_agent_is_said_with_what_to_do(tmp_path: Path) -> None:
    [port] = servers.free_ports(1)
    code = "from network_pipeline.scripts.agent import main; raise SystemExit(main())"
    command = [sys.executable, "-c", code, "--status"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (
        2,
        "network-agent: --status asks an agent for its metrics: start the agent with "
        "--metrics-port N, and give --status the same\n",
    )
    command += ["--metrics-port", str(port)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (
        1,
        f"network-agent: no network-agent answers on 127.0.0.1 port {port}: Connection refused; "
        "is it running, with this --metrics-address and --metrics-port?\n",
    )


def test_another_program_on_the_port_is_said() -> None:
    [port] = servers.free_ports(1)
    reading = Reading({"captured": 1}, {}, {})
    with (
        Exposition("agent", ("127.0.0.1", port), Pulse(), lambda: reading),
        pytest.raises(NetworkPipelineError, match=f"port {port}: what answers there is another"),
    ):
        agent_table.ask(("127.0.0.1", port))
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.handle_request).start()
        with pytest.raises(NetworkPipelineError, match="what answers there is another program"):
            agent_table.ask(("127.0.0.1", other.server_port))


class TerminalAgent(Agent):
    """The command on a terminal of its own."""

    def __init__(self, where: netns.Namespace, *flags: str) -> None:
        self._screen, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 40, 160, 0, 0))
        os.set_blocking(self._screen, False)
        self._seen = b""
        # tox tells how wide its own terminal is.
        super().__init__(where, Path(os.ttyname(terminal)), *flags, TERM="xterm", COLUMNS="160")
        self._terminal = terminal

    @property
    def seen(self) -> bytes:
        """What came to the terminal, as it came."""
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(self._screen, 65536):
                self._seen += piece
        return self._seen

    def said(self) -> str:
        return re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", self.seen.decode()).replace("\r", "\n")

    def close(self) -> None:
        self.stop()
        os.close(self._terminal)
        os.close(self._screen)


def test_a_terminal_shows_the_table_and_what_workers_say_above_it(site: Site, cable: Cable) -> None:
    agent = TerminalAgent(site.where, "--broker", site.broker.url, "--queue", site.broker.queue,
                          "--spool-dir", str(site.spool), "--device", "veth0", "--protocols",
                          "udp", "--workers", "2")  # fmt: skip
    try:
        agent.wait_until_it_says("capturing with 2 workers")
        agent.wait_until_it_says(r"all +0 +0 +0 +0")
        for _ in range(20):
            send_datagrams(cable[0], "10.99.0.2", 10)
        agent.wait_until_it_says(r"all +\d+ +[\d,]+ +200 +200 +0 +0 +0 +0 +0 +0 *\n")
        os.kill(agent.workers[1], signal.SIGKILL)
        agent.wait_until_it_says(r"all +0 +0 +200 +200 +0 +0 +0 +0 +0 +1 *\n")
        counts = agent.end()
        assert (counts["captured"], counts["published"], counts["restarts"]) == (200, 200, 1)
        said = agent.said()
        assert "10.99" not in said
        # A worker has said so, of the one before it.
        assert re.search(r" - the agent of session \S+ was killed: telling it now *\n", said)
        assert said.count("captured/s)") == 0
    finally:
        agent.close()


class BrokenAgent(TerminalAgent):
    """One whose supervisor meets an error in itself when it is to read the filter again."""

    code = f"""
from network_pipeline.capture.ring_group import RingGroup
RingGroup.accept = lambda *_: 1 / 0
{Agent.code}"""


def test_an_error_of_the_supervisor_gives_the_terminal_back(site: Site) -> None:
    agent = BrokenAgent(site.where, "--broker", site.broker.url, "--queue", site.broker.queue,
                        "--spool-dir", str(site.spool), "--device", "veth0",
                        "--workers", "1")  # fmt: skip
    try:
        agent.wait_until_it_says("capturing with 1 workers")
        workers = agent.workers
        agent.signal(signal.SIGHUP)
        assert agent.wait() == 1
        assert agent.seen.count(HIDE_CURSOR) == agent.seen.count(SHOW_CURSOR) == 1
        after = agent.seen.partition(SHOW_CURSOR)[2]
        plain = re.sub(rb"\x1b\[[\d;]*m", b"", after)  # from 3.13 on tracebacks have colours
        assert b"ZeroDivisionError: division by zero" in plain
        servers.wait_until(lambda: not any(map(is_there, workers)), "the workers' ends")
    finally:
        agent.close()


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
