"""A RabbitMQ cluster of three nodes, one of which is killed under load."""

from __future__ import annotations

from pathlib import Path

from network_pipeline.settings import BrokerSettings
from tests import servers
from tests.broker import flow
from tests.broker.conftest import unique_queue
from tests.broker.load import Feed, Sink, settle


def test_a_killed_leader_loses_nothing(tmp_path: Path) -> None:
    """Both clients and the queue's leader are on the first node, which is killed."""
    servers.require_rabbitmq()
    with servers.rabbitmq_cluster(tmp_path) as nodes:
        url = ";".join(node.url for node in nodes)
        settings = BrokerSettings(url, unique_queue())
        servers.wait_until(lambda: nodes[0].members() == 3, "three nodes", step=1)
        feed, sink = Feed(settings), Sink(settings)
        feed.start()
        sink.start()
        sink.await_traffic()
        nodes[0].kill()
        servers.wait_until(lambda: sink.losses > 0, "a consumer that notices")
        sink.await_traffic()
        settle(feed, sink)
        flow.assert_empty(settings)
