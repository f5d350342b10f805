"""Columns of packets as the arrays that :class:`.packets.Packets` reads.

Only ICMP errors and SCTP are asked for their payloads. IPv6 addresses are few in most batches, so
each that differs is read once.
"""

from __future__ import annotations

import socket
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from network_pipeline import arrow_arrays
from network_pipeline.decode.assembly import filled, memory, offsets_of
from network_pipeline.errors import DatasetError
from network_pipeline.flows.fields import READ_NUMBERS
from network_pipeline.flows.packets import Packets, ipv4_words, spread
from network_pipeline.frames import NO_TIME

#: Payload bytes that are looked at: the longest header of IPv4 that is quoted, and what follows.
PAYLOAD_BYTES = 128

_SCTP = 132
#: Columns and values of the rows that are asked for their payload.
ASKING = {
    "icmp_type": (3, 4, 5, 11, 12),
    "icmpv6_type": (1, 2, 3, 4),
    "ip_proto": (_SCTP,),
    "ipv6_proto": (_SCTP,),
}


def packets_of(batch: pa.RecordBatch, sessions: NDArray[np.int64]) -> Packets:
    """Return the packets of a batch, whose rows have these numbers of sessions.

    Raises:
        DatasetError: an address is none.
    """
    numbers = memory((len(READ_NUMBERS), batch.num_rows), np.int64)
    for place, name in enumerate(READ_NUMBERS):
        fill(numbers[place], batch.column(name), NO_TIME if name == "frame_time" else -1)
    words = filled((8, batch.num_rows), np.uint64, 0)
    for place, name in enumerate(("ip_src", "ip_dst")):
        _read_ipv4(batch.column(name), name, words[2 * place + 1])
    for place, name in enumerate(("ipv6_src", "ipv6_dst")):
        _read_ipv6(batch.column(name), name, words[4 + 2 * place : 6 + 2 * place])
    begins, payload = _payloads(batch, is_asking(numbers))
    return Packets(numbers.data, words.data, sessions.data, begins.data, payload.data)


def fill(out: NDArray[np.int64], array: pa.Array[Any], absent: int) -> None:
    """Copy numbers, with ``absent`` where they are null."""
    rows = len(array)
    if array.null_count == rows:
        out.fill(absent)
        return
    kind = "int64" if pa.types.is_timestamp(array.type) else str(array.type)
    values = arrow_arrays.values(array, kind)
    if array.null_count:
        bits = arrow_arrays.bitmap(array)
        spread(values.data, bits.data, array.offset, absent, out.data)
    else:
        np.copyto(out, values, casting="unsafe")


def is_asking(numbers: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which rows are asked for their payload, by numbers of all columns."""
    asking = np.zeros(numbers.shape[1], np.bool_)
    for name, values in ASKING.items():
        column = numbers[READ_NUMBERS.index(name)]
        for value in values:
            asking |= column == value
    return asking


def _read_ipv4(array: pa.Array[Any], name: str, words: NDArray[np.uint64]) -> None:
    if isinstance(array, pa.DictionaryArray):
        known = np.zeros(len(array.dictionary), np.uint64)
        _read_ipv4(array.dictionary, name, known)
        _choose(array, known[None], words[None])
    elif array.null_count < len(array):
        texts = arrow_arrays.octets(array)
        if wrong := ipv4_words(arrow_arrays.ends(array).data, texts.data, words.data):
            raise DatasetError(f"{name}: {wrong} rows hold no IPv4 address")


def _read_ipv6(array: pa.Array[Any], name: str, words: NDArray[np.uint64]) -> None:
    if array.null_count == len(array):
        return
    coded = array if isinstance(array, pa.DictionaryArray) else array.dictionary_encode()
    try:
        packed = [socket.inet_pton(socket.AF_INET6, text) for text in coded.dictionary.to_pylist()]
    except OSError:
        raise DatasetError(f"{name}: a row holds no IPv6 address") from None
    known = np.frombuffer(b"".join(packed), ">u8").reshape(-1, 2).astype(np.uint64)
    _choose(coded, known.T, words)


def _choose(
    coded: pa.DictionaryArray, known: NDArray[np.uint64], words: NDArray[np.uint64]
) -> None:
    """Put what is known of a dictionary's values where the rows have them."""
    if coded.null_count == len(coded):
        return
    choice = memory((len(coded),), np.int64)
    fill(choice, coded.indices, 0)
    for half, out in zip(known, words, strict=True):
        np.take(half, choice, out=out, mode="clip")


def _payloads(
    batch: pa.RecordBatch, asking: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Return where the payload of each row begins in bytes, and these; most rows have none."""
    sizes = np.zeros(batch.num_rows, np.int32)
    if not asking.any() or "raw_load" not in batch.schema.names:
        return offsets_of(sizes), np.zeros(1, np.uint8)
    bits = pa.py_buffer(np.packbits(asking, bitorder="little"))
    mask = pa.Array.from_buffers(pa.bool_(), batch.num_rows, [None, bits], 0)
    cut = pc.binary_slice(batch.column("raw_load").filter(mask), 0, PAYLOAD_BYTES)
    ends = arrow_arrays.ends(cut)
    sizes[asking] = np.diff(ends)
    return offsets_of(sizes), arrow_arrays.octets(cut)[ends[0] :]
