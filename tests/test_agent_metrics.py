"""``network-agent`` as Prometheus and an orchestrator see it."""

from __future__ import annotations

import itertools
import os
import re
import signal
import socket
import subprocess
from functools import partial
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import needs, netns, servers
from tests.agents import Agent, Site
from tests.capture.sniffing import Cable, send_datagrams

PREFIX = "network_pipeline_agent_"


@pytest.fixture
def agent(site: Site) -> Agent:
    made = site.agent("--device", "veth0", "--protocols", "udp", "--workers", "2",
                      "--metrics-port", "9106")  # fmt: skip
    made.await_capture()
    return made


def asked(where: netns.Namespace, path: str) -> tuple[int, str]:
    """Return the status and the body of a page."""
    with where.entered():
        client = socket.create_connection(("127.0.0.1", 9106), timeout=20)
    with client:
        client.sendall(b"GET %s HTTP/1.1\r\nHost: agent\r\n\r\n" % path.encode())
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    head, _, body = answer.decode().partition("\r\n\r\n")
    return int(head.split()[1]), body


def metrics(where: netns.Namespace) -> dict[str, dict[str, float]]:
    """Return the values of each worker, by name, without the buckets."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(asked(where, "/metrics")[1]):
        for sample in family.samples:
            if sample.name.startswith(PREFIX) and not sample.name.endswith("_bucket"):
                name = sample.name.removeprefix(PREFIX)
                found.setdefault(sample.labels["worker"], {})[name] = sample.value
    return found


def summed(where: netns.Namespace, name: str) -> float:
    return sum(each[name] for each in metrics(where).values())


def send_flows(where: netns.Namespace, flows: int) -> int:
    for _ in range(flows):
        send_datagrams(where, "10.99.0.2", 10)
    return flows * 10


def await_published(where: netns.Namespace, frames: int) -> None:
    """Wait until the broker has so many frames, and the figures of the workers are of then."""
    servers.wait_until(lambda: summed(where, "published_frames_total") == frames, f"{frames} sent")
    servers.wait_until(lambda: summed(where, "waiting_messages") == 0, "no message that waits")


def test_every_count_of_every_worker(site: Site, cable: Cable, agent: Agent) -> None:
    where = site.where
    sent = send_flows(cable[0], 50)
    await_published(where, sent)
    found = metrics(where)
    assert set(found) == {"0", "1"}
    for one in found.values():
        captured = one["captured_frames_total"]
        assert 0 < captured < sent
        assert one.pop("worker_resident_memory_bytes") > 10e6
        assert 1 <= one.pop("message_frames_count") == one.pop("message_bytes_count") <= captured
        assert one.pop("message_bytes_sum") > captured
        one.pop("queue_messages")  # looked at now and then
        assert one == {
            "captured_frames_total": captured,
            "published_frames_total": captured,
            "message_frames_sum": captured,
            "captured_bytes_total": 50 * captured,
            "broker_connected": 1,
            "worker_up": 1,
            **dict.fromkeys(
                ("shed_frames_total", "kernel_dropped_frames_total", "not_sampled_frames_total",
                 "adopted_frames_total", "damaged_frames_total", "lost_frames_total",
                 "kernel_freezes_total", "worker_restarts_total", "spooled_frames",
                 "waiting_messages"), 0,
            ),
        }  # fmt: skip
    assert "process_resident_memory_bytes" in asked(where, "/metrics")[1]
    assert asked(where, "/healthz") == (200, "ok\n")
    assert asked(where, "/") == (404, "/metrics or /healthz\n")


def has_restarts(where: netns.Namespace, number: int) -> bool:
    return summed(where, "worker_restarts_total") == number


def kill_until_it_is_seen(where: netns.Namespace, agent: Agent) -> int:
    """Kill worker 1 until health says so before its successor is there; return how often."""
    for kills in itertools.count(1):
        os.kill(agent.workers[1], signal.SIGKILL)
        servers.wait_until(partial(has_restarts, where, kills), "its end")
        seen = asked(where, "/healthz")
        servers.wait_until(lambda: asked(where, "/healthz") == (200, "ok\n"), "its successor")
        if seen == (503, "worker 1 is not up\n"):
            return kills
    raise AssertionError


def test_counts_outlive_a_worker_and_health_does_not(
    site: Site, cable: Cable, agent: Agent
) -> None:
    where = site.where
    sent = send_flows(cable[0], 20)
    await_published(where, sent)
    before = metrics(where)
    kills = kill_until_it_is_seen(where, agent)
    after = metrics(where)
    assert [after[number]["worker_restarts_total"] for number in "01"] == [0, kills]
    for name in ("captured_frames_total", "published_frames_total", "captured_bytes_total",
                 "message_frames_sum"):  # fmt: skip
        assert after["1"][name] == before["1"][name]
    sent += send_flows(cable[0], 20)
    await_published(where, sent)
    counts = agent.end()
    assert (counts["captured"], counts["published"], counts["restarts"]) == (sent, sent, kills)


def test_a_ring_that_is_full_is_a_drop_and_a_freeze(site: Site, cable: Cable) -> None:
    agent = site.agent("--device", "veth0", "--protocols", "udp", "--workers", "1",
                       "--ring-blocks", "2", "--ring-block-bytes", "4096", "--snap-length", "64",
                       "--metrics-port", "9106")  # fmt: skip
    agent.await_capture()
    [worker] = agent.workers
    os.kill(worker, signal.SIGSTOP)
    sent = send_flows(cable[0], 30)
    os.kill(worker, signal.SIGCONT)
    servers.wait_until(lambda: summed(site.where, "captured_frames_total") == sent, "all")
    await_published(site.where, sent - int(summed(site.where, "kernel_dropped_frames_total")))
    [found] = metrics(site.where).values()
    assert found["kernel_dropped_frames_total"] > 0
    assert found["kernel_freezes_total"] >= 1


def test_bad_clients_are_nobody_elses_business(site: Site, cable: Cable, agent: Agent) -> None:
    with site.where.entered():
        silent = [socket.create_connection(("127.0.0.1", 9106)) for _ in range(40)]
        rude = socket.create_connection(("127.0.0.1", 9106), timeout=20)
    try:
        with rude, pytest.raises(ConnectionError):
            rude.sendall(b"a" * 64 * 1024 * 1024)
        sent = send_flows(cable[0], 10)
        await_published(site.where, sent)
        os.kill(agent.workers[0], signal.SIGKILL)
        agent.wait_until_it_says("worker 0 was killed by signal 9")
        servers.wait_until(lambda: asked(site.where, "/healthz")[0] == 200, "its successor")
    finally:
        for client in silent:
            client.close()
    assert agent.end()["restarts"] == 1


def test_workers_keep_no_port_when_the_supervisor_is_killed(site: Site, agent: Agent) -> None:
    workers = agent.workers
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    agent.signal(signal.SIGKILL)
    agent.wait()
    with site.where.entered():
        socket.create_server(("127.0.0.1", 9106)).close()
    for pid in workers:
        os.kill(pid, signal.SIGCONT)
    servers.wait_until(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), "the workers' ends"
    )


def test_a_port_that_is_taken_is_named(site: Site) -> None:
    with site.where.entered():
        taken = socket.create_server(("127.0.0.1", 9106))
    with taken:
        second = site.agent("--device", "veth0", "--metrics-port", "9106")
        assert second.wait() == 2
    assert second.said().splitlines()[-1] == (
        "network-agent: no metrics on 127.0.0.1 port 9106: Address already in use; choose others "
        "with --metrics-address and --metrics-port"
    )


class AsService(netns.Namespace):
    """A network of its own with nothing but ``lo``, and in it a user with CAP_NET_RAW alone.

    It is a user namespace, in which root is called nobody: so it may read this checkout.
    """

    def command(self, *arguments: str) -> list[str]:
        alone = ("--inh-caps=-all,+net_raw", "--ambient-caps=-all,+net_raw")
        up = 'ip link set lo up && exec setpriv "$@"'
        user = ("unshare", "--user", "--map-user=65534", "--keep-caps")
        return [*user, "--net", "sh", "-c", up, "sh", *alone, *arguments]


def test_no_thread_keeps_the_capability_of_another_user_than_root(
    redis_path: Path, tmp_path: Path
) -> None:
    where = AsService("")
    if subprocess.run(where.command("true"), check=False).returncode:
        needs.lacking("unshare, setpriv and user namespaces")
    agent = Agent(where, tmp_path / "log", "--workers", "2", "--spool-dir", str(tmp_path / "spool"),
                  "--broker", f"redis+socket://{redis_path}?virtual_host=1",
                  "--queue", "SERVICE", "--metrics-port", "9106")  # fmt: skip
    try:
        agent.await_capture()
        assert "gave up root" not in agent.said()
        for pid in (agent.pid, *agent.workers):
            for status in Path(f"/proc/{pid}/task").glob("*/status"):
                text = status.read_text()
                assert "NoNewPrivs:\t1" in text
                for kind in ("Prm", "Eff", "Inh", "Amb"):
                    assert re.search(rf"^Cap{kind}:\t0{{16}}$", text, re.MULTILINE)
        assert "keep a capability" not in agent.said()
        assert agent.end()["restarts"] == 0
    finally:
        agent.stop()
