cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from network_pipeline.flows.keys cimport Key

cdef int _FRAME_NUMBER, _FRAME_TIME, _FRAME_LEN, _VLAN_ID, _VLAN2_ID
cdef int _IP_IHL, _IP_LEN, _IP_ID, _IP_FLAGS, _IP_FRAG, _IP_PROTO
cdef int _IPV6_PLEN, _IPV6_PROTO, _IPV6_FRAG, _IPV6_MORE, _IPV6_FRAG_ID
cdef int _ICMP_TYPE, _ICMP_CODE, _ICMPV6_TYPE, _ICMPV6_CODE
cdef int _TCP_SPORT, _TCP_DPORT, _TCP_SEQ, _TCP_ACK, _TCP_DATAOFS, _TCP_FLAGS, _TCP_WINDOW
cdef int _TCP_CHKSUM, _TCP_PAYLOAD_LEN, _TCP_MSS, _TCP_WSCALE, _TCP_SACKOK, _TCP_TSVAL
cdef int _UDP_SPORT, _UDP_DPORT, _UDP_LEN, _UDP_CHKSUM
cdef int _DNS_QR, _DNS_RCODE, _DNS_QTYPE, _RAW_LEN
cdef int _PORTS, _ICMP, _TCP, _UDP, _ICMPV6, _SCTP, _MORE, _LEAST_TCP, _UDP_BYTES, _ICMP_BYTES
cdef int _SCTP_BYTES, _IPV6_BYTES
cdef int64_t _MOST_TIME
cdef uint64_t _WORD, _MOST_BYTE

ctypedef fused Number:
    uint8_t
    uint16_t
    uint32_t
    uint64_t
    int32_t
    int64_t

@cython.final
cdef class Packets:
    cdef int64_t[:, ::1] numbers
    cdef const uint64_t[:, ::1] words
    cdef const int64_t[::1] sessions
    cdef const int32_t[::1] begins
    cdef const uint8_t[::1] payload
    cdef int64_t row, frame_number, session, time, protocol, fragment, more, identification
    cdef int64_t length, header, payload_len, icmp_type, icmp_code
    cdef int version, has_tcp
    cdef uint64_t trace

    cdef int64_t number(self, int column) except? -2 nogil
    cdef int read(self, int64_t row) except -1 nogil
    cdef int has_time(self) except -1 nogil
    cdef int _read_ipv4(self) except -1 nogil
    cdef int _read_ipv6(self) except -1 nogil
    cdef int _read_icmp(self) except -1 nogil
    @cython.locals(ip_header=int64_t, length=int64_t)
    cdef int _read_lengths(self) except -1 nogil
    cdef int is_icmp_error(self) except -1 nogil
    @cython.locals(first=int, begin=int64_t)
    cdef int fill(self, Key key) except -1 nogil
    cdef int _close(self, Key key) except -1 nogil
    cdef int64_t _payload_bytes(self) except -1 nogil
    cdef int64_t _u16(self, int64_t at) except -1 nogil
    cdef int64_t _u32(self, int64_t at) except -1 nogil
    cdef uint64_t _u64(self, int64_t at) except? 0 nogil
    @cython.locals(begin=int64_t, size=int64_t, header=int64_t, protocol=int64_t)
    cdef int fill_quoted(self, Key key) except -1 nogil
    cdef int _fill_quoted_ports(self, Key key, int64_t at) except -1 nogil
    @cython.locals(tcp=int64_t, checksum=int64_t, part=int64_t)
    cdef int _read_trace(self) except -1 nogil

@cython.locals(row=int64_t)
cpdef int64_t ipv4_words(
    const int32_t[::1] offsets, const uint8_t[::1] data, uint64_t[::1] words
) except -1
@cython.locals(row=int64_t, bit=int64_t, is_there=int)
cpdef int spread(
    const Number[::1] values, const uint8_t[::1] bits, int64_t first, int64_t absent, int64_t[::1] out
) except -1
@cython.locals(at=int64_t, address=uint64_t, number=uint64_t, dots=int, value=int)
cdef int _read_ipv4(
    const uint8_t[::1] data, int64_t begin, int64_t end, uint64_t[::1] words, int64_t row
) except -1 nogil
