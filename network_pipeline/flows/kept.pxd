cimport cython
from libc.stdint cimport int64_t

from network_pipeline.flows.packets cimport Packets
from network_pipeline.flows.store cimport Store

cdef int _LENGTH, _PAYLOAD_LEN, _WINDOW, _MSS, _IS_ONLY, _HEADER, _IS_FRAGMENT, _FLAGS, _WSCALE
cdef int _SACK_OK, _TIMESTAMPS, _FIRST_FRAME, _START, _LAST_SEEN, _DNS_QR, _SYN
cdef int _TCP_FLAGS, _TCP_WINDOW, _TCP_MSS, _TCP_WSCALE, _TCP_SACKOK, _TCP_TSVAL
cdef int64_t _NOT_KEPT

cpdef int is_plain(Packets packets) except -1 nogil
@cython.locals(field=int)
cpdef int keep(Store store, int64_t row, Packets packets) except -1 nogil
cpdef int recall(Store store, int64_t row, Packets packets) except -1 nogil
