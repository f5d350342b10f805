cimport cython
from libc.stdint cimport int32_t, int64_t, uint64_t

from network_pipeline.flows.keys cimport Key, mixed
from network_pipeline.flows.store cimport Store

cdef int64_t _SHORT_NS, _LONG_NS
cdef int _PORTS, _FANOUT, _NONE, _SHORT, _LONG, _PORT_KIND, _HOST_KIND, _NEXT, _ONLY, _LATER

@cython.final
cdef class Fanout:
    cdef uint64_t mask
    cdef int32_t[::1] buckets, behind, lasts
    cdef uint64_t[::1] keys
    cdef uint64_t[:, ::1] pairs
    cdef int32_t[:, ::1] counts, entries, firsts
    cdef int64_t[::1] clocks
    cdef int64_t free_entry, used_entries, free_event, used_events, most
    cdef int32_t looked

    @cython.locals(found=int32_t, at=int)
    cdef int look(self, uint64_t[::1] sources, int count) except -1 nogil
    @cython.locals(
        event=int64_t, entry=int64_t, source=uint64_t, host=uint64_t, port=uint64_t, window=int,
        field=int,
    )
    cdef int begin(
        self, Store store, int64_t row, Key key, int64_t session, int64_t clock
    ) except -1 nogil
    @cython.locals(source=int64_t, entry=int64_t, kind=int, window=int)
    cdef int _make_pairs(self, int64_t event, int is_counted) except -1 nogil
    @cython.locals(event=int64_t)
    cdef int64_t _event(self, int64_t session) except -2 nogil
    @cython.locals(last=int64_t, window=int)
    cdef int _append(self, int64_t event, int64_t session) except -1 nogil
    @cython.locals(event=int64_t)
    cdef int _leave_until(self, int64_t session, int64_t clock) except -1 nogil
    @cython.locals(event=int64_t)
    cdef int _forget_oldest(self, int64_t session) except -1 nogil
    @cython.locals(source=int64_t, entry=int64_t, kind=int)
    cdef int _enter(self, int64_t event, int window) except -1 nogil
    @cython.locals(source=int64_t, entry=int64_t, kind=int)
    cdef int _leave(self, int64_t event, int window) except -1 nogil
    @cython.locals(bucket=uint64_t, entry=int64_t)
    cdef int64_t _entry(self, uint64_t key) except -2 nogil
    @cython.locals(bucket=uint64_t, before=int64_t)
    cdef int _free(self, int64_t entry) except -1 nogil

cpdef uint64_t source_of(Key key, int64_t session) except? 0 nogil
