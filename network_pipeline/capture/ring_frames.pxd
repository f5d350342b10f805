# The types with which Cython compiles ring_frames.py; the build's directives keep bounds checks on.

cimport cython
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

cdef Py_ssize_t _NEXT, _SECONDS, _NANOSECONDS, _SNAP_LEN, _WIRE_LEN, _STATUS, _VLAN_TAG, _DEVICE
cdef Py_ssize_t _FRAME_AT, _VLAN_TYPE, _HARDWARE_TYPE, _TAG_BYTES, _ADDRESSES_BYTES
cdef uint32_t _VLAN_VALID, _VLAN_TYPE_VALID, _ETH_P_8021Q
cdef int64_t _NS_PER_S

@cython.locals(
    offsets=int64_t[::1], lengths=uint32_t[::1], wire_lens=uint32_t[::1], times_ns=int64_t[::1],
    devices=uint32_t[::1], hardware_types=uint16_t[::1], at=Py_ssize_t, tags=Py_ssize_t,
    row=Py_ssize_t, word=Py_ssize_t, half=Py_ssize_t, offset=Py_ssize_t, length=uint32_t,
    wire_len=uint32_t, status=uint32_t, kind=uint32_t)
cpdef Py_ssize_t walk(uint8_t[::1] data, const uint32_t[::1] words, const uint16_t[::1] halves,
                      Py_ssize_t first, columns) except -1

@cython.locals(begin=Py_ssize_t, end=Py_ssize_t, place=Py_ssize_t)
cdef Py_ssize_t _put_tag_back(uint8_t[::1] data, Py_ssize_t offset, uint32_t kind,
                              uint32_t tag) except -1
