"""Write the JSON messages of a capture's frames, a line each, as an agent publishes them."""

import sys
from collections.abc import Iterator
from pathlib import Path

from network_pipeline import message
from network_pipeline.capture.pcap import CaptureFile
from network_pipeline.decode.nested import decode
from network_pipeline.frames import Frame, FrameBatch, LinkType


def frames(batch: FrameBatch) -> Iterator[Frame]:
    """Yield the frames of a batch, of one interface without a name."""
    arrays = (batch.numbers, batch.times_ns, batch.wire_lens, batch.offsets, batch.lengths)
    for number, time_ns, wire_len, begin, length in zip(*(a.tolist() for a in arrays), strict=True):
        data = bytes(batch.buffer[begin : begin + length])
        yield Frame(number, time_ns, None, wire_len, LinkType.ETHERNET, data)


with CaptureFile(sys.argv[1]) as capture, Path(sys.argv[2]).open("wb") as out:
    for batch in capture:
        for frame in frames(batch):
            nested = decode(frame)
            sent = message.encode(nested, source="bench", session=capture.session)
            out.write(sent.body + b"\n")
