from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t

cimport cython
from network_pipeline.decode.options cimport locate as locate_options

cdef int _ETH, _VLAN, _VLAN2, _ARP, _IP, _IPV6, _ICMP, _ICMPV6, _TCP, _UDP, _DNS, _SLL, _SLL2
cdef int _NULL_FAMILY, _LOOP_FAMILY, _FRAME, _ETH_TYPE, _VLAN_TYPE, _VLAN2_TYPE, _ARP_HWSRC
cdef int _ARP_PSRC, _ARP_HWDST, _ARP_PDST, _IPV6_PROTO, _IPV6_FRAGMENT, _ICMP_QUERY
cdef int _ICMPV6_ECHO, _ICMPV6_NEIGHBOUR, _TCP_PAYLOAD_LEN, _DNS_QUESTION, _DNS_ANSWERS
cdef int _TCP_MSS, _TCP_WSCALE, _TCP_SACKOK, _TCP_SACK, _TCP_TIMESTAMP, _IP_OPTIONS
cdef int _TCP_OPTIONS, _DNS_MESSAGE, _RAW, _PADDING, _VERSION, _IHL, _DATAOFS, _LENGTH
cdef int _MALFORMED_OPTIONS, _FIRST_SPAN, _TRUNCATED, _LINK_NULL, _LINK_ETHERNET, _LINK_RAW
cdef int _LINK_LOOP, _LINK_SLL, _LINK_IPV4, _LINK_IPV6, _LINK_SLL2, _LEAST_ETHER_TYPE
cdef int _MOST_LENGTH, _MOST_PAYLOAD, _FRAGMENT, _AUTHENTICATION
cdef const uint8_t[::1] _IS_EXTENSION, _IS_QUERY

@cython.final
cdef class Walk:
    cdef const uint8_t[::1] data
    cdef int32_t[:, ::1] places, ends
    cdef uint32_t[::1] payload_lens
    cdef int64_t row, offset, end, wire_end
    cdef int fragment, error

    cdef int start(self, int64_t row, int64_t offset, int64_t length, int64_t wire_len) except -1 nogil
    cdef int fail(self, int layer, int reason) except -1 nogil
    cdef int note(self, int place, int64_t at) except -1 nogil
    cdef int note_span(self, int place, int64_t at, int64_t end) except -1 nogil
    cdef int skip(self, int layer, int64_t size) except -1 nogil
    cdef int read(self, int layer, int64_t size) except -1 nogil
    cdef int bound(self, int layer, int64_t end) except -1 nogil
    cdef int u16(self, int64_t at) except -1 nogil
    cdef uint32_t u32(self, int64_t at) except? 0 nogil

cpdef int locate(
    Walk walk,
    const int32_t[::1] offsets,
    const uint32_t[::1] lengths,
    const uint32_t[::1] wire_lens,
    const uint16_t[::1] link_types,
    uint8_t[::1] errors,
) except -1

cdef int _link(Walk walk, int link_type) except -1 nogil
cdef int _raw(Walk walk) except -1 nogil
cdef uint32_t _swapped(uint32_t number) except? 0 nogil
cdef int _family(Walk walk, uint32_t number) except -1 nogil
cdef int _ether_layer(Walk walk, int number) except -1 nogil
cdef int _vlan(Walk walk) except -1 nogil
cdef int _read_ether_type(Walk walk, int layer, int type_place, int size) except -1 nogil
cdef int _arp(Walk walk) except -1 nogil
cdef int _read_version(Walk walk, int layer, int size, int version) except -1 nogil
cdef int _ipv4(Walk walk) except -1 nogil
cdef int _ipv6(Walk walk) except -1 nogil
cdef int64_t _payload_length(Walk walk, int64_t start) except -1 nogil
cdef int _extension_size(Walk walk, int number) except -1 nogil
cdef int _note_fragment(Walk walk, int64_t at) except -1 nogil
cdef int _transport(Walk walk, int number) except -1 nogil
cdef int _icmp(Walk walk) except -1 nogil
cdef int _icmpv6(Walk walk) except -1 nogil
cdef int _tcp(Walk walk) except -1 nogil
cdef int _tcp_options(Walk walk, int64_t at) except -1 nogil
cdef int _udp(Walk walk) except -1 nogil
cdef int _is_dns(int port) except -1 nogil
cdef int _dns_in_tcp(Walk walk) except -1 nogil
cdef int _dns(Walk walk, int64_t at, int64_t end) except -1 nogil
