"""What a Redis' own settings can lose, told at the start.

Delivery is as safe as the server keeps what it confirmed. A Redis as it comes keeps everything in
memory and a snapshot now and then; one that is set up as a cache throws keys away when it is full;
one with replicas confirms before they have anything. All three can be seen in INFO, which also
managed services allow. A user who may not ask is not told, and neither is who cannot connect: that
is said elsewhere.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

from network_pipeline.broker import topology
from network_pipeline.broker.failures import FAILURES
from network_pipeline.errors import BrokerError
from network_pipeline.settings import BrokerSettings

log = logging.getLogger(__name__)


def warn(settings: BrokerSettings) -> None:
    """Log a warning for each setting of the broker that can lose messages."""
    for text in dangers(settings):
        log.warning("the Redis at %s %s", settings.safe_url, text)


def dangers(settings: BrokerSettings) -> list[str]:
    """Return what can lose messages, in words, with what to do; empty where it cannot be known."""
    if not settings.is_redis:
        return []
    with suppress(BrokerError, *FAILURES):
        connection = topology.connect(settings)
        try:
            reply = connection.channel().wire.call("INFO")
        finally:
            connection.collect()
        return _judge(_facts(reply), settings)
    return []


def _facts(reply: Any) -> dict[str, str]:
    lines = reply.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _judge(facts: dict[str, str], settings: BrokerSettings) -> list[str]:
    found = []
    if facts.get("aof_enabled") == "0":
        found.append(
            "keeps no append-only file: when it ends, it loses what came after its last "
            "snapshot; set 'appendonly yes'"
        )
    policy = facts.get("maxmemory_policy", "noeviction")
    if facts.get("maxmemory", "0") != "0" and policy != "noeviction":
        found.append(
            f"may throw away whole queues when it is full (maxmemory-policy {policy}); set "
            "'maxmemory-policy noeviction'"
        )
    if facts.get("connected_slaves", "0") != "0" and not settings.wait_replicas:
        found.append(
            "has replicas, but confirms packets before they have them: a fail-over loses those; "
            "set REDIS_WAIT_REPLICAS (--wait-replicas) to 1"
        )
    return found
