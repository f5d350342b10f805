"""The main job on real packets, unattended.

Starts the commands as a person would, each a process of its own: a packet processor, the four
capture commands, servers and simulators. Then ends them in the order of the data's life, so that
everything captured must be in the file: captures first (they publish what they hold), the
processor when the file has as many rows as were published. The counters that each command prints
at its end are the proof. ``lo`` has no ARP, so that part crosses a network namespace.
"""

from __future__ import annotations

import contextlib
import csv
import os
import re
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from network_pipeline import audit
from network_pipeline.broker import topology
from network_pipeline.errors import CapturePermissionError, NetworkPipelineError, UsageError
from network_pipeline.settings import BrokerSettings
from network_pipeline.verify import judge

if TYPE_CHECKING:
    from rich.table import Table

#: It leaves nothing behind on this machine, and ends well only with its broker.
_NO_SPOOL = ("--spool-max-bytes", "0")
READY_SECONDS = 30.0
STORED_SECONDS = 60.0
ENDED_SECONDS = 45.0

#: UDP ports whose content is decoded as DNS.
DNS_PORTS = (53, 5353, 5355)

#: Protocols that must have rows, each with a column that only its rows fill.
PROTOCOLS = {
    "ARP": "arp_op",
    "ICMP": "icmp_type",
    "TCP": "tcp_sport",
    "UDP": "udp_sport",
    "DNS": "dns_id",
}
#: Columns of a row that are shown, where it has them.
SAMPLE_COLUMNS = (
    "eth_src",
    "arp_op",
    "arp_psrc",
    "ip_src",
    "ip_dst",
    "icmp_type",
    "tcp_sport",
    "tcp_dport",
    "udp_sport",
    "udp_dport",
    "dns_qd_qname",
    "dns_an_rdata",
    "raw_load",
)
_COUNTERS = re.compile(r"ended: (.*)$", re.MULTILINE)
_NEEDED = {"ip": "iproute2", "ping": "iputils-ping", "curl": "curl"}

Say = Callable[[str], None]
Row = dict[str, str]


class Part:
    """One command of the suite, running, with what it says in a file."""

    def __init__(self, log: Path, name: str, *arguments: str) -> None:
        self.name = name
        self._log = log
        command = [str(Path(sysconfig.get_path("scripts")) / name), *arguments]
        with log.open("wb") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def wait_until_it_says(self, pattern: str) -> re.Match[str]:
        """Return the match; an error with all it said where it ends or stays silent."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if match := re.search(pattern, self.said()):
                return match
            time.sleep(0.05)
        raise NetworkPipelineError(f"{self.name} is not ready: {self.said().strip()}")

    def said(self) -> str:
        """Return all that it has printed."""
        return self._log.read_text(errors="replace")

    def end(self) -> dict[str, int]:
        """End it in good order and return the counters that it printed."""
        self.signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> dict[str, int]:
        """Wait until it ends by itself and return the counters that it printed."""
        code = self.wait()
        match = _COUNTERS.search(self.said())
        if code != 0 or not match:
            raise NetworkPipelineError(f"{self.name} ended with {code}: {self.said().strip()}")
        pairs = (pair.split("=") for pair in match[1].split())
        return {name: int(count) for name, count in pairs}

    def stop(self) -> None:
        """End it if it still runs."""
        self.signal(signal.SIGTERM)
        self.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal if it still runs."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end, which is forced after a while; return its exit code."""
        try:
            return self._process.wait(ENDED_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


class Demo:
    """A run of the whole pipeline on a queue of its own, which it removes."""

    def __init__(self, broker: BrokerSettings, say: Say) -> None:
        self._broker = broker
        self._say = say
        self._queue = f"DEMO-{uuid.uuid4().hex[:8]}"

    def run(self) -> tuple[Path, list[Row], dict[str, dict[str, int]]]:
        """Run it; return the CSV's path, its rows, and the counters of each command.

        Raises:
            UsageError: a program that it needs is missing.
            CapturePermissionError: it does not run as root.
            NetworkPipelineError: a command failed, or what was published is not in the file.
        """
        _check_needs()
        with contextlib.ExitStack() as stack:
            logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="demo-")))
            stack.callback(topology.delete_queues, self._own_settings())
            namespace, device = stack.enter_context(_network_namespace())
            processor = self._start(stack, logs, "packets-redis", "--save-after-seconds", "1")
            path = Path(processor.wait_until_it_says(r"writing to (\S+)")[1])
            captures = [
                self._start(stack, logs, f"capture-{protocol}", "--device", on, *_NO_SPOOL)
                for protocol, on in (("tcp", "lo"), ("udp", "lo"), ("icmp", "lo"), ("arp", device))
            ]
            for capture in captures:
                capture.wait_until_it_says(r"capturing on ")
            self._say("capturing; making traffic")
            _make_traffic(stack, logs, namespace, self._say)
            counters = {capture.name: capture.end() for capture in captures}
            published = sum(counts["published"] for counts in counters.values())
            self._say(f"captures ended, {published} frames published; waiting for their rows")
            rows = _wait_for_rows(path, published)
            counters[processor.name] = processor.end()
        return path, rows, counters

    def _own_settings(self) -> BrokerSettings:
        return BrokerSettings(self._broker.url, self._queue, ssl_options=self._broker.ssl_options)

    def _start(self, stack: contextlib.ExitStack, logs: Path, name: str, *flags: str) -> Part:
        where = ("--broker", self._broker.url, "--queue", self._queue)
        part = Part(logs / f"{name}.log", name, *where, *flags)
        stack.callback(part.stop)
        return part


