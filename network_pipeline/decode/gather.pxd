cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t

from network_pipeline.decode.options cimport write_blocks
from network_pipeline.decode.written cimport Text

cdef int _ROWS_AT_ONCE, _LEAST_SLICE

ctypedef fused Unsigned:
    uint8_t
    uint16_t
    uint32_t

@cython.locals(first=int64_t, last=int64_t)
cpdef int numbers(
    const uint8_t[::1] data,
    const int32_t[:, ::1] places,
    int64_t rows,
    const int64_t[:, ::1] fields,
    Unsigned[:, ::1] columns,
) except -1
@cython.locals(at=int64_t, high=uint32_t, low=uint32_t, mask=uint32_t, shift=int, width=int)
cdef int _number(
    const uint8_t[::1] data,
    const int32_t[:, ::1] places,
    const int64_t[:, ::1] fields,
    Unsigned[:, ::1] columns,
    int64_t column,
    int64_t first,
    int64_t last,
) except -1 nogil
@cython.locals(at=int64_t)
cpdef int addresses(
    const uint8_t[::1] data,
    const int32_t[::1] places,
    int64_t offset,
    int width,
    Text text,
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
