"""Which Redis has the queue now: asked of Sentinels, or of the nodes of a Redis Cluster.

Asked anew for every connection, of one after the other until one answers. All that follows talks
to that one server: a queue is one key, and what it rejected is another one in the same hash slot.
After a fail-over the connection breaks, or the server answers that it is no master or no longer has
the slot (``wire`` takes both for a broken connection), and the next connection asks again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import redis.exceptions as redis_errors
from redis.crc import key_slot

from network_pipeline.broker import addresses
from network_pipeline.broker.addresses import RedisPlace
from network_pipeline.broker.failures import FAILURES, as_broker_error
from network_pipeline.broker.wire import Wire
from network_pipeline.errors import BrokerError, BrokerRefused, BrokerUnreachable, UsageError
from network_pipeline.settings import BrokerSettings


class Server(NamedTuple):
    """Where a server is."""

    host: str
    port: int


_T = TypeVar("_T")


class _Slots(NamedTuple):
    """A range of hash slots, with its master first and then its replicas."""

    first: int
    last: int
    nodes: list[Server]


def master(settings: BrokerSettings, answer_seconds: float) -> Server:
    """Return the server that has the queue.

    Raises:
        BrokerUnreachable, BrokerRefused: none of those in the URL says.
        UsageError: the queue and what it rejected would be on different nodes.
    """
    return (
        _sentinels_master(settings, answer_seconds)
        if settings.is_sentinel
        else _slots_owner(settings, answer_seconds)
    )


def servers(settings: BrokerSettings, answer_seconds: float) -> list[Server]:
    """Return every server that clients may talk to, the ones in the URL included.

    Raises:
        BrokerUnreachable, BrokerRefused: none of those in the URL says.
    """
    known = [Server(*endpoint) for endpoint in settings.endpoints]
    if settings.is_sentinel:
        known += [_sentinels_master(settings, answer_seconds)]
        known += _sentinels_replicas(settings, answer_seconds)
    elif settings.is_cluster:
        for slots in _slots(settings, answer_seconds):
            known += slots.nodes
    return list(dict.fromkeys(known))


# -- Sentinel


def _sentinels_master(settings: BrokerSettings, answer_seconds: float) -> Server:
    name = addresses.redis_place(settings).master

    def read(reply: Any, _asked: Server) -> Server:
        if not reply:
            raise BrokerRefused(f"the Sentinels at {settings.safe_url} know no master {name!r}")
        return Server(reply[0].decode(), int(reply[1]))

    return _ask(settings, answer_seconds, ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", name), read)


def _sentinels_replicas(settings: BrokerSettings, answer_seconds: float) -> list[Server]:
    name = addresses.redis_place(settings).master

    def read(reply: Any, _asked: Server) -> list[Server]:
        facts = [dict(zip(each[::2], each[1::2], strict=False)) for each in reply]
        return [Server(each[b"ip"].decode(), int(each[b"port"])) for each in facts]

    return _ask(settings, answer_seconds, ("SENTINEL", "REPLICAS", name), read)


# -- Cluster


def _slots_owner(settings: BrokerSettings, answer_seconds: float) -> Server:
    slot = key_slot(f"{settings.key_prefix}{settings.queue}".encode())
    if slot != key_slot(f"{settings.key_prefix}{settings.rejected_queue}".encode()):
        raise UsageError(
            f"queue {settings.queue}: on a Redis Cluster give its name braces, such as "
            f"--queue '{{{settings.queue}}}', so that what it rejects stays on the same node"
        )
    for slots in _slots(settings, answer_seconds):
        if slots.first <= slot <= slots.last:
            return slots.nodes[0]
    raise BrokerUnreachable(f"no node of {settings.safe_url} has slot {slot} of {settings.queue}")


def _slots(settings: BrokerSettings, answer_seconds: float) -> list[_Slots]:
    def read(reply: Any, asked: Server) -> list[_Slots]:
        return [_Slots(first, last, _nodes(nodes, asked)) for first, last, *nodes in reply]

    return _ask(settings, answer_seconds, ("CLUSTER", "SLOTS"), read)


def _nodes(nodes: Sequence[Any], asked: Server) -> list[Server]:
    """Return where nodes are; one that does not know its own address is the one that was asked."""
    return [Server((host or b"").decode() or asked.host, int(port)) for host, port, *_ in nodes]


# -- asking


def _ask(
    settings: BrokerSettings,
    answer_seconds: float,
    command: tuple[str, ...],
    read: Callable[[Any, Server], _T],
) -> _T:
    """Return what ``read`` makes of the first answer; the last failure is raised."""
    failure: BrokerError = BrokerUnreachable(f"no host in {settings.safe_url}")
    for endpoint in settings.endpoints:
        asked = Server(*endpoint)
        try:
            return read(_reply(settings, answer_seconds, asked, command), asked)
        except (BrokerError, *FAILURES) as error:
            failure = as_broker_error(error, settings)
    raise failure from None


def _reply(
    settings: BrokerSettings, answer_seconds: float, asked: Server, command: tuple[str, ...]
) -> Any:
    place = addresses.redis_place(settings)
    if not settings.is_sentinel:
        return _call(settings, answer_seconds, asked, command, place)
    # A Sentinel has no databases, and seldom users. One that wants a password gets the Redis'.
    anonymous = RedisPlace(None, None, "0", "", "")
    try:
        return _call(settings, answer_seconds, asked, command, anonymous)
    except redis_errors.AuthenticationError:
        known = anonymous._replace(user=place.user, password=place.password)
        return _call(settings, answer_seconds, asked, command, known)


def _call(
    settings: BrokerSettings,
    answer_seconds: float,
    asked: Server,
    command: tuple[str, ...],
    place: RedisPlace,
) -> Any:
    client = addresses.redis_connection(
        settings, place, *asked, answer_seconds=answer_seconds, options={}
    )
    wire = Wire(client)
    try:
        wire.connect()
        return wire.call(*command)
    finally:
        wire.disconnect()
