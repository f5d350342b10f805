"""What is in a dataset and how it was made, for programs: Croissant metadata and our own facts.

Croissant (MLCommons, version 1.0) describes files and columns, so that libraries can load them.
What it has no words for stands under ``prepared``: inputs, rules and what they matched, the split,
roles, what was lost before. Nothing in it depends on when or where it was made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from network_pipeline import __version__, places
from network_pipeline.dataset import ledger_files
from network_pipeline.labelled import parquet, splits
from network_pipeline.labelled.prepare import Plan, Preparation
from network_pipeline.labelled.rules_file import RulesFile
from network_pipeline.labelled.splitting import ROWS, TRAINING
from network_pipeline.labelled.tables import Table

#: Facts of a table that a reader of the dataset may want.
_FACTS = ("source", "sessions", "filter", "payload", "schema")
#: Of those, the ones that name no host.
_HARMLESS = ("payload", "schema")

_PARQUET = "application/x-parquet"

#: The context of Croissant 1.0, as its specification gives it; ours is JSON that it leaves alone.
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{
        name: f"cr:{name}"
        for name in (
            *("citeAs", "column", "equivalentProperty", "extract", "field", "fileObject"),
            *("fileProperty", "fileSet"),
            *("format", "includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField"),
            *("path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate"),
            *("separator", "source", "subField", "transform"),
        )
    },
    "prepared": {"@id": "https://schema.org/additionalProperty", "@type": "@json"},
}


def prepared(
    name: str, tables: Sequence[Table], rules: RulesFile, plan: Plan, made: Preparation
) -> dict[str, Any]:
    """Return what was done to make a dataset.

    Raises:
        DatasetError: a ledger beside an input cannot be read, or is none.
    """
    labeller, counts = made.labeller, made.counts
    labelled = labeller.counts
    return {
        "name": name,
        "version": __version__,
        "kind": tables[0].kind,
        "inputs": [
            _input(table, counts.rows_of[table.name], _HARMLESS if plan.key else _FACTS)
            for table in tables
        ],
        "rows": {
            "read": counts.read,
            "duplicates": counts.duplicates,
            "written": counts.written,
            "unlabelled": labelled.unlabelled,
        },
        "labels": {"name": rules.name, "sha256": rules.sha256},
        "rules": [
            {
                **entry._asdict(),
                "matched": int(labelled.matched[place]),
                "decided": int(labelled.decided[place]),
            }
            for place, entry in enumerate(labeller.entries)
        ],
        "overlaps": [
            {"first": each.first.name, "other": each.other.name, "rows": each.rows}
            for each in labeller.overlaps()
        ],
        "alerts": [
            {
                "name": each.file.name,
                "file": each.file.path.name,
                "sha256": places.sha256(each.file.path),
                "alerts": each.count,
                "without_connection": each.without_connection,
            }
            for each in labeller.alerts
        ],
        "split": _split(plan.split, made),
        "columns": [{"name": column, "role": role} for column, role in made.roles.items()],
        "keep": list(plan.keep),
        "anonymized": plan.key is not None,
        "partitioned": plan.is_partitioned,
    }


def croissant(directory: Path, said: Mapping[str, Any]) -> str:
    """Return the manifest of a dataset whose files are in a directory, as JSON."""
    name = said["name"]
    files = {"rows": ROWS, "training": TRAINING}
    manifest = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": name,
        "description": f"Labelled {said['kind']} of network traffic, made by network-pipeline.",
        "distribution": [each for name in files.values() for each in _files(directory, name)],
        "recordSet": [_records(key, directory / name) for key, name in files.items()],
        "prepared": said,
    }
    return json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"


def _split(plan: splits.Plan, made: Preparation) -> dict[str, Any]:
    folds = made.counts.folds
    return {
        "by": plan.by,
        "fractions": dict(zip(splits.FOLDS, plan.fractions, strict=True)),
        "seed": plan.seed,
        "purge_seconds": plan.gap_ns / 1e9,
        "groups": made.groups.count,
        "rows": {fold: folds[fold] for fold in splits.FOLDS},
        "rows_in_none": folds[""],
    }


def _input(table: Table, rows: int, facts: Sequence[str]) -> dict[str, Any]:
    return {
        "name": places.last(table.name),
        "sha256": table.sha256,
        "bytes": table.bytes,
        "rows": rows,
        "facts": {name: table.facts[name] for name in facts if name in table.facts},
        "notes": list(table.notes),
        "losses": _losses(table),
    }


def _losses(table: Table) -> dict[str, int]:
    """Return the losses that a dataset, or the ledger beside it, tells."""
    if places.is_remote(table.name):
        return table.losses
    return table.losses + ledger_files.losses(Path(table.name))


def _files(directory: Path, name: str) -> Iterator[dict[str, Any]]:
    """Yield a table as Croissant has it: its file, or its part files and that they are a set."""
    for path in parquet.files(directory / name):
        place = str(path.relative_to(directory))
        yield {
            "@type": "cr:FileObject",
            "@id": place,
            "name": place,
            "contentUrl": place,
            "contentSize": f"{path.stat().st_size} B",
            "encodingFormat": _PARQUET,
            "sha256": places.sha256(path),
        }
    if (directory / name).is_dir():
        includes = f"{name}/**/*.parquet"
        known = {"@id": name, "name": name, "encodingFormat": _PARQUET, "includes": includes}
        yield {"@type": "cr:FileSet", **known}


def _records(key: str, path: Path) -> dict[str, Any]:
    source = {"fileSet" if path.is_dir() else "fileObject": {"@id": path.name}}
    return {
        "@type": "cr:RecordSet",
        "@id": key,
        "name": key,
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{key}/{column.name}",
                "name": column.name,
                "description": column.metadata[b"role"].decode(),
                **_data_type(column.type),
                "source": {**source, "extract": {"column": column.name}},
            }
            for column in pq.read_schema(parquet.files(path)[0])
        ],
    }


def _data_type(kind: pa.DataType) -> dict[str, Any]:
    if isinstance(kind, (pa.ListType, pa.LargeListType)):
        return {**_data_type(kind.value_type), "repeated": True}
    name = "sc:Text"
    if pa.types.is_integer(kind):
        name = "sc:Integer"
    elif pa.types.is_floating(kind):
        name = "sc:Float"
    elif pa.types.is_boolean(kind):
        name = "sc:Boolean"
    elif pa.types.is_timestamp(kind):
        name = "sc:DateTime"
    return {"dataType": name}
