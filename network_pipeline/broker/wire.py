"""One connection to Redis, without redis-py's client on top.

The client hides reconnects, retries and pools; a transport must know when its connection broke,
because what it held is void then. It also quotes commands in errors, and commands hold payloads.
So this sends commands and reads replies on one ``redis.Connection``, connected once.
"""

# kombu and redis-py leave parts of their interfaces untyped.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
import redis.exceptions as redis_errors
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.utils import get_lib_version

Command = Sequence[str | bytes | int]

#: Answers of a server that is not, or no longer, the one to talk to: a replica, or another node.
_WRONG_SERVER = (redis_errors.ReadOnlyError, redis_errors.AskError, redis_errors.ClusterDownError)

# A connection looks redis-py's version up, and from Python 3.13 on that imports a module. Looked up
# now, that is there once root is given up, where the interpreter's files may be out of reach.
get_lib_version()


class Wire:
    """Commands to one Redis, at the address that a kombu ``Connection`` names."""

    def __init__(self, client: Any) -> None:
        self._connection = _connection(client)
        self._connected = False

    def connect(self) -> None:
        """Connect and log in.

        Raises:
            redis.exceptions.RedisError: it failed.
        """
        self._connection.connect()
        self._connected = True

    def disconnect(self) -> None:
        """Close the socket; every later call fails."""
        self._connected = False
        self._connection.disconnect()

    def call(self, *command: str | bytes | int) -> Any:
        """Return one command's reply.

        Raises:
            redis.exceptions.ResponseError: Redis answers with an error.
            redis.exceptions.ConnectionError, redis.exceptions.TimeoutError: the connection is
                broken and will not come back. So it is after the errors of a server that cannot
                take the command because another one is the master now.
        """
        [reply] = self.calls([command])
        if isinstance(reply, Exception):
            raise reply
        return reply

    def calls(self, commands: Sequence[Command]) -> list[Any]:
        """Return the replies to commands sent in one write; errors stand in their place."""
        if not self._connected:
            raise redis_errors.ConnectionError("the connection is closed")
        try:
            packed = self._connection.pack_commands(commands)
            self._connection.send_packed_command(packed)
            return [self._reply() for _ in commands]
        except BaseException:
            self.disconnect()
            raise

    def call_all(self, *commands: Command) -> None:
        """Send commands in one write; raise the first error among the replies."""
        for reply in self.calls(commands):
            if isinstance(reply, Exception):
                raise reply

    def _reply(self) -> Any:
        try:
            return self._connection.read_response()
        except _WRONG_SERVER:
            raise
        except redis_errors.ResponseError as error:
            return error


class _NamedTls(redis.SSLConnection):
    """TLS that checks the certificate for a name other than the address."""

    def __init__(self, *, server_hostname: str, **options: Any) -> None:
        super().__init__(**options)
        self._server_hostname = server_hostname

    def _wrap_socket_with_ssl(self, sock: Any) -> Any:
        address, self.host = self.host, self._server_hostname
        try:
            return super()._wrap_socket_with_ssl(sock)
        finally:
            self.host = address


def _connection(client: Any) -> Any:
    options = client.transport_options
    common = {
        "db": int(client.virtual_host.strip("/") or 0),
        "username": client.userid,
        "password": client.password,
        "socket_timeout": options.get("answer_seconds", 5.0),
        "socket_connect_timeout": client.connect_timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    if options.get("socket_path"):
        unix: Any = redis.UnixDomainSocketConnection
        return unix(path=options["socket_path"], **common)
    address = {
        "host": client.hostname or "localhost",
        "port": client.port or 6379,
        "socket_keepalive": True,
    }
    if not client.ssl:
        return redis.Connection(**address, **common)
    return _NamedTls(
        server_hostname=client.ssl["server_hostname"],
        ssl_ca_certs=client.ssl.get("ca_certs"),
        ssl_certfile=client.ssl.get("certfile"),
        ssl_keyfile=client.ssl.get("keyfile"),
        ssl_cert_reqs="required",
        **address,
        **common,
    )
