"""From a broker's URL to the arguments of a kombu ``Connection``; nothing here connects.

- ``amqp://user:password@host:port/virtual-host``; a slash in the name of a virtual host is ``%2F``.
- ``redis://user:password@host:port/database``.
- ``redis+socket:///path?virtual_host=database``.
- ``redis+sentinel://user:password@host:port/master/database``: host and port are a Sentinel's, the
  rest is the Redis'. Several Sentinels are separated by semicolons; who and what need not be said
  again: ``redis+sentinel://user:password@a/mymaster/0;redis+sentinel://b;redis+sentinel://c``.
- ``redis+cluster://user:password@host:port``: any nodes of a Redis Cluster, likewise.

``amqps``, ``rediss``, ``rediss+sentinel`` and ``rediss+cluster`` are the same over TLS, which
always verifies the certificate and the host's name.
"""

# kombu leaves parts of its interface untyped.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import os
import re
import socket
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from kombu.connection import Connection
from kombu.transport import pyamqp

from network_pipeline.broker import streams
from network_pipeline.broker.amqp_frames import lenient_frame_handler
from network_pipeline.errors import UsageError
from network_pipeline.settings import BrokerSettings

_TLS_OPTIONS = ("ca_certs", "certfile", "keyfile", "server_hostname")


class RedisPlace(NamedTuple):
    """What a URL says of a Redis beside host and port."""

    user: str | None
    password: str | None
    database: str
    socket_path: str
    #: The name that Sentinels know the master by.
    master: str


def redis_place(settings: BrokerSettings) -> RedisPlace:
    """Read the URL of a Redis.

    Raises:
        UsageError: something is missing or no database's number.
    """
    urls = [urlsplit(part) for part in settings.url.split(";")]
    if len(urls) > 1 and not (settings.is_sentinel or settings.is_cluster):
        raise UsageError(
            f"{settings.safe_url}: several hosts are for the nodes of one RabbitMQ or Redis "
            "cluster and for Sentinels; give one Redis"
        )
    login = next((url for url in urls if url.username or url.password), urls[0])
    path = next((url.path for url in urls if url.path.strip("/")), "").strip("/")
    master, socket_path = "", ""
    if settings.is_sentinel:
        master, _, path = path.partition("/")
        if not master:
            raise UsageError(
                f"{settings.safe_url}: say which master the Sentinels shall name, and the "
                "database, such as redis+sentinel://localhost:26379/mymaster/0"
            )
    elif urls[0].scheme == "redis+socket":
        socket_path = unquote(urls[0].path)
        path = parse_qs(urls[0].query).get("virtual_host", ["0"])[0]
    if not re.fullmatch("[0-9]{0,6}", path):
        raise UsageError(f"{settings.safe_url}: {path!r} is no number of a Redis database")
    return RedisPlace(*_login(login), path or "0", socket_path, unquote(master))


def redis_connection(  # noqa: PLR0913  one of each
    settings: BrokerSettings,
    place: RedisPlace,
    host: str,
    port: int,
    *,
    answer_seconds: float,
    options: Mapping[str, Any],
) -> Any:
    """Return an inert ``Connection`` to a Redis, with the transport's options."""
    return Connection(
        hostname=host,
        port=port,
        userid=place.user,
        password=place.password,
        virtual_host=place.database,
        ssl=_tls(settings, host) if settings.uses_tls else False,
        connect_timeout=answer_seconds,
        transport=streams.Transport,
        transport_options={
            "answer_seconds": answer_seconds,
            "socket_path": place.socket_path,
            "key_prefix": settings.key_prefix,
            "wait_replicas": settings.wait_replicas,
            **options,
        },
    )


def amqp_connection(
    settings: BrokerSettings, part: str, *, answer_seconds: float, heartbeat: float
) -> Any:
    """Return an inert ``Connection`` to the RabbitMQ that one part of the URL names."""
    url = urlsplit(part)
    host = url.hostname or ""
    user, password = _login(url)
    return Connection(
        hostname=host,
        port=url.port,
        userid=user,
        password=password,
        virtual_host=unquote(url.path.removeprefix("/")) or "/",
        ssl=_tls(settings, host) if settings.uses_tls else False,
        connect_timeout=answer_seconds,
        transport=pyamqp.Transport,
        heartbeat=heartbeat,
        transport_options={
            "socket_settings": {socket.TCP_USER_TIMEOUT: int(answer_seconds * 1000)},
            "frame_handler": lenient_frame_handler,
        },
    )


def _login(url: SplitResult) -> tuple[str | None, str | None]:
    return (
        unquote(url.username) if url.username else None,
        unquote(url.password) if url.password else None,
    )


def _tls(settings: BrokerSettings, host: str) -> dict[str, Any]:
    options = settings.ssl_options
    for name in options:
        if name not in _TLS_OPTIONS:
            raise UsageError(
                f"FORWARD_SSL_OPTIONS: {name!r} unknown; there are {', '.join(_TLS_OPTIONS)}"
            )
        if name != "server_hostname" and not os.path.isfile(str(options[name])):
            raise UsageError(f"FORWARD_SSL_OPTIONS: {name}: no file {options[name]}")
    return {"server_hostname": host, **options, "cert_reqs": ssl.CERT_REQUIRED}
