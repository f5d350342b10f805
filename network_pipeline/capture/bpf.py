"""Runs a classic BPF program on the frames of a batch: the filter of a capture file.

The machine of McCanne and Jacobson ("The BSD Packet Filter", 1993) as libpcap runs it on files: an
accumulator, an index, 16 words of memory, all of 32 bits. A load from outside a frame, and a
division by zero, reject the frame. Programs come from libpcap and end: a jump backwards, which only
``protochain`` makes, always leaves the frame behind it.

Plain Python that Cython compiles with the types of ``bpf.pxd`` (bounds checks on); without a
compiler it runs as it is, slower, with the same results. The loops release the GIL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if not TYPE_CHECKING:
    from network_pipeline.interpreted import nogil
else:
    from cython import nogil

# An instruction's code (linux/bpf_common.h) is a class and, by class, size and mode of a load, or
# an operation and where its operand comes from.
_CLASS = 0x07
_LD, _LDX, _ST, _STX, _ALU, _JMP, _RET, _MISC = range(8)

_SIZE = 0x18
_W, _H = 0x00, 0x08
_MODE = 0xE0
_IMM, _ABS, _IND, _MEM, _LEN, _MSH = range(0x00, 0xC0, 0x20)

_OPERATION = 0xF0
_ADD, _SUB, _MUL, _DIV, _OR, _AND, _LSH, _RSH, _NEG, _MOD, _XOR = range(0x00, 0xB0, 0x10)
_JA, _JEQ, _JGT, _JGE = range(0x00, 0x40, 0x10)
_OF_INDEX = 0x08  # the operand is the index register, not the instruction's constant
_RET_A = 0x16
_TXA = 0x80

_WORDS = 16
_ALL_BITS = 0xFFFFFFFF
_BACKWARDS = 0x80000000
_FULL_TURN = 0x100000000


def select(
    program: memoryview,
    data: memoryview,
    offsets: memoryview,
    lengths: memoryview,
    wire_lens: memoryview,
    kept: memoryview,
) -> int:
    """Set ``kept`` to 1 for the frames that a program accepts, 0 for the others.

    A row of ``program`` is code, jump if true, jump if false and constant; a frame has an element
    in each of the others, as in :class:`~network_pipeline.frames.FrameBatch`.
    """
    machine = Machine(program, data)
    with nogil:
        for row in range(len(offsets)):
            kept[row] = machine.run(offsets[row], lengths[row], wire_lens[row]) != 0
    return 0


class Machine:
    """Registers and memory, a program, and the buffer in which frames lie."""

    def __init__(self, program: memoryview, data: memoryview) -> None:
        self.program = program
        self.data = data
        self.memory = memoryview(bytearray(4 * _WORDS)).cast("I")

    def run(self, begin: int, length: int, wire_len: int) -> int:
        """Run the program on a frame; return what it returns, 0 to reject."""
        self.begin = begin
        self.length = length
        self.wire_len = wire_len
        self.accumulator = 0
        self.index = 0
        for word in range(_WORDS):
            self.memory[word] = 0
        counter = 0
        while True:
            code = self.program[counter, 0]
            k = self.program[counter, 3]
            kind = code & _CLASS
            if kind == _JMP:
                counter += self._jump(code, k, counter)
            elif kind == _RET:
                return self.accumulator if code == _RET_A else k
            elif kind in (_LD, _LDX):
                if not self._load(code, k):
                    return 0
            elif kind == _ALU:
                if not self._compute(code, k):
                    return 0
            else:
                self._move(kind, code, k)
            counter += 1

    def _load(self, code: int, k: int) -> int:
        """Load a register; return 0 where the frame does not have it."""
        mode = code & _MODE
        value = k
        if mode == _MEM:
            value = self.memory[k]
        elif mode == _LEN:
            value = self.wire_len
        elif mode != _IMM:
            at = k
            if mode == _IND:
                at += self.index
            size = 4 if code & _SIZE == _W else 2 if code & _SIZE == _H else 1
            if at > self.length - size:
                return 0
            value = self._bytes(self.begin + at, size)
            if mode == _MSH:
                value = (value & 0xF) << 2
        if code & _CLASS == _LD:
            self.accumulator = value
        else:
            self.index = value
        return 1

    def _bytes(self, at: int, size: int) -> int:
        value = self.data[at]
        for place in range(at + 1, at + size):
            value = value << 8 | self.data[place]
        return value

    def _jump(self, code: int, k: int, counter: int) -> int:
        """Return how many instructions to pass over."""
        operation = code & _OPERATION
        if operation == _JA:
            return k - _FULL_TURN if k >= _BACKWARDS else k
        operand = self.index if code & _OF_INDEX else k
        if operation == _JEQ:
            holds = self.accumulator == operand
        elif operation == _JGT:
            holds = self.accumulator > operand
        elif operation == _JGE:
            holds = self.accumulator >= operand
        else:
            holds = self.accumulator & operand != 0
        return self.program[counter, 1] if holds else self.program[counter, 2]

    def _compute(self, code: int, k: int) -> int:
        """Change the accumulator; return 0 for a division by zero."""
        operation = code & _OPERATION
        operand = self.index if code & _OF_INDEX else k
        value = self.accumulator
        if operation == _ADD:
            value += operand
        elif operation == _SUB:
            value += _FULL_TURN - operand
        elif operation == _MUL:
            value *= operand
        elif operation == _AND:
            value &= operand
        elif operation == _OR:
            value |= operand
        elif operation == _XOR:
            value ^= operand
        elif operation == _NEG:
            value = _FULL_TURN - value
        elif operation in (_LSH, _RSH):
            value = self._shifted(operation, operand)
        elif operand == 0:
            return 0
        elif operation == _DIV:
            value //= operand
        else:
            value %= operand
        self.accumulator = value & _ALL_BITS
        return 1

    def _shifted(self, operation: int, places: int) -> int:
        if places >= 32:
            return 0
        return self.accumulator << places if operation == _LSH else self.accumulator >> places

    def _move(self, kind: int, code: int, k: int) -> int:
        """Copy a register to memory or to the other one."""
        if kind == _ST:
            self.memory[k] = self.accumulator
        elif kind == _STX:
            self.memory[k] = self.index
        elif code & _TXA:
            self.accumulator = self.index
        else:
            self.index = self.accumulator
        return 0
