cimport cython
from libc.stdint cimport int32_t, int64_t, uint64_t

from network_pipeline.flows.keys cimport Key, mixed

cdef int64_t _DATAGRAMS, _KNOWN_NS
cdef int _NONE

@cython.final
cdef class Fragments:
    cdef uint64_t[::1] names
    cdef int64_t[::1] first_frames, clocks
    cdef int32_t[::1] rows, directions

    @cython.locals(state=uint64_t)
    cdef uint64_t _name(self, Key key, int64_t identification) except? 0 nogil
    @cython.locals(name=uint64_t, place=int64_t)
    cdef int note(
        self, Key key, int64_t identification, int64_t row, int64_t first_frame, int direction,
        int64_t clock,
    ) except -1 nogil
    @cython.locals(name=uint64_t, place=int64_t)
    cdef int64_t find(self, Key key, int64_t identification, int64_t clock) except -2 nogil
