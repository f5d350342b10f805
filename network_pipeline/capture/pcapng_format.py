"""The pcapng format (draft-ietf-opsawg-pcapng): sections of blocks, each section with interfaces.

Read are sections of either byte order, interfaces with any clock, and enhanced, simple and obsolete
packet blocks; other blocks are passed over. A section may have 65,536 interfaces.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from network_pipeline.capture import link_types, records
from network_pipeline.capture.frame_arrays import FrameArrays, most_frame_bytes
from network_pipeline.capture.window import Damage, Window
from network_pipeline.frames import FrameBatch

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SECTION_MARK = b"\x0a\x0d\x0d\x0a"
_ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}
_VERSIONS = ((1, 0), (1, 2))

_BLOCK_HEADER_BYTES = 12  # up to the byte order of a section
_LEAST_SECTION_BYTES = 28
_LEAST_INTERFACE_BYTES = 20
_MOST_INTERFACES = 65_536

# Options of an interface (section 4.2)
_END_OF_OPTIONS = 0
_IF_NAME = 2
_IF_TSRESOL = 9
_IF_TSOFFSET = 14
_MICROSECONDS = 6

_DAMAGES = {
    records.BAD_BLOCK_LENGTH: "a block says it has {total} bytes, which no block of its type has",
    records.BAD_TRAILER: "a block of {total} bytes does not end with its length",
    records.FRAME_TOO_LONG: "a block of {total} bytes has a frame longer than frames are",
    records.FRAME_OUTSIDE_BLOCK: "a block of {total} bytes says its frame is longer than itself",
    records.NO_INTERFACE: "a block of {total} bytes has a frame of an interface that is not there",
}


def recognises(begin: bytes) -> bool:
    """Return whether a file that begins with these bytes is a pcapng file."""
    return begin.startswith(_SECTION_MARK)


class _Interfaces:
    """The interfaces of a section, in the order of their ids."""

    def __init__(self) -> None:
        self._table = np.zeros((4, records.INTERFACE_NUMBERS), np.int64)
        self._link_numbers: list[int] = []
        self._names: list[str | None] = []
        self._names_so_far: tuple[str | None, ...] = ()

    def __len__(self) -> int:
        return len(self._names)

    def add(self, link_number: int, snap_len: int, options: dict[int, bytes], order: str) -> None:
        if len(self) == len(self._table):
            self._table = np.concatenate([self._table, np.zeros_like(self._table)])
        link_type = link_types.decoded(link_number)
        resolution = options.get(_IF_TSRESOL, b"")
        offset = options.get(_IF_TSOFFSET, b"")
        self._table[len(self)] = (
            -1 if link_type is None else link_type,
            most_frame_bytes(snap_len, link_type is not None),
            snap_len,
            *records.clock(
                resolution[0] if len(resolution) == 1 else _MICROSECONDS,
                struct.unpack(f"{order}q", offset)[0] if len(offset) == 8 else 0,
            ),
            0,
        )
        name = options.get(_IF_NAME, b"").split(b"\0")[0].decode(errors="backslashreplace")
        self._link_numbers.append(link_number)
        self._names.append(name or None)

    def rows(self) -> memoryview:
        """Return the numbers of the interfaces as a scan takes them."""
        return self._table[: len(self)].reshape(-1).data

    def link_types(self, interfaces: NDArray[np.uint16]) -> NDArray[np.uint16]:
        """Return the link types of interfaces."""
        return self._table[:, 0].take(interfaces).astype(np.uint16)

    def names(self) -> tuple[str | None, ...]:
        """Return the names by interface id, None for those that have none."""
        if len(self._names_so_far) != len(self._names):
            self._names_so_far = tuple(self._names)
        return self._names_so_far

    def refused(self) -> Counter[str]:
        """Return how many frames were refused, by link type."""
        found: Counter[str] = Counter()
        for number, count in zip(self._link_numbers, self._table[:, -1].tolist(), strict=False):
            if count:
                found[link_types.name(number)] += count
        return found


class PcapngFormat:
    """Makes batches of the blocks of a file."""

    def __init__(self, batch_frames: int) -> None:
        self._batch_frames = batch_frames
        self._refused: Counter[str] = Counter()
        self._order = "<"
        self._interfaces = _Interfaces()
        self._scan = records.BlockScan(False, 0)

    @property
    def frames(self) -> int:
        """How many frames were found so far, refused ones among them."""
        return self._scan.number

    def batches(self, window: Window) -> Iterator[FrameBatch]:
        """Take the whole blocks that are in a window.

        Raises:
            Damage: after them comes something that is no block.
        """
        goes_on = True
        while goes_on:
            arrays = FrameArrays(self._batch_frames, window.left)
            reason = self._scan.scan(
                window.data, window.position, window.end, self._interfaces.rows(), arrays.columns()
            )
            window.position = self._scan.position
            if self._scan.count:
                yield self._batch(arrays, window)
            if reason >= records.DAMAGE:
                raise _damage(window, _DAMAGES[reason].format(total=self._total(window)))
            goes_on = reason == records.IS_FULL
            if reason == records.IS_HEADER:
                goes_on = self._take_header(window)

    def refused(self) -> Counter[str]:
        """Return how many frames are not in batches, by link type."""
        return self._refused + self._interfaces.refused()

    def unfinished(self, window: Window) -> str:
        """Say what the rest of a window would be if the file went on."""
        if window.left < _BLOCK_HEADER_BYTES:
            return f"a block's header, with {window.left} of {_BLOCK_HEADER_BYTES} bytes"
        return f"a block, with {window.left} of {self._total(window)} bytes"

    def _batch(self, arrays: FrameArrays, window: Window) -> FrameBatch:
        count = self._scan.count
        kinds = self._interfaces.link_types(arrays.interfaces[:count])
        return arrays.batch(count, window.data, kinds, self._interfaces.names())

    def _total(self, window: Window) -> int:
        """Return the length of the block that begins a window, in the order of its section."""
        order = self._order
        if window.data[window.position : window.position + 4] == _SECTION_MARK:
            mark = bytes(window.data[window.position + 8 : window.position + 12])
            if mark not in _ORDERS:
                raise _damage(window, "a section begins that has neither byte order")
            order = _ORDERS[mark]
        total: int = struct.unpack_from(f"{order}I", window.data, window.position + 4)[0]
        return total

    def _take_header(self, window: Window) -> bool:
        """Take a section's or an interface's block; False: not all of it is there."""
        total = self._total(window)
        is_section = window.data[window.position : window.position + 4] == _SECTION_MARK
        least = _LEAST_SECTION_BYTES if is_section else _LEAST_INTERFACE_BYTES
        if total < least or total % 4 or total > records.MOST_RECORD_BYTES:
            raise _damage(window, _DAMAGES[records.BAD_BLOCK_LENGTH].format(total=total))
        if window.left < total:
            return False
        block = bytes(window.data[window.position : window.position + total])
        if is_section:
            self._take_section(window, block)
        else:
            self._take_interface(window, block)
        window.position += total
        return True

    def _take_section(self, window: Window, block: bytes) -> None:
        order = _ORDERS[block[8:12]]
        major, minor = struct.unpack_from(f"{order}2H", block, 12)
        if (major, minor) not in _VERSIONS:
            raise _damage(window, f"pcapng version {major}.{minor} cannot be read")
        if block[-4:] != block[4:8]:
            raise _damage(window, _DAMAGES[records.BAD_TRAILER].format(total=len(block)))
        self._refused = self.refused()
        self._order = order
        self._interfaces = _Interfaces()
        self._scan = records.BlockScan(order == ">", self._scan.number)

    def _take_interface(self, window: Window, block: bytes) -> None:
        if len(self._interfaces) == _MOST_INTERFACES:
            raise _damage(window, f"a section has more than {_MOST_INTERFACES} interfaces")
        link_number, snap_len = struct.unpack_from(f"{self._order}H2xI", block, 8)
        try:
            options = _options(block[16:-4], self._order)
        except ValueError as error:
            raise _damage(window, str(error)) from None
        self._interfaces.add(link_number, snap_len, options, self._order)


def _damage(window: Window, text: str) -> Damage:
    return Damage(window.offset(window.position), text)


def _options(body: bytes, order: str) -> dict[int, bytes]:
    """Return the options of an interface that are used, the first of each kind (section 3.5)."""
    found: dict[int, bytes] = {}
    at = 0
    while len(body) - at >= 4:
        code, size = struct.unpack_from(f"{order}2H", body, at)
        at += 4
        if code == _END_OF_OPTIONS:
            break
        if size > len(body) - at:
            raise ValueError(f"an option of {size} bytes stands in a block with {len(body) - at}")
        if code in (_IF_NAME, _IF_TSRESOL, _IF_TSOFFSET):
            found.setdefault(code, body[at : at + size])
        at += size + -size % 4
    return found
