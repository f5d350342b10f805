"""Datasets of packets, CSV and Parquet, as record batches of the columns that flows are made of.

Payloads are the largest part of a dataset and hardly ever needed: a group of a Parquet file is read
without them unless it has an ICMP error or SCTP. Where all columns are asked for, they are those of
the schema, in its order.
"""

from __future__ import annotations

import binascii
import csv
import json
import logging
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq

from network_pipeline import arrow_arrays
from network_pipeline.dataset import ledger_files
from network_pipeline.dataset.ledger_files import COMPLETE_ENDINGS
from network_pipeline.dataset.partitions import is_part
from network_pipeline.decode.assembly import offsets_of
from network_pipeline.errors import DatasetError, UsageError
from network_pipeline.flows.columns import ASKING, fill
from network_pipeline.flows.fields import READ_NUMBERS, READ_TEXTS
from network_pipeline.flows.merging import merged
from network_pipeline.flows.recording import Recording
from network_pipeline.schema import COLUMN_NAMES, COLUMNS, arrow_schema

#: Columns of which a Parquet file has dictionaries, which are read as such.
_CODED = ("source", "session", "ip_src", "ip_dst", "ipv6_src", "ipv6_dst")

#: Rows of a batch.
_ROWS = 65_536
_CSV_BYTES = 1 << 24

_log = logging.getLogger(__name__)

_NEEDED = (*READ_TEXTS, *READ_NUMBERS)
_PAYLOAD = "raw_load"


def is_dataset(path: str) -> bool:
    """Return whether a file is a dataset by the ending of its name, and no capture file."""
    return Path(path).suffix in COMPLETE_ENDINGS


def check(paths: Sequence[str]) -> None:
    """See whether datasets are there and have the columns that flows are made of.

    Raises:
        UsageError: one is not there, cannot be read, is given twice, or lacks a column.
    """
    seen: dict[Path, str] = {}
    for path in paths:
        if other := seen.get(Path(path).resolve()):
            raise UsageError(f"{path} and {other} are one file: its packets would count twice")
        seen[Path(path).resolve()] = path
        lacking = [name for name in (*_NEEDED, _PAYLOAD) if name not in _names(path)]
        if lacking:
            raise UsageError(f"{path}: no dataset of packets, it lacks {', '.join(lacking[:3])}")


