"""Filters as tcpdump writes them (man pcap-filter), compiled to classic BPF by libpcap.

What a text means depends on what frames begin with, and on where they come from: a filter for a
device may ask the kernel for what it took off a frame, one for files finds everything in the bytes.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from network_pipeline.errors import CaptureError
from network_pipeline.frames import LinkType

if TYPE_CHECKING:
    from types import ModuleType


class Instruction(NamedTuple):
    """One instruction of classic BPF (linux/filter.h, struct sock_filter)."""

    code: int
    jump_true: int
    jump_false: int
    k: int


Program = tuple[Instruction, ...]

RETURN = 0x06  # BPF_RET | BPF_K

#: The number that a program returns is how many bytes of the frame to keep: all of them.
ACCEPT = Instruction(RETURN, 0, 0, 0xFFFFFFFF)
REJECT = Instruction(RETURN, 0, 0, 0)

#: libpcap's own numbers of the link types; for bare IP it is not the registry's.
_DLT = {LinkType.ETHERNET: 1, LinkType.RAW: 12}
_SNAPSHOT_BYTES = 262_144

#: How libpcap says that no frame can match.
_NOTHING_MATCHES = "expression rejects all packets"


def compile_filter(text: str, link_type: LinkType, device: str | None = None) -> Program:
    """Compile a filter for the kernel.

    The kernel takes a VLAN tag off the frame before a packet socket sees it. libpcap knows how to
    ask for it there, but only on an open device: so a filter about tags is compiled on
    ``device``, which takes CAP_NET_RAW and a device that is up.

    Raises:
        CaptureError: libpcap is missing, or says no; its message is quoted.
    """
    pcap = _libpcap()
    if link_type is not LinkType.ETHERNET or not re.search(r"\bvlan\b", text):
        device = None
    with _live_handle(pcap, link_type, device) as handle:
        if device and pcap.pcap_activate(handle) < 0:
            raise CaptureError(f"filter {text!r} on {device}: {_message(pcap, handle)}")
        return _compiled(pcap, handle, text)


def compile_for_files(text: str, link_type: LinkType, *, big_endian: bool = False) -> Program:
    """Compile a filter for the frames of capture files.

    The byte order is that of the host that wrote them, and matters to :data:`LinkType.NULL` alone.
    Where no frame of this link type can match, the program rejects all.

    Raises:
        CaptureError: libpcap is missing, or says no; its message is quoted.
    """
    pcap = _libpcap()
    with _file_handle(pcap, link_type, big_endian) as handle:
        try:
            return _compiled(pcap, handle, text)
        except CaptureError:
            if _message(pcap, handle) == _NOTHING_MATCHES:
                return (REJECT,)
            raise


@contextlib.contextmanager
def _live_handle(pcap: ModuleType, link_type: LinkType, device: str | None) -> Iterator[Any]:
    """Open libpcap on a device, or for a link type and no device."""
    reason = ctypes.create_string_buffer(pcap.PCAP_ERRBUF_SIZE)
    if device:
        handle = pcap.pcap_create(os.fsencode(device), reason)
    else:
        handle = pcap.pcap_open_dead(_DLT[link_type], _SNAPSHOT_BYTES)
    with _closed(pcap, handle, reason):
        yield handle


@contextlib.contextmanager
def _file_handle(pcap: ModuleType, link_type: LinkType, big_endian: bool) -> Iterator[Any]:
    """Open libpcap on a capture file without frames: without a file it compiles as for devices."""
    order = ">" if big_endian else "<"
    header = struct.pack(f"{order}IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, _SNAPSHOT_BYTES, int(link_type))
    reason = ctypes.create_string_buffer(pcap.PCAP_ERRBUF_SIZE)
    descriptor = os.memfd_create("capture-file")
    try:
        os.write(descriptor, header)
        handle = pcap.pcap_open_offline(b"/proc/self/fd/%d" % descriptor, reason)
    finally:
        os.close(descriptor)
    with _closed(pcap, handle, reason):
        yield handle


@contextlib.contextmanager
def _closed(pcap: ModuleType, handle: Any, reason: ctypes.Array[ctypes.c_char]) -> Iterator[None]:
    if not handle:
        raise CaptureError(f"libpcap failed: {reason.value.decode(errors='replace')}")
    try:
        yield
    finally:
        pcap.pcap_close(handle)


def _message(pcap: ModuleType, handle: Any) -> str:
    text: bytes = pcap.pcap_geterr(handle)
    return text.decode(errors="replace")


def _compiled(pcap: ModuleType, handle: Any, text: str) -> Program:
    compiled = pcap.bpf_program()
    if pcap.pcap_compile(handle, ctypes.byref(compiled), os.fsencode(text), 1, -1) != 0:
        raise CaptureError(f"filter {text!r}: {_message(pcap, handle)}")
    try:
        return tuple(
            _whole_frame(Instruction(one.code, one.jt, one.jf, one.k & 0xFFFFFFFF))
            for one in compiled.bf_insns[: compiled.bf_len]
        )
    finally:
        pcap.pcap_freecode(ctypes.byref(compiled))


def _whole_frame(instruction: Instruction) -> Instruction:
    return ACCEPT if instruction.code == RETURN and instruction.k else instruction


def _libpcap() -> ModuleType:
    try:
        from scapy.libs import winpcapy  # noqa: PLC0415  importing it loads the library
    except OSError:
        raise CaptureError("libpcap is missing: apt-get install libpcap0.8") from None
    return winpcapy
