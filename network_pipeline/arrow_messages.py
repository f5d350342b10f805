"""Frames as Arrow messages, many in each, by the columnar decoder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from network_pipeline import batch_message
from network_pipeline.decode.columnar import decode_batch
from network_pipeline.frames import Frame, FrameBatch, known_time
from network_pipeline.message import Message
from network_pipeline.settings import Compression, Payload

_WHOLE_PAYLOAD = Payload()


def of_frames(
    frames: Sequence[Frame], session: str, *, source: str, compression: Compression
) -> list[Message]:
    """Return the messages of one or more frames, in their order."""
    return of_batch(_batch_of(frames), session, source=source, compression=compression)


def of_batch(
    batch: FrameBatch,
    session: str,
    *,
    source: str,
    compression: Compression,
    payload: Payload = _WHOLE_PAYLOAD,
) -> list[Message]:
    """Return the messages of a batch; ``source`` is the agent, ``session`` its run (a UUID)."""
    rows = decode_batch(
        batch,
        source=source,
        session=session,
        payload_bytes=payload.most_bytes,
        payload_key=payload.key,
    )
    return batch_message.encode(rows, source=source, session=session, compression=compression)


def _batch_of(frames: Sequence[Frame]) -> FrameBatch:
    numbers, times_ns, interfaces, wire_lens, link_types, data = zip(*frames, strict=True)
    lengths = np.fromiter(map(len, data), np.uint32, len(data))
    names = {name: index for index, name in enumerate(dict.fromkeys(interfaces))}
    return FrameBatch(
        buffer=b"".join(data),
        offsets=np.cumsum(lengths, dtype=np.int64) - lengths,
        lengths=lengths,
        wire_lens=np.array(wire_lens, np.uint32),
        times_ns=np.fromiter(map(known_time, times_ns), np.int64, len(times_ns)),
        numbers=np.array(numbers, np.uint64),
        link_types=np.array(link_types, np.uint16),
        interfaces=np.array([names[name] for name in interfaces], np.uint16),
        interface_names=tuple(names),
    )
