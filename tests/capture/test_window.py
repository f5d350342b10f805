"""The part of a stream that lies in memory, and how it grows for a record longer than it."""

from __future__ import annotations

import threading
from pathlib import Path

from network_pipeline.capture.byte_stream import ByteStream
from network_pipeline.capture.raw_file import RawFile
from network_pipeline.capture.window import Window


def test_a_long_record_gets_little_more_room_than_it_needs(tmp_path: Path) -> None:
    content = bytes(range(256)) * 64
    path = tmp_path / "stream"
    path.write_bytes(content)
    file = RawFile(path)
    file.open()
    window = Window(ByteStream(file), threading.Event(), size=1024)
    sizes = []
    while window.fill():
        sizes.append(len(window.data))
    file.close()
    assert sizes == [1024, 2048, 3328, 4768, 6388, 8210, 10_260, 12_566, 15_160, 18_079]
    assert bytes(window.data[: window.end]) == content
