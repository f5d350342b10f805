cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t

from network_pipeline.decode.options cimport write_blocks
from network_pipeline.decode.written cimport Text

cdef int _ROWS_AT_ONCE, _LEAST_SLICE
cdef uint8_t _COLON, _DOT
cdef const uint16_t[::1] _HEX
cdef const uint32_t[::1] _DECIMAL

ctypedef fused Unsigned:
    uint8_t
    uint16_t
    uint32_t

@cython.locals(first=int64_t, last=int64_t, place=int64_t, count=int64_t, rule=int64_t)
cpdef int numbers(
    const uint8_t[::1] data,
    const int32_t[:, ::1] places,
    int64_t rows,
    const int64_t[:, ::1] rules,
    int32_t[:, ::1] found,
    uint8_t[:, ::1] columns8,
    uint16_t[:, ::1] columns16,
    uint32_t[:, ::1] columns32,
) except -1
@cython.locals(row=int64_t, count=int64_t)
cdef int64_t _find(
    const int32_t[:, ::1] places,
    int64_t place,
    int64_t first,
    int64_t last,
    int32_t[:, ::1] found,
) except -1 nogil
@cython.locals(
    at=int64_t, each=int64_t, offset=int64_t, column=int64_t,
    high=uint32_t, low=uint32_t, mask=uint32_t, shift=int, width=int
)
cdef int _number(
    const uint8_t[::1] data,
    const int32_t[:, ::1] found,
    int64_t count,
    const int64_t[:, ::1] rules,
    int64_t rule,
    Unsigned[:, ::1] columns,
) except -1 nogil
@cython.locals(
    row=int64_t, at=int64_t, used=int64_t, number=int, digits=uint16_t,
    hexes="const uint16_t[::1]"
)
cpdef int64_t macs(
    const uint8_t[::1] data,
    const int32_t[::1] places,
    int64_t offset,
    uint8_t[::1] written,
    int32_t[::1] offsets,
) except -1
@cython.locals(
    row=int64_t, at=int64_t, used=int64_t, number=int, digits=uint32_t,
    decimals="const uint32_t[::1]"
)
cpdef int64_t ipv4s(
    const uint8_t[::1] data,
    const int32_t[::1] places,
    int64_t offset,
    uint8_t[::1] written,
    int32_t[::1] offsets,
) except -1
@cython.locals(row=int64_t, text=Text)
cpdef int64_t ipv6s(
    const uint8_t[::1] data,
    const int32_t[::1] places,
    int64_t offset,
    uint8_t[::1] written,
    int32_t[::1] offsets,
) except -1
cpdef int blocks(
    const uint8_t[::1] data, const int32_t[::1] places, Text text, int32_t[::1] offsets
) except -1
@cython.locals(at=int64_t, begin=int64_t, end=int64_t)
cpdef int spans(
    const uint8_t[::1] data,
    const int32_t[::1] places,
    const int32_t[::1] offsets,
    uint8_t[::1] copied,
) except -1
