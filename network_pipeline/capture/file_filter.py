"""A filter for the frames of capture files, as tcpdump writes it (man pcap-filter).

Each link type has a program of its own, compiled when its first frame comes. A link type that a
filter cannot be compiled for, such as bare IP for ``ether host``, has no frames that the filter
selects and none that it leaves out: they are refused, by name, and whoever reads must say so. That
``arp`` matches nothing in bare IP is known, however.

The header of BSD loopback is in the byte order of the host that captured. As in the decoder, each
frame tells which one that is.

What the broadcast addresses of a network are is not in a file, so ``ip broadcast`` is no filter for
one. (tcpdump takes it, as if no network had any.)
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from network_pipeline.capture import bpf
from network_pipeline.capture.libpcap import REJECT, Program, compile_for_files
from network_pipeline.errors import CaptureError, UsageError
from network_pipeline.frames import FrameBatch, LinkType

#: What libpcap compiles to for files: all of classic BPF but what it does not run itself.
_KNOWN_CODES = frozenset(
    [
        *(0x00, 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x60, 0x80),  # load the accumulator
        *(0x01, 0x61, 0x81, 0xB1),  # load the index
        *(0x02, 0x03, 0x07, 0x87),  # store or move
        *(code for code in range(0x04, 0xB4, 0x08) if code != 0x8C),  # compute; 0x8C is none
        *(0x05, 0x15, 0x1D, 0x25, 0x2D, 0x35, 0x3D, 0x45, 0x4D),  # jump
        *(0x06, 0x16),  # return
    ]
)

_FAMILY_BYTES = 4  # of the header of BSD loopback

_log = logging.getLogger(__name__)


class Selection(NamedTuple):
    """What a filter made of a batch: the frames to keep, and how many it left out or refused.

    Refused ones are counted by their link type's name.
    """

    batch: FrameBatch
    filtered: int
    refused: Counter[str]


class FileFilter:
    """Selects frames of batches, of several at once if there are threads.

    ``problems`` has a line for each link type that frames were refused of.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.problems: list[str] = []
        self._programs: dict[int, NDArray[np.uint32] | None] = {}
        self._lock = threading.Lock()

    def check(self) -> None:
        """Compile the filter for some link type, Ethernet before others.

        Raises:
            UsageError: it is no filter, or no frame can match it; libpcap's words are quoted.
        """
        problems = []
        for link_type in sorted(LinkType, key=lambda each: each is not LinkType.ETHERNET):
            try:
                program = compile_for_files(self.text, link_type)
            except CaptureError as error:
                problems.append(str(error))
                continue
            if program == (REJECT,):
                problems.append(f"filter {self.text!r}: no frame can match it")
                break
            return
        raise UsageError(problems[0])

    def select(self, batch: FrameBatch) -> Selection:
        """Return which frames the filter selects."""
        kept = np.zeros(len(batch), np.uint8)
        refused: Counter[str] = Counter()
        kinds = _kinds(batch)
        for kind in np.unique(kinds).tolist():
            rows = np.flatnonzero(kinds == kind)
            program = self._program(kind)
            if program is None:
                refused[_name(kind)] += len(rows)
            else:
                kept[rows] = _verdicts(program, batch, rows)
        chosen = np.flatnonzero(kept)
        filtered = len(batch) - len(chosen) - refused.total()
        kept_all = len(chosen) == len(batch)
        return Selection(batch if kept_all else batch.take(chosen), filtered, refused)

    def _program(self, kind: int) -> NDArray[np.uint32] | None:
        """Return the program for frames of a kind, None where there is none."""
        with self._lock:
            if kind not in self._programs:
                self._programs[kind] = self._compiled(kind)
            return self._programs[kind]

    def _compiled(self, kind: int) -> NDArray[np.uint32] | None:
        link_type, big_endian = _link_type(kind)
        try:
            return _rows(compile_for_files(self.text, link_type, big_endian=big_endian))
        except CaptureError as error:
            problem = f"frames of link type {_name(kind)} are refused: {error}"
            _log.error("%s", problem)
            self.problems.append(problem)
            return None


def _rows(program: Program) -> NDArray[np.uint32]:
    unknown = {instruction.code for instruction in program} - _KNOWN_CODES
    if unknown:
        raise CaptureError(f"libpcap's instruction {min(unknown):#x} is not known here")
    return np.array(program, np.uint32)


# -- kinds of frames -------------------------------------------------------------------------------

# A kind is twice the number of a link type, and one more where its header is big-endian.


def _link_type(kind: int) -> tuple[LinkType, bool]:
    return LinkType(kind >> 1), bool(kind & 1)


def _name(kind: int) -> str:
    link_type, _ = _link_type(kind)
    return f"{link_type.name} ({link_type.value})"


def _kinds(batch: FrameBatch) -> NDArray[np.uint32]:
    kinds = batch.link_types.astype(np.uint32) << np.uint32(1)
    whole = (batch.link_types == LinkType.NULL) & (batch.lengths >= _FAMILY_BYTES)
    rows = np.flatnonzero(whole)
    if len(rows):
        data = np.frombuffer(batch.buffer, np.uint8)
        heads = data[batch.offsets[rows, np.newaxis] + np.arange(_FAMILY_BYTES)]
        kinds[rows] |= heads.view(">u4")[:, 0] < heads.view("<u4")[:, 0]
    return kinds


def _verdicts(
    program: NDArray[np.uint32], batch: FrameBatch, rows: NDArray[np.intp]
) -> NDArray[np.uint8]:
    verdicts = np.empty(len(rows), np.uint8)
    bpf.select(
        program.data,
        memoryview(batch.buffer).cast("B"),
        batch.offsets[rows].data,
        batch.lengths[rows].data,
        batch.wire_lens[rows].data,
        verdicts.data,
    )
    return verdicts
