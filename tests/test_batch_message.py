"""Arrow messages: what is sent comes back, and nothing else gets in."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyarrow import ipc

from network_pipeline import arrow_stream, batch_message, rows
from network_pipeline.batch_message import ARROW_TYPE, MAX_PLAIN_BYTES, MAX_ROWS
from network_pipeline.errors import MessageError
from network_pipeline.frames import Frame, LinkType
from network_pipeline.message import MAX_BODY_BYTES, Message
from network_pipeline.schema import SCHEMA_VERSION, arrow_schema
from tests.decode.batches import SESSION, SOURCE, decoded
from tests.decode.samples import all_samples

FRAMES = [
    Frame(number, 1_700_000_000_000_000_000 + number, "eth0", len(s.data), s.link_type, s.data)
    for number, s in enumerate(all_samples(), start=1)
]
BATCH = decoded(FRAMES)


def encoded(batch: pa.RecordBatch, compression: Any = "lz4") -> list[Message]:
    return batch_message.encode(batch, source=SOURCE, session=SESSION, compression=compression)


def received(message: Message) -> pa.RecordBatch:
    return batch_message.decode(message.body, message.content_type, message.headers)


def changed(name: str, values: list[Any], batch: pa.RecordBatch = BATCH) -> pa.RecordBatch:
    """Return the batch with other values in the first rows of a column."""
    place = batch.schema.get_field_index(name)
    column = batch.column(place)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    other = pa.array([*values, *column.to_pylist()[len(values) :]], kind)
    if pa.types.is_dictionary(column.type):
        other = other.dictionary_encode()
    columns = [*batch.columns[:place], other, *batch.columns[place + 1 :]]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def refused(message: Message, reason: str) -> None:
    with pytest.raises(MessageError, match=reason):
        received(message)


def test_every_kind_of_frame_comes_back() -> None:
    for compression in ("lz4", "zstd", "none"):
        [message] = encoded(BATCH, compression)
        assert received(message).equals(BATCH)
        assert message.content_type == ARROW_TYPE
        headers = dict(message.headers)
        assert headers.pop("created")
        assert headers == {
            "schema": SCHEMA_VERSION, "source": SOURCE, "session": SESSION,
            "first": 1, "last": len(FRAMES), "count": len(FRAMES),
        }  # fmt: skip


def test_a_queue_may_hold_both_kinds_and_no_other() -> None:
    [message] = encoded(BATCH)
    assert rows.decode(message.body, ARROW_TYPE, message.headers) == BATCH
    with pytest.raises(
        MessageError, match=r"content type 'text/plain' is none of application/json"
    ):
        rows.decode(message.body, "text/plain", message.headers)


def large_frames(count: int, size: int) -> pa.RecordBatch:
    noise = np.random.default_rng(1)
    header = bytes(12) + b"\x12\x34"
    return decoded(
        [
            Frame(n, n, None, size, LinkType.ETHERNET, header + noise.bytes(size - len(header)))
            for n in range(1, count + 1)
        ]
    )


def test_rows_are_spread_over_messages_of_a_good_size() -> None:
    batch = large_frames(9000, 1400)
    messages = encoded(batch)
    assert len(messages) > 10
    assert max(len(message.body) for message in messages) <= 1024 * 1024
    assert min(len(message.body) for message in messages[:-1]) > 512 * 1024
    firsts = np.cumsum([0, *(int(message.headers["count"]) for message in messages)]) + 1
    assert [message.headers["first"] for message in messages] == firsts[:-1].tolist()
    assert pa.Table.from_batches([received(message) for message in messages]).equals(
        pa.Table.from_batches([batch])
    )


def test_a_frame_that_no_message_can_hold_is_left_out() -> None:
    batch = large_frames(3, MAX_BODY_BYTES)
    assert encoded(batch) == []


# -- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("session", [None], "no session"),
        ("session", ["another"], "more than one session"),
        ("source", [""], "source"),
        ("frame_number", [None], "no frame.number"),
        ("frame_number", [0], "no frame.number"),
        ("frame_number", [2], "a frame.number twice"),
        ("frame_interface", ["eth0\nrow"], "frame_interface: not a valid value"),
        ("dns_qd_qname", ["a\u2028b"], "dns_qd_qname: not a valid value"),
        ("dns_qd_qname", ["a\x85b"], "dns_qd_qname: not a valid value"),
        ("eth_src", ["00:00:00:00:00:0g"], "eth_src: not a valid value"),
        ("eth_src", ["00:00:00:00:00:0"], "eth_src: not a valid value"),
        ("eth_src", ["00:00:00:00:0:000"], "eth_src: not a valid value"),
        ("eth_src", ["00:00:00:00:00:0A"], "eth_src: not a valid value"),
        ("eth_src", ["", 2 * "00:00:00:00:00:00"], "eth_src: not a valid value"),
        ("ip_src", ["1.2.3.4\n"], "ip_src: not a valid value"),
        ("ip_src", ["1.2.3"], "ip_src: not a valid value"),
        ("ip_src", ["1.2.3.4567"], "ip_src: not a valid value"),
        ("ip_src", ["1.2.3.a"], "ip_src: not a valid value"),
        ("ip_src", [""], "ip_src: not a valid value"),
        ("ipv6_src", [":"], "ipv6_src: not a valid value"),
        ("ipv6_src", [46 * "a"], "ipv6_src: not a valid value"),
        ("ipv6_src", ["::G"], "ipv6_src: not a valid value"),
        ("dns_qd_qname", ["a\x7fb"], "dns_qd_qname: not a valid value"),
    ],
)
def test_values_that_no_row_may_hold(name: str, values: list[Any], reason: str) -> None:
    body = arrow_stream.write(changed(name, values), "lz4")
    refused(Message(body, ARROW_TYPE, {}), reason)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("eth_src", ["00:00:00:00:00:0f", None]),
        ("ip_src", ["255.255.255.255", "0.0.0.0", "1.22.3.4"]),
        ("ipv6_src", ["::", "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"]),
        ("dns_qd_qname", ["", "a b~", "b\u00fccher.example", "\u2027"]),
    ],
)
def test_values_that_rows_may_hold(name: str, values: list[Any]) -> None:
    rows = changed(name, values)
    found = batch_message.decode(arrow_stream.write(rows, "lz4"), ARROW_TYPE, {})
    assert found.column(name).to_pylist()[: len(values)] == values


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({"schema": "0123456789abcdef"}, "schema '0123456789abcdef'"),
        ({"source": "other"}, "another source than the headers say"),
        ({"session": "other"}, "another session than the headers say"),
        ({"count": 7}, "not as many as the headers say"),
        ({"count": "7"}, "not as many as the headers say"),
        ({"first": 2}, "frame 1 comes first, not the one that the headers say"),
        ({"first": None}, "frame 1 comes first, not the one that the headers say"),
    ],
)
def test_headers_that_do_not_fit(headers: dict[str, Any], reason: str) -> None:
    [message] = encoded(BATCH)
    refused(Message(message.body, ARROW_TYPE, {**message.headers, **headers}), reason)


def stream(*batches: pa.RecordBatch, schema: pa.Schema | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    with ipc.new_stream(sink, schema or batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return bytes(sink.getvalue())


def test_a_stream_of_no_batch_or_two_or_of_other_columns() -> None:
    other = pa.record_batch({"frame_number": pa.array([1], pa.uint64())})
    for body in (
        stream(BATCH, BATCH), stream(schema=arrow_schema()), stream(other), b"", b"\xff" * 8,
        stream(BATCH) + b"\0",
    ):  # fmt: skip
        refused(Message(body, ARROW_TYPE, {}), "Arrow stream")


def test_rows_and_bytes_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    few = decoded(FRAMES[:3])
    body = arrow_stream.write(few, "lz4")
    monkeypatch.setattr(batch_message, "MAX_ROWS", 2)
    refused(Message(body, ARROW_TYPE, {}), "3 rows, the limit is 2")
    refused(Message(bytes(MAX_BODY_BYTES + 1), ARROW_TYPE, {}), "the limit is")
    assert MAX_ROWS * 111 < MAX_PLAIN_BYTES


def test_a_bomb_is_refused_before_it_is_decompressed() -> None:
    zeros = changed("raw_load", [bytes(MAX_PLAIN_BYTES)], decoded(FRAMES[:1]))
    body = arrow_stream.write(zeros, "zstd")
    assert len(body) < MAX_BODY_BYTES
    before = pa.default_memory_pool().max_memory()
    refused(Message(body, ARROW_TYPE, {}), "bytes decompressed, the limit is")
    assert pa.default_memory_pool().max_memory() - before < MAX_PLAIN_BYTES // 2


def test_a_bomb_that_lies_about_its_size() -> None:
    size = MAX_PLAIN_BYTES
    body = arrow_stream.write(changed("raw_load", [bytes(size)], decoded(FRAMES[:1])), "zstd")
    lie = body.replace(struct.pack("<q", size), struct.pack("<q", 16))
    assert lie != body
    refused(Message(lie, ARROW_TYPE, {}), "not an Arrow stream")


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_random_bytes_are_refused(body: bytes) -> None:
    refused(Message(body, ARROW_TYPE, {}), "Arrow stream")


_SMALL = decoded(FRAMES[:40])
_BODIES = [arrow_stream.write(_SMALL, codec) for codec in ("lz4", "zstd", None)]


def _cut(body: bytes, place: int, value: int) -> bytes:
    return body[:place]


def _set(body: bytes, place: int, value: int) -> bytes:
    return body[:place] + bytes([value]) + body[place + 1 :]


def _long(body: bytes, place: int, value: int) -> bytes:
    return body[:place] + struct.pack("<q", (value << 55) - value) + body[place + 8 :]


@settings(max_examples=600)
@given(
    st.sampled_from(_BODIES),
    st.lists(
        st.tuples(st.sampled_from([_cut, _set, _set, _long]), st.floats(0, 1), st.integers(0, 255)),
        min_size=1,
        max_size=4,
    ),
)
@example(_BODIES[0], [(_cut, 0.5, 0)])
def test_damaged_messages_are_refused_or_hold_valid_rows(
    body: bytes, damages: list[tuple[Callable[[bytes, int, int], bytes], float, int]]
) -> None:
    for damage, where, value in damages:
        body = damage(body, int(where * len(body)), value)
    try:
        found = received(Message(body, ARROW_TYPE, {}))
    except MessageError:
        return
    found.validate(full=True)
    assert found.schema.equals(arrow_schema())
    assert len(found.to_pylist()) == found.num_rows