def together(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return files in groups, in the order of their first ones: those of a name are one input's.

    Partitions have a file of it in the directory of each day. Any other file is by itself.
    """
    found: dict[str, list[str]] = {}
    for name in names:
        last = name.rpartition("/")[2]
        found.setdefault(last if is_part(last) else name, []).append(name)
    return [tuple(files) for files in found.values()]


def read(
    paths: Sequence[str], recording: Recording, stop: threading.Event, *, all_columns: bool
) -> None:
    """Give a recording the rows of datasets, or those before ``stop`` is set.

    Those of one input are read together, in the order of their frames.

    Raises:
        DatasetError: one cannot be read, or rows cannot be written.
    """
    recording.facts |= facts(paths)
    for files in together(paths):
        for batch in merged([batches(path, all_columns=all_columns) for path in files]):
            if stop.is_set():
                _log.warning("stopped: the flows are those of the rows that were read until then")
                return
            recording.append(batch)


def facts(paths: Sequence[str]) -> dict[str, str]:
    """Return what Parquet files, and the ledgers beside files, say of where packets come from.

    Raises:
        DatasetError: one cannot be read.
    """
    said = [_said(path) for path in paths]
    files: dict[str, str] = {}
    losses: Counter[str] = Counter()
    for path, each in zip(paths, said, strict=True):
        files |= json.loads(each.get("files", "{}"))
        losses.update(ledger_files.losses(Path(path)))
        losses.update(json.loads(each.get("losses", "{}")))
    found = {
        **{name: _distinct(said, name, ",") for name in ("source", "sessions")},
        "files": json.dumps(files, ensure_ascii=False) if files else "",
        "losses": json.dumps(losses) if losses else "",
        **{name: _distinct(said, name, "; ") for name in ("filter", "payload")},
    }
    return {name: text for name, text in found.items() if text}


def _distinct(said: Sequence[Mapping[str, str]], name: str, separator: str) -> str:
    """Return the texts that files say under a name, each once."""
    texts = [text for each in said for text in each.get(name, "").split(separator) if text]
    return separator.join(dict.fromkeys(texts))


def _said(path: str) -> dict[str, str]:
    if Path(path).suffix != ".parquet":
        return {}
    try:
        metadata = pq.read_metadata(path).metadata or {}
        said = {key.decode(): value.decode() for key, value in metadata.items()}
        if not isinstance(json.loads(said.get("files", "{}")), dict):
            raise ValueError("its names of files are none")
        losses = json.loads(said.get("losses", "{}"))
        if not isinstance(losses, dict) or not all(type(n) is int for n in losses.values()):
            raise ValueError("its losses are no counts")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DatasetError(f"{path}: {str(error).splitlines()[0]}") from error
    return said


def batches(path: str, *, all_columns: bool) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a dataset in order; all columns, or those that flows are made of.

    Raises:
        DatasetError: it cannot be read.
    """
    try:
        if Path(path).suffix == ".csv":
            yield from _csv_batches(path, all_columns)
        else:
            yield from _parquet_batches(path, all_columns)
    except (OSError, pa.ArrowException, binascii.Error) as error:
        raise DatasetError(f"{path}: {str(error).splitlines()[0]}") from error


def _names(path: str) -> list[str]:
    try:
        if Path(path).suffix == ".csv":
            with open(path, newline="", encoding="utf-8") as file:
                return next(csv.reader(file), [])
        return list(pq.read_schema(path).names)
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise UsageError(f"cannot read {path}: {str(error).splitlines()[0]}") from None


# -- Parquet ---------------------------------------------------------------------------------------


def _parquet_batches(path: str, all_columns: bool) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(path, read_dictionary=list(_CODED)) as file:
        for group in range(file.metadata.num_row_groups):
            columns = list(COLUMN_NAMES if all_columns else _NEEDED)
            if not all_columns and _asks_for_payload(file, group):
                columns.append(_PAYLOAD)
            for batch in file.iter_batches(
                _ROWS, row_groups=[group], columns=columns, use_threads=False
            ):
                yield batch if not all_columns else batch.select(list(COLUMN_NAMES))


def _asks_for_payload(file: pq.ParquetFile, group: int) -> bool:
    rows = file.read_row_group(group, columns=list(ASKING), use_threads=False).combine_chunks()
    values = np.empty(rows.num_rows, np.int64)
    for name, asking in ASKING.items():
        for chunk in rows.column(name).chunks:
            fill(values[: len(chunk)], chunk, -1)
            if any((values[: len(chunk)] == value).any() for value in asking):
                return True
    return False


# -- CSV -------------------------------------------------------------------------------------------


def _csv_batches(path: str, all_columns: bool) -> Iterator[pa.RecordBatch]:
    types: dict[str, pa.DataType] = {
        column.name: field.type if column.type != "hex" else pa.string()
        for column, field in zip(COLUMNS, arrow_schema(), strict=True)
    }
    columns = list(COLUMN_NAMES if all_columns else (*_NEEDED, _PAYLOAD))
    options = pc_csv.ConvertOptions(
        column_types=types, include_columns=columns, null_values=[""], strings_can_be_null=True
    )
    read = pc_csv.ReadOptions(block_size=_CSV_BYTES)
    with pc_csv.open_csv(path, read_options=read, convert_options=options) as reader:
        for batch in reader:
            for first in range(0, batch.num_rows, _ROWS):
                yield _with_bytes(batch.slice(first, _ROWS))


def _with_bytes(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the rows with bytes where the CSV has hex."""
    hexes = {column.name for column in COLUMNS if column.type == "hex"}
    arrays = [
        _bytes_of(array) if name in hexes else array
        for name, array in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def _bytes_of(array: pa.Array[Any]) -> pa.Array[Any]:
    """Return hex texts as bytes; those that are null stay so."""
    if array.null_count == len(array):
        return pa.nulls(len(array), pa.binary())
    places = arrow_arrays.ends(array)
    if (np.diff(places) % 2).any():
        raise binascii.Error("a column of hex has a text of odd length")
    packed = binascii.unhexlify(arrow_arrays.octets(array)[places[0] : places[-1]].data)
    present = np.diff(places) > 0
    bitmap = pa.py_buffer(np.packbits(present, bitorder="little"))
    begins = pa.py_buffer(offsets_of((np.diff(places) // 2).astype(np.int32)))
    return pa.Array.from_buffers(pa.binary(), len(array), [bitmap, begins, pa.py_buffer(packed)])
