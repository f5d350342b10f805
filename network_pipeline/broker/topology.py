"""From :class:`BrokerSettings` to kombu: where brokers differ, they differ here.

- ``amqp://``, ``amqps://``: RabbitMQ. The queue is a quorum queue: replicated where there is a
  cluster, always on disk. What was delivered :data:`DELIVERY_LIMIT` times in vain goes to
  ``<queue>.rejected`` through the default exchange, and at least once, for which RabbitMQ asks
  for ``x-overflow reject-publish``. Several hosts, separated by semicolons, are one cluster.
  RabbitMQ counts a delivery for all that is in flight: see :mod:`.subscription`.
- ``redis://``, ``redis+socket://``, ``redis+sentinel://``, ``redis+cluster://``: Redis or Valkey,
  through our own transport on Streams, since kombu's loses messages when a consumer is killed.
  Sentinels or a cluster's nodes are asked which server has the queue (:mod:`.discovery`).
- ``memory://``: kombu's transport for one process, for tests.

How URLs are read is in :mod:`.addresses`. A socket that says nothing for :data:`ANSWER_SECONDS`
where an answer is due is given up.
"""

# kombu and redis-py leave parts of their interfaces untyped.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from kombu.connection import Connection
from kombu.entity import Exchange, Queue

from network_pipeline.broker import addresses, discovery, memory
from network_pipeline.broker.failures import FAILURES, FORBIDDEN, as_broker_error
from network_pipeline.errors import BrokerError, BrokerUnreachable
from network_pipeline.settings import BrokerSettings

log = logging.getLogger(__name__)

#: Longest that a broker may take for an answer.
ANSWER_SECONDS = 5.0

#: A message that was delivered so often without an acknowledgement is set aside.
DELIVERY_LIMIT = 20

#: How long RabbitMQ and a consumer may hear nothing of each other. Publishers have confirms.
HEARTBEAT_SECONDS = 60.0

_QUORUM = {"x-queue-type": "quorum"}
#: RabbitMQ 4 would drop a rejected message that somebody looked at 20 times.
_NO_DELIVERY_LIMIT = 2**31 - 1


