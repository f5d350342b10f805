"""Whatever the bytes are: a nested dict that can be published, and no byte counted twice."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from network_pipeline import message
from network_pipeline.decode.nested import decode
from network_pipeline.frames import Frame, LinkType
from tests.decode.samples import all_samples

_SAMPLES = [sample for sample in all_samples() if len(sample.data) < 2_000]

_LINK_TYPES = st.sampled_from(LinkType)
_TIMES = st.integers(-(2**63), 2**70)


def _check(frame: Frame) -> None:
    nested = decode(frame)
    sent = message.encode(nested, source="agent", session="run")
    received = message.decode(sent.body, sent.content_type, sent.headers)
    assert received == {"source": "agent", "session": "run", **nested}
    payload = bytes.fromhex(nested.get("raw", {}).get("load", ""))
    padding = bytes.fromhex(nested.get("padding", {}).get("load", ""))
    assert frame.data.endswith(payload + padding)
    assert nested.get("raw", {}).get("len", 0) == len(payload)


@given(st.binary(max_size=300), _LINK_TYPES, _TIMES, st.integers(0, 2**32 - 1), st.text())
def test_random_bytes(
    data: bytes, link_type: LinkType, time_ns: int, wire_len: int, interface: str
) -> None:
    _check(Frame(1, time_ns, interface, wire_len, link_type, data))


@settings(max_examples=2_000)
@given(st.data())
def test_mutated_frames(data: st.DataObject) -> None:
    sample = data.draw(st.sampled_from(_SAMPLES))
    mutated = bytearray(sample.data)
    last = max(len(mutated) - 1, 0)
    changes = st.lists(st.tuples(st.integers(0, last), st.integers(0, 255)), max_size=6)
    for place, value in data.draw(changes):
        mutated[place : place + 1] = bytes((value,))
    size = data.draw(st.integers(0, len(mutated)))
    wire_len = data.draw(st.sampled_from((size, len(mutated))))
    _check(Frame(1, 0, None, wire_len, sample.link_type, bytes(mutated[:size])))
