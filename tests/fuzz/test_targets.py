"""Every target on its seeds and on mutated ones, the same each time; and that it finds something.

The engine that goes on from there is started by hand or by ``tox -e fuzz``.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from network_pipeline import batch_message, message
from network_pipeline.decode import columnar, nested
from network_pipeline.frames import LinkType
from tests import needs
from tests.decode import batches, interpreted
from tests.fuzz import targets
from tests.fuzz.other_form import OtherForm
from tests.fuzz.targets import TARGETS

_ROOT = Path(__file__).resolve().parents[2]
_MUTATIONS = 250  # of every target's seeds


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as plain Python, beside which this process has the compiled one."""
    if not columnar.COMPILED:
        needs.lacking("a compiled decoder")
    directory = tmp_path_factory.mktemp("source")
    interpreted.copy_source(directory)
    return directory


def _inputs(name: str) -> Iterator[bytes]:
    rng = random.Random(5)
    seeds = list(TARGETS[name].seeds())
    yield from seeds[:: 1 + len(seeds) // _MUTATIONS]
    words = TARGETS[name].words or (b"\0", b"\xff\xff", b"\x80\0\0\0")
    for _ in range(_MUTATIONS):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.randrange(4)):
            place = rng.randrange(len(data) + 1)
            data[place : place + rng.randrange(3)] = rng.choice(words)
        yield bytes(data[: rng.randint(0, len(data))] if rng.random() < 0.3 else data)


@pytest.mark.parametrize("name", TARGETS)
def test_both_forms_agree_with_each_other_and_the_oracle(name: str, source: Path) -> None:
    with OtherForm(name, source) as other:
        for data in _inputs(name):
            other.check(data)


def test_an_input_is_a_batch_of_frames() -> None:
    data = b"\x00\x01\x00\x02ab" + b"\x09\x0e\x00\x09cde"
    one, two = targets.frames_of(data)
    assert one._replace(time_ns=0) == (1, 0, None, 402, LinkType.NULL, b"ab")
    assert (two.number, two.interface, two.wire_len, two.data) == (2, "eth0", 1, b"cde")
    assert two.link_type is LinkType.ETHERNET
    assert targets.frames_of(b"\x00\x00\x00") == []


def test_a_wrong_value_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    target = TARGETS["columnar"]
    data = next(iter(target.seeds()))
    observed = target.observe(data)
    monkeypatch.setattr(batches, "nested_rows", lambda _: [{"frame_number": 2}])
    with pytest.raises(AssertionError, match=r"(?s)'frame_number', 1.*is not.*'frame_number', 2"):
        target.judge(data, observed)


def test_a_file_that_depends_on_its_batches_is_found() -> None:
    target = TARGETS["file"]
    data = next(iter(target.seeds()))
    with pytest.raises(AssertionError, match=r"(?s)is not.*the file ends within a frame"):
        target.judge(data, target.observe(data[:-1]))


def test_a_message_that_changes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    target = TARGETS["message"]
    data = next(iter(target.seeds()))
    observed = target.observe(data)
    target.judge(data, observed)
    monkeypatch.setattr(message, "decode", lambda *_: {})
    with pytest.raises(AssertionError):
        target.judge(data, observed)


def test_a_batch_that_changes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    target = TARGETS["batch"]
    data = next(iter(target.seeds()))
    observed = target.observe(data)
    target.judge(data, observed)
    with pytest.raises(AssertionError):
        target.judge(data, 2 * observed)
    monkeypatch.setattr(batch_message, "encode", lambda *_, **__: [])
    with pytest.raises(AssertionError):
        target.judge(data, observed)


def test_the_other_forms_death_is_found(source: Path) -> None:
    with OtherForm("message", source) as other:
        assert other.observe(b"{}") == "refused: no source"
        assert other._process
        other._process.kill()
        other._process.wait()
        with pytest.raises((AssertionError, BrokenPipeError)):
            other.observe(b"{}")


@pytest.mark.usefixtures("source")
def test_a_saved_input_can_be_tried_again(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    saved.write_bytes(next(iter(TARGETS["columnar"].seeds())))
    command = [sys.executable, "-m", "tests.fuzz", "columnar", "--input", str(saved)]
    done = subprocess.run(
        command, cwd=_ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, f"{saved}: columnar holds\n"), done.stderr


def test_seeds_are_messages_and_frames_of_every_link_type() -> None:
    frames = [frame for seed in TARGETS["columnar"].seeds() for frame in targets.frames_of(seed)]
    assert {frame.link_type for frame in frames} == set(LinkType)
    assert all("frame" in nested.decode(frame) for frame in frames)
    for name in ("message", "batch"):
        observed = [TARGETS[name].observe(seed) for seed in TARGETS[name].seeds()]
        assert len(observed) > 200
        assert not [text for text in observed if text.startswith("refused")]
