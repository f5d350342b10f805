cimport cython
from libc.stdint cimport int16_t, int32_t, int64_t, uint32_t, uint64_t

from network_pipeline.flows.keys cimport Key

cdef int _NONE, _LEAST_PLACES, _LARGE
cdef uint64_t _ROW

@cython.final
cdef class Store:
    cdef readonly int64_t most
    cdef uint64_t mask
    cdef uint64_t live
    cdef uint64_t[::1] index
    cdef uint32_t[::1] tags
    cdef int32_t[::1] before, behind, lists, heads, tails
    cdef uint64_t[:, ::1] words
    cdef int64_t[:, ::1] begun, numbers
    cdef int32_t[:, ::1] whole, kept, counts
    cdef int16_t[:, ::1] small
    cdef int32_t[:, :, ::1] sides
    cdef int32_t[:, ::1] lengths
    cdef int64_t[:, ::1] iats
    cdef int64_t[:, :, ::1] series
    cdef double[:, ::1] squares
    cdef int64_t[::1] touched
    cdef int64_t free, used
    cdef uint64_t looked

    @cython.locals(at=uint64_t, tag=uint64_t, row=int64_t)
    cdef int64_t find(self, Key key) except -2 nogil
    cdef int is_large(self) except -1 nogil
    @cython.locals(found=uint64_t, at=int)
    cdef int look(self, uint64_t[::1] hashes, int count) except -1 nogil
    @cython.locals(found=uint64_t)
    cdef int look_behind(self, int64_t row, int count) except -1 nogil
    cdef int _is(self, int64_t row, Key key) except -1 nogil
    cdef int has_room(self) except -1 nogil
    @cython.locals(row=int64_t)
    cdef int64_t add(self, Key key) except -1 nogil
    @cython.locals(at=uint64_t, tag=uint64_t)
    cdef int _place(self, int64_t row) except -1 nogil
    @cython.locals(at=uint64_t, row=int64_t)
    cdef int _widen(self) except -1 nogil
    @cython.locals(at=uint64_t)
    cdef int remove(self, int64_t row) except -1 nogil
    @cython.locals(row=int64_t, first=int64_t)
    cdef int64_t drop_first(self, int64_t number) except -2 nogil
    @cython.locals(at=uint64_t)
    cdef int _clear(self) except -1 nogil
    @cython.locals(home=uint64_t, hole=uint64_t)
    cdef int _empty(self, uint64_t at) except -1 nogil
    @cython.locals(last=int64_t)
    cdef int touch(self, int64_t row, int64_t number, int64_t clock) except -1 nogil
    @cython.locals(number=int64_t, before=int64_t, behind=int64_t)
    cdef int _unlink(self, int64_t row) except -1 nogil
