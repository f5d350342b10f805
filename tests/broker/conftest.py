"""Brokers that one set of tests runs on."""

from __future__ import annotations

import uuid

import pytest

from network_pipeline.settings import BrokerSettings
from tests import servers


def unique_queue() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


def url_of(kind: str, request: pytest.FixtureRequest) -> str:
    if kind == "memory":
        return "memory://"
    url: str = request.getfixturevalue(f"{kind}_server").url
    return url


@pytest.fixture(params=["memory", "redis", "valkey", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> BrokerSettings:
    """Settings for a queue of its own, on every kind of broker."""
    return BrokerSettings(url_of(request.param, request), unique_queue())


@pytest.fixture
def faulty(server: servers.Server) -> BrokerSettings:
    """Settings for a queue of its own on ``server``."""
    return BrokerSettings(server.url, unique_queue())
