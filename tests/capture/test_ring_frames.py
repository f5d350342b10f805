"""The walk over a block, compiled and interpreted, on blocks that are written here."""

from __future__ import annotations

import struct
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from network_pipeline.capture import ring_frames
from network_pipeline.capture.ring_frames import Columns
from tests.decode import interpreted

_HEADER = struct.Struct("=6I2H I I H 10x")  # struct tpacket3_hdr
_ADDRESS = struct.Struct("=H2xiH10x")  # struct sockaddr_ll
_FRAME_AT = 80
_VLAN_VALID, _VLAN_TYPE_VALID = 1 << 4, 1 << 6

FRAMES = [
    (bytes(range(60)), 60, 0, 0, 0),
    (bytes(range(100, 114)), 1514, _VLAN_VALID | _VLAN_TYPE_VALID, 0xE123, 0x88A8),
    (bytes(range(50)), 50, _VLAN_VALID, 0x0064, 0),
    (b"cut", 90, _VLAN_VALID, 1, 0),
    (b"", 70, 0, 0, 0),
]


def block() -> bytearray:
    """Return a block with :data:`FRAMES` from byte 48 on, the last with no next one."""
    written = bytearray(48)
    for number, (data, wire_len, status, tag, kind) in enumerate(FRAMES):
        size = -(-(_FRAME_AT + len(data)) // 16) * 16
        following = size if number + 1 < len(FRAMES) else 0
        header = _HEADER.pack(following, 1_700_000_000 + number, 999_999_999 - number, len(data),
                              wire_len, status | 1, _FRAME_AT, 0, 0, tag, kind)  # fmt: skip
        address = _ADDRESS.pack(17, 7 + number, 772 if number else 1)
        written += (header + address).ljust(_FRAME_AT, b"\xee") + data.ljust(size - _FRAME_AT)
    return written


@pytest.mark.parametrize("module", [ring_frames, interpreted.module(ring_frames)])
def test_a_block_is_walked(module: ModuleType) -> None:
    data = memoryview(block())
    count = len(FRAMES)
    arrays: list[Any] = [
        np.zeros(count, kind)
        for kind in (np.int64, np.uint32, np.uint32, np.int64, np.uint32, np.uint16)
    ]
    columns = Columns(*(array.data for array in arrays))
    assert module.walk(data, data.cast("I"), data.cast("H"), 48, columns) == 3
    offsets, lengths, wire_lens, times_ns, devices, hardware_types = (
        array.tolist() for array in arrays
    )
    found = [bytes(data[at : at + size]) for at, size in zip(offsets, lengths, strict=True)]
    tagged, untyped = FRAMES[1][0], FRAMES[2][0]
    assert found == [
        FRAMES[0][0],
        tagged[:12] + b"\x88\xa8\xe1\x23" + tagged[12:],
        untyped[:12] + b"\x81\x00\x00\x64" + untyped[12:],
        b"cut",
        b"",
    ]
    assert wire_lens == [60, 1518, 54, 94, 70]
    assert times_ns == [
        (1_700_000_000 + number) * 10**9 + 999_999_999 - number for number in range(count)
    ]
    assert devices == [7, 8, 9, 10, 11]
    assert hardware_types == [1, 772, 772, 772, 772]


def test_the_places_of_the_kernels_structures() -> None:
    assert (_HEADER.size, _ADDRESS.size) == (48, 20)


@pytest.mark.parametrize("module", [ring_frames, interpreted.module(ring_frames)])
def test_a_list_that_leads_out_of_the_block_is_no_crash(module: ModuleType) -> None:
    data = memoryview(block())
    data.cast("I")[12] = 1 << 20
    arrays: list[Any] = [
        np.zeros(2, kind)
        for kind in (np.int64, np.uint32, np.uint32, np.int64, np.uint32, np.uint16)
    ]
    columns = Columns(*(array.data for array in arrays))
    with pytest.raises(IndexError):
        module.walk(data, data.cast("I"), data.cast("H"), 48, columns)
