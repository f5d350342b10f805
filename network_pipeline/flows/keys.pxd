cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef uint64_t _ALL, _PRIME
cdef int _PAIR, _ONE_WAY, _NOTHING
cdef const uint8_t[::1] _ANSWERS, _ANSWERS_V6

cpdef uint64_t mixed(uint64_t state, uint64_t word) except? 0 nogil
cdef int answer(int version, int kind) except? -2 nogil

@cython.final
cdef class Key:
    cdef uint64_t low_high, low_low, high_high, high_low, ends, place, hash
    cdef uint64_t src_high, src_low, dst_high, dst_low
    cdef int64_t version, protocol, src_port, dst_port
    cdef int64_t kind
    cdef int is_low_first

    cdef int source(self, uint64_t high, uint64_t low) except -1 nogil
    cdef int destination(self, uint64_t high, uint64_t low) except -1 nogil
    cdef int protocols(self, int64_t version, int64_t protocol) except -1 nogil
    cdef int ports(self, int64_t kind, int64_t src_port, int64_t dst_port) except -1 nogil
    cdef int icmp(self, int64_t kind, int64_t code) except -1 nogil
    @cython.locals(state=uint64_t, ends=uint64_t)
    cdef int close(self, int64_t session, int64_t vlan, int64_t vlan2) except -1 nogil
    cdef int _is_low_first(self) except -1 nogil
