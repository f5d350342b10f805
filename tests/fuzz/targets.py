"""What is fuzzed: how an input is used, what is observed of it, and what must hold.

``observe`` says what the package makes of an input, as text: compiled and interpreted, it must say
the same. ``judge`` compares that with what is known from elsewhere, and raises AssertionError. Any
other exception, of either, is a find too.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import pyarrow as pa

from network_pipeline import arrow_stream, batch_message, message
from network_pipeline.dataset import csv_text, flatten
from network_pipeline.decode import columnar, nested
from network_pipeline.errors import MessageError
from network_pipeline.frames import NO_TIME, Frame, LinkType
from network_pipeline.schema import COLUMN_NAMES, COLUMNS, arrow_schema
from tests.capture import capture_files
from tests.decode import batches
from tests.decode.samples import Sample, all_samples

_MOST_SAMPLE_BYTES = 1_500


class Target(NamedTuple):
    """One target; ``words`` are what its inputs consist of, for the engine to try.

    Inputs longer than ``most_bytes`` are not tried: they take longer and reach nothing new.
    """

    seeds: Callable[[], Iterable[bytes]]
    observe: Callable[[bytes], str]
    judge: Callable[[bytes, str], None]
    words: tuple[bytes, ...] = ()
    most_bytes: int = 4_000


def same(one: str, other: str) -> None:
    """Raise AssertionError, with the places that differ, where two observations do."""
    if one == other:
        return
    place = next((at for at, pair in enumerate(zip(one, other, strict=False)) if len({*pair}) > 1),
                 min(len(one), len(other)))  # fmt: skip
    begin = max(0, place - 200)
    raise AssertionError(f"...{one[begin : place + 200]}\nis not\n...{other[begin : place + 200]}")


def _samples() -> list[Sample]:
    return [sample for sample in all_samples() if len(sample.data) <= _MOST_SAMPLE_BYTES]


# -- columnar: a batch of frames -------------------------------------------------------------------

_LINK_TYPES = list(LinkType)

#: Before each frame of an input: its link type, what is odd about it, its length.
_HEAD = struct.Struct("!BBH")

_CUT, _LONGER_THAN_ON_THE_WIRE, _WITHOUT_TIME, _WITH_INTERFACE = 1, 2, 4, 8


def frames_of(data: bytes) -> list[Frame]:
    """Return the frames that an input stands for."""
    frames: list[Frame] = []
    place = 0
    while place + _HEAD.size <= len(data):
        link, odd, size = _HEAD.unpack_from(data, place)
        content = data[place + _HEAD.size :][:size]
        place += _HEAD.size + size
        frame = Frame(
            number=len(frames) + 1,
            time_ns=NO_TIME if odd & _WITHOUT_TIME else place,
            interface="eth0" if odd & _WITH_INTERFACE else None,
            wire_len=_wire_len(len(content), odd),
            link_type=_LINK_TYPES[link % len(_LINK_TYPES)],
            data=content,
        )
        frames.append(frame)
    return frames


def _wire_len(size: int, odd: int) -> int:
    if odd & _CUT:
        return size + 400
    return size // 2 if odd & _LONGER_THAN_ON_THE_WIRE else size


def _batch_seeds() -> Iterator[bytes]:
    inputs = [
        _HEAD.pack(_LINK_TYPES.index(sample.link_type), 0, len(sample.data)) + sample.data
        for sample in _samples()
    ]
    yield from inputs
    yield from map(bytes.__add__, inputs[::2], inputs[1::2])


def _observe_batch(data: bytes) -> str:
    # What lies around frames must not count, so it is not the same in both forms.
    around = b"\x45\0" if columnar.COMPILED else b"\xff" * 8
    return _text(batches.rows_of(batches.decoded(frames_of(data), around)))


def _judge_batch(data: bytes, observed: str) -> None:
    same(observed, _text(batches.nested_rows(frames_of(data))))


def _text(rows: list[dict[str, Any]]) -> str:
    return "\n".join(repr(sorted(row.items())) for row in rows)


# -- file: a capture file --------------------------------------------------------------------------


def _file_seeds() -> Iterator[bytes]:
    built = [file.data for file in capture_files.FILES.values()]
    yield from built
    for compress in capture_files.COMPRESS.values():
        yield from map(compress, built[::3])


def _observe_file(data: bytes) -> str:
    return _read(data, batch_frames=3)


def _judge_file(data: bytes, observed: str) -> None:
    same(_read(data, batch_frames=65_536), observed)


def _read(data: bytes, batch_frames: int) -> str:
    descriptor = os.memfd_create("capture")  # a file that needs no name and no end
    try:
        os.write(descriptor, data)
        path = f"/proc/self/fd/{descriptor}"
        frames, damage, capture = capture_files.read(path, batch_frames)
    finally:
        os.close(descriptor)
    numbers = [frame.number for frame in frames]
    assert numbers == sorted(set(numbers))
    assert capture.frames == len(frames) + capture.refused().total()
    end = (damage.offset, damage.reason) if damage else None
    return repr((frames, end, sorted(capture.refused().items())))


# -- message: a body -------------------------------------------------------------------------------


def _message_seeds() -> Iterator[bytes]:
    for sample in _samples():
        yield message.encode(nested.decode(sample.frame()), source="s", session="run").body


def _message_words() -> tuple[bytes, ...]:
    keys = sorted({key for column in COLUMNS for key in column.path})
    values = ["null", "true", "1e400", "-1", "4294967296", "NaN", '"\\u2028"', '"\\ud800"', "{}"]
    return tuple(f'"{key}":'.encode() for key in keys) + tuple(value.encode() for value in values)


def _observe_message(data: bytes) -> str:
    try:
        return json.dumps(message.decode(data, message.JSON_TYPE, {}))
    except MessageError as reason:
        return f"refused: {reason}"


def _judge_message(_data: bytes, observed: str) -> None:
    """What is taken can be sent on as it is, and is one row."""
    if observed.startswith("refused: "):
        assert len(observed) < 400
        return
    taken = json.loads(observed)
    sent = message.encode(taken, source=taken["source"], session=taken["session"])
    assert message.decode(sent.body, sent.content_type, sent.headers) == taken
    rows = flatten.rows([taken])
    assert (len(rows), list(rows.columns)) == (1, list(COLUMN_NAMES))
    assert rows.to_csv(header=False, index=False, lineterminator="\n").count("\n") == 1


# -- batch: what follows the schema in the body of an Arrow message --------------------------------

_STREAM_SCHEMA = bytes(arrow_schema().serialize())
_MOST_SHOWN_BYTES = 1 << 20


def _arrow_seeds() -> Iterator[bytes]:
    frames = [sample.frame(number) for number, sample in enumerate(_samples(), 1)]
    for first in range(0, len(frames), 3):
        rows = batches.decoded(frames[first : first + 1 + first % 5])
        for compression in ("lz4", "zstd", None):
            yield arrow_stream.write(rows, compression).removeprefix(_STREAM_SCHEMA)


def _arrow_words() -> tuple[bytes, ...]:
    numbers = (-1, 0, 1, 8, 2**31 - 1, 2**31, 2**63 - 1, -(2**63))
    return (b"\xff\xff\xff\xff", *(struct.pack("<q", number) for number in numbers))


def _taken(data: bytes) -> pa.RecordBatch:
    return batch_message.decode(_STREAM_SCHEMA + data, batch_message.ARROW_TYPE, {})


def _observe_arrow(data: bytes) -> str:
    try:
        rows = _taken(data)
    except MessageError as reason:
        return f"refused: {reason}"
    if rows.nbytes > _MOST_SHOWN_BYTES:  # interpreted, lines take too long
        return f"{rows.num_rows} rows"
    return bytes(csv_text.lines(rows)).decode()


def _judge_arrow(data: bytes, observed: str) -> None:
    """What is taken can be sent on as it is, and is a line for each row."""
    if observed.startswith("refused: "):
        assert len(observed) < 400
        return
    rows = _taken(data)
    assert rows.nbytes > _MOST_SHOWN_BYTES or observed.count("\n") == rows.num_rows
    [source], [session] = (set(rows.column(name).to_pylist()) for name in ("source", "session"))
    sent = batch_message.encode(rows, source=source, session=session)
    again = [batch_message.decode(one.body, one.content_type, one.headers) for one in sent]
    assert pa.Table.from_batches(again, rows.schema).equals(pa.Table.from_batches([rows]))


TARGETS = {
    "columnar": Target(_batch_seeds, _observe_batch, _judge_batch),
    "file": Target(_file_seeds, _observe_file, _judge_file),
    "message": Target(_message_seeds, _observe_message, _judge_message, _message_words()),
    "batch": Target(_arrow_seeds, _observe_arrow, _judge_arrow, _arrow_words(), 24_000),
}
