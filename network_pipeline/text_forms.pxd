cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t

cdef int _MAC, _IPV4, _IPV6, _MAC_BYTES, _LEAST_IPV6, _MOST_IPV6, _MOST_DIGITS, _DOTS
cdef int _DIGIT, _HEX, _PRINTABLE, _LEADS
cdef uint8_t _COLON, _DOT
cdef const uint8_t[::1] _KINDS

@cython.locals(row=int64_t, bit=int64_t)
cpdef bint all_fit(
    int form,
    const uint8_t[::1] present,
    int64_t first,
    const int32_t[::1] ends,
    const uint8_t[::1] octets,
) except -1
cdef int _fits(int form, const uint8_t[::1] octets, int64_t begin, int64_t end) except -1 nogil
@cython.locals(place=int64_t, value=uint8_t)
cdef int _is_mac(const uint8_t[::1] octets, int64_t begin, int64_t end) except -1 nogil
@cython.locals(place=int64_t, value=uint8_t, dots=int, digits=int)
cdef int _is_ipv4(const uint8_t[::1] octets, int64_t begin, int64_t end) except -1 nogil
@cython.locals(place=int64_t, value=uint8_t)
cdef int _is_ipv6(const uint8_t[::1] octets, int64_t begin, int64_t end) except -1 nogil
@cython.locals(place=int64_t, kinds=uint8_t)
cdef int _is_line(const uint8_t[::1] octets, int64_t begin, int64_t end) except -1 nogil
cdef int _is_break(const uint8_t[::1] octets, int64_t place) except -1 nogil
