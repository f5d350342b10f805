"""``network-agent``, whole: real devices, workers that are killed, filters that are replaced."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from network_pipeline.scoreboard import COUNTED
from tests import agents, netns, servers
from tests.agents import Agent, Site
from tests.capture.sniffing import Cable, send_datagrams
from tests.collector import TOKEN, Collector, collecting


@pytest.fixture
def public() -> Iterator[Path]:
    with agents.public_directory() as directory:
        yield directory


def send_flows(where: netns.Namespace, flows: int, address: str = "10.99.0.2") -> int:
    """Send ten datagrams of each flow; return how many."""
    for _ in range(flows):
        send_datagrams(where, address, 10)
    return flows * 10


def counted(**others: int) -> dict[str, int]:
    return {**dict.fromkeys((*COUNTED, "lost", "restarts"), 0), **others}


def await_sessions(agent: Agent, count: int) -> None:
    servers.wait_until(lambda: len(agent.sessions()) == count, f"worker number {count}")


def await_text(agent: Agent, text: str, count: int) -> None:
    servers.wait_until(lambda: agent.said().count(text) == count, f"{text}, {count} times")


def await_reading(agent: Agent, count: int) -> None:
    await_text(agent, "the filter was read again", count)


def exchange(left: netns.Namespace, right: netns.Namespace, connections: int) -> None:
    """Make TCP connections, each with a request and an answer."""
    with right.entered():
        server = socket.create_server(("10.99.0.2", 7000), backlog=100)
    with server:
        for number in range(connections):
            with left.entered():
                client = socket.socket()
            with client:
                client.connect(("10.99.0.2", 7000))
                accepted, _ = server.accept()
                with accepted:
                    client.sendall(b"%d" % number)
                    accepted.sendall(accepted.recv(100))
                    client.recv(100)


def test_both_directions_of_a_connection_are_of_one_worker(site: Site, cable: Cable) -> None:
    agent = site.agent("--device", "veth0", "--protocols", "tcp", "--workers", "2")
    agent.await_capture()
    exchange(*cable, connections=60)
    counts = agent.end()
    captured = counts["captured"]
    assert counts == counted(captured=captured, published=captured)
    rows = site.rows(captured)
    assert len(rows) == captured >= 60 * 9
    flows: dict[frozenset[str], set[str]] = {}
    for row in rows:
        ends = frozenset((row["tcp_sport"], row["tcp_dport"]))
        flows.setdefault(ends, set()).add(row["session"])
    assert len(flows) == 60
    assert all(len(sessions) == 1 for sessions in flows.values())
    by_session = Counter(row["session"] for row in rows)
    assert set(by_session) == set(agent.sessions())
    for session, count in by_session.items():
        numbers = {int(row["frame_number"]) for row in rows if row["session"] == session}
        assert numbers == set(range(1, count + 1))


@pytest.mark.parametrize("devices", ["lo", "lo,any"])
def test_loopback_shows_each_frame_once(site: Site, devices: str) -> None:
    agent = site.agent("--device", devices, "--protocols", "udp", "--workers", "2")
    agent.await_capture()
    sent = send_flows(site.where, 30, "127.0.0.1")
    assert agent.end() == counted(captured=sent, published=sent)
    assert len(site.rows(sent)) == sent


def test_a_killed_worker_has_a_successor_and_what_waits_is_not_lost(
    site: Site, cable: Cable
) -> None:
    agent = site.agent("--device", "veth0", "--protocols", "udp", "--workers", "2")
    agent.await_capture()
    sent = send_flows(cable[0], 100)
    for pid in agent.workers:
        os.kill(pid, signal.SIGSTOP)
    sent += send_flows(cable[0], 100)  # nobody reads them now
    for pid in agent.workers:
        os.kill(pid, signal.SIGKILL)
    sent += send_flows(cable[0], 100)
    await_sessions(agent, 4)
    counts = agent.end()
    lost = counts["lost"]
    assert counts == counted(captured=sent, published=sent - lost, lost=lost, restarts=2)
    rows = site.rows(sent - lost)
    assert sent - lost <= len(rows) <= sent
    assert sum(account.died for account in site.accounts()) == sent - len(rows)
    assert set(agent.sessions()) >= {row["session"] for row in rows}
    assert agent.said().count("was killed by signal 9; the next begins in") == 2


def test_what_a_worker_killed_at_the_end_had_not_read_is_counted(site: Site, cable: Cable) -> None:
    agent = site.agent("--device", "veth0", "--protocols", "udp", "--workers", "1")
    agent.await_capture()
    [worker] = agent.workers
    os.kill(worker, signal.SIGSTOP)
    sent = send_flows(cable[0], 10)
    agent.signal(signal.SIGTERM)
    os.kill(worker, signal.SIGKILL)
    assert agent.wait() in (0, 1)  # 0 where a successor was begun before it was asked to end
    counts = agent.counts()
    assert counts["captured"] == sent == counts["published"] + counts["lost"]


def test_killed_under_load_everything_is_a_row_or_counted(site: Site, cable: Cable) -> None:
    agent = site.agent("--device", "veth0", "--protocols", "udp", "--workers", "2")
    agent.await_capture()
    sent: list[int] = []
    sending = threading.Thread(
        target=lambda: sent.extend(send_flows(cable[0], 100) for _ in range(30))
    )
    sending.start()
    for sessions in (3, 4, 5):
        os.kill(agent.workers[0], signal.SIGKILL)
        await_sessions(agent, sessions)
    sending.join()
    counts = agent.end()
    assert counts["captured"] == sum(sent)
    assert counts["restarts"] == 3
    settled = counts["published"] + counts["kernel_dropped"] + counts["lost"] + counts["shed"]
    assert settled == counts["captured"]
    rows = site.rows(counts["published"])
    assert counts["published"] <= len(rows) <= counts["published"] + counts["lost"]
    assert len({(row["session"], row["frame_number"]) for row in rows}) == len(rows)
    numbered = counts["captured"] - counts["kernel_dropped"]
    assert sum(account.died for account in site.accounts()) == numbered - len(rows)


def test_workers_end_in_good_order_when_the_supervisor_is_killed(site: Site, cable: Cable) -> None:
    agent = site.agent("--device", "veth0", "--protocols", "udp", "--workers", "2")
    agent.await_capture()
    workers = agent.workers
    sent = send_flows(cable[0], 100)
    agent.signal(signal.SIGKILL)
    servers.wait_until(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "the workers' ends"
    )
    assert len(site.rows(sent)) == sent


def test_sighup_replaces_the_filter_and_loses_no_frame(
    site: Site, cable: Cable, public: Path
) -> None:
    text = public / "filter"
    text.write_text("udp port 9\n")
    agent = site.agent("--device", "veth0", "--filter-file", str(text), "--workers", "2")
    agent.await_capture()
    sent: list[int] = []
    sending = threading.Thread(
        target=lambda: sent.extend(send_flows(cable[0], 50) for _ in range(30))
    )
    sending.start()
    for count in range(1, 6):
        agent.signal(signal.SIGHUP)
        await_reading(agent, count)
    sending.join()
    text.write_text("udp port 10\n")
    agent.signal(signal.SIGHUP)
    await_reading(agent, 6)
    send_flows(cable[0], 10)
    text.write_text("udp port or\n")
    agent.signal(signal.SIGHUP)
    agent.wait_until_it_says("the filter stays as it was: filter 'udp port or': ")
    with cable[0].udp_socket() as sender:
        sender.sendto(b"x", ("10.99.0.2", 10))
    assert agent.end() == counted(captured=sum(sent) + 1, published=sum(sent) + 1)


class ShortAgent(Agent):
    """Takes ``udp`` for every device, and ``udp port 10`` for Ethernet, but for no tunnel."""

    code = (
        f"from network_pipeline.capture import filters as f; f.MAX_INSTRUCTIONS = 35; {Agent.code}"
    )


def test_a_filter_that_fits_only_some_devices_replaces_none(
    redis_path: Path, tmp_path: Path, public: Path
) -> None:
    text = public / "filter"
    text.write_text("udp")
    with (
        netns.namespace() as where,
        netns.tun(where),
        agents.site(where, redis_path, tmp_path) as site,
    ):
        agent = site.agent("--device", "lo,tun0", "--filter-file", str(text), "--workers", "2",
                           kind=ShortAgent)  # fmt: skip
        agent.await_capture()
        text.write_text("udp port 10")
        agent.signal(signal.SIGHUP)
        agent.wait_until_it_says("the filter stays as it was: the filter is too long")
        sent = send_flows(where, 10, "127.0.0.1")  # to port 9
        assert agent.end() == counted(captured=sent, published=sent)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_device_that_was_removed_is_taken_up_again(
    redis_path: Path, tmp_path: Path, workers: str
) -> None:
    datagram = bytes.fromhex("4500002400000000401100000a6200020a620001")
    packets = [
        datagram + port.to_bytes(2) + b"\0\x09\0\x10\0\0" + b"8 bytes." for port in range(50)
    ]
    with (
        netns.namespace() as where,
        contextlib.ExitStack() as devices,
        agents.site(where, redis_path, tmp_path) as site,
    ):
        first = devices.enter_context(netns.tun(where))
        agent = site.agent("--device", "tun0,lo", "--protocols", "udp", "--workers", workers)
        agent.await_capture()
        for packet in packets:
            os.write(first, packet)
        devices.close()
        agent.wait_until_it_says("device tun0 was removed; capture goes on when it is there again")
        send_flows(where, 10, "127.0.0.1")
        second = devices.enter_context(netns.tun(where))
        agent.wait_until_it_says("device tun0 is there again")
        send_flows(where, 10, "127.0.0.1")
        for packet in packets:
            os.write(second, packet)
        assert agent.end() == counted(captured=300, published=300)
        rows = site.rows(300)
    assert Counter(row["frame_interface"] for row in rows) == {"tun0": 100, "lo": 200}


class SparingAgent(Agent):
    """Takes a device up again once."""

    code = f"from network_pipeline.capture import ring_group as g; g.SPARES = 1; {Agent.code}"


def test_a_device_that_was_removed_too_often_ends_it_in_good_order(
    redis_path: Path, tmp_path: Path
) -> None:
    with (
        netns.namespace() as where,
        contextlib.ExitStack() as devices,
        agents.site(where, redis_path, tmp_path) as site,
    ):
        devices.enter_context(netns.tun(where))
        agent = site.agent("--device", "tun0,lo", "--protocols", "udp", "--workers", "2",
                           kind=SparingAgent)  # fmt: skip
        agent.await_capture()
        for times in (1, 2):
            devices.close()
            await_text(agent, "tun0 was removed", times)
            send_flows(where, 10, "127.0.0.1")
            devices.enter_context(netns.tun(where))
            agent.wait_until_it_says("tun0 is there again")
        assert agent.wait() == 1
        assert "no sockets are left for it, so the agent ends" in agent.said()
        assert agent.counts() == counted(captured=200, published=200)
        assert len(agent.sessions()) == 4


def test_a_device_that_was_down(site: Site, cable: Cable) -> None:
    agent = site.agent("--device", "veth0", "--protocols", "udp", "--workers", "2")
    agent.await_capture()
    send_flows(cable[0], 10)
    site.where.ip("link", "set", "veth0", "down")
    agent.wait_until_it_says("device veth0 is down; capture goes on when it is up again")
    site.where.ip("link", "set", "veth0", "up")
    site.where.await_link("veth0")
    agent.wait_until_it_says("device veth0 is up again")
    send_flows(cable[0], 10)
    assert agent.end() == counted(captured=200, published=200)


def test_one_flow_in_some_is_published_and_the_others_are_counted(site: Site, cable: Cable) -> None:
    agent = site.agent(
        "--device", "veth0", "--protocols", "udp", "--workers", "2", "--sample", "1/4",
        "--payload-bytes", "2",
    )  # fmt: skip
    agent.await_capture()
    sent = send_flows(cable[0], 200)
    counts = agent.end()
    published = counts["published"]
    assert counts == counted(captured=sent, published=published, not_sampled=sent - published)
    assert 200 < published < 800
    rows = site.rows(published)
    by_port = Counter(row["udp_sport"] for row in rows)  # which may be given again
    assert all(count % 10 == 0 for count in by_port.values())
    assert {(row["raw_load"], row["raw_len"]) for row in rows} == {("0000", "8")}


# -- as a service ----------------------------------------------------------------------------------


def test_neither_supervisor_nor_workers_keep_a_privilege(site: Site) -> None:
    agent = site.agent("--device", "veth0", "--workers", "2")
    agent.await_capture()
    for pid in (agent.pid, *agent.workers):
        for status in Path(f"/proc/{pid}/task").glob("*/status"):
            text = status.read_text()
            assert re.search(r"^Uid:\t65534\t65534\t65534\t65534$", text, re.MULTILINE)
            for kind in ("Prm", "Eff", "Inh", "Amb"):
                assert re.search(rf"^Cap{kind}:\t0{{16}}$", text, re.MULTILINE)
    for pid in agent.workers:
        assert "NoNewPrivs:\t1" in Path(f"/proc/{pid}/status").read_text()
    assert agent.end() == counted()


def test_systemd_is_told(site: Site, public: Path) -> None:
    address = public / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(address))
        address.chmod(0o777)
        agent = site.agent("--device", "veth0", "--workers", "2", NOTIFY_SOCKET=str(address))
        agent.await_capture()
        agent.signal(signal.SIGHUP)
        agent.wait_until_it_says("the filter was read again")
        agent.end()
        listening.setblocking(False)
        said: list[str] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                said.append(listening.recv(200).decode())
    assert "WATCHDOG=1" in said
    states = [state for state in said if state != "WATCHDOG=1"]
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", states.pop(1))
    assert states == ["READY=1", "READY=1", "STOPPING=1"]


def test_without_a_broker_it_ends_as_other_commands_do(cable: Cable, tmp_path: Path) -> None:
    agent = agents.Agent(
        cable[1], tmp_path / "log", "--device", "veth0", "--broker", "redis://127.0.0.1:1/0",
        "--spool-max-bytes", "0",
    )  # fmt: skip
    assert agent.wait() == 3
    assert "network-agent: workers ended with errors, which they have said" in agent.said()


@pytest.mark.parametrize(
    ("flags", "code", "text"),
    [
        (("--device", "eth7"), 1, "no network device 'eth7'; there are lo, veth0, any"),
        (("--filter-file", "/nowhere"), 2, "--filter-file=/nowhere: No such file or directory"),
        (("--sample", "10"), 2, "--sample=10: must be 1/N, such as 1/10"),
        (("--protocols", "tcp,sctp"), 2, "must name protocols of arp, icmp, tcp, udp"),
        (("--ring-block-bytes", "5000"), 2, "must be a multiple of the page size, 4096"),
        (("--ring-block-bytes", "4096"), 2, "a block of 4096 bytes must hold one packet"),
        (("--ring-blocks", "999999999"), 2, "must not take more than half of this machine's"),
    ],
)
def test_what_it_cannot_use_is_named(
    cable: Cable, tmp_path: Path, flags: tuple[str, ...], code: int, text: str
) -> None:
    agent = agents.Agent(cable[1], tmp_path / "log", *flags)
    assert agent.wait() == code
    assert text in agent.said()


def test_check_opens_everything_and_starts_nothing(site: Site) -> None:
    agent = site.agent("--device", "veth0", "--workers", "2", "--check")
    assert agent.wait() == 0
    assert agent.said().splitlines()[-4:] == [
        "ok  permission to capture on veth0, with 2 workers",
        "ok  filter 'arp or icmp or icmp6 or tcp or udp', without the broker's own traffic",
        f"ok  broker {site.broker.safe_url}",
        f"ok  spool {site.spool}",
    ]


@pytest.mark.parametrize(
    ("limits", "code", "text"),
    [
        ("64, 4096", 0, "ok  permission to capture on lo, with 12 workers"),
        ("64, 64", 1, "network-agent: no packet socket can be opened: Too many open files"),
    ],
)
def test_sockets_for_many_workers_need_many_files(
    redis_path: Path, tmp_path: Path, limits: str, code: int, text: str
) -> None:
    class LimitedAgent(Agent):
        code = f"import resource as r; r.setrlimit(r.RLIMIT_NOFILE, ({limits})); {Agent.code}"

    with netns.namespace() as where, agents.site(where, redis_path, tmp_path) as site:
        agent = site.agent("--device", "lo", "--workers", "12", "--ring-blocks", "2", "--check",
                           "--ring-block-bytes", "4096", "--snap-length", "64",
                           kind=LimitedAgent)  # fmt: skip
        assert agent.wait() == code
        assert text in agent.said().splitlines()


class CrampedAgent(Agent):
    """Has no room for the first process that it would start, nor for the third."""

    code = """
