import json
from typing import Any

import pytest

from network_pipeline import message
from network_pipeline.decode import text
from network_pipeline.errors import MessageError
from network_pipeline.schema import SCHEMA_VERSION

UDP: dict[str, Any] = {
    "frame": {"number": 7, "time": "2018-01-27T17:40:04.000000001Z", "len": 60, "caplen": 60},
    "ip": {"src": "127.0.0.1", "dst": "127.0.0.1", "ttl": 64},
    "udp": {"sport": 40000, "dport": 17000, "len": 12, "chksum": 0},
    "raw": {"len": 4, "load": "74657374"},
}
WHOLE = {"source": "edge-1", "session": "b1946ac9", **UDP}


def decode(nested: Any, **headers: Any) -> dict[str, Any]:
    return message.decode(json.dumps(nested).encode(), "application/json", headers)


def with_field(layer: str, field: str, value: Any) -> dict[str, Any]:
    return {**WHOLE, layer: {**UDP.get(layer, {}), field: value}}


def test_what_is_encoded_is_decoded() -> None:
    sent = message.encode(UDP, source="edge-1", session="b1946ac9")
    assert sent.content_type == "application/json"
    assert message.decode(sent.body, sent.content_type, sent.headers) == WHOLE


def test_headers_say_what_the_body_holds() -> None:
    sent = message.encode(UDP, source="edge-1", session="b1946ac9")
    headers = dict(sent.headers)
    assert isinstance(headers.pop("created"), int)
    assert headers == {
        "schema": SCHEMA_VERSION,
        "source": "edge-1",
        "session": "b1946ac9",
        "first": 7,
        "count": 1,
    }


def test_a_message_without_a_schema_header_is_judged_by_its_values() -> None:
    assert decode(WHOLE) == WHOLE


@pytest.mark.parametrize("time_ns", [1 - 2**63, 0, 2**63 - 1])
def test_times_of_64_bits_are_taken(time_ns: int) -> None:
    time = text.time(time_ns)
    assert time is not None
    assert decode(with_field("frame", "time", time))["frame"]["time"] == time


@pytest.mark.parametrize("value", [None, "a_b", "a;b", "naïve"])
def test_absent_and_unusual_texts_are_taken(value: str | None) -> None:
    assert decode(with_field("dns", "qd", {"qname": value}))["dns"]["qd"]["qname"] == value


@pytest.mark.parametrize(
    ("nested", "reason"),
    [
        ([], "JSON, but no object"),
        ({}, "no source"),
        ({"source": "a"}, "no session"),
        ({"source": "a", "session": "s"}, "no frame.number"),
        ({"source": "a", "session": "s", "frame": None}, "no frame.number"),
        ({**WHOLE, "frame": {"number": 0}}, "no frame.number"),
        ({**WHOLE, "frame": 1}, "frame: not an object"),
        ({**WHOLE, "sctp": {}}, "sctp: no such field"),
        (with_field("udp", "sprt", 1), "udp.sprt: no such field"),
        (with_field("udp", "sport", "53"), "udp.sport: not a valid value"),
        (with_field("udp", "sport", True), "udp.sport: not a valid value"),
        (with_field("udp", "sport", 53.0), "udp.sport: not a valid value"),
        (with_field("udp", "sport", -1), "udp.sport: not a valid value"),
        (with_field("udp", "sport", 65536), "udp.sport: not a valid value"),
        (with_field("udp", "sport", {}), "udp.sport: not a valid value"),
        (with_field("frame", "number", 2**64), "frame.number: not a valid value"),
        (with_field("frame", "time", "2018-01-27 17:40:04"), "frame.time: not a valid value"),
        (
            with_field("frame", "time", "2262-04-11T23:47:16.854775808Z"),
            "frame.time: not a valid value",
        ),
        (
            with_field("frame", "time", "1677-09-21T00:12:43.145224192Z"),
            "frame.time: not a valid value",
        ),
        (
            with_field("frame", "time", "19٩9-01-01T00:00:00.000000000Z"),
            "frame.time: not a valid value",
        ),
        (with_field("ip", "src", "127.0.0.1\n"), "ip.src: not a valid value"),
        (with_field("raw", "load", "ABC"), "raw.load: not a valid value"),
        (with_field("eth", "src", "00-00-00-00-00-00"), "eth.src: not a valid value"),
        (with_field("dns", "qd", {"qname": "a\nb"}), "dns.qd.qname: not a valid value"),
        ({**WHOLE, "source": "a\r\nb"}, "source: not a valid value"),
    ],
)
def test_what_is_no_frame_is_refused_with_a_reason(nested: Any, reason: str) -> None:
    with pytest.raises(MessageError) as caught:
        decode(nested)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    "body",
    [b"", b"\x80\x04.", b"{", b"nul", b"\xff\xfe", b'{"a": 1' * 9, b"[" * 100_000, b"1" * 5000],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(MessageError, match="not JSON"):
        message.decode(body, "application/json", {})


def test_another_content_type_is_refused_unread() -> None:
    with pytest.raises(MessageError, match="content type 'application/x-python-serialize'"):
        message.decode(b"\x80\x04.", "application/x-python-serialize", {})


def test_another_schema_is_refused_by_name() -> None:
    with pytest.raises(MessageError, match=f"schema 'new', this processor writes {SCHEMA_VERSION}"):
        decode(WHOLE, schema="new")


def test_a_large_body_is_refused_by_its_size() -> None:
    body = b'"' + b"a" * message.MAX_BODY_BYTES + b'"'
    with pytest.raises(MessageError, match=r"2097154 bytes, the limit is 2097152"):
        message.decode(body, "application/json", {})


def test_a_reason_quotes_no_content() -> None:
    with pytest.raises(MessageError) as caught:
        decode(with_field("raw", "load", "password=hunter2"))
    assert "hunter2" not in str(caught.value)
