from __future__ import annotations

import re

import pytest

from network_pipeline.traffic.echo import Answer, Echo

POST = (
    b'POST /TESTURLENDPOINT HTTP/1.1\r\nHost: localhost\r\nContent-Length: 12\r\n\r\n{"id": 1234}'
)
CHUNKED = b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n"


def received(echo: Echo, content: bytes) -> list[Answer]:
    return list(echo.receive(content))


def split_response(reply: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = reply.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    return status, dict(field.split(": ", 1) for field in fields), body


def test_other_bytes_are_echoed_at_once() -> None:
    echo = Echo()
    assert received(echo, b"hello") == [Answer(b"hello", b"hello")]
    assert received(echo, b"\x00\xff") == [Answer(b"\x00\xff", b"\x00\xff")]
    assert received(echo, LAST) == [Answer(LAST, LAST)]
    assert list(echo.end()) == []
    assert echo.closing


def test_a_request_is_the_body_of_its_response() -> None:
    (answer,) = received(Echo(), POST)
    assert answer.received == POST
    status, fields, body = split_response(answer.reply)
    assert status == "HTTP/1.1 200 OK"
    assert body == POST
    assert fields["Content-Length"] == str(len(POST))
    assert fields["Connection"] == "keep-alive"
    assert fields["Content-Type"] == "text/plain"
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", fields["Date"])


def test_requests_in_any_pieces_are_answered_in_order() -> None:
    stream = POST + b"\r\n" + CHUNKED + LAST
    for size in (1, 2, 7, 50, len(stream)):
        echo = Echo()
        answers = [
            answer
            for start in range(0, len(stream), size)
            for answer in echo.receive(stream[start : start + size])
        ]
        assert [answer.received for answer in answers] == [POST, CHUNKED, LAST], size
        assert [split_response(answer.reply)[2] for answer in answers] == [POST, CHUNKED, LAST]
        assert echo.closing


def test_head_is_answered_without_a_body() -> None:
    request = b"HEAD / HTTP/1.1\r\n\r\n"
    (answer,) = received(Echo(), request)
    _, fields, body = split_response(answer.reply)
    assert fields["Content-Length"] == str(len(request))
    assert body == b""


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_client_that_waits_is_told_to_go_on_once(version: bytes) -> None:
    head = b"POST / HTTP/%s\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n" % version
    echo = Echo()
    asked = [] if version == b"1.0" else [Answer(b"", b"HTTP/1.1 100 Continue\r\n\r\n")]
    assert received(echo, head) == asked
    assert received(echo, b"a") == []
    (answer,) = received(echo, b"b")
    assert answer.received == head + b"ab"


def test_a_client_that_does_not_wait_is_not_told_to_go_on() -> None:
    head = b"POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    (answer,) = received(Echo(), head + b"ab")
    assert split_response(answer.reply)[0] == "HTTP/1.1 200 OK"


def test_a_refused_request_closes_and_the_rest_is_not_read() -> None:
    echo = Echo()
    bad = b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n"
    (answer,) = received(echo, bad)
    status, fields, body = split_response(answer.reply)
    assert (status, fields["Connection"], body) == (
        "HTTP/1.1 400 Bad Request",
        "close",
        b"Bad Request\n",
    )
    assert answer.received == bad
    assert echo.closing
    assert received(echo, LAST) == []
    assert list(echo.end()) == []


def test_a_cut_request_is_refused_at_the_streams_end() -> None:
    echo = Echo()
    assert received(echo, POST[:-1]) == []
    (answer,) = echo.end()
    assert answer.received == POST[:-1]
    assert split_response(answer.reply)[0] == "HTTP/1.1 400 Bad Request"


def test_what_might_have_become_a_request_is_echoed_at_the_streams_end() -> None:
    echo = Echo()
    assert received(echo, b"GET /never finished"[:8]) == []
    assert list(echo.end()) == [Answer(b"GET /nev", b"GET /nev")]
