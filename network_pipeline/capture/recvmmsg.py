"""Many frames in one system call, with what the kernel knows about each.

Python's ``recvmsg`` takes one frame a call and gives the interpreter lock up for it; while another
thread decodes, a thread gets the lock back only every 5 ms, so it would take in a few hundred
frames a second. The call here takes up to :data:`BURST_FRAMES` and keeps the lock: it never waits.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct
from typing import NamedTuple

#: Most frames that one call takes.
BURST_FRAMES = 128

#: As long as the longest frame: offloading joins segments to 524,280 bytes (GSO_MAX_SIZE).
SLOT_BYTES = 524_288 + 4096

# linux/if_packet.h, linux/if_ether.h, asm-generic/socket.h
PACKET_AUXDATA = 8
SO_TIMESTAMPNS = 35
_TP_STATUS_VLAN_VALID = 1 << 4
_TP_STATUS_VLAN_TPID_VALID = 1 << 6
_ETH_P_8021Q = 0x8100
_ETHERNET_ADDRESSES_BYTES = 12

_NS_PER_S = 1_000_000_000

# A control message is a size_t length, an int level, an int type, and its value.
_CONTROL = f"{struct.calcsize('@Ni')}xi"

#: What the kernel writes beside a frame, in the order in which it does (net/packet/af_packet.c,
#: packet_recvmsg): sockaddr_ll with device index and hardware type; SO_TIMESTAMPNS with seconds
#: and nanoseconds; PACKET_AUXDATA with status, length on the wire, length here, VLAN tag and its
#: EtherType. Native alignment.
_ABOUT = struct.Struct(f"@4xiH14x {_CONTROL}ll {_CONTROL}III4xHH4x")
_ADDRESS_BYTES = 24


class Received(NamedTuple):
    """A frame as the kernel gave it, its VLAN tag back in its place."""

    device_index: int
    hardware_type: int
    time_ns: int
    wire_len: int
    data: bytes


class Piece(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class MessageHeader(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("pieces", ctypes.c_void_p),
        ("piece_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class Header(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (("message", MessageHeader), ("received", ctypes.c_uint))


class Receiver:
    """Memory for one burst, shared by the sockets that one thread reads in turn.

    Memory for the frames is only taken as frames touch it.
    """

    def __init__(self) -> None:
        self._frames = mmap.mmap(-1, BURST_FRAMES * SLOT_BYTES)
        self._about = mmap.mmap(-1, BURST_FRAMES * _ABOUT.size)
        self._pieces = (Piece * BURST_FRAMES)()
        self._headers = (Header * BURST_FRAMES)()
        frames = ctypes.addressof(ctypes.c_char.from_buffer(self._frames))
        about = ctypes.addressof(ctypes.c_char.from_buffer(self._about))
        for slot in range(BURST_FRAMES):
            self._pieces[slot] = Piece(frames + slot * SLOT_BYTES, SLOT_BYTES)
            piece = ctypes.addressof(self._pieces) + slot * ctypes.sizeof(Piece)
            address = about + slot * _ABOUT.size
            control = address + _ADDRESS_BYTES
            control_length = _ABOUT.size - _ADDRESS_BYTES
            self._headers[slot].message = MessageHeader(
                address, _ADDRESS_BYTES, piece, 1, control, control_length
            )
        # The kernel overwrites lengths in the headers; this is how they must be before a call.
        self._fresh = bytes(self._headers)
        self._libc = ctypes.PyDLL(None, use_errno=True)

    def receive(self, descriptor: int) -> list[Received]:
        """Return the frames that wait in a packet socket, at most :data:`BURST_FRAMES`.

        The socket has PACKET_AUXDATA and SO_TIMESTAMPNS on, and no other such option.

        Raises:
            OSError: none waits (BlockingIOError), the device is down (ENETDOWN).
        """
        ctypes.memmove(self._headers, self._fresh, len(self._fresh))
        count: int = self._libc.recvmmsg(
            descriptor, self._headers, BURST_FRAMES, socket.MSG_DONTWAIT, None
        )
        if count < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        with memoryview(self._about) as about, about[: count * _ABOUT.size] as used:
            return [self._received(slot, one) for slot, one in enumerate(_ABOUT.iter_unpack(used))]

    def _received(self, slot: int, about: tuple[int, ...]) -> Received:
        index, hardware_type, time_kind, seconds, nanoseconds = about[:5]
        auxiliary_kind, status, wire_len, length, tag, tag_type = about[5:]
        if (time_kind, auxiliary_kind) != (SO_TIMESTAMPNS, PACKET_AUXDATA):
            raise OSError(f"control messages {time_kind}, {auxiliary_kind} are not those expected")
        start = slot * SLOT_BYTES
        data = self._frames[start : start + length]
        if status & _TP_STATUS_VLAN_VALID:
            if not status & _TP_STATUS_VLAN_TPID_VALID:
                tag_type = _ETH_P_8021Q
            data = _tagged(data, tag_type, tag)
            wire_len += len(data) - length
        return Received(index, hardware_type, seconds * _NS_PER_S + nanoseconds, wire_len, data)


def _tagged(data: bytes, tag_type: int, tag: int) -> bytes:
    """Put back the VLAN tag that the kernel took off."""
    at = _ETHERNET_ADDRESSES_BYTES
    return data[:at] + struct.pack("!HH", tag_type, tag) + data[at:]
