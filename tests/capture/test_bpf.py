"""The machine that runs filters: libpcap's own gives the same verdicts, compiled or not."""

from __future__ import annotations

import random
from collections.abc import Iterator
from types import ModuleType

import pytest

from network_pipeline.capture import bpf
from network_pipeline.capture.libpcap import ACCEPT, Instruction, Program, compile_for_files
from network_pipeline.frames import Frame, LinkType
from tests import needs
from tests.capture import filtering
from tests.decode import interpreted

_LOADS = (0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0xB1)
_PLAIN = (0x00, 0x01, 0x60, 0x61, 0x80, 0x81, 0x02, 0x03, 0x07, 0x87)
_ALU = [code for code in range(0x04, 0xB4, 0x08) if code != 0x8C]  # a negation has no operand
_JUMPS = (0x15, 0x1D, 0x25, 0x2D, 0x35, 0x3D, 0x45, 0x4D)
_MEMORY = (0x60, 0x61, 0x02, 0x03)


@pytest.fixture(params=["built", "interpreted"])
def machine(request: pytest.FixtureRequest) -> ModuleType:
    return bpf if request.param == "built" else interpreted.module(bpf)


def test_it_is_compiled() -> None:
    if bpf.__file__.endswith(".py"):
        needs.lacking("a compiled machine")


def _random_program(rng: random.Random) -> Program:
    """Return a program that ends: no jump leads backwards, memory is written before it is read."""
    start = [Instruction(0x02, 0, 0, word) for word in range(16)]
    body = list(_random_instructions(rng, rng.randint(1, 30)))
    return (*start, *body, Instruction(0x16, 0, 0, 0))


def _random_instructions(rng: random.Random, count: int) -> Iterator[Instruction]:
    for left in reversed(range(count)):
        code = rng.choice((*_LOADS, *_PLAIN, *_ALU, *_JUMPS, 0x05))
        k = rng.choice((rng.randrange(40), rng.randrange(70), rng.getrandbits(32), 0xFFFFFFFF))
        if code in _MEMORY:
            k %= 16
        elif code == 0x05:
            k = rng.randint(0, left)
        elif code in (0x34, 0x94):  # a division by zero there, libpcap's compiler makes none of
            k = k or 3
        elif code in (0x64, 0x74):
            k %= 32
        yield Instruction(code, rng.randint(0, min(left, 255)), rng.randint(0, min(left, 255)), k)


def test_random_programs(machine: ModuleType) -> None:
    rng = random.Random(4)
    frames = [
        Frame(number, 0, None, rng.randrange(3000), LinkType.ETHERNET, rng.randbytes(size))
        for number, size in enumerate([*range(12), 20, 34, 60, 61])
    ]
    seen = set()
    for _ in range(1500 if machine is bpf else 300):
        program = _random_program(rng)
        found = filtering.verdicts(machine, program, frames)
        assert found == filtering.libpcap_verdicts(program, frames), program
        seen |= set(found)
    assert seen == {0, 1}


@pytest.mark.parametrize("text", filtering.filters_of(LinkType.ETHERNET))
def test_filters_on_samples_cut_at_every_length(machine: ModuleType, text: str) -> None:
    program = compile_for_files(text, LinkType.ETHERNET)
    whole = filtering.frames_of(LinkType.ETHERNET)[::40]
    frames = [
        frame._replace(data=frame.data[:size])
        for frame in whole
        for size in range(min(len(frame.data), 90))
    ]
    found = filtering.verdicts(machine, program, frames)
    assert found == filtering.libpcap_verdicts(program, frames)


def _constant(k: int) -> Instruction:
    return Instruction(0x00, 0, 0, k)


def _index(k: int) -> Instruction:
    return Instruction(0x01, 0, 0, k)


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        pytest.param([Instruction(0x30, 0, 0, 3)], 1, id="the last byte"),
        pytest.param([Instruction(0x30, 0, 0, 4)], 0, id="behind the last byte"),
        pytest.param([Instruction(0x28, 0, 0, 3)], 0, id="half outside"),
        pytest.param([Instruction(0x20, 0, 0, 0xFFFFFFFF)], 0, id="at the largest offset"),
        pytest.param([_index(0xFFFFFFFF), Instruction(0x50, 0, 0, 1)], 0, id="a sum of 33 bits"),
        pytest.param([_constant(6), Instruction(0x34, 0, 0, 2)], 1, id="a division"),
        pytest.param([_constant(6), Instruction(0x3C, 0, 0, 0)], 0, id="a division by zero"),
        pytest.param([_constant(6), Instruction(0x9C, 0, 0, 0)], 0, id="a remainder by zero"),
    ],
)
def test_what_rejects_a_frame(machine: ModuleType, body: list[Instruction], kept: int) -> None:
    frame = Frame(1, 0, None, 4, LinkType.ETHERNET, b"\1\2\3\4")
    assert filtering.verdicts(machine, (*body, ACCEPT), [frame]) == [kept]


def test_the_length_is_that_on_the_wire(machine: ModuleType) -> None:
    program = compile_for_files("len = 1500", LinkType.ETHERNET)
    frames = [
        Frame(1, 0, None, wire_len, LinkType.ETHERNET, bytes(14)) for wire_len in (14, 1500, 1501)
    ]
    assert filtering.verdicts(machine, program, frames) == [0, 1, 0]


def test_no_frames(machine: ModuleType) -> None:
    assert filtering.verdicts(machine, (ACCEPT,), []) == []
