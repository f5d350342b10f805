cimport cython
from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef const uint8_t[::1] _DIGITS
cdef uint8_t _ZERO, _DOT, _COLON

@cython.final
cdef class Text:
    cdef readonly uint8_t[::1] data
    cdef readonly int64_t used

    cpdef int byte(self, uint8_t value) except -1 nogil
    cpdef int cut(self, int64_t used) except -1 nogil
    @cython.locals(power=uint32_t)
    cpdef int number(self, uint32_t value) except -1 nogil
    cpdef int hex(self, const uint8_t[::1] data, int64_t at, int64_t end) except -1 nogil
    cpdef int ipv4(self, const uint8_t[::1] data, int64_t at) except -1 nogil
    @cython.locals(ends_dotted=cython.bint)
    cpdef int ipv6(self, const uint8_t[::1] data, int64_t at) except -1 nogil
    cdef int _group(self, const uint8_t[::1] data, int64_t at, int number) except -1 nogil

cdef int _zero_run(const uint8_t[::1] data, int64_t at) except -1 nogil
