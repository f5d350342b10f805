"""What can go wrong with a broker, in one tuple, and what to tell the user about it.

kombu, py-amqp and redis-py each have an exception tree of their own. Everything that talks to a
broker catches :data:`FAILURES` around a library call, never around the caller's code, and turns
what it caught into a :class:`BrokerError` of ours: refused when trying again cannot help until
somebody changes something, unreachable otherwise. No text holds a password or a message.
"""

from __future__ import annotations

import ssl
import struct
import traceback
from collections.abc import Iterator

import amqp.exceptions as amqp_errors  # type: ignore[import-untyped]
import redis.exceptions as redis_errors
from kombu.exceptions import KombuError

from network_pipeline.errors import BrokerError, BrokerRefused, BrokerUnreachable
from network_pipeline.settings import BrokerSettings

#: Errors with which a library says that something is wrong.
_SAID = (OSError, amqp_errors.AMQPError, KombuError, redis_errors.RedisError)

#: What py-amqp lets out when a connection breaks while it is read, and when a peer sends bytes that
#: are no AMQP; redis-py when numbers of a reply are none. Mistakes of our own are of these kinds
#: too: :func:`is_ours` tells them apart, for the loops that would try again for ever.
_LET_OUT = (AttributeError, ValueError, struct.error)

#: Whatever a library call may raise.
FAILURES = (*_SAID, *_LET_OUT)

_PACKAGE = "network_pipeline"
_LIBRARIES = ("amqp", "kombu", "redis", "vine")

#: The broker knows the user, who may not do this.
FORBIDDEN = (amqp_errors.AccessRefused, redis_errors.NoPermissionError)

_REFUSALS = (
    amqp_errors.AccessRefused,
    amqp_errors.NotAllowed,
    amqp_errors.NotFound,
    amqp_errors.PreconditionFailed,
    redis_errors.AuthenticationError,
    redis_errors.AuthorizationError,
    redis_errors.ResponseError,
    ssl.SSLCertVerificationError,
)
#: Answers of a Redis that is starting, failing over or busy: they pass by themselves.
_PASSING = (
    redis_errors.BusyLoadingError,
    redis_errors.ReadOnlyError,
    redis_errors.TryAgainError,
    redis_errors.ClusterDownError,
)


def is_ours(error: BaseException) -> bool:
    """Return whether one of :data:`FAILURES` is a mistake of this program, and no broker's.

    A library that lets an error out has raised it itself, or in something that it called and that
    is not ours. Where a connection begins nobody asks: there our own code reads replies that may be
    anything (of Sentinels, of cluster nodes), and the log names the kind of each error.
    """
    if isinstance(error, _SAID) or not isinstance(error, _LET_OUT):
        return False
    modules = (str(frame.f_globals.get("__name__", "")) for frame, _ in
               traceback.walk_tb(error.__traceback__))  # fmt: skip
    packages = [module.partition(".")[0] for module in modules]
    return [each for each in packages if each in (_PACKAGE, *_LIBRARIES)][-1:] == [_PACKAGE]


def as_broker_error(error: BaseException, settings: BrokerSettings) -> BrokerError:
    """Return our error for a library's, with one line that says what to do."""
    if isinstance(error, BrokerError):
        return error
    causes = list(_causes(error))
    refusal = next((each for each in causes if _is_refusal(each)), None)
    if refusal is not None and not isinstance(error, _PASSING):
        return BrokerRefused(
            f"the broker at {settings.safe_url} refuses: {reason(refusal)}; {_remedy(refusal)}"
        )
    if isinstance(causes[-1], ssl.SSLEOFError):
        # It hangs up while we still write, so that the alert that says why never arrives.
        return BrokerUnreachable(
            f"the broker at {settings.safe_url} hangs up when TLS begins; if it asks for a "
            f"certificate, {_remedy(causes[-1])}"
        )
    start = (
        "sudo systemctl start rabbitmq-server"
        if settings.is_amqp
        else "network-pipeline broker start"
    )
    return BrokerUnreachable(
        f"no broker answers at {settings.safe_url} ({reason(causes[-1])}); start it ({start}) or "
        "name another with --broker or FORWARD_BROKER_URL"
    )


def _is_refusal(error: BaseException) -> bool:
    # An alert is how a TLS server says no, to a client without the certificate it asks for.
    is_alert = isinstance(error, ssl.SSLError) and "alert" in str(error).lower()
    return is_alert or isinstance(error, _REFUSALS)


def reason(error: BaseException) -> str:
    """Return the first line of an error's text, or its name where it has none."""
    if isinstance(error, amqp_errors.AMQPError) and error.reply_text:
        text = str(error.reply_text)
    elif isinstance(error, TimeoutError | redis_errors.TimeoutError):
        text = "no answer in time"
    elif isinstance(error, _LET_OUT) and not isinstance(error, _SAID):
        text = f"{type(error).__name__}: {error}"
    else:
        text = str(error)
    return (text.splitlines() or [type(error).__name__])[0][:200]


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and the failures it came from: redis-py wraps what the socket raised."""
    current: BaseException | None = error
    while isinstance(current, FAILURES):
        yield current
        current = current.__cause__ or current.__context__


#: What helps against a refusal: its class, a part of its text, and the advice; first match wins.
_REMEDIES: tuple[tuple[type[BaseException], str, str], ...] = (
    (
        ssl.SSLCertVerificationError,
        "has expired",
        "the server needs a new one, or the clock here is wrong",
    ),
    (
        ssl.SSLCertVerificationError,
        "mismatch",
        'use its name, or FORWARD_SSL_OPTIONS=\'{"server_hostname": "the.name"}\'',
    ),
    (
        ssl.SSLCertVerificationError,
        "",
        'name its authority: FORWARD_SSL_OPTIONS=\'{"ca_certs": "/path/ca.pem"}\'',
    ),
    (
        ssl.SSLError,
        "",
        'show it the certificate it asks for: FORWARD_SSL_OPTIONS=\'{"certfile": "/path/us.pem", '
        '"keyfile": "/path/us.key"}\'',
    ),
    (
        redis_errors.ResponseError,
        "NOREPLICAS",
        "wait until its replicas are back, or lower its min-replicas-to-write",
    ),
    (
        amqp_errors.PreconditionFailed,
        "",
        "the queue exists with other arguments: choose another with --queue, or delete it once it "
        "is empty (rabbitmqctl delete_queue NAME)",
    ),
    (amqp_errors.NotFound, "", "start a processor first, which declares it"),
    (
        redis_errors.OutOfMemoryError,
        "",
        "let processors drain the queue, or raise its maxmemory",
    ),
    (
        redis_errors.ResponseError,
        "WRONGTYPE",
        "the key of that name holds something else: choose another name with --queue",
    ),
    (redis_errors.ResponseError, "syntax error", "Redis 7 or newer, or Valkey, is needed"),
    (redis_errors.ResponseError, "unknown command", "Redis 7 or newer, or Valkey, is needed"),
    (BaseException, "", "check user, password, permissions and the path of the URL"),
)


def _remedy(error: BaseException) -> str:
    return next(
        advice for kind, part, advice in _REMEDIES if isinstance(error, kind) and part in str(error)
    )
