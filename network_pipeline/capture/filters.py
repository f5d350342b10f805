"""Kernel filters: classic BPF programs, put together from parts that libpcap compiles.

Texts are never joined, programs are. libpcap compiles the user's filter and the exclusion of the
broker's traffic each on its own, so that neither can change the other: no parenthesis escapes,
and ``vlan``, which shifts the offsets of all that follows it in a text, shifts nothing of ours.
The parts run in this order, and all but the last can only reject:

1. the outgoing copy of a frame on a loopback device, where the kernel shows each frame twice;
2. frames of a hardware type that cannot be decoded; on the device ``any`` the type also chooses
   between the next parts as compiled for Ethernet and as compiled for bare IP;
3. the broker's traffic, also inside VLAN tags that are still in the frame;
4. the user's filter, which decides.

All jumps of BPF are relative, so a program runs the same wherever it stands.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import ipaddress
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence

from network_pipeline.capture import devices
from network_pipeline.capture.devices import ANY, LINK_TYPES, LOOPBACK
from network_pipeline.capture.libpcap import (
    ACCEPT,
    REJECT,
    RETURN,
    Instruction,
    Program,
    compile_filter,
)
from network_pipeline.errors import BrokerUnreachable, CaptureError
from network_pipeline.frames import LinkType

#: Most instructions that a socket filter may have (linux/bpf_common.h, BPF_MAXINSNS).
MAX_INSTRUCTIONS = 4096

_LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP = 0x05  # BPF_JMP | BPF_JA
_JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K

# What the kernel knows about a frame beside its bytes, loaded as if from these offsets (SKF_AD_*).
_PACKET_TYPE = 0xFFFFF000 + 4
_HARDWARE_TYPE = 0xFFFFF000 + 28

_PACKET_OUTGOING = 4
_SO_ATTACH_FILTER = 26

LOOPBACK_OUTGOING: Program = (
    Instruction(_LOAD_WORD, 0, 0, _HARDWARE_TYPE),
    Instruction(_JUMP_EQUAL, 0, 3, LOOPBACK),
    Instruction(_LOAD_WORD, 0, 0, _PACKET_TYPE),
    Instruction(_JUMP_EQUAL, 0, 1, _PACKET_OUTGOING),
    ACCEPT,
    REJECT,
)


# -- what to filter --------------------------------------------------------------------------------


def broker_filter(endpoints: Iterable[tuple[str, int]]) -> str:
    """Return the libpcap text that matches all TCP traffic with these hosts and ports.

    Hosts are resolved to every address they have now. Empty without endpoints.

    Raises:
        BrokerUnreachable: a host name has no address.
    """
    # "and" and "or" bind equally in this language, so each term stands in its parentheses.
    return " or ".join(
        f"(tcp port {port} and ({' or '.join(f'host {address}' for address in _addresses(host))}))"
        for host, port in endpoints
    )


def _addresses(host: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: no host name could be like that
        raise BrokerUnreachable(f"the broker's host {host!r} has no address: {error}") from None
    # A zone (fe80::1%eth0) is no part of what is on the wire.
    addresses = {ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found}
    return sorted(_reached_at(address) for address in addresses)


def _reached_at(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """Return where a connection to this address goes; 0.0.0.0 and :: lead to loopback."""
    if address.is_unspecified:
        return "127.0.0.1" if address.version == 4 else "::1"
    return str(address)


def programs(
    names: Sequence[str], user: str, endpoints: Sequence[tuple[str, int]]
) -> dict[str, Program]:
    """Return the filter of every device, without the traffic of the broker's ``endpoints``.

    With ``any`` among the devices there is no other: it sees the frames of all.

    Raises:
        BrokerUnreachable: a broker's host name has no address.
        CaptureError: no such device, or the filter does not compile.
    """
    broker = broker_filter(endpoints)
    return {
        name: any_program(user, broker)
        if name == ANY
        else device_program(user, broker, devices.link_type(name), name)
        for name in ((ANY,) if ANY in names else names)
    }


def device_program(user: str, broker: str, link_type: LinkType, device: str) -> Program:
    """Return the whole filter of one device.

    ``user`` is a filter as tcpdump takes it, ``broker`` what :func:`broker_filter` gave.

    Raises:
        CaptureError: libpcap is missing, or the filter does not compile for this device.
    """
    return _whole({link_type: _filtered(user, broker, link_type, device)})


def any_program(user: str, broker: str) -> Program:
    """Return the filter for all devices at once.

    A filter that cannot match bare IP, such as ``arp``, leaves out the tunnel devices.

    Raises:
        CaptureError: libpcap is missing, or the filter does not compile for Ethernet.
    """
    programs = {LinkType.ETHERNET: _filtered(user, broker, LinkType.ETHERNET, "lo")}
    with contextlib.suppress(CaptureError):
        programs[LinkType.RAW] = _filtered(user, broker, LinkType.RAW, "lo")
    return _whole(programs)


def cut(program: Program, length: int) -> Program:
    """Return the program with the same choice that keeps only so many bytes of a frame."""
    accept = ACCEPT._replace(k=length)
    return tuple(accept if one.code == RETURN and one.k else one for one in program)


def _whole(programs: Mapping[LinkType, Program]) -> Program:
    """Choose by the frame's hardware type; what has no program is rejected."""
    chosen: Program = (REJECT,)
    for link_type, program in programs.items():
        kinds = [kind for kind, begins in LINK_TYPES.items() if begins is link_type]
        chosen = _among(kinds, program, chosen)
    return _unless(LOOPBACK_OUTGOING, chosen)