import os, sys
fork, tries = os.fork, []
def cramped():
    tries.append(None)
    if len(tries) in (1, 3):
        raise BlockingIOError(11, os.strerror(11))
    return fork()
os.fork = cramped
from network_pipeline.scripts.agent import main
sys.exit(main())
"""


def test_a_worker_that_there_is_no_room_for_is_tried_again(site: Site, cable: Cable) -> None:
    agent = site.agent("--device", "veth0", "--protocols", "udp", "--workers", "2",
                       kind=CrampedAgent)  # fmt: skip
    agent.await_capture()
    sent = send_flows(cable[0], 30)
    assert agent.end() == counted(captured=sent, published=sent)
    said = re.findall("worker 0 cannot be started: Resource temporarily unavailable; the next try",
                      agent.said())  # fmt: skip
    assert len(said) == 2
    assert len(site.rows(sent)) == sent


class LonelyAgent(Agent):
    """Has workers that the kernel does not tell of their supervisor's end."""

    code = """
import sys
from network_pipeline import privileges
from network_pipeline.errors import CaptureError
def refused(number):
    raise CaptureError("cannot ask for a signal: Operation not permitted")
privileges.end_with_parent = refused
from network_pipeline.scripts.agent import main
sys.exit(main())
"""


def test_a_worker_that_cannot_begin_says_why(site: Site) -> None:
    agent = site.agent("--device", "veth0", "--workers", "1", kind=LonelyAgent)
    assert agent.wait() == 1
    assert "worker 0 cannot begin" in agent.said()
    assert "CaptureError: cannot ask for a signal: Operation not permitted" in agent.said()
    assert "workers ended with errors, which they have said" in agent.said()


