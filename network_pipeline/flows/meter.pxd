cimport cython
from libc.stdint cimport int32_t, int64_t, uint64_t

from network_pipeline.flows.fanout cimport Fanout
from network_pipeline.flows.features cimport (
    absent,
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
from network_pipeline.flows.keys cimport Key
from network_pipeline.flows.packets cimport Packets
from network_pipeline.flows.store cimport Store

cdef int _DNS_QR, _FIRST_FRAME, _START, _LAST, _OPENED, _NAME, _IS_LOW_FIRST, _PART, _IS_CLOSED, _REASON
cdef int _OF_BEGINNING, _OF_WHOLE, _LAST_SEEN, _IS_ONLY
cdef int _ICMP_ERRORS, _COUNTS, _IATS, _SERIES, _SERIES_COUNT, _FIRST_PACKETS, _ADDRESS_WORDS
cdef int _LENGTHS, _SIDE, _IAT
cdef int _BY_IDLE, _BY_ACTIVE, _BY_END, _BY_FORCE, _BY_NO_ROOM, _NO_IP, _NO_TIME, _NONE, _NO_FLOW, _ROOM
cdef int _MOST_AT_ONCE

@cython.final
cdef class Meter:
    cdef int64_t idle, active, linger, pause
    cdef int drops_duplicates
    cdef Store store
    cdef Fanout fanout
    cdef Fragments fragments
    cdef Key key
    cdef Packets recalled
    cdef int64_t[::1] clocks
    cdef int64_t first, ended, named
    cdef readonly uint64_t[:, ::1] ended_words
    cdef readonly int64_t[:, ::1] ended_numbers
    cdef readonly int32_t[:, ::1] ended_counts
    cdef readonly double[:, ::1] ended_squares
    cdef readonly int64_t[::1] without_flow
    cdef readonly int64_t packets, errors, duplicates

    cpdef int64_t take_ended(self) except -1
    cpdef int64_t take_named(self) except -1
    cpdef int64_t update(
        self,
        Packets packets,
        int64_t row,
        int64_t rows,
        int64_t before,
        int64_t[::1] first_frames,
        int64_t[::1] named,
    ) except -1
    cpdef int finish(self, int64_t session) except -1
    cdef int _end_list(self, int64_t number, int reason) except -1 nogil
    @cython.locals(clock=int64_t)
    cdef int _advance(self, int64_t session, int64_t time) except -1 nogil
    @cython.locals(row=int64_t)
    cdef int _end_waiting(self, int64_t number, int64_t since, int reason) except -1 nogil
    cdef int _end(self, int64_t row, int reason) except -1 nogil
    @cython.locals(at=int64_t, low=int, field=int, side=int)
    cdef int _give(self, int64_t row, int reason) except -1 nogil
    @cython.locals(first_frame=int64_t, start=int64_t, trace=uint64_t)
    cdef int _add_kept(self, int64_t row, int64_t to) except -1 nogil
    @cython.locals(place=int, field=int, is_seen=int64_t, value=int)
    cdef int _give_side(self, int64_t row, int side) except -1 nogil
    @cython.locals(
        at=int64_t, count=int64_t, value=int64_t, squares=double, series=int, part=int
    )
    cdef int _give_series(self, int64_t row) except -1 nogil
    @cython.locals(seen=int64_t, place=int)
    cdef int _give_first_packets(self, int64_t row) except -1 nogil
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
