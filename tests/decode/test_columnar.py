"""The columnar decoder against the nested one, however frames are cut, mutated and batched."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from network_pipeline import schema
from network_pipeline.decode import columnar, dns
from network_pipeline.decode.columnar import decode_batch
from network_pipeline.decode.places import ERRORS, PLACES
from network_pipeline.frames import NO_TIME, Frame, LinkType
from tests.decode import batches, captures
from tests.decode.samples import all_samples

_SAMPLES = all_samples()
_FRAMES = [sample.frame(number) for number, sample in enumerate(_SAMPLES, 1)]
_SHORT = [sample for sample in _SAMPLES if len(sample.data) < 2_000]

_LINK_TYPES = st.sampled_from(LinkType)
_TIMES = st.integers(NO_TIME + 1, 2**63 - 1)


def _decode(frames: Sequence[Frame], **payload: Any) -> pa.RecordBatch:
    batch = batches.batch_of(frames, b"\xff")
    return decode_batch(batch, source=batches.SOURCE, session=batches.SESSION, **payload)


# -- equal to nested -------------------------------------------------------------------------------


def test_samples() -> None:
    assert batches.differences(_FRAMES, batches.decoded(_FRAMES)) == []


def test_samples_cut_at_every_length() -> None:
    cuts = [(sample, size) for sample in _SHORT for size in range(len(sample.data) + 1)]
    frames = [sample.frame(number, size) for number, (sample, size) in enumerate(cuts, 1)]
    assert batches.differences(frames, batches.decoded(frames)) == []


@pytest.mark.skipif(not captures.SHARED.is_dir(), reason="there are no shared captures")
def test_shared_captures() -> None:
    count = 0
    for capture in sorted(captures.SHARED.glob("*.pcap*")):
        frames = captures.read_frames(capture)
        assert batches.differences(frames, batches.decoded(frames)) == [], capture.name
        count += len(frames)
    assert count > 10_000


@given(
    st.lists(
        st.builds(
            Frame,
            number=st.integers(1, 2**64 - 1),
            time_ns=_TIMES,
            interface=st.none() | st.text(max_size=8),
            wire_len=st.integers(0, 2**32 - 1),
            link_type=_LINK_TYPES,
            data=st.binary(max_size=300),
        ),
        max_size=5,
    )
)
def test_random_bytes(frames: list[Frame]) -> None:
    assert batches.differences(frames, batches.decoded(frames)) == []


@st.composite
def _mutated(draw: st.DrawFn) -> Frame:
    sample = draw(st.sampled_from(_SHORT))
    mutated = bytearray(sample.data)
    last = max(len(mutated) - 1, 0)
    changes = st.lists(st.tuples(st.integers(0, last), st.integers(0, 255)), max_size=6)
    for place, value in draw(changes):
        mutated[place : place + 1] = bytes((value,))
    size = draw(st.integers(0, len(mutated)))
    wire_len = draw(st.sampled_from((size, len(mutated))))
    return Frame(1, 0, None, wire_len, sample.link_type, bytes(mutated[:size]))


@settings(max_examples=1_000)
@given(st.lists(_mutated(), min_size=1, max_size=8))
def test_mutated_frames(frames: list[Frame]) -> None:
    assert batches.differences(frames, batches.decoded(frames)) == []


# -- a row never depends on others -----------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7])
def test_batches_of_any_size_give_the_same_rows(size: int) -> None:
    parts = [_decode(_FRAMES[at : at + size]) for at in range(0, len(_FRAMES), size)]
    assert pa.Table.from_batches(parts).combine_chunks() == pa.Table.from_batches(
        [_decode(_FRAMES)]
    )


@pytest.mark.parametrize(
    "around", [b"", b"\x00", b"\x45\x00\x06\x11" * 20, b"\x08\x0a\xc0" * 30], ids=range(4)
)
def test_what_is_around_a_frame_does_not_count(around: bytes) -> None:
    cuts = [sample.frame(1, size) for sample in _SHORT for size in range(0, 130, 3)]
    assert batches.decoded(cuts, around).equals(batches.decoded(cuts, b""))


def test_frames_lie_anywhere_in_any_buffer() -> None:
    batch = batches.batch_of(_FRAMES, b"gap")
    reverse = dataclasses.replace(
        batch,
        **{
            field.name: getattr(batch, field.name)[::-1]
            for field in dataclasses.fields(batch)
            if isinstance(getattr(batch, field.name), np.ndarray)
        },
        buffer=memoryview(bytearray(batch.buffer)),
    )
    rows = batches.rows_of(decode_batch(reverse, source=batches.SOURCE, session=batches.SESSION))
    assert rows[::-1] == batches.rows_of(batches.decoded(_FRAMES))


def test_a_batch_owns_its_values() -> None:
    batch = batches.batch_of(_FRAMES)
    buffer = bytearray(batch.buffer)
    batch = dataclasses.replace(batch, buffer=memoryview(buffer))
    decoded = decode_batch(batch, source=batches.SOURCE, session=batches.SESSION)
    buffer[:] = bytes(len(buffer))
    batch.times_ns[:] = 0
    batch.numbers[:] = 0
    batch.lengths[:] = 0
    batch.wire_lens[:] = 0
    assert batches.differences(_FRAMES, decoded) == []


def test_threads_do_not_disturb_each_other() -> None:
    expected = _decode(_FRAMES)
    equal = []
    threads = [
        threading.Thread(target=lambda: equal.append(_decode(_FRAMES).equals(expected)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert equal == [True] * 8


# -- the form of a batch ---------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [[], _FRAMES], ids=["empty", "samples"])
def test_a_batch_has_the_schema(frames: list[Frame]) -> None:
    batch = batches.decoded(frames)
    assert batch.schema.equals(schema.arrow_schema(), check_metadata=True)
    assert batch.schema.names == list(schema.COLUMN_NAMES)
    assert batch.num_rows == len(frames)


def test_types() -> None:
    few_values = pa.dictionary(pa.int32(), pa.string())
    types = {field.name: field.type for field in schema.arrow_schema()}
    assert [name for name, kind in types.items() if kind == few_values] == [
        "source",
        "session",
        "frame_interface",
        "frame_error",
    ]
    assert types["frame_number"] == pa.uint64()
    assert types["frame_time"] == pa.timestamp("ns", "UTC")
    assert types["ip_ttl"] == pa.uint8()
    assert types["tcp_flags"] == pa.uint16()
    assert types["tcp_seq"] == pa.uint32()
    assert types["eth_src"] == types["ip_src"] == types["ipv6_src"] == pa.string()
    assert types["raw_load"] == types["ip_options"] == pa.binary()
    assert schema.arrow_schema().metadata == {b"schema": schema.SCHEMA_VERSION.encode()}


def _bitmap(batch: pa.RecordBatch, name: str) -> int:
    bitmap = batch.column(name).buffers()[0]
    assert bitmap is not None
    return int(bitmap.address)


def test_columns_of_a_layer_share_one_validity_bitmap() -> None:
    batch = batches.decoded(_FRAMES)
    for layer in ("eth", "ip", "tcp", "udp", "dns", "arp"):
        bitmaps = {
            _bitmap(batch, column.name)
            for column in schema.COLUMNS
            if column.layer == layer and column.field and not column.field.place
        }
        assert len(bitmaps) == 1, layer


def test_every_fixed_field_stands_at_a_place_within_its_type() -> None:
    fixed = [column for column in schema.COLUMNS if column.field]
    assert len(fixed) > 80
    for column in fixed:
        assert column.field is not None
        assert column.field.place in ("", *PLACES)
        assert column.layer in PLACES
        widest = {"mac": 6, "ipv4": 4, "ipv6": 16}.get(column.type, column.field.width)
        assert column.field.width == widest
        if column.type in schema.INTEGER_LIMITS:
            bits = 2 ** (8 * column.field.width) - 1
            most = bits >> column.field.shift & column.field.mask
            assert most <= schema.INTEGER_LIMITS[column.type]


def test_errors_are_numbered_and_occur() -> None:
    assert all(0 < number < 256 for number in ERRORS)
    frames = [sample.frame(1, size) for sample in _SHORT for size in range(len(sample.data) + 1)]
    seen = set(_decode(frames).column("frame_error").to_pylist())
    unseen = {"vlan:length", "vlan2:length", "dns:rdata", "dns:size", "frame:time"}
    assert seen == {None, *ERRORS.values()} - unseen


def test_a_time_beyond_64_bits_is_absent() -> None:
    frame = _FRAMES[1]._replace(time_ns=NO_TIME, data=_FRAMES[1].data[:9])
    [row] = batches.rows_of(batches.decoded([frame]))
    assert "frame_time" not in row
    assert row["frame_error"] == "frame:time"


# -- payload ---------------------------------------------------------------------------------------


def _payloads(batch: pa.RecordBatch) -> list[bytes | None]:
    return list(batch.column("raw_load").to_pylist())


@pytest.mark.parametrize("limit", [1, 5, 31, 32, 33, 70_000])
def test_payload_is_cut(limit: int) -> None:
    whole = _decode(_FRAMES)
    cut = _decode(_FRAMES, payload_bytes=limit)
    assert _payloads(cut) == [load and load[:limit] for load in _payloads(whole)]
    others = [name for name in schema.COLUMN_NAMES if name != "raw_load"]
    assert cut.select(others).equals(whole.select(others))


def test_no_payload() -> None:
    none = _decode(_FRAMES, payload_bytes=0)
    assert none.column("raw_load").null_count == len(_FRAMES)
    assert none.column("raw_len").equals(_decode(_FRAMES).column("raw_len"))


def test_payload_as_digests() -> None:
    whole = _decode(_FRAMES)
    hashed = _decode(_FRAMES, payload_key=b"key")
    for name in ("raw_load", "padding_load"):
        assert hashed.column(name).to_pylist() == [
            load and hashlib.blake2b(load, key=b"key", digest_size=16).digest()
            for load in whole.column(name).to_pylist()
        ]
    others = [name for name in schema.COLUMN_NAMES if not name.endswith("_load")]
    assert hashed.select(others).equals(whole.select(others))


def test_no_payload_has_no_digests() -> None:
    none = _decode(_FRAMES, payload_bytes=0, payload_key=b"key")
    assert none.column("raw_load").null_count == len(_FRAMES)


# -- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [-1, 1])
def test_a_frame_outside_of_the_buffer_is_refused(offset: int) -> None:
    batch = batches.batch_of(_FRAMES)
    moved = dataclasses.replace(batch, offsets=batch.offsets + offset)
    with pytest.raises(ValueError, match="frames from byte"):
        decode_batch(moved, source="", session="")


def test_frames_too_far_apart_are_refused() -> None:
    batch = batches.batch_of([_FRAMES[0], _FRAMES[1]])
    far = dataclasses.replace(
        batch,
        buffer=np.zeros(2**31 + 100, np.uint8).data,
        offsets=np.array([0, 2**31], np.int64),
    )
    with pytest.raises(ValueError, match="the limit is 2147483648"):
        decode_batch(far, source="", session="")


def _long_answers(count: int) -> bytes:
    """Return a message of 12 bytes a record, each with a name of 255 bytes, all escaped."""
    name = (b"\x3f" + bytes(63)) * 3 + b"\x3d" + bytes(61) + b"\0"
    head = b"\x12\x34\x81\x80\0\1" + count.to_bytes(2, "big") + bytes(4)
    record = b"\xc0\x0c\0\x01\0\x01\0\0\0\x09\0\0"
    return head + name + b"\0\x01\0\x01" + record * count


def _dns_frame(number: int, message: bytes) -> Frame:
    ports = b"\0\x35\x10\x00" + (8 + len(message)).to_bytes(2, "big") + bytes(2)
    length = 28 + len(message)
    head = b"\x45\0" + length.to_bytes(2, "big") + bytes(4) + b"\x40\x11" + bytes(10)
    return Frame(number, 0, None, length, LinkType.RAW, head + ports + message)


def test_texts_grow_beyond_what_is_reserved() -> None:
    message = _long_answers(300)
    found = dns.parse(message)
    assert found is not None
    assert (len(found.answers), found.error) == (64, "size")
    frames = [_dns_frame(number, message) for number in range(1, 40)]
    assert batches.differences(frames, batches.decoded(frames)) == []


def test_more_text_than_arrow_can_hold_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [_dns_frame(number, _long_answers(300)) for number in range(1, 40)]
    monkeypatch.setattr(columnar, "MOST_BYTES", 1 << 21)
    with pytest.raises(ValueError, match="DNS messages hold more than 1"):
        batches.decoded(frames)
