"""Network devices as a packet socket sees them: their names and what their frames begin with.

The kernel is asked through a socket, never through ``/sys``: the answer is then right in every
network namespace.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct

from network_pipeline.errors import CaptureError
from network_pipeline.frames import LinkType

#: The device name that stands for all devices, those that appear later included.
ANY = "any"

#: The hardware type (linux/if_arp.h, ARPHRD_*) of devices that show each frame twice.
LOOPBACK = 772

#: What the frames of a hardware type begin with. Tunnels have no link layer: their frames begin
#: with an IP header, as libpcap has it too. Other types cannot be captured on.
LINK_TYPES: dict[int, LinkType] = {
    1: LinkType.ETHERNET,
    LOOPBACK: LinkType.ETHERNET,
    519: LinkType.RAW,  # RAWIP: mobile modems
    768: LinkType.RAW,  # TUNNEL: IPv4 in IPv4
    769: LinkType.RAW,  # TUNNEL6: IPv6 or IPv4 in IPv6
    776: LinkType.RAW,  # SIT: IPv6 in IPv4
    778: LinkType.RAW,  # IPGRE
    823: LinkType.RAW,  # IP6GRE
    0xFFFE: LinkType.RAW,  # NONE: tun, WireGuard
}

_SIOCGIFNAME = 0x8910
_SIOCGIFFLAGS = 0x8913
_SIOCGIFHWADDR = 0x8927
_SIOCGIFINDEX = 0x8933
_IFF_UP = 1

# struct ifreq: a name, and the flags, the hardware type or the index
_REQUEST = struct.Struct("=16sH22x")
_INDEX_REQUEST = struct.Struct("=16si20x")


def hardware_types() -> dict[str, int]:
    """Return the hardware type (ARPHRD_*) of every device of this network namespace, by name."""
    found = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            request = _REQUEST.pack(os.fsencode(name), 0)
            try:
                answer = fcntl.ioctl(asking, _SIOCGIFHWADDR, request)
            except OSError:  # it went away since it was listed
                continue
            found[name] = _REQUEST.unpack(answer)[1]
    return found


def link_type(device: str) -> LinkType:
    """Return what the frames of a device begin with.

    Raises:
        CaptureError: no such device, or one whose frames cannot be decoded.
    """
    found = hardware_types()
    if device not in found:
        names = ", ".join([*sorted(found), ANY])
        raise CaptureError(f"no network device {device!r}; there are {names}")
    if found[device] not in LINK_TYPES:
        raise CaptureError(
            f"frames of {device} cannot be decoded: hardware type {found[device]} "
            "is neither Ethernet nor IP"
        )
    return LINK_TYPES[found[device]]


def undecodable() -> list[str]:
    """Return the names of the devices that :data:`ANY` leaves out."""
    return sorted(name for name, kind in hardware_types().items() if kind not in LINK_TYPES)


def name_of(sock: socket.socket, index: int) -> str | None:
    """Return the present name of the device with this index, None if it is gone."""
    try:
        answer = fcntl.ioctl(sock, _SIOCGIFNAME, _INDEX_REQUEST.pack(b"", index))
    except OSError:
        return None
    name: bytes = _INDEX_REQUEST.unpack(answer)[0]
    return os.fsdecode(name.split(b"\0", 1)[0])


def index_of(sock: socket.socket, name: str) -> int | None:
    """Return the index of the device that has this name now, None if there is none."""
    try:
        answer = fcntl.ioctl(sock, _SIOCGIFINDEX, _INDEX_REQUEST.pack(os.fsencode(name), 0))
    except OSError:
        return None
    index: int = _INDEX_REQUEST.unpack(answer)[1]
    return index


def is_up(sock: socket.socket, device: str) -> bool:
    """Return whether a device is up; one that is gone is not."""
    try:
        answer = fcntl.ioctl(sock, _SIOCGIFFLAGS, _REQUEST.pack(os.fsencode(device), 0))
    except OSError:
        return False
    return bool(_REQUEST.unpack(answer)[1] & _IFF_UP)