def _filtered(user: str, broker: str, link_type: LinkType, device: str) -> Program:
    program = compile_filter(user, link_type, device)
    if broker:
        # The kernel takes the outer tag off what it receives, not off what is sent with one.
        tags = ("", "vlan and ", "vlan and vlan and ") if link_type is LinkType.ETHERNET else ("",)
        for tag in tags:
            program = _unless(compile_filter(f"{tag}({broker})", link_type), program)
    return program


# -- programs from programs ------------------------------------------------------------------------


def _unless(excluded: Program, rest: Program) -> Program:
    """Reject what ``excluded`` accepts and leave all else to ``rest``."""
    return (*_returns_replaced(excluded), *rest)


def _returns_replaced(program: Program) -> Iterator[Instruction]:
    for position, instruction in enumerate(program):
        if instruction.code != RETURN:
            yield instruction
        elif instruction.k:
            yield REJECT
        else:
            yield Instruction(_JUMP, 0, 0, len(program) - position - 1)


def _among(hardware_types: Sequence[int], program: Program, rest: Program) -> Program:
    """Leave frames of these hardware types to ``program`` and all others to ``rest``."""
    count = len(hardware_types)
    tests = (
        Instruction(_JUMP_EQUAL, count - position, 0, kind)
        for position, kind in enumerate(hardware_types)
    )
    load = Instruction(_LOAD_WORD, 0, 0, _HARDWARE_TYPE)
    return (load, *tests, Instruction(_JUMP, 0, 0, len(program)), *program, *rest)


# -- the kernel ----------------------------------------------------------------------------------


def attach(sock: socket.socket, program: Program) -> None:
    """Make the kernel run a program on every frame for this socket, in place of an earlier one.

    Raises:
        CaptureError: the program is too long.
    """
    if len(program) > MAX_INSTRUCTIONS:
        raise _too_long(program)
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in program))
    try:
        sock.setsockopt(
            socket.SOL_SOCKET,
            _SO_ATTACH_FILTER,
            struct.pack("@HP", len(program), ctypes.addressof(code)),
        )
    except OSError as error:
        if error.errno != errno.ENOMEM:  # net.core.optmem_max
            raise
        raise _too_long(program) from None


def _too_long(program: Program) -> CaptureError:
    return CaptureError(
        f"the filter is too long for the kernel: {len(program)} instructions; "
        "write it shorter, for example with 'net' in place of many 'host'"
    )
