cimport cython
from libc.stdint cimport int32_t, int64_t, uint64_t

from network_pipeline.flows.features cimport absent
from network_pipeline.flows.store cimport Store

cdef int _SESSION, _VERSION, _PROTOCOL, _SRC_PORT, _DST_PORT, _KIND, _VLAN, _VLAN2
cdef int _OF_BEGINNING, _OF_KEY, _OF_WHOLE, _IS_LOW_FIRST, _START, _END, _HEADER_BYTES, _LAST, _REASON
cdef int _FRAGMENTS, _IS_CLOSED, _IATS, _SERIES, _COUNTS, _LENGTHS, _SIDE, _FLAGS, _PAYLOAD_PACKETS
cdef int _HEADER_MIN, _WINDOW, _SERIES_COUNT, _LENGTH, _PAYLOAD, _IAT, _FIRST_PACKETS, _FLAG_COUNT
cdef int _ADDRESS_WORDS, _KEPT_LENGTH, _KEPT_PAYLOAD, _KEPT_HEADER, _KEPT_FRAGMENT, _KEPT_FLAGS
cdef int _KEPT_WINDOW, _KEPT_WSCALE, _WSCALE

@cython.final
cdef class Ended:
    cdef readonly int64_t count
    cdef int is_filled
    cdef readonly uint64_t[:, ::1] words
    cdef readonly int64_t[:, ::1] numbers
    cdef readonly int32_t[:, ::1] counts
    cdef readonly double[:, ::1] squares

    @cython.locals(at=int64_t, field=int, side=int)
    cdef int give(self, Store store, int64_t row) except -1 nogil
    @cython.locals(at=int64_t, part=int, field=int, bit=int, header=int, flags=int)
    cdef int give_kept(self, Store store, int64_t row, int reason) except -1 nogil
    @cython.locals(at=int64_t, low=int, field=int)
    cdef int64_t _put_beginning(self, Store store, int64_t row) except -1 nogil
    @cython.locals(at=int64_t)
    cdef int _put_key(self, uint64_t ends, uint64_t place, int low) except -1 nogil
    @cython.locals(place=int, field=int, is_seen=int64_t, value=int)
    cdef int _put_side(self, Store store, int64_t row, int side) except -1 nogil
    @cython.locals(
        at=int64_t, count=int64_t, value=int64_t, squares=double, series=int, part=int
    )
    cdef int _put_series(self, Store store, int64_t row) except -1 nogil
    @cython.locals(seen=int64_t, place=int)
    cdef int _put_first_packets(self, Store store, int64_t row) except -1 nogil
