"""A network that goes away between agent and broker: a cut cable, and packets that vanish.

The agent is at one end of a cable, broker and processor at the other.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from network_pipeline.settings import BrokerSettings
from tests import netns
from tests.broker.conftest import unique_queue
from tests.faults.cable import Cable, server_of
from tests.faults.pipeline import BACK, LOST, Pipeline, assert_nothing_is_missing


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
