cimport cython
from libc.stdint cimport int64_t, uint64_t

from network_pipeline.flows.keys cimport Key
from network_pipeline.flows.packets cimport Packets
from network_pipeline.flows.store cimport Store

cdef int _TCP_SEQ, _TCP_ACK, _TCP_FLAGS, _TCP_WINDOW, _TCP_MSS, _TCP_WSCALE, _TCP_SACKOK
cdef int _TCP_TSVAL, _DNS_QR, _DNS_RCODE, _DNS_QTYPE, _FIRST_FRAME, _START, _END, _LAST
cdef int _LAST_OF, _OPENED, _ACTIVE_SINCE, _FIN_END, _HEADER_BYTES, _SERIES, _ICMP_TYPE, _ICMP_CODE
cdef int _IS_LOW_FIRST, _PART, _IS_CLOSED, _ACKED, _OUT_OF_ORDER, _FRAGMENTS, _DUPLICATES
cdef int _SUBFLOWS, _FLAGS, _WINDOW, _MSS, _WSCALE, _SACK_OK, _TIMESTAMPS, _HEADER_MIN
cdef int _PAYLOAD_PACKETS, _DNS_QUERIES, _DNS_RESPONSES, _DNS_QTYPE_SEEN, _DNS_RCODE_SEEN
cdef int _NUMBERS, _COUNTS, _FANOUT, _SIDE, _LENGTH, _LENGTH_BWD
cdef int _PAYLOAD, _PAYLOAD_BWD, _IAT, _IAT_FWD, _IAT_BWD, _ACTIVE, _IDLE, _LAST_SEEN
cdef int _FIRST_PACKETS, _FLAG_COUNT, _FIN, _SYN, _RST, _ACK, _BOTH
cdef int64_t _TWICE_NS, _SUBFLOW_NS, _SEQUENCE, _HALF

@cython.locals(field=int)
cpdef int begin(Store store, int64_t row, Packets packets, Key key) except -1 nogil
@cython.locals(field=int, series=int)
cpdef int begin_part(Store store, int64_t row, Packets packets, int64_t clock) except -1 nogil
@cython.locals(age=int64_t)
cpdef int is_duplicate(Store store, int64_t row, Packets packets, int direction) except -1 nogil
@cython.locals(seen=int64_t, least=int64_t, field=int)
cpdef int add(
    Store store, int64_t row, Packets packets, int direction, int64_t pause
) except -1 nogil
cpdef int absent(int field) noexcept nogil
@cython.locals(own=int64_t, seen=int64_t, gap=int64_t)
cdef int64_t _add_times(
    Store store, int64_t row, int64_t time, int direction, int64_t pause
) except -1 nogil
@cython.locals(period=int64_t)
cpdef int end_period(Store store, int64_t row) except -1 nogil
@cython.locals(part=int, count=int64_t, total=int64_t, away=double, before=double)
cdef int _add_to_series(Store store, int64_t row, int series, int64_t value) except -1 nogil
cpdef int begins_connection(Packets packets) except -1 nogil
@cython.locals(flags=int64_t, bit=int)
cpdef int add_tcp(Store store, int64_t row, Packets packets, int direction) except -1 nogil
@cython.locals(behind=int64_t, awaited=int64_t)
cdef int _follow_end(
    Store store, int64_t row, Packets packets, int direction, int64_t flags
) except -1 nogil
cpdef int add_dns(Store store, int64_t row, Packets packets) except -1 nogil
