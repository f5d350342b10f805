cimport cython
from libc.stdint cimport int32_t, int64_t, uint64_t

from network_pipeline.flows.features cimport absent
from network_pipeline.flows.store cimport Store

cdef int _OF_BEGINNING, _OF_WHOLE, _IS_LOW_FIRST, _LAST, _IS_CLOSED, _IATS, _SERIES, _COUNTS
cdef int _LENGTHS, _SIDE, _SERIES_COUNT, _IAT, _FIRST_PACKETS, _ADDRESS_WORDS

@cython.final
cdef class Ended:
    cdef readonly int64_t count
    cdef readonly uint64_t[:, ::1] words
    cdef readonly int64_t[:, ::1] numbers
    cdef readonly int32_t[:, ::1] counts
    cdef readonly double[:, ::1] squares

    cpdef int64_t take(self) except -1
    @cython.locals(at=int64_t, low=int, field=int, side=int)
    cdef int give(self, Store store, int64_t row, int64_t of) except -1 nogil
    @cython.locals(place=int, field=int, is_seen=int64_t, value=int)
    cdef int _put_side(self, Store store, int64_t row, int side) except -1 nogil
    @cython.locals(
        at=int64_t, count=int64_t, value=int64_t, squares=double, series=int, part=int
    )
    cdef int _put_series(self, Store store, int64_t row) except -1 nogil
    @cython.locals(seen=int64_t, place=int)
    cdef int _put_first_packets(self, Store store, int64_t row) except -1 nogil
