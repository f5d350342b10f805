"""What an echo server answers on one TCP connection, without I/O.

Bytes are echoed as they are, at once. A stream that begins as an HTTP/1.x request is treated as
HTTP instead, since no modern client takes a bare echo for a response (it would be HTTP/0.9): each
request gets a valid response whose body is the request as it was received, head and framing
included. Requests may be cut into any pieces and may follow one another on the connection.
"""

from __future__ import annotations

import email.utils
from collections.abc import Iterator
from typing import NamedTuple

from network_pipeline.traffic.http1 import (
    ChunkedBody,
    Head,
    Refusal,
    begins_request,
    parse_head,
)

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Answer(NamedTuple):
    """What was received (empty where it has not arrived whole), and what goes back for it."""

    received: bytes
    reply: bytes


class Echo:
    """One connection's stream. ``closing``: send what was answered, then close, read no more."""

    def __init__(self) -> None:
        self.closing = False
        self._stream = bytearray()
        self._is_http: bool | None = None
        self._head: Head | None = None
        self._chunks: ChunkedBody | None = None

    def receive(self, content: bytes) -> Iterator[Answer]:
        """Take the next bytes; yield what is answered now."""
        if self.closing:
            return
        self._stream += content
        if self._is_http is None:
            self._is_http = begins_request(bytes(self._stream))
        if self._is_http:
            yield from self._requests()
        elif self._is_http is False:
            yield self._echoed()

    def end(self) -> Iterator[Answer]:
        """Take the end of the client's stream; yield what is answered to its last bytes."""
        if self._stream and not self.closing:
            yield self._refused(Refusal(400, "Bad Request")) if self._is_http else self._echoed()
        self.closing = True

    def _echoed(self) -> Answer:
        received = self._take(len(self._stream))
        return Answer(received, received)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._stream[:size])
        del self._stream[:size]
        return taken

    def _requests(self) -> Iterator[Answer]:
        while not self.closing and self._more_came():
            end = self._request_end()
            if isinstance(end, Refusal):
                yield self._refused(end)
            elif end is None or end > len(self._stream):
                yield from self._continued()
                return
            else:
                yield self._answered(end)

    def _more_came(self) -> bool:
        """Skip empty lines before a request (RFC 9112 section 2.2); False where nothing follows."""
        while self._head is None and self._stream.startswith((b"\r\n", b"\n")):
            del self._stream[: self._stream.index(b"\n") + 1]
        return bool(self._stream)

    def _request_end(self) -> int | Refusal | None:
        """Return where the first request ends; None, or beyond the stream, while it is cut."""
        if self._head is None:
            head = parse_head(self._stream)
            if not isinstance(head, Head):
                return head
            self._head = head
            self._chunks = ChunkedBody(head.size) if head.chunked else None
        if self._chunks is None:
            return self._head.size + self._head.length
        return self._chunks.end(self._stream)

    def _continued(self) -> Iterator[Answer]:
        """Ask for the body where the client waits for that (RFC 9110 section 10.1.1)."""
        if self._head is not None and self._head.expects_continue:
            self._head = self._head._replace(expects_continue=False)
            yield Answer(b"", _CONTINUE)

    def _answered(self, end: int) -> Answer:
        assert self._head is not None
        head, self._head = self._head, None
        self.closing = not head.keep_alive
        request = self._take(end)
        reply = _response_head(200, "OK", len(request), closes=self.closing)
        return Answer(request, reply if head.method == b"HEAD" else reply + request)

    def _refused(self, refusal: Refusal) -> Answer:
        self.closing = True
        received = self._take(len(self._stream))
        body = f"{refusal.reason}\n".encode()
        head = _response_head(refusal.status, refusal.reason, len(body), closes=True)
        return Answer(received, head + body)


def _response_head(status: int, reason: str, length: int, *, closes: bool) -> bytes:
    return (
        f"HTTP/1.1 {status} {reason}\r\n"
        f"Date: {email.utils.formatdate(usegmt=True)}\r\n"
        "Content-Type: text/plain\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        f"Content-Length: {length}\r\n"
        f"Connection: {'close' if closes else 'keep-alive'}\r\n"
        "\r\n"
    ).encode("ascii")
