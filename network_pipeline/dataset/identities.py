"""Which frames the rows of a dataset file are: session and number of each, read as a stream.

CSV is read in blocks of whole lines. Commas are counted on arrays of bytes, since a line with a
wrong number of cells must not shift the lines after it; only lines with a quote go through
:mod:`csv`. Of the good lines polars reads the first three cells. Half a line at the end, lines of
another shape and rows that name no frame are counted and left out. Parquet gives its columns.

A file may be in writing: what it held when it was opened is read, which are whole lines
(:mod:`network_pipeline.dataset.lease`).
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from network_pipeline.dataset.writers import HEADER, errors_of
from network_pipeline.range_sets import Numbers
from network_pipeline.schema import COLUMN_NAMES, SCHEMA_VERSION

#: Bytes of CSV that are read at once. A line that is longer is an error.
BLOCK_BYTES = 8 * 1024 * 1024

#: Rows of Parquet that are read at once.
BLOCK_ROWS = 65_536

#: The columns that identify a frame, which are the first three.
IDENTITY = {"source": pl.String, "session": pl.String, "frame_number": pl.UInt64}

_TORN = "bytes of a torn last line"
_CELLS = f"lines without {len(COLUMN_NAMES)} cells"
_NAMELESS = "rows that name no frame"

_EMPTY = np.zeros(0, np.int64)


class SessionPart(NamedTuple):
    """The rows of one session in a block: their numbers, and their places in the block."""

    source: str
    session: str
    numbers: Numbers
    places: NDArray[np.uint32]


@dataclass
class Block:
    """Some rows of a file, as they stand there.

    ``identity`` has the columns of :data:`IDENTITY`, and ``place``: which of the block's lines, or
    of the rows of its ``table``, it is. ``text`` holds the lines, which end at ``ends``.
    """

    identity: pl.DataFrame
    text: memoryview = field(default_factory=lambda: memoryview(b""))
    ends: NDArray[np.int64] = field(default_factory=lambda: _EMPTY)
    table: pa.Table | None = None

    def by_session(self) -> Iterator[SessionPart]:
        """Yield the rows by session."""
        for _, rows in self.identity.group_by("session", maintain_order=True):
            source, session = rows.row(0)[:2]
            numbers, places = rows["frame_number"].to_numpy(), rows["place"].to_numpy()
            yield SessionPart(source or "", session, numbers, places)

    def lines(self, places: NDArray[np.uint32]) -> bytes:
        """Return the lines at these places, in this order."""
        ends = self.ends[places]
        begins = np.append(0, self.ends)[places]
        pairs = zip(begins.tolist(), ends.tolist(), strict=True)
        return b"".join(self.text[begin:end] for begin, end in pairs)


class IdentityReader:
    """Reads the rows of a file block by block; ``problems`` says what is wrong with what was read.

    ``size`` is that of the file in bytes, known once it is open; ``progress`` is called with the
    number of bytes that each block took. With ``is_whole`` blocks of Parquet have all columns.
    """

    def __init__(
        self,
        path: Path,
        *,
        is_whole: bool = False,
        progress: Callable[[int], object] = lambda _taken: None,
    ) -> None:
        self.path = path
        self.size = 0
        self._is_whole = is_whole
        self._progress = progress
        self._counts: Counter[str] = Counter()
        self._refusals: list[str] = []

    @property
    def problems(self) -> list[str]:
        """What is wrong, apart from a torn last line, one text for each kind."""
        counted = (f"{n:,} {what}" for what, n in self._counts.items() if n and what != _TORN)
        return [*self._refusals, *counted]

    @property
    def torn_bytes(self) -> int:
        """How many bytes of half a line are at the end."""
        return self._counts[_TORN]

    def blocks(self, offset: int = 0) -> Iterator[Block]:
        """Yield the rows; of CSV those after ``offset`` bytes, where a line must begin.

        Raises:
            DatasetError: the file cannot be opened or read.
        """
        with errors_of(self.path), self.path.open("rb") as file:
            self.size = os.fstat(file.fileno()).st_size
            if self.path.suffix == ".parquet":
                yield from self._parquet_blocks(file)
            elif self._has_header(file) and self._begins_line(file, offset):
                yield from self._csv_blocks(file, max(offset, len(HEADER)))

    # -- CSV

    def _has_header(self, file: BinaryIO) -> bool:
        first = file.read(len(HEADER))
        if first == HEADER:
            return True
        if HEADER.startswith(first):  # a processor died while it began the file: no rows
            self._counts[_TORN] += len(first)
        else:
            self._refusals.append(
                f"its first line does not name the {len(COLUMN_NAMES)} columns of this schema"
            )
        return False

    def _begins_line(self, file: BinaryIO, offset: int) -> bool:
        if offset <= len(HEADER):
            return True
        file.seek(offset - 1)
        if offset <= self.size and file.read(1) == b"\n":
            return True
        self._refusals.append(f"no line begins at byte {offset}")
        return False

    def _csv_blocks(self, file: BinaryIO, offset: int) -> Iterator[Block]:
        file.seek(offset)
        left, rest = self.size - offset, b""
        while left > 0:
            read = file.read(min(left, BLOCK_BYTES))
            if not read or len(rest) > BLOCK_BYTES:
                reason = "has a line of more than" if read else "grew shorter while it was read at"
                self._refusals.append(f"{reason} {len(rest)} bytes, at byte {self.size - left}")
                return
            left -= len(read)
            text = rest + read
            end = text.rfind(b"\n") + 1
            if end:
                yield self._csv_block(memoryview(text)[:end])
            rest = text[end:]
            self._progress(len(read))
        self._counts[_TORN] += len(rest)

    def _csv_block(self, text: memoryview) -> Block:
        octets = np.frombuffer(text, np.uint8)
        ends = np.flatnonzero(octets == ord("\n")) + 1
        commas = np.searchsorted(np.flatnonzero(octets == ord(",")), ends)
        cells = np.diff(commas, prepend=0) + 1
        quotes = np.flatnonzero(octets == ord('"'))
        quoted = np.unique(np.searchsorted(ends, quotes, side="right"))
        block = Block(pl.DataFrame(), text, ends)
        parsed = {place: _cells(block.lines(np.array([place]))) for place in quoted.tolist()}
        cells[quoted] = [len(values) for values in parsed.values()]
        is_good = cells == len(COLUMN_NAMES)
        self._counts[_CELLS] += int(np.count_nonzero(~is_good))
        block.identity = self._named(_identity(block, is_good, parsed))
        return block

    def _named(self, identity: pl.DataFrame) -> pl.DataFrame:
        numbers = pl.col("frame_number").cast(pl.UInt64, strict=False)
        named = identity.with_columns(numbers).filter(
            (pl.col("frame_number") > 0) & (pl.col("session") != "")
        )
        self._counts[_NAMELESS] += len(identity) - len(named)
        return named

    # -- Parquet

    def _parquet_blocks(self, file: BinaryIO) -> Iterator[Block]:
        try:
            source = pq.ParquetFile(file)
            yield from self._row_groups(source)
        except (pa.ArrowInvalid, pa.ArrowException) as error:
            self._refusals.append(f"damaged: {str(error).splitlines()[0]:.200}")

    def _row_groups(self, source: pq.ParquetFile) -> Iterator[Block]:
        schema = (source.metadata.metadata or {}).get(b"schema", b"").decode(errors="replace")
        if tuple(source.schema_arrow.names) != COLUMN_NAMES or schema != SCHEMA_VERSION:
            self._refusals.append(
                f"its schema is {schema or 'not named'}, that of this program {SCHEMA_VERSION}"
            )
            return
        rows = source.metadata.num_rows
        columns = None if self._is_whole else list(IDENTITY)
        for batch in source.iter_batches(BLOCK_ROWS, columns=columns):
            table = pa.Table.from_batches([batch])
            identity = pl.from_arrow(table.select(list(IDENTITY)))
            assert isinstance(identity, pl.DataFrame)
            identity = identity.cast(pl.Schema(IDENTITY)).with_row_index("place")
            yield Block(self._named(identity.select(*IDENTITY, "place")), table=table)
            self._progress(self.size * batch.num_rows // rows)


def _cells(line: bytes) -> list[str]:
    """Return the cells of a line that has quotes; none where it is not CSV."""
    try:
        [cells] = csv.reader([line.decode()], strict=True)
    except (csv.Error, UnicodeDecodeError, ValueError):
        return []
    return cells


def _identity(
    block: Block, is_good: NDArray[np.bool_], parsed: dict[int, list[str]]
) -> pl.DataFrame:
    """Return the first cells of the good lines as text; ``parsed`` has those with quotes."""
    is_plain = is_good.copy()
    is_plain[list(parsed)] = False
    places = np.flatnonzero(is_plain).astype(np.uint32)
    text = block.text if is_plain.all() else block.lines(places)
    plain = _first_cells(bytes(text)).with_columns(place=pl.Series(places, dtype=pl.UInt32))
    rows = [(*cells[:3], place) for place, cells in parsed.items() if is_good[place]]
    if not rows:
        return plain
    return pl.concat([plain, pl.DataFrame(rows, plain.schema, orient="row")]).sort("place")


def _first_cells(lines: bytes) -> pl.DataFrame:
    schema = dict.fromkeys(IDENTITY, pl.String)
    if not lines:
        return pl.DataFrame(schema=schema)
    cells = pl.read_csv(
        lines,
        has_header=False,
        columns=list(range(len(IDENTITY))),
        infer_schema=False,
        quote_char=None,
        encoding="utf8-lossy",
    )
    cells.columns = list(IDENTITY)
    return cells
