cimport cython
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef int _NUMBER_BYTES, _NUMBER8, _NUMBER16, _NUMBER32, _NUMBER64, _TIME, _PLAIN, _HEX
cdef const uint8_t[::1] _DIGITS
cdef uint8_t _COMMA, _NEWLINE, _QUOTE
cdef int64_t _DAY_NS, _SECOND_NS

@cython.final
cdef class Lines:
    cdef const int64_t[:, ::1] runs
    cdef const int64_t[:, ::1] cells
    cdef const uint8_t[:, ::1] present
    cdef const uint8_t[:, ::1] numbers8
    cdef const uint16_t[:, ::1] numbers16
    cdef const uint32_t[:, ::1] numbers32
    cdef const uint64_t[:, ::1] numbers64
    cdef const int64_t[:, ::1] places
    cdef const uint8_t[::1] data
    cdef uint8_t[::1] out
    cdef readonly int64_t used

    @cython.locals(row=int64_t, run=int64_t)
    cpdef int64_t write(self, int64_t rows) except -1
    @cython.locals(column=int64_t)
    cdef int _run(self, int64_t first, int64_t last, int64_t row) except -1 nogil
    @cython.locals(used=int64_t)
    cdef int _commas(self, int64_t count) except -1 nogil
    @cython.locals(value=uint64_t, begin=int64_t, end=int64_t)
    cdef int _cell(self, int kind, int64_t place, int64_t row) except -1 nogil
    @cython.locals(size=int, limit=uint64_t)
    cdef int _number(self, uint64_t value) except -1 nogil
    @cython.locals(at=int64_t, rest=uint64_t)
    cdef int _digits(self, uint64_t value, int size) except -1 nogil
    @cython.locals(day=int64_t, left=int64_t, second=int64_t)
    cdef int _time(self, int64_t time_ns) except -1 nogil
    @cython.locals(era=int64_t, year=int64_t, month=int64_t)
    cdef int _date(self, int64_t day) except -1 nogil
    cdef int _mark(self, uint8_t value) except -1 nogil
    @cython.locals(used=int64_t, value=uint8_t, place=int64_t)
    cdef int _hex(self, int64_t begin, int64_t end) except -1 nogil
    @cython.locals(used=int64_t, place=int64_t)
    cdef int _copy(self, int64_t begin, int64_t end) except -1 nogil
    @cython.locals(place=int64_t)
    cdef int _text(self, int64_t begin, int64_t end) except -1 nogil
    @cython.locals(place=int64_t)
    cdef int _quoted(self, int64_t begin, int64_t end) except -1 nogil
