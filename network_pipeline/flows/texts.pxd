cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from network_pipeline.decode.written cimport Text

cdef int _NO_PORTS, _ONE_WAY, _ONE, _COLON, _EQUALS, _DIGITS
cdef uint32_t _WORD, _ADDED_1, _ADDED_2, _ADDED_3, _ADDED_4, _STOP
cdef const uint8_t[::1] _BASE64
cdef const uint32_t[::1] _BEGIN

cpdef int addresses(
    const int32_t[::1] versions, const uint8_t[::1] data, Text text, int32_t[::1] offsets
) except -1

@cython.final
cdef class CommunityIds:
    cdef int64_t seed
    cdef int halves
    cdef uint32_t[:, ::1] schedule, digest

    @cython.locals(first=int64_t, lanes=int, lane=int)
    cpdef int write(
        self,
        int64_t flows,
        const uint64_t[:, ::1] words,
        const int64_t[:, ::1] ends,
        uint8_t[:, ::1] out,
    ) except -1
    @cython.locals(first=int, side=int, end=int, size=int, word=int)
    cdef int _begin(
        self, const uint64_t[:, ::1] words, const int64_t[:, ::1] ends, int64_t flow, int lane
    ) except -1 nogil
    @cython.locals(at=int)
    cdef int _put(self, uint64_t half, int lane) except -1 nogil
    cdef int _put_word(self, uint64_t word, int lane) except -1 nogil
    @cython.locals(
        t=int, lane=int, word=uint32_t, mix=uint32_t, a=uint32_t[8], b=uint32_t[8], c=uint32_t[8],
        d=uint32_t[8], e=uint32_t[8],
    )
    cdef int _hash(self) except -1 nogil
    @cython.locals(place=int, word=int, pair=uint64_t)
    cdef int _write(self, uint8_t[:, ::1] out, int64_t flow, int lane) except -1 nogil

cdef int _is_ordered(
    const uint64_t[:, ::1] words, const int64_t[:, ::1] ends, int64_t flow
) except -1 nogil
cdef int _turn(
    uint32_t *a, uint32_t *b, uint32_t *c, uint32_t *d, uint32_t *e, int lane, uint32_t mix
) noexcept nogil
cdef uint32_t _rotated(uint32_t value, int bits) noexcept nogil
