"""Traffic simulators for UDP and TCP: messages with a count and a pace.

A pace is kept by absolute deadlines: the n-th message is due n/rate seconds after the first, so a
late one is followed by its successors at once and 10,000 messages at 500 a second take 20 s.

- UDP: one datagram a message. Unless replies are asked for the socket stays unconnected: then
  Linux reports no ICMP error to it, and a message may be sent where nobody listens.
- TCP: one connection a message, since a dataset learns from whole conversations: handshake, data,
  reply, close. After the message the sending side is closed, so the reply ends where the peer
  closes too; a peer that keeps quiet (``nc -l``) costs the waiting time.
"""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from network_pipeline.errors import NetworkPipelineError, UsageError
from network_pipeline.traffic.text import SHOWN_BYTES, Say, address_text, message, shown

CONNECT_SECONDS = 5.0
MAX_WAIT_SECONDS = 86_400.0
#: A peer that takes no more bytes for this long is given up.
STALL_SECONDS = 30.0

_CHUNK_BYTES = 64 * 1024
_MAX_DATAGRAM = 65535


@dataclass(frozen=True)
class Load:
    """What to send: how many messages (0: until stopped), how many a second (0: no limit).

    Every message has a text of its own, with time and UUID, unless ``text`` gives one. ``wait`` is
    how many seconds to wait for a reply, 0: do not, at most a day.
    """

    count: int = 1
    rate: float = 0.0
    text: str = ""
    wait: float = 0.0

    def __post_init__(self) -> None:
        _check_wait(self.wait)


def _check_wait(seconds: float) -> None:
    if seconds > MAX_WAIT_SECONDS:
        raise UsageError(f"cannot wait {seconds:g} seconds for a reply, at most a day")


class SendCounts(NamedTuple):
    """Messages and bytes sent, replies and bytes received."""

    sent: int
    sent_bytes: int
    replies: int
    reply_bytes: int

    def plus(self, sent_bytes: int, reply_bytes: int | None) -> SendCounts:
        """Return the counts after one more message; ``reply_bytes`` is None without a reply."""
        return SendCounts(
            self.sent + 1,
            self.sent_bytes + sent_bytes,
            self.replies + (reply_bytes is not None),
            self.reply_bytes + (reply_bytes or 0),
        )


NOTHING_SENT = SendCounts(0, 0, 0, 0)


def paced(load: Load, stop: threading.Event) -> Iterator[int]:
    """Yield the number of each message, from 1, when it is due; end early once ``stop`` is set."""
    start = time.monotonic()
    for index in range(load.count) if load.count else itertools.count():
        due = start + index / load.rate if load.rate else start
        if stop.wait(max(0.0, due - time.monotonic())):
            return
        yield index + 1


@contextlib.contextmanager
def explained(place: str, advice: str) -> Iterator[None]:
    """Turn what the kernel says about ``place`` into one line that says what to do.

    Raises:
        UsageError: the host's name has no address.
        NetworkPipelineError: anything else.
    """
    try:
        yield
    except (socket.gaierror, UnicodeError):
        raise UsageError(f"{place}: no such host; check the name or give an IP address") from None
    except ConnectionRefusedError:
        raise NetworkPipelineError(f"nobody listens on {place}: {advice}") from None
    except TimeoutError:
        raise NetworkPipelineError(f"{place} does not answer: {advice}") from None
    except (ConnectionResetError, BrokenPipeError):
        raise NetworkPipelineError(f"{place} closed the connection: {advice}") from None
    except OSError as error:
        raise NetworkPipelineError(f"{place}: {error.strerror or error}") from None


def send_udp(host: str, port: int, load: Load, say: Say, stop: threading.Event) -> SendCounts:
    """Send datagrams; with ``load.wait``, wait after each for an equal one to come back.

    Raises:
        UsageError: no such host.
        NetworkPipelineError: the network refuses, or a reply is asked for and nobody listens.
    """
    counts = NOTHING_SENT
    where = address_text(host, port)
    sender, address = _udp_socket(host, port)
    with sender:
        if load.wait:
            with explained(where, "check the address"):
                sender.connect(address)
        for _ in paced(load, stop):
            content = _content(load, "UDP")
            say(f"sending UDP: address={address[:2]} msg={shown(content)}")
            with explained(where, "start listen-udp-port"):
                _send_datagram(sender, content, None if load.wait else address)
                replied = bool(load.wait) and _echo_came(sender, content, load.wait)
            if load.wait:
                say(f"received UDP reply={shown(content)}" if replied else "no UDP reply")
            counts = counts.plus(len(content), len(content) if replied else None)
    return counts


def _udp_socket(host: str, port: int) -> tuple[socket.socket, Any]:
    with explained(address_text(host, port), "check the address"):
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        return socket.socket(family, kind), address


def _send_datagram(sender: socket.socket, content: bytes, address: Any) -> None:
    if address is None:
        sender.send(content)
    else:
        sender.sendto(content, address)


