"""Where an HTTP/1.x request ends (RFC 9112), and nothing else about it. Bytes in, numbers out.

An echo server needs no request's meaning, only its extent: the head, and a body framed by
Content-Length or by chunks. Framing that two programs could read differently is refused, as
RFC 9112 section 6 asks, by returning a :class:`Refusal` with the status to answer.
"""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_HEAD_BYTES = 64 * 1024
MAX_REQUEST_BYTES = 8 * 1024 * 1024

_MAX_CHUNK_LINE = 1024
_METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"PATCH", b"CONNECT")
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(%s) [!-~\x80-\xff]+ HTTP/1\.([01])\r?\n" % _TOKEN)
_UNFINISHED_LINE = re.compile(
    rb"(?:%s) [!-~\x80-\xff]*(?: [HTP/1.0]{0,8}\r?)?" % b"|".join(_METHODS)
)
_FIELD = re.compile(rb"(%s):[ \t]*(.*?)[ \t]*" % _TOKEN)
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_LINE_END = re.compile(rb"\r?\n")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r?\n")


class Refusal(NamedTuple):
    """A request that cannot be framed, and the status that says so."""

    status: int
    reason: str


class Head(NamedTuple):
    """A request's head: its size in bytes and what frames the body."""

    size: int
    method: bytes
    keep_alive: bool
    expects_continue: bool
    length: int
    chunked: bool


def begins_request(beginning: bytes) -> bool | None:
    """Whether a stream's first bytes begin an HTTP/1.x request; None while it can still be both.

    A request line that has not arrived whole is waited for only after a well-known method.
    """
    if _REQUEST_LINE.match(beginning):
        return True
    if len(beginning) > MAX_HEAD_BYTES:
        return False
    if any((method + b" ").startswith(beginning) for method in _METHODS):
        return None
    return None if _UNFINISHED_LINE.fullmatch(beginning) else False


def parse_head(stream: bytes | bytearray) -> Head | Refusal | None:
    """Parse the head at the beginning of ``stream``; None where it has not arrived whole."""
    end = _HEAD_END.search(stream, 0, MAX_HEAD_BYTES)
    if end is None:
        too_large = len(stream) >= MAX_HEAD_BYTES
        return Refusal(431, "Request Header Fields Too Large") if too_large else None
    request_line = _REQUEST_LINE.match(stream)
    if request_line is None:
        return Refusal(400, "Bad Request")
    fields = _fields(bytes(stream[request_line.end() : end.start()]))
    if fields is None:
        return Refusal(400, "Bad Request")
    return _head(end.end(), request_line[1], request_line[2] == b"1", fields)


def _fields(lines: bytes) -> dict[bytes, list[bytes]] | None:
    fields: dict[bytes, list[bytes]] = {}
    for line in _LINE_END.split(lines) if lines else ():
        field = _FIELD.fullmatch(line)
        if field is None:
            return None
        values = (value.strip(b" \t") for value in field[2].split(b","))
        fields.setdefault(field[1].lower(), []).extend(values)
    return fields


def _head(
    size: int, method: bytes, is_1_1: bool, fields: dict[bytes, list[bytes]]
) -> Head | Refusal:
    codings = [coding.lower() for coding in fields.get(b"transfer-encoding", [])]
    lengths = set(fields.get(b"content-length", []))
    if method == b"CONNECT" or (codings and codings != [b"chunked"]):
        return Refusal(501, "Not Implemented")
    if codings and (lengths or not is_1_1):
        return Refusal(400, "Bad Request")
    if len(lengths) > 1 or not all(re.fullmatch(rb"[0-9]{1,18}", length) for length in lengths):
        return Refusal(400, "Bad Request")
    length = int(lengths.pop()) if lengths else 0
    if size + length > MAX_REQUEST_BYTES:
        return Refusal(413, "Content Too Large")
    wishes = {wish.lower() for wish in fields.get(b"connection", [])}
    keep_alive = b"close" not in wishes and (is_1_1 or b"keep-alive" in wishes)
    expectations = {value.lower() for value in fields.get(b"expect", [])}
    expects_continue = is_1_1 and b"100-continue" in expectations
    return Head(size, method, keep_alive, expects_continue, length, bool(codings))


class ChunkedBody:
    """Finds the end of a chunked body (RFC 9112 section 7.1); remembers how far it looked."""

    def __init__(self, start: int) -> None:
        self._position = start
        self._in_trailers = False

    def end(self, stream: bytes | bytearray) -> int | Refusal | None:
        """Return where the body ends in ``stream``, None where it has not arrived whole."""
        while not self._in_trailers:
            line = _CHUNK_LINE.match(stream, self._position)
            if line is None:
                return self._unfinished(stream)
            size = int(line[1], 16)
            if line.end() + size > MAX_REQUEST_BYTES:
                return Refusal(413, "Content Too Large")
            if size == 0:
                self._position, self._in_trailers = line.end(), True
                break
            # Looking for the line end behind the chunk's bytes also tells whether they are there.
            after = _LINE_END.match(stream, line.end() + size)
            if after is None:
                return self._misframed(stream, line.end() + size)
            self._position = after.end()
        return self._trailers_end(stream)

    def _unfinished(self, stream: bytes | bytearray) -> Refusal | None:
        line = bytes(stream[self._position : self._position + _MAX_CHUNK_LINE])
        may_go_on = b"\n" not in line and len(line) < _MAX_CHUNK_LINE
        begins_well = re.match(rb"[0-9A-Fa-f]{1,15}(?:[ \t;\r]|$)", line) or not line
        return None if may_go_on and begins_well else Refusal(400, "Bad Request")

    def _misframed(self, stream: bytes | bytearray, position: int) -> Refusal | None:
        rest = bytes(stream[position : position + 2])
        return None if rest in (b"", b"\r") else Refusal(400, "Bad Request")

    def _trailers_end(self, stream: bytes | bytearray) -> int | Refusal | None:
        """Trailers are lines like a head's, up to an empty one."""
        empty = _LINE_END.match(stream, self._position)
        end = empty or _HEAD_END.search(stream, self._position)
        if end is not None:
            return end.end()
        too_large = len(stream) - self._position > MAX_HEAD_BYTES
        return Refusal(431, "Request Header Fields Too Large") if too_large else None
