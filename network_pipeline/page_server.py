"""A small HTTP server for the loop of a process that must not wait, and must have no threads.

It answers a GET of a page and hangs up; there is nothing else to ask for. No client is waited for:
sockets do not block, and the loop calls what is registered with its selector. Nobody can harm the
process: a request has a longest size, a connection a longest life, and where as many are open as
may be, the oldest makes room for a new one. So whoever connects and says nothing keeps nobody out.
"""

from __future__ import annotations

import logging
import selectors
import socket
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

from network_pipeline.errors import UsageError

#: How long a client may take for its request and its answer together.
CONNECTION_SECONDS = 5.0
MAX_CONNECTIONS = 16
MAX_REQUEST_BYTES = 8192

_END_OF_HEADERS = b"\r\n\r\n"

_log = logging.getLogger(__name__)


class Page(NamedTuple):
    """What is answered: a status, a content type and a body."""

    status: HTTPStatus
    kind: str
    body: bytes


def text_page(status: HTTPStatus, text: str) -> Page:
    """Return a page of one line."""
    return Page(status, "text/plain; charset=utf-8", f"{text}\n".encode())


class PageServer:
    """Serves what ``page`` gives for a path, at an address and a TCP port.

    Whoever owns the selector calls the ``data`` of a key that is ready, and :meth:`turn` now and
    then. In a process that was forked, :meth:`close` leaves the connections to the other.
    """

    def __init__(self, place: tuple[str, int], page: Callable[[str], Page]) -> None:
        self._place = place
        self._page = page
        self._listening: socket.socket | None = None
        self._selector: selectors.BaseSelector | None = None
        self._connections: dict[_Connection, None] = {}
        self._is_paused = False

    def listen(self) -> None:
        """Take the port; a low one needs privileges. Nobody is answered yet.

        Raises:
            UsageError: the address cannot be used.
        """
        address = self._place[0]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            self._listening = socket.create_server(self._place, family=family)
        except OSError as error:
            reason = str(error.strerror).partition(" (while ")[0]  # it says the address again
            raise UsageError(
                "no metrics on {} port {}: {}; choose others with --metrics-address and "
                "--metrics-port".format(*self._place, reason)
            ) from None
        self._listening.setblocking(False)

    def open(self, selector: selectors.BaseSelector) -> None:
        """Answer, in the turns of the selector's loop."""
        assert self._listening
        self._selector = selector
        selector.register(self._listening, selectors.EVENT_READ, self._accept)
        address, port = self._place
        host = f"[{address}]" if ":" in address else address  # RFC 3986, section 3.2.2
        _log.info("metrics on http://%s:%d/metrics", host, port)

    def turn(self) -> None:
        """Hang up on who takes too long."""
        now = time.monotonic()
        for connection in [one for one in self._connections if now >= one.ends]:
            connection.close()
        if self._is_paused and self._selector and self._listening:
            self._is_paused = False
            self._selector.register(self._listening, selectors.EVENT_READ, self._accept)

    def close(self) -> None:
        """Close all sockets in this process."""
        for sock in (self._listening, *(one.sock for one in self._connections)):
            if sock:
                sock.close()
        self._connections = {}
        self._listening = None

    def _accept(self) -> None:
        assert self._listening
        assert self._selector
        for _ in range(MAX_CONNECTIONS):
            try:
                sock, _address = self._listening.accept()
            except BlockingIOError:
                return
            except OSError as error:  # too many open files, or the client is gone
                _log.debug("no connection for the metrics: %s", error.strerror)
                self._is_paused = True
                self._selector.unregister(self._listening)
                return
            if len(self._connections) == MAX_CONNECTIONS:
                next(iter(self._connections)).close()
            connection = _Connection(sock, self._selector, self._page, self._connections)
            connection.open()


class _Connection:
    """One request and its answer; it is in ``among`` while it is open."""

    def __init__(
        self,
        sock: socket.socket,
        selector: selectors.BaseSelector,
        page: Callable[[str], Page],
        among: dict[_Connection, None],
    ) -> None:
        self.sock = sock
        self.ends = time.monotonic() + CONNECTION_SECONDS
        self._selector = selector
        self._page = page
        self._among = among
        self._request = b""
        self._left = memoryview(b"")

    def open(self) -> None:
        self.sock.setblocking(False)
        self._among[self] = None
        self._selector.register(self.sock, selectors.EVENT_READ, self._go_on)

    def close(self) -> None:
        del self._among[self]
        self._selector.unregister(self.sock)
        self.sock.close()

    def _go_on(self) -> None:
        """Read, or write, as far as that is possible now."""
        if self not in self._among:  # it made room for another, in this very turn
            return
        try:
            is_over = self._write() if self._left else self._read()
        except BlockingIOError:
            is_over = False
        except OSError:  # the client has gone
            is_over = True
        if is_over:
            self.close()

    def _read(self) -> bool:
        piece = self.sock.recv(MAX_REQUEST_BYTES)
        self._request += piece
        if _END_OF_HEADERS in self._request or len(self._request) > MAX_REQUEST_BYTES:
            self._left = memoryview(_answer(self._request, self._page))
            self._selector.modify(self.sock, selectors.EVENT_WRITE, self._go_on)
            return self._write()
        return not piece

    def _write(self) -> bool:
        self._left = self._left[self.sock.send(self._left) :]
        return not self._left


def _answer(request: bytes, page: Callable[[str], Page]) -> bytes:
    """Return the whole answer to what may be a request (RFC 9112, section 3)."""
    status, kind, body = _asked(request, page)
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\n"
        f"Content-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body


def _asked(request: bytes, page: Callable[[str], Page]) -> Page:
    if _END_OF_HEADERS not in request:
        status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        return text_page(status, f"at most {MAX_REQUEST_BYTES} bytes")
    words = request.partition(b"\r\n")[0].split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        return text_page(HTTPStatus.BAD_REQUEST, "not HTTP/1")
    if words[0] != b"GET":
        return text_page(HTTPStatus.METHOD_NOT_ALLOWED, "GET alone")
    return page(words[1].decode("latin-1").partition("?")[0])
