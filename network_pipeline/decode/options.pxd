cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t

from network_pipeline.decode.written cimport Text

cdef int _END, _NOP, _SACK, _NO_ROW, _BLOCK_BYTES
cdef uint8_t _SEMICOLON, _DASH
cdef const uint8_t[::1] _ROWS, _LENGTHS

cpdef int locate(
    const uint8_t[::1] data,
    int64_t at,
    int64_t end,
    int32_t[:, ::1] places,
    int64_t first_row,
    int64_t column,
) except -1 nogil
cdef int _fits(int kind, int length) except -1 nogil
cpdef int write_blocks(const uint8_t[::1] data, int64_t at, Text text) except -1 nogil
@cython.locals(high=uint32_t, low=uint32_t)
cdef uint32_t _u32(const uint8_t[::1] data, int64_t at) except? 0 nogil
