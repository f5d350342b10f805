"""The clients of a TCP echo server: one thread, none of them keeps another waiting.

Sockets never block, a selector says which one can go on, and what a client is slow to take waits in
a buffer of its own. A client whose buffer is full is not read until it took some; when all places
are taken, the client that was quiet longest is closed. So a slow, mute or half closed client costs
its place and nothing else.
"""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass

from network_pipeline.metrics import Counters
from network_pipeline.traffic.echo import Answer, Echo
from network_pipeline.traffic.text import Say, shown, timestamp

#: Clients served at once.
MAX_CLIENTS = 256
#: A client is read only while fewer bytes than this wait for it.
MAX_UNSENT_BYTES = 256 * 1024
#: How long a closing client may take to close as well, so that it sees the last reply.
LINGER_SECONDS = 2.0
#: How long nobody may be ready before the server looks up.
POLL_SECONDS = 0.2


@dataclass(eq=False)
class _Client:
    socket: socket.socket
    echo: Echo
    unsent: bytearray
    ended: bool = False
    closed_at: float | None = None  # when our side was closed, by time.monotonic()

    @property
    def wanted(self) -> int:
        """The events to wait for; never none: who has ended and taken everything is closed."""
        reads = not self.ended and len(self.unsent) < MAX_UNSENT_BYTES
        return (selectors.EVENT_READ if reads else 0) | (
            selectors.EVENT_WRITE if self.unsent else 0
        )


class TcpServer:
    """The clients of one listening socket, which ``selector`` watches already.

    Counts ``clients``, those ``evicted`` for a newer one, ``messages``, ``received_bytes`` and
    ``sent_bytes``.
    """

    def __init__(
        self,
        listener: socket.socket,
        selector: selectors.BaseSelector,
        size: int,
        say: Say,
    ) -> None:
        self.counters = Counters("clients", "evicted", "messages", "received_bytes", "sent_bytes")
        self._listener = listener
        self._selector = selector
        self._size = size
        self._say = say
        self._clients: dict[_Client, None] = {}  # the one that was quiet longest comes first

    def serve_ready(self) -> None:
        """Serve whoever can go on now; wait a moment where nobody can."""
        for key, events in self._selector.select(POLL_SECONDS):
            if key.data is None:
                self._accept()
            elif key.data in self._clients:  # it may have been evicted by an event before this one
                self._serve(key.data, events)
        self._close_lingering()

    def close(self) -> None:
        """Close every client."""
        for client in list(self._clients):
            self._close(client)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:  # no file descriptor is left: make room, the client waits in the backlog
            self._evict()
            return
        if len(self._clients) >= MAX_CLIENTS:
            self._evict()
        connection.setblocking(False)
        client = _Client(connection, Echo(), bytearray())
        self._clients[client] = None
        self._selector.register(connection, selectors.EVENT_READ, client)
        self.counters.add("clients")

    def _evict(self) -> None:
        if self._clients:
            self._close(next(iter(self._clients)))
            self.counters.add("evicted")

    def _close(self, client: _Client) -> None:
        del self._clients[client]
        self._selector.unregister(client.socket)
        client.socket.close()

    def _serve(self, client: _Client, events: int) -> None:
        self._clients[client] = self._clients.pop(client)
        alive = not events & selectors.EVENT_READ or self._read(client)
        alive = alive and (not client.unsent or self._write(client))
        if not alive or (client.ended and not client.unsent):
            self._close(client)
            return
        self._finish_sending(client)
        self._selector.modify(client.socket, client.wanted, client)

    def _read(self, client: _Client) -> bool:
        """Take in what the client sent; False where its connection broke."""
        try:
            content = client.socket.recv(self._size)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.counters.add("received_bytes", len(content))
        client.ended = not content
        self._answer(client, client.echo.receive(content) if content else client.echo.end())
        return True

    def _answer(self, client: _Client, answers: Iterable[Answer]) -> None:
        for answer in answers:
            if answer.received:
                number = self.counters["messages"]
                text = shown(answer.received)
                self._say(f"{timestamp()} received msg={number} data={text} replying")
                self.counters.add("messages")
            client.unsent += answer.reply

    def _write(self, client: _Client) -> bool:
        """Send what the client takes; False where its connection broke."""
        try:
            count = client.socket.send(client.unsent)
        except BlockingIOError:
            return True
        except OSError:
            return False
        del client.unsent[:count]
        self.counters.add("sent_bytes", count)
        return True

    def _finish_sending(self, client: _Client) -> None:
        """After the last reply close our side only: bytes still on their way would void it."""
        if client.echo.closing and not client.unsent and client.closed_at is None:
            client.closed_at = time.monotonic()
            try:
                client.socket.shutdown(socket.SHUT_WR)
            except OSError:  # it is gone already, the next read says so
                return

    def _close_lingering(self) -> None:
        oldest = time.monotonic() - LINGER_SECONDS
        for client in list(self._clients):
            if client.closed_at is not None and client.closed_at < oldest:
                self._close(client)
