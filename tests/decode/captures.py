"""Capture files as frames, for tests only: scapy reads the file, link types are told apart."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scapy.utils import RawPcapNgReader, RawPcapReader

from network_pipeline.frames import Frame, LinkType

#: Captures that lie beside a checkout of the project, where there are any.
SHARED = Path(__file__).resolve().parents[2] / "../shared/pcaps"

_MOST_BYTES = 1 << 20
_LINK_TYPES = {int(link_type): link_type for link_type in LinkType}


class _Sections(RawPcapNgReader):
    """A pcapng reader that numbers interfaces anew in every section and knows snap length 0."""

    def _read_block_shb(self) -> None:
        super()._read_block_shb()
        self.interfaces = []

    def _read_block_idb(self, block: bytes, size: int) -> None:
        super()._read_block_idb(block, size)
        link_type, snap_length, options = self.interfaces[-1]
        self.interfaces[-1] = (link_type, snap_length or _MOST_BYTES, options)


def read_frames(path: Path) -> list[Frame]:
    """Return the frames of a file up to its end or damage, except those of other link types.

    Their numbers are positions in the file, from 1.
    """
    return [frame for frame in _frames(path) if frame is not None]


def _frames(path: Path) -> Iterator[Frame | None]:
    with RawPcapReader(str(path)) as opened:
        reader: Any = _Sections(str(path)) if isinstance(opened, RawPcapNgReader) else opened
        number = 0
        while True:
            try:
                data, about = reader._read_packet(size=_MOST_BYTES)
            except EOFError:
                return
            number += 1
            yield _frame(number, data, about, reader)


def _frame(number: int, data: bytes, about: Any, reader: Any) -> Frame | None:
    interface = None
    if isinstance(reader, RawPcapNgReader):
        link_type = _LINK_TYPES.get(about.linktype)
        ticks = (about.tshigh or 0) << 32 | (about.tslow or 0)
        time_ns = ticks * 1_000_000_000 // about.tsresol
        is_simple = about.tshigh is None  # such a block belongs to the first interface
        name = reader.interfaces[0][2].get("name") if is_simple else about.ifname
        interface = name.decode() if name else None
    else:
        if len(data) < about.caplen:
            return None  # the damaged end of the file
        link_type = _LINK_TYPES.get(reader.linktype)
        time_ns = about.sec * 1_000_000_000 + about.usec * (1 if reader.nano else 1000)
    if link_type is None:
        return None
    return Frame(number, time_ns, interface, about.wirelen, link_type, data)


def write_frames(path: Path, frames: list[Frame]) -> None:
    """Write frames of one link type as a pcap file with nanoseconds."""
    head = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262_144, frames[0].link_type)
    records = [head]
    for frame in frames:
        second, nanosecond = divmod(frame.time_ns, 1_000_000_000)
        sizes = (len(frame.data), frame.wire_len)
        records += [struct.pack("<IIII", second, nanosecond, *sizes), frame.data]
    path.write_bytes(b"".join(records))
