"""What faults are tried on."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from network_pipeline.privileges import NOBODY
from network_pipeline.settings import BrokerSettings
from tests import needs, servers
from tests.broker.conftest import unique_queue
from tests.faults.pipeline import Pipeline


@pytest.fixture
def spool() -> Iterator[Path]:
    """A directory that belongs to nobody."""
    if os.geteuid() != 0:
        needs.lacking("root, to capture")
    with tempfile.TemporaryDirectory(prefix="spool-") as name:
        os.chown(name, *NOBODY)
        yield Path(name)


@pytest.fixture
def pipeline(server: servers.Server, tmp_path: Path, spool: Path) -> Iterator[Pipeline]:
    """A pipeline on a broker that the test may stop, kill and freeze."""
    made = Pipeline(BrokerSettings(server.url, unique_queue()), tmp_path, spool)
    yield made
    made.close()
