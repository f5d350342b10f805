"""The bytes of a capture file or a pipe, decompressed, put into memory that the caller gives."""

from __future__ import annotations

from collections.abc import Iterator

from network_pipeline.capture.compression import (
    MARK_BYTES,
    PIECE_BYTES,
    CompressionDamage,
    compression_of,
    decompressed,
)
from network_pipeline.capture.raw_file import RawFile


class StreamDamage(Exception):
    """The bytes end here, before their end; the text says why."""


class ByteStream:
    """What is in an open file."""

    def __init__(self, file: RawFile) -> None:
        self._file = file
        self._begin = b""
        self._is_recognised = False
        self._made: Iterator[bytes | None] | None = None
        self._rest = memoryview(b"")

    def read_into(self, room: memoryview) -> int | None:
        """Fill the beginning of ``room``; return how many bytes, 0 at the end.

        None: a pipe had nothing for a while.

        Raises:
            StreamDamage: the file is cut, damaged or cannot be read from here on.
        """
        try:
            if not self._is_recognised and not self._recognise():
                return None
            if not self._rest and self._made is None:
                return self._file.read_into(room)
            if not self._rest and self._made is not None:
                made = next(self._made, b"")
                if made is None:
                    return None
                self._rest = memoryview(made)
        except CompressionDamage as error:
            raise StreamDamage(str(error)) from None
        except OSError as error:
            raise StreamDamage(f"cannot be read: {error.strerror}") from None
        size = min(len(room), len(self._rest))
        room[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size

    def _recognise(self) -> bool:
        """See whether the bytes are compressed; False: too few have come to tell."""
        piece = self._file.read(MARK_BYTES - len(self._begin))
        self._begin += piece or b""
        if piece is None or (piece and len(self._begin) < MARK_BYTES):
            return False
        self._is_recognised = True
        compression = compression_of(self._begin)
        if compression:
            self._made = decompressed(compression, self._pieces, twice=self._file.is_seekable)
        else:
            self._rest = memoryview(self._begin)
        return True

    def _pieces(self) -> Iterator[bytes | None]:
        """Yield what is in the file from its beginning, None where a pipe has nothing now."""
        if self._file.is_seekable:
            self._file.rewind()
        else:
            yield self._begin
        while (piece := self._file.read(PIECE_BYTES)) != b"":
            yield piece
