# The types with which Cython compiles records.py; the directives of the build keep bounds checks on.

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef int64_t _LINK_TYPE, _MOST_BYTES, _SNAP_LEN, _MULTIPLIER, _DIVISOR, _FRACTION_BITS, _BASE_NS
cdef int64_t _REFUSED, _HEADER_BYTES, _BLOCK_BYTES, _SIMPLE_BYTES, _PACKET_BYTES
cdef int64_t _MOST_BLOCK_BYTES, _INTERFACE, _OBSOLETE_PACKET, _SIMPLE_PACKET, _ENHANCED_PACKET
cdef int64_t _SECTION, _NS_PER_S, _NO_TIME, _LAST_NS, _LAST_WHOLE_S, _ROW

@cython.final
cdef class RecordScan:
    cdef bint big, lengths_mixed
    cdef int64_t tick_ns, header_bytes, most_bytes
    cdef readonly Py_ssize_t position, count

    @cython.locals(
        offsets=int64_t[::1], lengths=uint32_t[::1], wire_lens=uint32_t[::1],
        times_ns=int64_t[::1], capacity=Py_ssize_t, count=Py_ssize_t, at=Py_ssize_t, reason=int,
        length=int64_t, wire_len=int64_t, seconds=int64_t, ticks=int64_t)
    cpdef int scan(self, const uint8_t[::1] data, Py_ssize_t start, Py_ssize_t end,
                   columns) except -1

@cython.final
cdef class BlockScan:
    cdef bint big
    cdef readonly int64_t number
    cdef readonly Py_ssize_t position, count
    cdef const uint8_t[::1] data
    cdef int64_t[::1] interfaces
    cdef int64_t[::1] offsets, times_ns
    cdef uint32_t[::1] lengths, wire_lens
    cdef uint64_t[::1] numbers
    cdef uint16_t[::1] interface_ids

    @cython.locals(capacity=Py_ssize_t, reason=int)
    cpdef int scan(self, const uint8_t[::1] data, Py_ssize_t start, Py_ssize_t end,
                   int64_t[::1] interfaces, columns) except -2

    @cython.locals(at=Py_ssize_t, kind=int64_t, total=int64_t)
    cdef int _block(self, Py_ssize_t end) except -2

    @cython.locals(reason=int)
    cdef int _whole_block(self, int64_t kind, int64_t total) except -2

    @cython.locals(at=Py_ssize_t, interface=int64_t, row=int64_t, length=int64_t, high=int64_t,
                   low=int64_t, time_ns=int64_t)
    cdef int _packet(self, int64_t kind, int64_t total) except -2

    @cython.locals(at=Py_ssize_t, wire_len=int64_t, length=int64_t)
    cdef int _simple_packet(self, int64_t total) except -2

    cdef int _store(self, int64_t row, Py_ssize_t offset, int64_t length, int64_t wire_len,
                    int64_t time_ns) except -2

@cython.locals(ticks=uint64_t, bits=int64_t, base_ns=int64_t, multiplier=int64_t, whole=uint64_t,
               time_ns=int64_t)
cdef int64_t _nanoseconds(uint64_t high, uint64_t low, int64_t[::1] interfaces,
                          int64_t row) except? -1

@cython.locals(seconds=uint64_t, fraction=uint64_t, upper=uint64_t)
cdef int64_t _binary_nanoseconds(uint64_t ticks, int64_t bits) except? -1

cdef int64_t _u16(const uint8_t[::1] data, Py_ssize_t at, bint big) except -1

cdef int64_t _u32(const uint8_t[::1] data, Py_ssize_t at, bint big) except -1
