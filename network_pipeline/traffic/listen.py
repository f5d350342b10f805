"""Echo servers for UDP and TCP, to send simulated traffic to.

A server runs until its event is set (signals set it) or its shutdown file appears.
"""

from __future__ import annotations

import errno
import selectors
import socket
import threading
from dataclasses import dataclass
from pathlib import Path

from network_pipeline.errors import NetworkPipelineError, UsageError
from network_pipeline.metrics import Counters
from network_pipeline.traffic.clients import POLL_SECONDS, TcpServer
from network_pipeline.traffic.text import Say, address_text, shown, timestamp

MAX_READ_BYTES = 16 * 1024 * 1024
MAX_BACKLOG = 65535


@dataclass(frozen=True)
class ListenSettings:
    """Where to listen; ``size`` is how many bytes are read at once.

    Without a ``shutdown_file`` its name is made of the address, in ``/tmp``.
    """

    host: str = "127.0.0.1"
    port: int = 80
    backlog: int = 5
    size: int = 1024
    shutdown_file: Path | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MAX_READ_BYTES:
            raise UsageError(f"size {self.size}: must be from 1 to {MAX_READ_BYTES} bytes")
        if not 1 <= self.backlog <= MAX_BACKLOG:
            raise UsageError(f"backlog {self.backlog}: must be from 1 to {MAX_BACKLOG} clients")


def listen_tcp(settings: ListenSettings, say: Say, stop: threading.Event) -> Counters:
    """Serve TCP clients until told to stop.

    Returns:
        The counts of :class:`~network_pipeline.traffic.clients.TcpServer`.

    Raises:
        UsageError: the address is not one of this host's; the shutdown file cannot be removed.
        NetworkPipelineError: the port is taken, or needs more rights.
    """
    with _bound(settings, socket.SOCK_STREAM) as listener:
        shutdown_file = _shutdown_file(settings, listener, "shutdown-listen-server", say)
        say(
            f"{timestamp()} - Starting Server address={_address(listener)} "
            f"backlog={settings.backlog} size={settings.size} shutdown={shutdown_file}"
        )
        with selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            server = TcpServer(listener, selector, settings.size, say)
            while not _told_to_stop(stop, shutdown_file, say):
                server.serve_ready()
            server.close()
    return server.counters


def listen_udp(settings: ListenSettings, say: Say, stop: threading.Event) -> Counters:
    """Echo datagrams until told to stop. ``settings.backlog`` has no meaning for UDP.

    Counts ``messages``, ``received_bytes``, those ``cut`` because they were longer than
    ``settings.size``, and those ``unanswered`` because the reply could not be sent.

    Raises:
        UsageError: the address is not one of this host's; the shutdown file cannot be removed.
        NetworkPipelineError: the port is taken, or needs more rights.
    """
    counters = Counters("messages", "received_bytes", "cut", "unanswered")
    with _bound(settings, socket.SOCK_DGRAM) as server:
        shutdown_file = _shutdown_file(settings, server, "udp-shutdown-listen-server", say)
        say(
            f"{timestamp()} - Starting UDP Server address={_address(server)} "
            f"size={settings.size} shutdown={shutdown_file}"
        )
        with selectors.DefaultSelector() as selector:
            selector.register(server, selectors.EVENT_READ)
            while not _told_to_stop(stop, shutdown_file, say):
                if selector.select(POLL_SECONDS):
                    _echo_datagram(server, settings.size, say, counters)
    return counters


def _echo_datagram(server: socket.socket, size: int, say: Say, counters: Counters) -> None:
    try:
        content, _, flags, client = server.recvmsg(size)
    except OSError:  # a failed checksum after select said ready, or an earlier reply's ICMP error
        return
    counters.add("messages")
    counters.add("received_bytes", len(content))
    cut = bool(flags & socket.MSG_TRUNC)
    counters.add("cut", cut)
    note = f" (cut to {size} bytes)" if cut else ""
    say(f"{timestamp()} received UDP data={shown(content)}{note}")
    try:
        server.sendto(content, client)
    except OSError:
        counters.add("unanswered")


def _bound(settings: ListenSettings, kind: socket.SocketKind) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(settings.host, settings.port, type=kind)[0]
    except (socket.gaierror, UnicodeError):
        raise UsageError(f"{settings.host}: no such host; give an address of this host") from None
    try:
        server = socket.socket(family, kind)
    except OSError as error:
        raise _bind_error(settings, kind, error) from None
    try:
        if kind == socket.SOCK_STREAM:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(address)
        if kind == socket.SOCK_STREAM:
            server.listen(settings.backlog)
    except OSError as error:
        server.close()
        raise _bind_error(settings, kind, error) from None
    server.setblocking(False)
    return server


def _bind_error(
    settings: ListenSettings, kind: socket.SocketKind, error: OSError
) -> NetworkPipelineError:
    where = f"{settings.host} port {settings.port}"
    if error.errno == errno.EADDRINUSE:
        flag = "t" if kind == socket.SOCK_STREAM else "u"
        return NetworkPipelineError(
            f"{where} is taken: `ss -{flag}lnp sport = :{settings.port}` shows by whom; "
            "or listen on another port"
        )
    if error.errno == errno.EACCES:
        return NetworkPipelineError(f"{where} needs root: use sudo, or a port from 1024 on")
    if error.errno == errno.EADDRNOTAVAIL:
        return UsageError(f"{settings.host} is no address of this host: `ip address` lists them")
    return NetworkPipelineError(f"{where}: {error.strerror}")


def _address(server: socket.socket) -> str:
    return address_text(*server.getsockname()[:2])


def _shutdown_file(settings: ListenSettings, server: socket.socket, name: str, say: Say) -> Path:
    """Return the file that ends the server; one left by an earlier run is removed."""
    host, port = server.getsockname()[:2]
    file = settings.shutdown_file or Path(f"/tmp/{name}-{host}-{port}")
    try:
        file.unlink()
    except FileNotFoundError:
        return file
    except OSError as error:
        raise UsageError(f"{file} is in the way, remove it: {error.strerror}") from None
    say(f"{timestamp()} - removed an old shutdown file {file}")
    return file


def _told_to_stop(stop: threading.Event, shutdown_file: Path, say: Say) -> bool:
    if not stop.is_set() and not shutdown_file.exists():
        return False
    reason = "told to" if stop.is_set() else f"found {shutdown_file}"
    say(f"{timestamp()} - Stopping Server: {reason}")
    return True
