"""A network that goes away between agent and broker: a cut cable, and packets that vanish.

The agent is at one end of a cable, broker and processor at the other.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from network_pipeline.settings import BrokerSettings
from tests import netns, servers
from tests.broker.conftest import unique_queue
from tests.faults.pipeline import BACK, LOST, Pipeline, assert_nothing_is_missing

NEAR, FAR = "10.99.0.1", "10.99.0.2"
#: Who gets what is sent to a neighbour that was told this hardware address: nobody.
NOBODY = "02:00:00:00:00:99"


class Cable:
    """What can happen to the cable between two namespaces."""

    def __init__(self, near: netns.Namespace, far: netns.Namespace) -> None:
        self.near, self.far = near, far
        self._ends = ((near, FAR), (far, NEAR))

    def cut(self) -> None:
        self.near.ip("link", "set", "veth0", "down")

    def join(self) -> None:
        self.near.ip("link", "set", "veth0", "up")

    def swallow(self) -> None:
        """Let packets vanish in both directions; the link is up, and nobody is told."""
        for end, other in self._ends:
            end.ip("neigh", "replace", other, "lladdr", NOBODY, "dev", "veth0", "nud", "permanent")

    def pass_on(self) -> None:
        for end, other in self._ends:
            end.ip("neigh", "delete", other, "dev", "veth0")


def server_of(kind: str, directory: Path) -> servers.RedisServer | servers.RabbitServer:
    """Return a broker that is to be started at the far end."""
    made: servers.RedisServer | servers.RabbitServer
    if kind == "redis":
        made = servers.RedisServer(servers.redis_binary(), directory / kind)
    else:
        servers.require_rabbitmq()
        made = servers.RabbitServer(directory / kind)
    made.serve_at(FAR)
    return made


@pytest.fixture
def cabled(
    request: pytest.FixtureRequest, tmp_path: Path, spool: Path
) -> Iterator[tuple[Pipeline, Cable]]:
    with netns.veth_pair() as (near, far):
        server = server_of(request.param, tmp_path)
        with far.entered():
            server.start()
        broker = BrokerSettings(server.url, unique_queue())
        pipeline = Pipeline(broker, tmp_path, spool, near=near, far=far)
        yield pipeline, Cable(near, far)
        pipeline.close()
        server.close()


def try_cuts(pipeline: Pipeline, cable: Cable, seconds: float) -> None:
    """Cut the network for so many seconds, and at least until that is noticed."""
    pipeline.process()
    capture = pipeline.capture()
    with pipeline.traffic(500):
        pipeline.await_more_rows()
        faults = ((cable.cut, cable.join), (cable.swallow, cable.pass_on))
        for times, (break_it, mend) in enumerate(faults, 1):
            break_it()
            capture.await_word(LOST, times)
            time.sleep(seconds)
            mend()
            capture.await_word(BACK, times)
            pipeline.await_more_rows()
    assert_nothing_is_missing(pipeline, pipeline.settle())


@pytest.mark.parametrize("cabled", ["redis"], indirect=True)
def test_cuts_of_the_network_lose_nothing(cabled: tuple[Pipeline, Cable]) -> None:
    try_cuts(*cabled, seconds=0)


@pytest.mark.soak
@pytest.mark.parametrize("cabled", ["redis", "rabbitmq"], indirect=True)
def test_long_cuts_of_the_network_lose_nothing(cabled: tuple[Pipeline, Cable]) -> None:
    try_cuts(*cabled, seconds=30)
