"""Filters and frames for tests, and what libpcap and tcpdump themselves make of them."""

from __future__ import annotations

import ctypes
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from network_pipeline.capture.libpcap import Program
from network_pipeline.frames import Frame, LinkType
from tests import needs
from tests.capture.capture_files import read
from tests.decode import batches, captures
from tests.decode.samples import all_samples

#: Every kind of instruction that libpcap makes, and the filters of everyday.
FILTERS = (
    "tcp",
    "udp port 53",
    "icmp or icmp6",
    "arp",
    "ip6",
    "not ip",
    "host 192.0.2.1",
    "src host 2001:db8::1",
    "dst net 198.51.100.0/24",
    "tcp portrange 1-1023",
    "ip proto 47 or ip6 proto 44",
    "ip6 protochain 6",
    "ip protochain 17",
    "ip multicast or ip6 multicast",
    "ip[0] & 0xf != 5",
    "ip[6:2] & 0x1fff != 0",
    "ip6[6] = 58",
    "tcp[tcpflags] & (tcp-syn | tcp-ack) = tcp-syn",
    "tcp[12:1] >> 4 > 5",
    "tcp and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)",
    "udp[4:2] - 8 > len - 42",
    "icmp[icmptype] = icmp-echo",
    "less 64",
    "greater 200",
    "len % 3 = 1",
    "len ^ 1 = 61",
    "1 << (ip[9] & 7) = 64",
    "ip[4:2] >> (ip[9] & 3) = 582",
    "- ip[8] = 0xffffffc1",
    "ip[2:2] * ip[4:2] > 400000",
    "ip[2:2] / (ip[8] & 1) > 2",
    "ip[2:2] % (ip[9] & 3) = 0",
    "link[3] = 2 or link[0] = 2",
)

#: Those that are none for bare IP.
ETHERNET_FILTERS = (
    "ether host 02:00:00:00:00:01",
    "ether[0] & 1 = 1",
    "ether broadcast or ether multicast",
    "ether proto 0x86dd",
    "vlan",
    "vlan and vlan and ip",
    "mpls",
    "pppoes and ip",
    "len > 60 and not vlan",
)


def filters_of(link_type: LinkType) -> tuple[str, ...]:
    """Return the filters for frames of a link type."""
    return FILTERS + ETHERNET_FILTERS if link_type is LinkType.ETHERNET else FILTERS


def frames_of(link_type: LinkType, paths: Sequence[Path] = ()) -> list[Frame]:
    """Return frames of captures, or else the samples, whole and cut; their times are numbers."""
    if paths:
        found = [frame for path in paths for frame in read(path)[0]]
    else:
        samples = all_samples()
        found = [sample.frame(size=size) for sample in samples for size in (None, 3, 25, 40)]
    return numbered([frame for frame in found if frame.link_type is link_type])


def numbered(frames: Sequence[Frame]) -> list[Frame]:
    return [
        frame._replace(number=number, time_ns=number * 1_000_000_000, interface=None)
        for number, frame in enumerate(frames, 1)
    ]


def verdicts(machine: ModuleType, program: Program, frames: Sequence[Frame]) -> list[int]:
    """Return 1 for each frame that a program accepts, 0 for the others."""
    batch = batches.batch_of(frames, around=b"\xff" * 8)
    kept = np.full(len(frames), 2, np.uint8)
    machine.select(
        np.array(program, np.uint32).data,
        memoryview(batch.buffer),
        batch.offsets.data,
        batch.lengths.data,
        batch.wire_lens.data,
        kept.data,
    )
    return list(kept.tolist())


def libpcap_verdicts(program: Program, frames: Sequence[Frame]) -> list[int]:
    """Return what libpcap's own machine says."""
    from scapy.libs import winpcapy  # noqa: PLC0415  importing it loads the library

    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in program))
    compiled = struct.pack("@IP", len(program), ctypes.addressof(code))
    library = winpcapy._lib
    return [
        int(library.pcap_offline_filter(compiled, _header(frame), frame.data) != 0)
        for frame in frames
    ]


def _header(frame: Frame) -> bytes:
    return struct.pack("@qqII", 0, 0, len(frame.data), frame.wire_len)


def tcpdump_numbers(text: str, path: Path) -> list[int]:
    """Return the numbers of the frames of a file that tcpdump selects; their times say them."""
    needs.program("tcpdump")
    output = path.with_name("selected.pcap")
    command = ["tcpdump", "-n", "-r", str(path), "-w", str(output), "--", text]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    frames, damage, _ = read(output)
    assert damage is None
    return [frame.time_ns // 1_000_000_000 for frame in frames]


def write(path: Path, frames: list[Frame], *, big_endian: bool = False) -> None:
    """Write frames of one link type as a pcap file of either byte order."""
    captures.write_frames(path, frames)
    if not big_endian:
        return
    head = struct.pack(">IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, frames[0].link_type)
    records = [
        struct.pack(">4I", frame.time_ns // 1_000_000_000, 0, len(frame.data), frame.wire_len)
        + frame.data
        for frame in frames
    ]
    path.write_bytes(head + b"".join(records))
