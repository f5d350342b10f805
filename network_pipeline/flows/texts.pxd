cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from network_pipeline.decode.written cimport Text

cdef int _NO_PORTS, _ONE_WAY, _ONE, _COLON, _EQUALS, _BLOCK_BYTES, _ROUNDS
cdef uint32_t _WORD
cdef const uint8_t[::1] _BASE64
cdef const uint32_t[::1] _BEGIN, _ADDED

cpdef int addresses(
    const int32_t[::1] versions, const uint8_t[::1] data, Text text, int32_t[::1] offsets
) except -1

@cython.final
cdef class CommunityIds:
    cdef int64_t seed, size
    cdef uint8_t[::1] block, digest
    cdef uint32_t[::1] schedule

    @cython.locals(flow=int64_t)
    cpdef int write(
        self, int64_t flows, const uint64_t[:, ::1] words, const int64_t[:, ::1] ends, Text text
    ) except -1
    @cython.locals(first=int, side=int, end=int, bits=int64_t)
    cdef int _begin(
        self, const uint64_t[:, ::1] words, const int64_t[:, ::1] ends, int64_t flow
    ) except -1 nogil
    @cython.locals(byte=int)
    cdef int _put(self, uint64_t value, int size) except -1 nogil
    @cython.locals(
        t=int, mix=uint32_t, a=uint32_t, b=uint32_t, c=uint32_t, d=uint32_t, e=uint32_t
    )
    cdef int _hash(self) except -1 nogil
    @cython.locals(t=int, at=int, high=uint32_t, word=uint32_t)
    cdef int _expand(self) except -1 nogil
    @cython.locals(byte=int)
    cdef int _store(self, int word, uint32_t value) except -1 nogil
    @cython.locals(at=int, place=int, group=uint32_t)
    cdef int _write(self, Text text) except -1 nogil

cdef int _is_ordered(
    const uint64_t[:, ::1] words, const int64_t[:, ::1] ends, int64_t flow
) except -1 nogil
cdef uint32_t _mixed(int quarter, uint32_t b, uint32_t c, uint32_t d) except? 0 nogil
cdef uint32_t _rotated(uint32_t value, int bits) except? 0 nogil