def _echo_came(sender: socket.socket, content: bytes, wait: float) -> bool:
    """Wait for ``content``; other datagrams are late echoes of earlier messages."""
    deadline = time.monotonic() + wait
    while (left := deadline - time.monotonic()) > 0:
        sender.settimeout(left)
        try:
            if sender.recv(_MAX_DATAGRAM) == content:
                return True
        except TimeoutError:
            break
    return False


def send_tcp(host: str, port: int, load: Load, say: Say, stop: threading.Event) -> SendCounts:
    """Send each message over a connection of its own and show the reply.

    Raises:
        UsageError: no such host.
        NetworkPipelineError: nobody listens there, or the connection broke.
    """
    counts = NOTHING_SENT
    for _ in paced(load, stop):
        content = _content(load, "TCP")
        with _connected(host, port) as connection:
            address = connection.getpeername()[:2]
            say(f"sending TCP: address={address} msg={shown(content)}")
            with explained(address_text(host, port), "start listen-tcp-port again"):
                exchange = Exchange(connection, [content], load.wait)
                exchange.run()
        counts = _count_and_show(counts, exchange, say)
    return counts


def send_large_tcp(host: str, port: int, size: int, wait: float, say: Say) -> SendCounts:
    """Send one message of ``size`` bytes; the reply is counted, its beginning shown.

    Raises:
        UsageError: no such host.
        NetworkPipelineError: nobody listens there, or the connection broke.
    """
    _check_wait(wait)
    head = f"{message('TCP')} large_random_data="
    with _connected(host, port) as connection:
        address = connection.getpeername()[:2]
        say(f"sending large TCP: address={address} size={size} msg={head[:size]}")
        with explained(address_text(host, port), "start listen-tcp-port again"):
            exchange = Exchange(connection, _large_content(head.encode(), size), wait)
            exchange.run()
    return _count_and_show(NOTHING_SENT, exchange, say)


def _count_and_show(counts: SendCounts, exchange: Exchange, say: Say) -> SendCounts:
    if exchange.reply_bytes:
        beginning = shown(bytes(exchange.reply))
        more = exchange.reply_bytes - len(exchange.reply)
        say(f"received TCP reply={beginning}" + (f"... and {more} bytes more" if more else ""))
    elif exchange.wait:
        say("no TCP reply")
    return counts.plus(exchange.sent_bytes, exchange.reply_bytes or None)


class Exchange:
    """Sends a message and takes the reply in at the same time.

    An echo server that may not hold everything stops reading until its replies are read: whoever
    sends first and reads later waits for ever. Only the reply's first bytes are kept.
    """

    def __init__(self, connection: socket.socket, chunks: Iterable[bytes], wait: float) -> None:
        self._connection = connection
        self._chunks = chunks
        self.wait = wait
        self._poll = select.poll()
        self._ended = False
        self.sent_bytes = 0
        self.reply = bytearray()
        self.reply_bytes = 0

    def run(self) -> None:
        """Send all, then wait up to ``wait`` seconds for more of the reply, or for its end."""
        self._connection.setblocking(False)
        for chunk in self._chunks:
            self._send(memoryview(chunk))
        self._connection.shutdown(socket.SHUT_WR)
        while self.wait and not self._ended and self._ready(select.POLLIN, self.wait):
            self._receive()

    def _send(self, unsent: memoryview) -> None:
        while unsent:
            wanted = select.POLLOUT | (0 if self._ended else select.POLLIN)
            events = self._ready(wanted, STALL_SECONDS)
            if not events:
                raise TimeoutError
            if events & select.POLLIN:
                self._receive()
            if events != select.POLLIN:
                unsent = unsent[self._send_some(unsent) :]

    def _ready(self, wanted: int, seconds: float) -> int:
        """Return the poll events, errors among them; 0 where none came in time."""
        self._poll.register(self._connection, wanted)
        ready = self._poll.poll(seconds * 1000)
        return ready[0][1] if ready else 0

    def _send_some(self, unsent: memoryview) -> int:
        try:
            count = self._connection.send(unsent)
        except BlockingIOError:
            return 0
        self.sent_bytes += count
        return count

    def _receive(self) -> None:
        try:
            content = self._connection.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        self._ended = not content
        self.reply += content[: SHOWN_BYTES - len(self.reply)]
        self.reply_bytes += len(content)


def _connected(host: str, port: int) -> socket.socket:
    with explained(address_text(host, port), "start listen-tcp-port, or check the address"):
        return socket.create_connection((host, port), timeout=CONNECT_SECONDS)


def _content(load: Load, protocol: str) -> bytes:
    # surrogateescape: bytes of the command line that are no UTF-8 are sent as they were typed.
    return (load.text or message(protocol)).encode("utf-8", "surrogateescape")


def _large_content(head: bytes, size: int) -> Iterator[bytes]:
    yield head[:size]
    filler = "".join(str(uuid.uuid4()) for _ in range(_CHUNK_BYTES // 36)).encode()
    for offset in range(len(head), size, len(filler)):
        yield filler[: size - offset]
