# The types with which Cython compiles bpf.py; the directives of the build keep bounds checks on.

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef uint32_t _CLASS, _LD, _LDX, _ST, _STX, _ALU, _JMP, _RET, _MISC
cdef uint32_t _SIZE, _W, _H, _MODE, _IMM, _ABS, _IND, _MEM, _LEN, _MSH
cdef uint32_t _OPERATION, _ADD, _SUB, _MUL, _DIV, _OR, _AND, _LSH, _RSH, _NEG, _MOD, _XOR
cdef uint32_t _JA, _JEQ, _JGT, _JGE, _OF_INDEX, _RET_A, _TXA
cdef int _WORDS
cdef int64_t _ALL_BITS, _BACKWARDS, _FULL_TURN

@cython.final
cdef class Machine:
    cdef const uint32_t[:, ::1] program
    cdef const uint8_t[::1] data
    cdef uint32_t[::1] memory
    cdef uint32_t accumulator, index, wire_len
    cdef int64_t begin, length

    @cython.locals(word=int, counter=int64_t, code=uint32_t, k=uint32_t, kind=uint32_t)
    cdef int64_t run(self, int64_t begin, int64_t length, uint32_t wire_len) except -1 nogil

    @cython.locals(mode=uint32_t, value=uint32_t, at=int64_t, size=int64_t)
    cdef int _load(self, uint32_t code, uint32_t k) except -1 nogil

    @cython.locals(value=uint32_t, place=int64_t)
    cdef int64_t _bytes(self, int64_t at, int64_t size) except -1 nogil

    @cython.locals(operation=uint32_t, operand=uint32_t, holds=bint)
    cdef int64_t _jump(self, uint32_t code, uint32_t k, int64_t counter) except? -1 nogil

    @cython.locals(operation=uint32_t, operand=uint64_t, value=uint64_t)
    cdef int _compute(self, uint32_t code, uint32_t k) except -1 nogil

    cdef int64_t _shifted(self, uint32_t operation, uint64_t places) except -1 nogil

    cdef int _move(self, uint32_t kind, uint32_t code, uint32_t k) except -1 nogil

@cython.locals(machine=Machine, row=Py_ssize_t)
cpdef int select(
    const uint32_t[:, ::1] program,
    const uint8_t[::1] data,
    const int64_t[::1] offsets,
    const uint32_t[::1] lengths,
    const uint32_t[::1] wire_lens,
    uint8_t[::1] kept,
) except -1