def queue(settings: BrokerSettings) -> Queue:
    """Return the queue of frames, bound to the exchange that the settings name."""
    arguments = {
        **_QUORUM,
        "x-delivery-limit": DELIVERY_LIMIT,
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": settings.rejected_queue,
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    return Queue(
        settings.queue,
        exchange=Exchange(settings.exchange, type="direct", durable=True),
        routing_key=routing_key(settings),
        durable=True,
        queue_arguments=arguments,
    )


def rejected_queue(settings: BrokerSettings) -> Queue:
    """Return the queue of messages that cannot become rows."""
    name = settings.rejected_queue
    arguments = {**_QUORUM, "x-delivery-limit": _NO_DELIVERY_LIMIT}
    return Queue(name, Exchange(""), name, durable=True, queue_arguments=arguments)


def routing_key(settings: BrokerSettings) -> str:
    """Return the key that leads to the queue."""
    return settings.routing_key if settings.exchange and settings.routing_key else settings.queue


def check(settings: BrokerSettings) -> None:
    """Connect, log in, and close again; nothing is declared.

    Raises:
        BrokerUnreachable, BrokerRefused: it cannot be used.
        UsageError: the settings are wrong.
    """
    connection = connect(settings)
    with suppress(*FAILURES):
        connection.release()


def connect(
    settings: BrokerSettings, *, heartbeat: float = 0, options: Mapping[str, Any] | None = None
) -> Any:
    """Return a connected kombu ``Connection`` to the first host that accepts one.

    Args:
        settings: the broker.
        heartbeat: seconds between signs of life, for RabbitMQ only; 0: none.
        options: of :mod:`network_pipeline.broker.streams`, for Redis only.

    Raises:
        BrokerUnreachable, BrokerRefused: no host can be used; the last one's error.
        UsageError: the settings are wrong.
    """
    failure: BrokerError = BrokerUnreachable(f"no host in {settings.safe_url}")
    for connection in _connections(settings, heartbeat, options or {}):
        try:
            connection.ensure_connection(max_retries=0, reraise_as_library_errors=False)
            _limit_waiting(connection, settings)
        except FAILURES as error:
            failure = as_broker_error(error, settings)
            connection.collect()
        else:
            return connection
    raise failure from None


def declare(connection: Any, settings: BrokerSettings, *, publishing: bool) -> None:
    """Declare both queues, and the exchange and its binding where one is named.

    A publisher that may not declare (RabbitMQ: no *configure* permission; Redis: an ACL without
    XGROUP) goes on if the queue is there.

    Raises:
        BrokerRefused: a queue exists with other arguments, or it is missing and may not be made.
        BrokerUnreachable: the connection broke.
    """
    try:
        try:
            _declare(connection, queue(settings), rejected_queue(settings))
        except FORBIDDEN:
            if not publishing:
                raise
            if settings.is_amqp:
                _declare_passively(connection, settings)
            log.info("no permission to declare queue %s; using it as it is", settings.queue)
    except FAILURES as error:
        raise as_broker_error(error, settings) from None


def servers(settings: BrokerSettings) -> list[tuple[str, int]]:
    """Return host and port of every server of the broker, as far as known now.

    Raises:
        BrokerUnreachable, BrokerRefused: the Sentinels or cluster nodes that know do not say.
    """
    return [*discovery.servers(settings, ANSWER_SECONDS)]


def delete_queues(settings: BrokerSettings) -> None:
    """Delete the queue and that of rejected messages, with all they hold.

    Raises:
        BrokerUnreachable, BrokerRefused: they may still be there.
    """
    connection = connect(settings)
    try:
        channel = connection.channel()
        for name in (settings.queue, settings.rejected_queue):
            channel.queue_delete(name)
    except FAILURES as error:
        raise as_broker_error(error, settings) from None
    finally:
        with suppress(*FAILURES):
            connection.release()


def _declare(connection: Any, *queues: Queue) -> None:
    channel = connection.channel()
    for each in queues:
        each(channel).declare()
    channel.close()


def _declare_passively(connection: Any, settings: BrokerSettings) -> None:
    channel = connection.channel()
    channel.queue_declare(settings.queue, passive=True)
    channel.close()


def _connections(
    settings: BrokerSettings, heartbeat: float, options: Mapping[str, Any]
) -> Iterator[Any]:
    """Yield an inert connection to each host that is worth a try."""
    if settings.is_amqp:
        for part in settings.url.split(";"):
            yield addresses.amqp_connection(
                settings, part, answer_seconds=ANSWER_SECONDS, heartbeat=heartbeat
            )
    elif settings.is_redis:
        yield _redis_connection(settings, {"delivery_limit": DELIVERY_LIMIT, **options})
    else:
        yield Connection(transport=memory.Transport)


def _redis_connection(settings: BrokerSettings, options: Mapping[str, Any]) -> Any:
    place = addresses.redis_place(settings)
    if settings.is_sentinel or settings.is_cluster:
        host, port = discovery.master(settings, ANSWER_SECONDS)
    else:
        [(host, port)] = settings.endpoints or [("", 0)]
    return addresses.redis_connection(
        settings, place, host, port, answer_seconds=ANSWER_SECONDS, options=options
    )


def _limit_waiting(connection: Any, settings: BrokerSettings) -> None:
    """Give py-amqp's socket a time limit: it has one for connecting only."""
    if not settings.is_amqp:
        return
    peer = connection.connection
    peer.transport.sock.settimeout(ANSWER_SECONDS)
    # The broker goes on telling us when it is out of memory or disk. Without this, py-amqp would
    # also look for that before each publish, and spin if it met half a frame.
    peer.client_properties.setdefault("capabilities", {})["connection.blocked"] = False
