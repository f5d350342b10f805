from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import netns


@pytest.fixture
def where() -> Iterator[netns.Namespace]:
    with netns.namespace() as made:
        yield made
