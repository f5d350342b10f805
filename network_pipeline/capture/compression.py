"""gzip, zstd and xz, recognised by what a file begins with, decompressed piece by piece.

What comes out never depends on what a field in the file claims, only on what was asked for. A
decompressor that meets damage throws away all that it made of the piece it was given. So where the
file can be read twice, :func:`decompressed` does: up to that piece as before, and the piece byte by
byte, until nothing before the damage is missing. In a pipe, up to :data:`PIECE_BYTES` of compressed
bytes before it are lost with it.
"""

from __future__ import annotations

import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Compressed bytes read at a time, and most bytes that are made of them at a time.
PIECE_BYTES = 64 * 1024
MADE_BYTES = 1024 * 1024

#: No file gets more memory for its decompressor: xz -9 needs 65 MiB, zstd is limited to 128 MiB.
_XZ_MEMORY_BYTES = 256 * 1024 * 1024

#: Bytes that tell a compression; no capture file begins with them.
MARK_BYTES = 6
_ZSTD_MARK = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = [bytes([0x50 + low]) + b"\x2a\x4d\x18" for low in range(16)]


class CompressionDamage(Exception):
    """Compressed bytes that cannot be decompressed; the text says what is wrong with them."""


#: Compressed bytes as they come, None where a pipe has none now.
Pieces = Iterator["bytes | None"]


class Decompressor(Protocol):
    """One member (gzip), frame (zstd) or stream (xz) of a file, as in :mod:`lzma`."""

    @property
    def eof(self) -> bool:
        """Whether its end was reached."""

    @property
    def needs_input(self) -> bool:
        """Whether nothing more can be made of the bytes it was given."""

    @property
    def unused_data(self) -> bytes:
        """Bytes after its end."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return up to ``max_length`` bytes."""


class _Gzip:
    """zlib with the interface of :mod:`lzma`."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        made = self._inflate.decompress(self._inflate.unconsumed_tail + data, max_length)
        self.needs_input = len(made) < max_length
        return made


class Compression(NamedTuple):
    """A way of compression: its name, how its files begin, what decompresses it."""

    name: str
    marks: tuple[bytes, ...]
    new: Callable[[], Decompressor]


_COMPRESSIONS = (
    Compression("gzip", (b"\x1f\x8b\x08",), _Gzip),
    Compression("zstd", (_ZSTD_MARK, *_ZSTD_SKIPPABLE), zstd.ZstdDecompressor),
    Compression(
        "xz",
        (b"\xfd7zXZ\0",),
        lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES),
    ),
)
_ERRORS = (zlib.error, lzma.LZMAError, zstd.ZstdError)


def compression_of(begin: bytes) -> Compression | None:
    """Return how a file is compressed that begins with these bytes, None for not at all."""
    for compression in _COMPRESSIONS:
        if begin.startswith(compression.marks):
            return compression
    return None


def decompressed(
    compression: Compression, pieces: Callable[[], Pieces], *, twice: bool
) -> Iterator[bytes | None]:
    """Yield what is in ``pieces()``, at most :data:`MADE_BYTES` at a time; pass on None.

    ``twice`` says that the pieces can be had once more.

    Raises:
        CompressionDamage: the file is cut or damaged; everything before that was yielded.
    """
    made_bytes = 0
    counted = _Counted(pieces())
    try:
        for made in _members(compression, counted):
            made_bytes += len(made or b"")
            yield made
    except _ERRORS as error:
        if twice:
            careful = _careful(pieces(), counted.before_last)
            yield from _missing(compression, careful, made_bytes)
        raise CompressionDamage(f"the {compression.name} data is damaged: {error}") from None


def _missing(compression: Compression, pieces: Pieces, made_bytes: int) -> Iterator[bytes]:
    """Yield what lies before the damage and after the first ``made_bytes``."""
    try:
        for made in _members(compression, pieces):
            if made and made_bytes < len(made):
                yield made[made_bytes:]
            made_bytes = max(made_bytes - len(made or b""), 0)
    except _ERRORS:
        return


def _careful(pieces: Pieces, whole_bytes: int) -> Pieces:
    """Yield pieces as they come up to ``whole_bytes``, byte by byte from there on."""
    for piece in pieces:
        if piece is None or whole_bytes >= len(piece):
            whole_bytes -= len(piece or b"")
            yield piece
        else:
            yield piece[:whole_bytes]
            yield from (bytes([byte]) for byte in piece[whole_bytes:])
            whole_bytes = 0


class _Counted(Iterator["bytes | None"]):
    """Pieces, and how many bytes came before the last one."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self._bytes = 0
        self.before_last = 0

    def __next__(self) -> bytes | None:
        piece = next(self._pieces)
        if piece:
            self.before_last = self._bytes
            self._bytes += len(piece)
        return piece


def _members(compression: Compression, pieces: Pieces) -> Iterator[bytes | None]:
    """Yield what is in the members of a file, one after another, zeros between them left out."""
    member: Decompressor | None = None
    for piece in pieces:
        if piece is None:
            yield None
            continue
        rest = piece
        while rest:
            if member is None:
                rest = rest.lstrip(b"\0")
                member = compression.new() if rest else None
                continue
            yield from _made(member, rest)
            rest = member.unused_data if member.eof else b""
            member = None if member.eof else member
    if member is not None:
        raise CompressionDamage(f"the {compression.name} data is cut short")


def _made(member: Decompressor, piece: bytes) -> Iterator[bytes]:
    made = member.decompress(piece, MADE_BYTES)
    while made:
        yield made
        more = not member.eof and not member.needs_input
        made = member.decompress(b"", MADE_BYTES) if more else b""
