"""Frames as JSON messages, one for each, for readers in any language."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from network_pipeline import message
from network_pipeline.decode.nested import decode
from network_pipeline.frames import Frame, FrameBatch, LinkType
from network_pipeline.message import Message


def of_frames(frames: Iterable[Frame], session: str, *, source: str) -> Iterator[Message]:
    """Yield the message of every frame; ``source`` is the agent, ``session`` its run (a UUID)."""
    for frame in frames:
        yield message.encode(decode(frame), source=source, session=session)


def of_batch(batch: FrameBatch, session: str, *, source: str) -> Iterator[Message]:
    """Yield the message of every frame of a batch that is not too large for one."""
    for each in of_frames(_frames_of(batch), session, source=source):
        if len(each.body) <= message.MAX_BODY_BYTES:
            yield each


def _frames_of(batch: FrameBatch) -> Iterator[Frame]:
    numbers = (batch.numbers, batch.times_ns, batch.interfaces, batch.wire_lens, batch.link_types)
    rows = zip(*(each.tolist() for each in (*numbers, batch.offsets, batch.lengths)), strict=True)
    for number, time_ns, interface, wire_len, link_type, offset, length in rows:
        yield Frame(
            number,
            time_ns,
            batch.interface_names[interface],
            wire_len,
            LinkType(link_type),
            bytes(batch.buffer[offset : offset + length]),
        )
