"""The HTTP server of a loop that must not wait, and clients that mean no good."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus

import pytest

from network_pipeline import page_server
from network_pipeline.errors import UsageError
from network_pipeline.page_server import MAX_CONNECTIONS, Page, PageServer, text_page
from tests import servers

BIG = bytes(range(256)) * 64 * 1024  # 16 MiB: more than sockets hold


def page(path: str) -> Page:
    if path == "/big":
        return Page(HTTPStatus.OK, "application/octet-stream", BIG)
    return text_page(HTTPStatus.OK, path)


class Loop:
    """A server in a loop that turns when the test says so."""

    def __init__(self) -> None:
        [self.port] = servers.free_ports(1)
        self.server = PageServer(("127.0.0.1", self.port), page)
        self.selector = selectors.PollSelector()

    def __enter__(self) -> Loop:
        self.server.listen()
        self.server.open(self.selector)
        return self

    def __exit__(self, *_: object) -> None:
        self.server.close()
        self.selector.close()

    def turn_until(self, done: Callable[[], bool]) -> None:
        ends = time.monotonic() + 20
        while not done():
            assert time.monotonic() < ends
            for key, _ in self.selector.select(0.01):
                key.data()
            self.server.turn()

    def turn(self) -> None:
        """Turn until nothing is ready."""
        self.turn_until(lambda: not self.selector.select(0))

    def client(self, request: bytes = b"") -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        client.sendall(request)
        return client

    def answer(self, client: socket.socket) -> bytes:
        """Return all that a client is sent until the server hangs up; b'' where it was rude."""
        received = bytearray()
        client.setblocking(False)

        def is_over() -> bool:
            try:
                while piece := client.recv(1 << 20):
                    received.extend(piece)
            except BlockingIOError:
                return False
            except ConnectionResetError:
                return True
            return True

        self.turn_until(is_over)
        client.close()
        return bytes(received)


@pytest.fixture
def loop() -> Iterator[Loop]:
    with Loop() as made:
        yield made


def test_a_page_is_answered_and_the_connection_closed(loop: Loop) -> None:
    answer = loop.answer(loop.client(b"GET /some?a=b HTTP/1.1\r\nHost: x\r\n\r\n"))
    assert answer == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 6\r\n"
        b"Connection: close\r\n\r\n/some\n"
    )


def test_a_request_may_come_byte_by_byte(loop: Loop) -> None:
    with loop.client() as client:
        for byte in b"GET /slow HTTP/1.0\r\n\r\n":
            client.sendall(bytes([byte]))
            loop.turn()
        assert loop.answer(client).endswith(b"\r\n\r\n/slow\n")


def test_an_answer_that_is_more_than_sockets_hold(loop: Loop) -> None:
    assert loop.answer(loop.client(b"GET /big HTTP/1.1\r\n\r\n")).partition(b"\r\n\r\n")[2] == BIG


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"POST / HTTP/1.1\r\n\r\n", b"405 Method Not Allowed"),
        (b"\x16\x03\x01\x02\x00 TLS\r\n\r\n", b"400 Bad Request"),
        (b"\r\n\r\n", b"400 Bad Request"),
        (b"GET  HTTP/2\r\n\r\n", b"400 Bad Request"),
        (b"GET /" + b"a" * page_server.MAX_REQUEST_BYTES, b"431 Request Header Fields Too Large"),
    ],
)
def test_what_is_no_request_is_told_so(loop: Loop, request_: bytes, status: bytes) -> None:
    assert loop.answer(loop.client(request_)).startswith(b"HTTP/1.1 " + status + b"\r\n")


def test_a_request_without_end_is_cut_off(loop: Loop) -> None:
    with loop.client() as client, contextlib.suppress(ConnectionError):
        client.setblocking(False)
        for _ in range(1024):  # a mebibyte
            with contextlib.suppress(BlockingIOError):
                client.send(b"X-Much: " + b"a" * 1014 + b"\r\n")
            loop.turn()
        pytest.fail("it listened to all of it")


def test_who_says_nothing_is_hung_up_on(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_server, "CONNECTION_SECONDS", 0.0)
    assert loop.answer(loop.client()) == b""
    assert loop.answer(loop.client(b"GET /un")) == b""


def test_who_says_nothing_keeps_nobody_out(loop: Loop) -> None:
    with contextlib.ExitStack() as silent:
        clients = [silent.enter_context(loop.client()) for _ in range(3 * MAX_CONNECTIONS)]
        loop.turn()
        # The listening socket, and as many as may be open.
        assert len(loop.selector.get_map()) == 1 + MAX_CONNECTIONS
        assert loop.answer(loop.client(b"GET / HTTP/1.1\r\n\r\n")).endswith(b"\r\n/\n")
        assert loop.answer(clients[0]) == b""


def test_who_hangs_up_is_forgotten(loop: Loop) -> None:
    for request in (b"", b"GET / HT", b"GET /big HTTP/1.1\r\n\r\n"):
        client = loop.client(request)
        loop.turn_until(lambda: len(loop.selector.get_map()) == 2)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
        client.close()
        loop.turn_until(lambda: len(loop.selector.get_map()) == 1)


def test_without_descriptors_it_waits(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: socket.socket) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as full:
        full.setattr(socket.socket, "accept", refuse)
        client = loop.client(b"GET / HTTP/1.1\r\n\r\n")
        for key, _ in loop.selector.select(20):
            key.data()
        assert not loop.selector.get_map()
    loop.server.turn()
    assert loop.answer(client).endswith(b"\r\n/\n")


def test_a_port_that_is_taken(loop: Loop) -> None:
    second = PageServer(("127.0.0.1", loop.port), page)
    with pytest.raises(UsageError, match=f"no metrics on 127.0.0.1 port {loop.port}: Address alr"):
        second.listen()


@pytest.mark.parametrize(("address", "host"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_it_says_where_it_serves(address: str, host: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    [port] = servers.free_ports(1)
    server = PageServer((address, port), page)
    with selectors.PollSelector() as selector:
        server.listen()
        server.open(selector)
        socket.create_connection((address, port)).close()
        server.close()
    assert caplog.messages == [f"metrics on http://{host}:{port}/metrics"]
