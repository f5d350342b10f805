from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import netns
from tests.capture.sniffing import Cable


@pytest.fixture
def cable() -> Iterator[Cable]:
    with netns.veth_pair() as pair:
        yield pair


@pytest.fixture
def where() -> Iterator[netns.Namespace]:
    with netns.namespace() as made:
        yield made
