"""A finished dataset, opened to be audited or shown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs
import pyarrow as pa
import pyarrow.parquet as pq

from network_pipeline.errors import UsageError
from network_pipeline.labelled import parquet
from network_pipeline.labelled.splitting import ROWS, TRAINING
from network_pipeline.labelled.whole_directory import MANIFEST


@dataclass(frozen=True)
class Dataset:
    """All rows, the roles of their columns, the columns of the training view, the manifest."""

    rows: pl.LazyFrame
    roles: Mapping[str, str]
    view: Sequence[str]
    manifest: Mapping[str, Any]

    @property
    def features(self) -> list[str]:
        """The columns of the training view that are not labels."""
        return [name for name in self.view if self.roles.get(name) != "label"]

    @property
    def kept(self) -> list[str]:
        """The columns of the training view that are no features."""
        return [name for name in self.features if self.roles[name] != "feature"]


def open_dataset(directory: Path, manifest: Mapping[str, Any] | None = None) -> Dataset:
    """Open a dataset; ``manifest`` is given while it is being made and has no file yet.

    Raises:
        UsageError: there is none, or it is not whole.
    """
    try:
        if manifest is None:
            manifest = json.loads((directory / MANIFEST).read_text("utf-8"))["prepared"]
        schema, view = (
            pq.read_schema(next(iter(parquet.files(directory / name)), directory / name))
            for name in (ROWS, TRAINING)
        )
    except OSError as error:
        raise UsageError(f"{directory}: no dataset: {error.strerror}: {error.filename}") from None
    except (ValueError, KeyError, TypeError, pa.ArrowInvalid):
        raise UsageError(f"{directory}: no dataset of prepare-dataset, or a damaged one") from None
    roles = {column.name: (column.metadata or {})[b"role"].decode() for column in schema}
    rows = parquet.scan(directory / ROWS).with_columns(_joined(pl.List(pl.String)))
    return Dataset(rows, roles, view.names, manifest or {})


def _joined(kind: pl.List) -> pl.Expr:
    """Return lists, such as the first lengths of a flow, as texts: what can be told apart."""
    return cs.list().cast(kind).list.join(" ")
