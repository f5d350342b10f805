"""Packet sockets (man 7 packet): what those of all engines share.

A socket is opened for no protocol and takes no frame in until it is bound, by which time it has a
filter: no frame is ever seen that the filter does not choose.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import socket
import struct
import sys
from pathlib import Path

from network_pipeline.capture import devices
from network_pipeline.errors import CaptureError, CapturePermissionError

# linux/if_packet.h, linux/if_ether.h
SOL_PACKET = 263
PACKET_STATISTICS = 6
_PACKET_ADD_MEMBERSHIP = 1
_PACKET_MR_PROMISC = 1
_ETH_P_ALL = 3

_MEMBERSHIP = struct.Struct("@iHH8s")  # packet_mreq: device index, type, no address
_ADDRESS = struct.Struct("@HHiHBB8s")  # sockaddr_ll: family, protocol, device index


def open_socket() -> socket.socket:
    """Return a socket that takes no frame in yet.

    Raises:
        CapturePermissionError: CAP_NET_RAW is missing.
        CaptureError: too many files are open, or no memory is left.
    """
    try:
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError:
        raise CapturePermissionError(_how_to_get_permission()) from None
    except OSError as error:
        raise CaptureError(f"no packet socket can be opened: {error.strerror}") from None


def bind(sock: socket.socket, device: str, *, promiscuous: bool) -> None:
    """Take frames of a device in, or of all (``any``), where promiscuity is no question.

    Raises:
        CaptureError: the device is no longer there.
    """
    try:
        if device == devices.ANY:
            _bind_to_all(sock)
        else:
            if promiscuous:
                _see_all(sock, device)
            sock.bind((device, _ETH_P_ALL))
    except OSError as error:
        raise CaptureError(f"cannot capture on {device}: {error.strerror}") from None


def bound_to(sock: socket.socket) -> str:
    """Return the present name of the socket's device, empty once it was removed."""
    name: str = sock.getsockname()[0]
    return name


def _see_all(sock: socket.socket, device: str) -> None:
    index = devices.index_of(sock, device) or 0
    membership = _MEMBERSHIP.pack(index, _PACKET_MR_PROMISC, 0, b"")
    sock.setsockopt(SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)


def _bind_to_all(sock: socket.socket) -> None:
    # Python's bind wants a name. Without bind, the socket would have to be opened for all
    # frames from the start, and take some in before the filter is there.
    address = _ADDRESS.pack(socket.AF_PACKET, socket.htons(_ETH_P_ALL), 0, 0, 0, 0, b"")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.bind(sock.fileno(), address, len(address)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _how_to_get_permission() -> str:
    interpreter = shlex.quote(str(Path(sys.executable).resolve()))
    return (
        "no permission to capture: use sudo, or allow it once and for all with "
        f"sudo setcap cap_net_raw+ep {interpreter}"
    )
