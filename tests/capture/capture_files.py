"""Capture files that tests build byte by byte, and what a reader must find in them."""

from __future__ import annotations

import gzip
import lzma
import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from network_pipeline.capture import pcap_format, pcapng_format, records
from network_pipeline.capture.pcap import CaptureFile, DamagedCapture
from network_pipeline.frames import NO_TIME, Frame, FrameBatch, LinkType

ETHERNET = 1
RADIOTAP = 127
SECTION = 0x0A0D0D0A
TIME_NS = 1_700_000_000_123_456_789

#: Captures that lie beside a checkout of the project, where there are any.
SHARED = Path(__file__).resolve().parents[2] / "../shared/pcaps"

IS_COMPILED = not str(records.__file__).endswith(".py")


def use(scans: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pcap_format, "records", scans)
    monkeypatch.setattr(pcapng_format, "records", scans)


# -- reading ---------------------------------------------------------------------------------------


def frames_of(batch: FrameBatch) -> list[Frame]:
    """Return a batch as single frames."""
    arrays = (batch.numbers, batch.times_ns, batch.interfaces, batch.wire_lens, batch.link_types)
    return [
        Frame(
            number,
            time_ns,
            batch.interface_names[interface],
            wire_len,
            LinkType(link_type),
            bytes(batch.buffer[offset : offset + length]),
        )
        for number, time_ns, interface, wire_len, link_type, offset, length in zip(
            *(array.tolist() for array in (*arrays, batch.offsets, batch.lengths)), strict=True
        )
    ]


def read(
    path: Path | str, batch_frames: int = 65_536
) -> tuple[list[Frame], DamagedCapture | None, CaptureFile]:
    """Return the frames of a file, what ended them before its end, and the file."""
    frames: list[Frame] = []
    with CaptureFile(path, batch_frames=batch_frames) as capture:
        try:
            for batch in capture:
                assert 0 < len(batch) <= batch_frames
                frames += frames_of(batch)
        except DamagedCapture as damage:
            return frames, damage, capture
    return frames, None, capture


# -- building --------------------------------------------------------------------------------------


def payload(number: int, size: int) -> bytes:
    return bytes((number + place) % 256 for place in range(size))


@dataclass
class Built:
    """A file, the frames in it, where each of these ends, and where records begin."""

    data: bytes = b""
    frames: list[Frame] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    number: int = 0

    def whole(self, size: int) -> list[Frame]:
        """Return the frames that the first bytes of the file hold."""
        return [frame for frame, end in zip(self.frames, self.ends, strict=True) if end <= size]

    def damaged_at(self, size: int) -> int:
        """Return where the record begins that a cut to ``size`` bytes leaves unfinished."""
        return max(start for start in self.starts if start < size)

    def _add(self, record: bytes, frame: Frame | None = None) -> None:
        self.starts.append(len(self.data))
        self.data += record
        if frame:
            self.frames.append(frame)
            self.ends.append(len(self.data))


