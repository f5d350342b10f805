"""A Redis that another one takes over from: Sentinel and Cluster, under load; and key prefixes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.crc import key_slot

from network_pipeline.broker import topology
from network_pipeline.broker.publisher import Publisher
from network_pipeline.broker.rejected import RejectedQueue
from network_pipeline.errors import BrokerRefused, BrokerUnreachable, UsageError
from network_pipeline.settings import BrokerSettings
from tests import servers
from tests.broker import flow
from tests.broker.conftest import unique_queue
from tests.broker.load import Feed, Sink, settle
from tests.broker.spooling import Agent, limits


class Watched:
    """A master, two replicas and three Sentinels."""

    def __init__(self, place: Path, stack: ExitStack) -> None:
        binary = servers.redis_binary()
        self.master = servers.RedisServer(binary, place / "master")
        follow = ["--replicaof", f"127.0.0.1 {self.master.port}", "--repl-diskless-sync-delay", "0"]
        self.replicas = [
            servers.RedisServer(binary, place / f"replica{number}", follow) for number in range(2)
        ]
        self.sentinels = [
            servers.Sentinel(place / f"sentinel{number}", self.master.port) for number in range(3)
        ]
        every: list[servers.RedisServer | servers.Sentinel] = [
            self.master,
            *self.replicas,
            *self.sentinels,
        ]
        for server in every:
            stack.callback(server.stop)
            server.start()
        servers.wait_until(self._has_replicas, "two replicas")
        servers.wait_until(lambda: all(each.agrees() for each in self.sentinels), "a quorum")
        first, *others = (f"localhost:{each.port}" for each in self.sentinels)
        hosts = [f"redis+sentinel://{first}/mymaster/5", *(f"redis+sentinel://{o}" for o in others)]
        self.settings = BrokerSettings(";".join(hosts), unique_queue(), wait_replicas=1)

    def _has_replicas(self) -> bool:
        client = redis.Redis(port=self.master.port)
        try:
            replicas = client.info("replication")
            return all(replicas.get(f"slave{n}", {}).get("state") == "online" for n in range(2))
        finally:
            client.close()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with ExitStack() as stack:
        yield Watched(tmp_path_factory.mktemp("watched"), stack)


def test_a_sentinel_that_does_not_know_the_master_says_so(watched: Watched) -> None:
    wrong = replace(watched.settings, url=watched.settings.url.replace("mymaster", "other"))
    with flow.expect(BrokerRefused, "know no master 'other'"):
        topology.check(wrong)
    with flow.expect(UsageError, "say which master"):
        topology.check(BrokerSettings("redis+sentinel://localhost:1"))
    [closed] = servers.free_ports(1)
    with flow.expect(BrokerUnreachable, f"localhost:{closed}"):
        topology.check(BrokerSettings(f"redis+sentinel://localhost:{closed}/mymaster"))


def test_the_filter_gets_every_server(watched: Watched) -> None:
    known = topology.servers(watched.settings)
    ports = {server.port for server in (watched.master, *watched.replicas)}
    assert {port for _, port in known} == ports | {each.port for each in watched.sentinels}


def test_a_killed_master_loses_nothing_that_was_confirmed(watched: Watched) -> None:
    """Last in this module: afterwards a replica is the master."""
    settings = watched.settings
    feed, sink = Feed(settings), Sink(settings)
    feed.start()
    sink.start()
    sink.await_traffic()
    watched.master.kill()
    servers.wait_until(lambda: sink.losses > 0, "a consumer that notices")
    sink.await_traffic()
    settle(feed, sink)


def test_what_too_few_replicas_have_waits_and_leaves_no_copies(
    redis_server: servers.RedisServer,
) -> None:
    """There is no replica at all: all is taken back, until it is no longer asked for."""
    settings = BrokerSettings(redis_server.url, unique_queue(), wait_replicas=1)
    counts = flow.counters()
    publisher = Publisher(settings, counts)
    publisher.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("network_pipeline.broker.streams._REPLICA_MS", 10)
        for number in range(20):
            assert publisher.publish(flow.message(number))
        time.sleep(1)
    assert publisher.stop(0) == 20
    assert counts.snapshot() == {"published": 0, "shed": 20}
    servers.wait_until(lambda: flow.left(settings) == 0, "nothing left behind")


class Cluster:
    """Three masters with a replica each."""

    def __init__(self, place: Path, stack: ExitStack) -> None:
        options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1500"]
        self.nodes = [
            servers.RedisServer(servers.redis_binary(), place / f"node{number}", options)
            for number in range(6)
        ]
        for node in self.nodes:
            node.give_bus_port()
            stack.callback(node.stop)
            node.start()
        addresses = [f"127.0.0.1:{node.port}" for node in self.nodes]
        subprocess.run(
            ["redis-cli", "--cluster", "create", *addresses, "--cluster-replicas", "1",
             "--cluster-yes"], check=True, capture_output=True,
        )  # fmt: skip
        self.url = ";".join(f"redis+cluster://localhost:{node.port}" for node in self.nodes[:3])
        servers.wait_until(self._is_whole, "a whole cluster")

    def owner(self, queue: str) -> servers.RedisServer:
        """Return the node that has the queue: the others say where it is instead."""
        [owner] = [node for node in self.nodes if self._has(node, queue)]
        return owner

    def _has(self, node: servers.RedisServer, queue: str) -> bool:
        client = redis.Redis(port=node.port)
        try:
            return bool(client.xlen(queue) >= 0)
        except redis.exceptions.MovedError:
            return False
        finally:
            client.close()

    def _is_whole(self) -> bool:
        def has_replicas(node: servers.RedisServer) -> bool:
            client: Any = redis.Redis(port=node.port)
            try:
                facts = client.execute_command("CLUSTER INFO")
                nodes = client.execute_command("CLUSTER NODES")
            finally:
                client.close()
            replicas = sum("slave" in each["flags"] for each in nodes.values())
            return facts["cluster_state"] == "ok" and replicas == 3

        return all(map(has_replicas, self.nodes))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(tmp_path_factory.mktemp("cluster"), stack)


def test_a_queue_on_a_cluster_has_braces_in_its_name(cluster: Cluster) -> None:
    settings = BrokerSettings(cluster.url, "plain")
    with flow.expect(UsageError, "--queue '{plain}'"):
        topology.check(settings)


def test_queues_of_a_cluster_live_on_their_nodes(cluster: Cluster) -> None:
    ports = set()
    for number in range(8):
        settings = BrokerSettings(cluster.url, f"{{queue-{number}}}")
        flow.publish(settings, map(flow.message, range(20)))
        ports.add(cluster.owner(settings.queue).port)
        with flow.consuming(settings) as consumer:
            got = flow.receive(consumer, 20, ack=False)
            consumer.reject(got[0], "no rows")
            consumer.ack(got)
        assert [each[0] for each in flow.rejected(settings)] == [got[0].body]
        flow.assert_empty(settings)
    assert len(ports) > 1
    every = {node.port for node in cluster.nodes}
    servers.wait_until(
        lambda: {port for _, port in topology.servers(settings)} == every, "synchronous replicas"
    )


def test_a_killed_node_of_a_cluster_loses_nothing_that_was_confirmed(cluster: Cluster) -> None:
    settings = BrokerSettings(cluster.url, "{load}", wait_replicas=1)
    feed, sink = Feed(settings), Sink(settings)
    feed.start()
    sink.start()
    sink.await_traffic()
    killed = cluster.owner(settings.queue)
    killed.kill()
    servers.wait_until(lambda: sink.losses > 0, "a consumer that notices")
    killed.start()
    sink.await_traffic()
    settle(feed, sink)


def test_an_agent_starts_while_a_cluster_is_down(tmp_path: Path) -> None:
    """As long as some slots have no master, a cluster answers nothing."""
    node = servers.RedisServer(
        servers.redis_binary(), tmp_path / "node", ["--cluster-enabled", "yes"]
    )
    node.give_bus_port()
    with ExitStack() as stack:
        stack.callback(node.stop)
        node.start()
        asking: Any = stack.enter_context(redis.Redis(port=node.port))
        slot = key_slot(b"load")
        asking.execute_command("CLUSTER ADDSLOTS", slot)
        settings = BrokerSettings(f"redis+cluster://localhost:{node.port}", "{load}")
        with flow.expect(BrokerUnreachable, "The cluster is down"):
            Publisher(settings, flow.counters()).start()
        agent = Agent(settings, limits(tmp_path / "spool")).start()
        agent.give(range(3))
        agent.await_spooled(3)
        asking.execute_command("CLUSTER ADDSLOTSRANGE", 0, slot - 1, slot + 1, 16383)
        agent.await_published(3)
        assert agent.stop() == {"published": 3}


def test_a_prefix_keeps_queues_of_one_database_apart(redis_server: servers.RedisServer) -> None:
    one = BrokerSettings(redis_server.url, unique_queue(), key_prefix="site-1:")
    two = replace(one, key_prefix="site-2:")
    flow.publish(one, map(flow.message, range(5)))
    flow.publish(two, [flow.message(9)])
    client = redis.Redis.from_url(redis_server.url)
    assert client.xlen(f"site-1:{one.queue}") == 5
    assert not client.exists(one.queue)
    client.close()
    with flow.consuming(two) as consumer:
        [delivery] = flow.receive(consumer, 1, ack=False)
        consumer.reject(delivery, "no rows")
    queue = RejectedQueue(two)
    queue.start()
    assert [each.body[:8] for each in queue.messages()] == [b"00000009"]
    queue.stop()
    assert flow.rejected(one) == []
    with flow.consuming(one) as consumer:
        assert [flow.number_of(each) for each in flow.receive(consumer, 5)] == list(range(5))