def show(broker: BrokerSettings) -> None:
    """Run the demonstration and print what came of it.

    Raises:
        NetworkPipelineError: a protocol has no rows, a frame was lost or the ledgers do not add
            up, beside what :meth:`Demo.run` raises.
    """
    from rich.console import Console  # noqa: PLC0415  only where tables are drawn

    talk = Console(stderr=True)
    path, rows, counters = Demo(broker, lambda text: talk.print(f"demo: {text}")).run()
    by_protocol = rows_by_protocol(rows)
    out = Console()
    out.print(_table("rows per protocol", ("protocol", "rows"), by_protocol.items()))
    out.print(_table("one of each", ("protocol", "some of its columns"), _sample(rows)))
    out.print(_table("counters", ("command", "counts"), _counter_lines(counters)))
    out.print(f"lost {lost(counters)} of the captured frames\n{path}", highlight=False)
    verdict = judge([audit.examine(path)])
    out.print(f"network-pipeline verify: {verdict.text}", highlight=False)
    empty = [protocol for protocol, count in by_protocol.items() if count == 0]
    if empty or lost(counters) or verdict.complaints:
        raise NetworkPipelineError(f"lost {lost(counters)} frames; no rows for {empty or 'none'}")


def lost(counters: dict[str, dict[str, int]]) -> int:
    """Return how many captured frames are not in the file, by the commands' own counters."""
    captured = sum(counts.get("captured", 0) for counts in counters.values())
    written = sum(counts.get("written", 0) for counts in counters.values())
    return captured - written


def rows_by_protocol(rows: list[Row]) -> dict[str, int]:
    """Return how many rows each protocol has; a DNS row is a UDP row too."""
    return {
        protocol: sum(1 for row in rows if row[column]) for protocol, column in PROTOCOLS.items()
    }


def _table(title: str, names: Iterable[str], lines: Iterable[Iterable[object]]) -> Table:
    from rich.table import Table  # noqa: PLC0415

    table = Table(*names, title=title, title_justify="left")
    for line in lines:
        table.add_row(*(str(cell) for cell in line))
    return table


def _sample(rows: list[Row]) -> Iterator[tuple[str, str]]:
    """Yield the last row of each protocol: answers and payloads come late."""
    for protocol, column in PROTOCOLS.items():
        for row in reversed(rows):
            if row[column]:
                values = {name: row[name] for name in SAMPLE_COLUMNS if row[name]}
                yield protocol, " ".join(f"{name}={_cut(text)}" for name, text in values.items())
                break


def _cut(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:24]}…"


