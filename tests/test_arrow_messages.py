"""Arrow messages of frames, beside the JSON messages of the same."""

from __future__ import annotations

import pytest

from network_pipeline import arrow_messages, batch_message, json_messages, message
from network_pipeline.dataset import csv_text, flatten
from network_pipeline.frames import Frame, LinkType
from network_pipeline.schema import COLUMN_NAMES
from tests.decode.batches import SESSION, SOURCE

LAST = 2**63 - 1


@pytest.mark.parametrize(
    ("time_ns", "time", "error"),
    [
        (LAST, "2262-04-11T23:47:16.854775807Z", ""),
        (LAST + 1, "", "frame:time"),
        (-LAST, "1677-09-21T00:12:43.145224193Z", ""),
        (-LAST - 1, "", "frame:time"),
        (-LAST - 2, "", "frame:time"),
        (2**70, "", "frame:time"),
    ],
)
def test_both_kinds_of_messages_give_the_same_row(time_ns: int, time: str, error: str) -> None:
    frame = Frame(1, time_ns, "eth0", 14, LinkType.ETHERNET, bytes(14))
    [nested] = json_messages.of_frames([frame], SESSION, source=SOURCE)
    [rows] = arrow_messages.of_frames([frame], SESSION, source=SOURCE, compression="lz4")
    line = flatten.lines([message.decode(nested.body, nested.content_type, nested.headers)])
    assert line == bytes(
        csv_text.lines(batch_message.decode(rows.body, rows.content_type, rows.headers))
    )
    cells = dict(zip(COLUMN_NAMES, line.decode().split(","), strict=False))
    assert (cells["frame_time"], cells["frame_error"]) == (time, error)