class Pcap(Built):
    def __init__(self, order: str = "<", magic: int = 0xA1B2C3D4, **header: Any) -> None:
        super().__init__()
        self.order, self.magic = order, magic
        about = {"version": (2, 4), "snap_len": 65_535, "network": ETHERNET, **header}
        self.link_type = LinkType(about.get("link_type", about["network"] & 0xFFFF))
        numbers = (magic, *about["version"], 0, 0, about["snap_len"], about["network"])
        self._add(struct.pack(f"{order}IHHiIII", *numbers))

    def frame(self, size: int, *, exchanged: bool = False, wire_len: int | None = None) -> None:
        self.number += 1
        data = payload(self.number, size)
        wire_len = size + self.number if wire_len is None else wire_len
        unit = 1 if self.magic == 0xA1B23C4D else 1000
        seconds, rest = divmod(TIME_NS + self.number * 1_000_000_001, 1_000_000_000)
        lengths = (wire_len, size) if exchanged else (size, wire_len)
        head = struct.pack(f"{self.order}4I", seconds, rest // unit, *lengths)
        extra = bytes(8) if self.magic == 0xA1B2CD34 else b""
        time_ns = seconds * 1_000_000_000 + rest // unit * unit
        frame = Frame(self.number, time_ns, None, wire_len, self.link_type, data)
        self._add(head + extra + data, frame)


@dataclass
class Interface:
    name: str | None
    link_type: int
    units: int
    offset_s: int


class Pcapng(Built):
    def __init__(self) -> None:
        super().__init__()
        self.order = "<"
        self.interfaces: list[Interface] = []

    def block(self, kind: int, body: bytes, frame: Frame | None = None) -> None:
        total = 12 + len(body)
        head = struct.pack(f"{self.order}2I", kind, total)
        self._add(head + body + struct.pack(f"{self.order}I", total), frame)

    def section(self, order: str = "<", version: tuple[int, int] = (1, 0)) -> None:
        self.order, self.interfaces = order, []
        body = struct.pack(f"{order}IHHq", 0x1A2B3C4D, *version, -1)
        self.block(SECTION, body + self.option(4, b"a program") + self.option(0, b""))

    def option(self, code: int, value: bytes) -> bytes:
        head = struct.pack(f"{self.order}2H", code, len(value))
        return head + value + bytes(-len(value) % 4)

    def interface(
        self,
        name: str | None = None,
        *,
        link_type: int = ETHERNET,
        resolution: int | None = None,
        offset_s: int | None = None,
        snap_len: int = 0,
        options: bytes = b"",
    ) -> None:
        body = struct.pack(f"{self.order}HHI", link_type, 0, snap_len) + options
        body += self.option(1, b"a comment")
        if name is not None:
            body += self.option(2, name.encode())
        if resolution is not None:
            body += self.option(9, bytes([resolution]))
        if offset_s is not None:
            body += self.option(14, struct.pack(f"{self.order}q", offset_s))
        used = 6 if resolution is None else resolution
        units = (2 if used & 0x80 else 10) ** (used & 0x7F)
        self.interfaces.append(Interface(name, link_type, units, offset_s or 0))
        self.block(1, body + self.option(0, b""))

    def enhanced(self, interface: int, size: int, ticks: int | None = None) -> None:
        self._packet(6, struct.pack(f"{self.order}I", interface), interface, size, ticks)

    def obsolete(self, interface: int, size: int) -> None:
        self._packet(2, struct.pack(f"{self.order}HH", interface, 3), interface, size, None)

    def simple(self, size: int, wire_len: int) -> None:
        self.number += 1
        data = payload(self.number, size)
        frame = self._frame(0, NO_TIME, wire_len, data)
        body = struct.pack(f"{self.order}I", wire_len) + data + bytes(-size % 4)
        self.block(3, body, frame)

    def _packet(
        self, kind: int, first: bytes, interface: int, size: int, ticks: int | None
    ) -> None:
        self.number += 1
        about = self.interfaces[interface]
        if ticks is None:
            ticks = int(Fraction(TIME_NS, 10**9) * about.units) + self.number
            ticks = min(ticks, 2**64 - self.number)
        time_ns = ticks * 10**9 // about.units + about.offset_s * 10**9
        data = payload(self.number, size)
        wire_len = size + self.number
        body = first + struct.pack(
            f"{self.order}4I", ticks >> 32, ticks & 0xFFFFFFFF, size, wire_len
        )
        body += data + bytes(-size % 4)
        if self.number % 2:
            body += self.option(1, b"odd") + self.option(0, b"")
        self.block(kind, body, self._frame(interface, time_ns, wire_len, data))

    def _frame(self, interface: int, time_ns: int, wire_len: int, data: bytes) -> Frame | None:
        about = self.interfaces[interface]
        if about.link_type == RADIOTAP:
            return None
        link_type = LinkType(about.link_type)
        return Frame(self.number, time_ns, about.name or None, wire_len, link_type, data)


def pcap(order: str, magic: int, **header: Any) -> Pcap:
    built = Pcap(order, magic, **header)
    for size in (60, 0, 1, 17, 90):
        built.frame(size)
    return built


def exchanged_lengths(minor: int, *, exchanged: bool) -> Pcap:
    built = Pcap(version=(2, minor))
    for size in (20, 30):
        built.frame(size, exchanged=exchanged)
    return built


def blocks_of_every_kind(order: str) -> Pcapng:
    built = Pcapng()
    built.section(order)
    built.interface("eth0", snap_len=65_535)
    built.enhanced(0, 42)
    built.block(0x00000005, bytes(20))  # interface statistics
    built.interface(resolution=9, offset_s=-3_600, snap_len=32)
    built.obsolete(1, 33)
    built.simple(21, 21)
    built.block(0x0BADF00D, b"unknown!")
    built.interface("", link_type=101, resolution=0x8A, offset_s=7)
    built.enhanced(2, 0)
    built.enhanced(1, 5)
    return built


def many_sections() -> Pcapng:
    built = Pcapng()
    for order in "<>><":
        built.section(order, version=(1, 2) if order == ">" else (1, 0))
        built.interface(f"dev{len(built.data)}", resolution=3)
        built.interface("lo", link_type=0)
        built.enhanced(1, 11)
        built.enhanced(0, 14)
    built.section("<")
    return built


def refused_links() -> Pcapng:
    built = Pcapng()
    built.section()
    built.interface("wlan0", link_type=RADIOTAP)
    built.interface("eth0")
    for interface in (0, 1, 0, 0, 1):
        built.enhanced(interface, 20)
    built.section()
    built.interface("wlan1", link_type=RADIOTAP)
    built.enhanced(0, 9)
    return built


def cut_simple_packets() -> Pcapng:
    built = Pcapng()
    built.section(">")
    built.interface("lo", snap_len=10)
    built.simple(10, 100)
    built.simple(7, 7)
    return built


FILES: dict[str, Built] = {
    "pcap little-endian": pcap("<", 0xA1B2C3D4),
    "pcap big-endian": pcap(">", 0xA1B2C3D4),
    "pcap little-endian ns": pcap("<", 0xA1B23C4D),
    "pcap big-endian ns": pcap(">", 0xA1B23C4D),
    "pcap patched": pcap("<", 0xA1B2CD34),
    "pcap patched big-endian": pcap(">", 0xA1B2CD34),
    "pcap with check sequences": pcap("<", 0xA1B2C3D4, network=0x24000001),
    "pcap link type 12": pcap("<", 0xA1B2C3D4, network=12, link_type=101),
    "pcap 2.2": exchanged_lengths(2, exchanged=True),
    "pcap 2.3": exchanged_lengths(3, exchanged=True),
    "pcap 2.3 as 2.4": exchanged_lengths(3, exchanged=False),
    "pcapng little-endian": blocks_of_every_kind("<"),
    "pcapng big-endian": blocks_of_every_kind(">"),
    "pcapng sections": many_sections(),
    "pcapng refused links": refused_links(),
    "pcapng snap length": cut_simple_packets(),
}


# -- compressing -----------------------------------------------------------------------------------


def _zstd_with_checksum(data: bytes) -> bytes:
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "zstd": _zstd_with_checksum,
    "xz": lzma.compress,
}

#: Decompressors of single members, which tell how much of a cut file there is.
DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: zlib.decompressobj(wbits=31),
    "zstd": zstd.ZstdDecompressor,
    "xz": lzma.LZMADecompressor,
}
