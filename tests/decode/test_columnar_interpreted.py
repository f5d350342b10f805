"""The decoder's source, interpreted, gives the batches that it gives compiled."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from network_pipeline.decode import columnar
from network_pipeline.frames import Frame, LinkType
from tests import needs
from tests.decode import batches, captures, interpreted
from tests.decode.samples import all_samples

_MUTATIONS = 20  # of every sample

_SCRIPT = """
from tests.decode import test_columnar_interpreted as test
assert not test.columnar.COMPILED, test.columnar.layers.__file__
test.write(test.{frames}())
"""


def write(frames: list[Frame]) -> None:
    """Write the decoded batch of frames to stdout."""
    batch = batches.decoded(frames)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    sys.stdout.buffer.write(sink.getvalue())


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not columnar.COMPILED:
        needs.lacking("a compiled decoder")
    directory = tmp_path_factory.mktemp("source")
    interpreted.copy_source(directory)
    return directory


def mutated() -> list[Frame]:
    """Return the samples, whole and mutated, also as frames of other link types."""
    rng = random.Random(3)
    frames = [sample.frame(number) for number, sample in enumerate(all_samples(), 1)]
    for frame in list(frames):
        for _ in range(_MUTATIONS if len(frame.data) < 2_000 else 1):
            frames.append(frame._replace(data=_mutate(frame.data, rng)))
    return frames + [frame._replace(link_type=rng.choice(list(LinkType))) for frame in frames]


def _mutate(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randrange(4) if data else 0):
        changed[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(changed[: rng.randint(len(data) // 2, len(data))])


def captured() -> list[Frame]:
    """Return the frames of all shared captures."""
    paths = sorted(captures.SHARED.glob("*.pcap*"))
    return [frame for path in paths for frame in captures.read_frames(path)]


def _check(frames: Callable[[], list[Frame]], source: Path) -> None:
    written = interpreted.run(source, _SCRIPT.format(frames=frames.__name__))
    with pa.ipc.open_stream(written) as stream:
        found = stream.read_next_batch()
    expected = batches.decoded(frames())
    assert found.schema.equals(expected.schema, check_metadata=True)
    for name in expected.schema.names:
        assert found.column(name).equals(expected.column(name)), name


def test_samples_and_mutated_frames(source: Path) -> None:
    _check(mutated, source)


@pytest.mark.skipif(not captures.SHARED.is_dir(), reason="there are no shared captures")
def test_shared_captures(source: Path) -> None:
    _check(captured, source)
