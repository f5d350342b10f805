from __future__ import annotations

import pytest

from network_pipeline.traffic.http1 import (
    MAX_HEAD_BYTES,
    MAX_REQUEST_BYTES,
    ChunkedBody,
    Head,
    Refusal,
    begins_request,
    parse_head,
)

BAD = Refusal(400, "Bad Request")


@pytest.mark.parametrize(
    ("beginning", "expected"),
    [
        (b"GET / HTTP/1.1\r\n", True),
        (b"GET / HTTP/1.0\n", True),
        (b"PROPFIND /x HTTP/1.1\r\nHost: a\r\n", True),
        (b"G", None),
        (b"GET", None),
        (b"GET /index.html", None),
        (b"GET /index.html HTTP/1.", None),
        (b"GET /index.html HTTP/1.1\r", None),
        (b"GETTING STARTED", False),
        (b"GET  /two-spaces", False),
        (b"GET /\n", False),
        (b"GET / HTTP/2.0\r\n", False),
        (b"GET / and more text", False),
        (b"HELLO", False),
        (b"PROPFIND /x", False),
        (b"get / http/1.1\r\n", False),
        (b"hello", False),
        (b"\x16\x03\x01", False),
        (b"\r\n", False),
        (b"GET /" + b"x" * MAX_HEAD_BYTES, False),
    ],
)
def test_what_begins_a_request(beginning: bytes, expected: bool | None) -> None:
    assert begins_request(beginning) is expected


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", Head(18, b"GET", True, False, 0, False)),
        (b"GET / HTTP/1.0\n\n", Head(16, b"GET", False, False, 0, False)),
        (
            b"POST /x HTTP/1.1\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
            Head(58, b"POST", False, False, 5, False),
        ),
        (
            b"POST /x HTTP/1.0\r\ncontent-length:5\r\nCONNECTION: Keep-Alive\r\n\r\n",
            Head(62, b"POST", True, False, 5, False),
        ),
        (
            b"PUT / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\nExpect: 100-Continue\r\n\r\n",
            Head(68, b"PUT", True, True, 0, True),
        ),
        (
            b"GET / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n",
            Head(40, b"GET", True, False, 5, False),
        ),
        (b"GET / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", BAD),
        (b"GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", BAD),
        (b"GET / HTTP/1.1\r\nContent-Length: 5x\r\n\r\n", BAD),
        (b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", BAD),
        (b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", BAD),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", BAD),
        (b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", BAD),
        (b"GET / HTTP/1.1\r\nSpace : b\r\n\r\n", BAD),
        (b"not a request line\r\n\r\n", BAD),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", Refusal(501, "Not Implemented")),
        (b"CONNECT a:443 HTTP/1.1\r\n\r\n", Refusal(501, "Not Implemented")),
        (
            b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % MAX_REQUEST_BYTES,
            Refusal(413, "Content Too Large"),
        ),
        (
            b"GET / HTTP/1.1\r\nA: " + b"x" * MAX_HEAD_BYTES,
            Refusal(431, "Request Header Fields Too Large"),
        ),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", None),
    ],
)
def test_a_head(head: bytes, expected: Head | Refusal | None) -> None:
    assert parse_head(head) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"5;extension=1\r\nhello\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\nOther: y\r\n\r\n",
        b"5\nhello\n0\n\n",
        b"2 \r\n\r\n\r\n0\r\n\r\n",
    ],
)
def test_the_end_of_a_chunked_body_is_found_in_any_pieces(body: bytes) -> None:
    pieces = ChunkedBody(2)
    for length in range(len(body)):
        assert pieces.end(b"//" + body[:length]) is None, length
    assert pieces.end(b"//" + body + b"GET") == 2 + len(body)
    assert ChunkedBody(0).end(body) == len(body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"x\r\n", BAD),
        (b"\r\n", BAD),
        (b"5 x\r\nhello", BAD),
        (b"5\r\nhelloX", BAD),
        (b"-1\r\n", BAD),
        (b"5;" + b"x" * 2000, BAD),
        (b"FFFFFFF\r\n", Refusal(413, "Content Too Large")),
        (b"FFFFFFFFFFFFFFFF\r\n", BAD),
        (b"0\r\nA: " + b"x" * 70_000, Refusal(431, "Request Header Fields Too Large")),
    ],
)
def test_a_chunked_body_that_is_refused(body: bytes, expected: Refusal) -> None:
    assert ChunkedBody(0).end(body) == expected
