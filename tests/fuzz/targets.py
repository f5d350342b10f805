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

from network_pipeline import message
from network_pipeline.dataset import flatten
from network_pipeline.decode import columnar, nested
from network_pipeline.errors import MessageError
from network_pipeline.frames import NO_TIME, Frame, LinkType
from network_pipeline.schema import COLUMN_NAMES, COLUMNS
from tests.capture import capture_files
from tests.decode import batches
from tests.decode.samples import Sample, all_samples

#: Longer inputs are not tried: they take longer and reach nothing new.
MOST_BYTES = 4_000

_MOST_SAMPLE_BYTES = 1_500


class Target(NamedTuple):
    """One target; ``words`` are what its inputs consist of, for the engine to try."""

    seeds: Callable[[], Iterable[bytes]]
    observe: Callable[[bytes], str]
    judge: Callable[[bytes, str], None]
    words: tuple[bytes, ...] = ()


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


TARGETS = {
    "columnar": Target(_batch_seeds, _observe_batch, _judge_batch),
    "file": Target(_file_seeds, _observe_file, _judge_file),
    "message": Target(_message_seeds, _observe_message, _judge_message, _message_words()),
}