def _counter_lines(counters: dict[str, dict[str, int]]) -> Iterator[tuple[str, str]]:
    for name, counts in counters.items():
        yield name, " ".join(f"{count}={number}" for count, number in counts.items())


def _check_needs() -> None:
    missing = [package for command, package in _NEEDED.items() if not shutil.which(command)]
    if missing:
        raise UsageError(f"please install first: apt-get install {' '.join(missing)}")
    if os.geteuid() != 0:
        raise CapturePermissionError("the demonstration captures packets: run it with sudo")


@contextlib.contextmanager
def _network_namespace() -> Iterator[tuple[str, str]]:
    """Yield a namespace's name and the device on this side of the cable into it."""
    name = f"demo-{os.getpid()}"
    near, far = f"npd{os.getpid() % 10**8}", "cable0"
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        _run("ip", "link", "set", near, "up")
        _run("ip", "-n", name, "link", "set", far, "up")
        yield name, near
    finally:
        _run("ip", "netns", "delete", name)


def _make_traffic(stack: contextlib.ExitStack, logs: Path, namespace: str, say: Say) -> None:
    web = _free_port(socket.SOCK_STREAM, 80, 8080, 8443)
    echo = str(_free_port(socket.SOCK_DGRAM, 17000, 17001, 17002))
    server = Part(logs / "web.log", "listen-tcp-port", "--port", str(web))
    stack.callback(server.stop)
    echoer = Part(logs / "echo.log", "listen-udp-port", "--port", echo)
    stack.callback(echoer.stop)
    server.wait_until_it_says("Starting Server")
    echoer.wait_until_it_says("Starting UDP Server")
    url = f"http://127.0.0.1:{web}/TESTURLENDPOINT"
    say(f"curl POST and GET {url}")
    body = '{"user_id", "1234", "api_key": "abcd", "api_secret": "xyz"}'
    _run("curl", "--silent", "--show-error", "--fail", "-d", body, url)
    _run("curl", "--silent", "--show-error", "--fail", url)
    say("tcp-send-msg, udp-send-msg, DNS, ping, arp-send-msg")
    scripts = Path(sysconfig.get_path("scripts"))
    _run(str(scripts / "tcp-send-msg"), "--port", str(web), "--count", "5")
    _run(str(scripts / "udp-send-msg"), "--port", echo, "--count", "100", "--rate", "200")
    _ask_dns()
    _run("ping", "-c", "3", "-i", "0.2", "127.0.0.1")
    arp = str(scripts / "arp-send-msg")
    _run("ip", "netns", "exec", namespace, arp, "--device", "cable0", "--count", "5")


def _ask_dns() -> None:
    """Ask a name server of our own, on an address and a port that nobody uses."""
    from scapy.layers.dns import DNS, DNSQR, DNSRR  # noqa: PLC0415  slow to import

    question = DNSQR(qname="www.example.com")
    answer = DNSRR(rrname="www.example.com", ttl=300, rdata="192.0.2.1")
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        _bind_first_free(server, "127.0.53.53", DNS_PORTS)
        server.settimeout(READY_SECONDS)
        client.settimeout(READY_SECONDS)
        client.sendto(bytes(DNS(id=7, rd=1, qd=question)), server.getsockname())
        _, asker = server.recvfrom(512)
        server.sendto(bytes(DNS(id=7, qr=1, ra=1, qd=question, an=answer)), asker)
        client.recv(512)


def _free_port(kind: socket.SocketKind, *wanted: int) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return _bind_first_free(probe, "127.0.0.1", wanted)


def _bind_first_free(unbound: socket.socket, address: str, ports: Sequence[int]) -> int:
    for port in ports:
        with contextlib.suppress(OSError):
            unbound.bind((address, port))
            return port
    raise NetworkPipelineError(f"none of the ports {ports} of {address} is free")


def _wait_for_rows(path: Path, count: int) -> list[Row]:
    deadline = time.monotonic() + STORED_SECONDS
    rows = _read(path)
    while len(rows) < count and time.monotonic() < deadline:
        time.sleep(0.2)
        rows = _read(path)
    return rows


def _read(path: Path) -> list[Row]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise NetworkPipelineError(f"{' '.join(command)}: {said}")
