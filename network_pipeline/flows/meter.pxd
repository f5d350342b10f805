cimport cython
from libc.stdint cimport int64_t, uint64_t

from network_pipeline.flows.ended cimport Ended
from network_pipeline.flows.fanout cimport Fanout, source_of
from network_pipeline.flows.features cimport (
    add,
    add_dns,
    add_tcp,
    begin,
    begin_part,
    begins_connection,
    end_period,
    is_duplicate,
)
from network_pipeline.flows.fragments cimport Fragments
from network_pipeline.flows.kept cimport is_plain, keep, recall
from network_pipeline.flows.keys cimport Key
from network_pipeline.flows.packets cimport Packets
from network_pipeline.flows.store cimport Store

cdef int _DNS_QR, _FIRST_FRAME, _OPENED, _NAME, _IS_LOW_FIRST, _PART, _IS_CLOSED, _REASON
cdef int _ICMP_ERRORS, _IS_ONLY, _BY_IDLE, _BY_ACTIVE, _BY_END, _BY_FORCE, _BY_NO_ROOM
cdef int _NO_IP, _NO_TIME, _NONE, _ROOM, _AHEAD, _MOST_AT_ONCE

@cython.final
cdef class Meter:
    cdef int64_t idle, active, linger, pause
    cdef int drops_duplicates
    cdef Store store
    cdef Fanout fanout
    cdef Fragments fragments
    cdef Key key
    cdef Packets recalled
    cdef uint64_t[::1] hashes, sources
    cdef int64_t[::1] clocks
    cdef readonly Ended ended
    cdef int64_t first, named
    cdef readonly int64_t[::1] without_flow
    cdef readonly int64_t packets, errors, duplicates

    cpdef int64_t take_named(self) except -1
    @cython.locals(seen=int64_t, has_ip=int)
    cpdef int64_t update(
        self,
        Packets packets,
        int64_t row,
        int64_t rows,
        int64_t before,
        int64_t[::1] first_frames,
        int64_t[::1] named,
    ) except -1
    @cython.locals(each=int64_t, count=int)
    cdef int _look(self, Packets packets, int64_t row, int64_t rows) except -1 nogil
    cpdef int finish(self, int64_t session) except -1
    @cython.locals(row=int64_t)
    cdef int _end_list(self, int64_t number, int reason) except -1 nogil
    @cython.locals(clock=int64_t)
    cdef int _advance(self, int64_t session, int64_t time) except -1 nogil
    @cython.locals(row=int64_t)
    cdef int _end_waiting(self, int64_t number, int64_t since, int reason) except -1 nogil
    cdef int _end(self, int64_t row, int reason) except -1 nogil
    cdef int _give(self, int64_t row, int reason) except -1 nogil
    @cython.locals(
        row=int64_t, direction=int, place=int64_t, clock=int64_t, is_forward=cython.bint
    )
    cdef int64_t _add(self, Packets packets, int64_t before, int64_t[::1] named) except -1 nogil
    @cython.locals(clock=int64_t, number=int64_t)
    cdef int _add_to(
        self, Packets packets, int64_t row, int direction, int64_t before, int64_t[::1] named
    ) except -1 nogil
    cdef int _fill(self, int64_t row) except -1 nogil
    @cython.locals(row=int64_t)
    cdef int64_t _row_of_fragment(self, int64_t place) except -2 nogil
    @cython.locals(clock=int64_t, first_frame=int64_t)
    cdef int _note_fragment(self, Packets packets, int64_t row, int direction) except -1 nogil
    @cython.locals(row=int64_t, is_closed=int, clock=int64_t)
    cdef int64_t _row(self, Packets packets) except -1 nogil
    @cython.locals(row=int64_t, clock=int64_t)
    cdef int64_t _begin(self, Packets packets) except -1 nogil
    @cython.locals(row=int64_t)
    cdef int _make_room(self) except -1 nogil