# -- what is said goes to Splunk -------------------------------------------------------------------


class TalkingAgent(Agent):
    """Has workers that say when they begin and, behind all else, that they are done."""

    code = """
import logging, os, sys
from network_pipeline import worker
run = worker.run
def told(*given):
    logging.info("process %d is up", os.getpid())
    run(*given)
    logging.info("process %d is done", os.getpid())
worker.run = told
from network_pipeline.scripts.agent import main
sys.exit(main())
"""


@contextlib.contextmanager
def collector_in(where: netns.Namespace, certificates: servers.Certificates) -> Iterator[Collector]:
    with contextlib.ExitStack() as stack:
        with where.entered():
            collector = stack.enter_context(collecting(certificates))
        yield collector


def wait_for(collector: Collector, pids: Sequence[int]) -> None:
    lines = {f"process {pid} is up" for pid in pids}
    servers.wait_until(lambda: lines <= set(collector.messages), "what the workers say")


def lines(agent: Agent) -> list[str]:
    """Return the messages that it logged on stderr."""
    return re.findall(r" - (?:INFO|WARNING|ERROR) - (.*)$", agent.said(), re.MULTILINE)


@pytest.mark.parametrize("user", [{}, {"SPLUNK_TOKEN": "", "SPLUNK_USER": "trex"}])
def test_every_line_of_supervisor_and_workers_reaches_splunk_once(
    site: Site, public: Path, certificates: servers.Certificates, user: dict[str, str]
) -> None:
    authority = public / "ca.pem"
    authority.write_bytes(certificates.authority.read_bytes())
    with collector_in(site.where, certificates) as collector:
        agent = site.agent(
            "--device", "veth0", "--workers", "2", kind=TalkingAgent,
            **{"SPLUNK_ADDRESS": collector.address, "SPLUNK_API_ADDRESS": collector.address,
               "SPLUNK_TOKEN": TOKEN, "SPLUNK_PASSWORD": "123321",
               "REQUESTS_CA_BUNDLE": str(authority), **user},
        )  # fmt: skip
        agent.await_capture()
        first = agent.workers
        wait_for(collector, first)
        os.kill(first[0], signal.SIGKILL)
        await_sessions(agent, 3)
        wait_for(collector, agent.workers)
        begun = {*first, *agent.workers}
        counts = agent.end()
        assert counts["restarts"] == 1
        said = lines(agent)
        assert {f"process {pid} is up" for pid in begun} <= set(said)
        assert {f"process {pid} is done" for pid in agent.workers} <= set(said)
        assert said[0].startswith("gave up root")
        assert said[-1].startswith("network-agent ended")
        assert Counter(collector.messages) == Counter(said)
