"""A dataset from its inputs to its directory: rows, audit, report, card and manifest."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from network_pipeline import places
from network_pipeline.dataset.ledger_files import COMPLETE_ENDINGS
from network_pipeline.labelled import manifest, report, rules_file
from network_pipeline.labelled.audit import Audit, as_json, audit
from network_pipeline.labelled.dataset import open_dataset
from network_pipeline.labelled.prepare import Plan, Preparation
from network_pipeline.labelled.tables import open_tables
from network_pipeline.labelled.whole_directory import (
    MANIFEST,
    SentDirectory,
    WholeDirectory,
)

AUDIT, REPORT, CARD = "audit.json", "report.html", "README.md"


class Inputs(NamedTuple):
    """What a dataset is made of: files of rows, who made them, and the rules file."""

    files: Sequence[str]
    form: str
    labels: Path


def make(target: str, inputs: Inputs, plan: Plan, address: str = "") -> Audit:
    """Make a dataset, which appears as a whole; return what its audit found.

    ``target`` is a directory here or elsewhere, ``address`` that of a cluster, if any.

    Raises:
        UsageError: the inputs, the rules and the plan do not fit each other.
        DatasetError: the dataset cannot be written.
        NetworkPipelineError: the cluster cannot be reached.
    """
    is_remote = places.is_remote(target)
    rules = rules_file.load(inputs.labels)
    names = places.expand(inputs.files, COMPLETE_ENDINGS)
    tables = open_tables(names, inputs.form, address)
    made = Preparation(tables, inputs.form, rules, plan)
    made.check()
    name = places.last(places.directory(target))
    with SentDirectory(target) if is_remote else WholeDirectory(Path(target)) as directory:
        stage = places.directory(target) if is_remote and address else str(directory.path)
        with _staged(f"{stage}/_staged") as stage:
            made.run(directory.path, stage, address)
            _fetch(made.parts, stage, directory.path)
        said = manifest.prepared(name, tables, rules, plan, made)
        dataset = open_dataset(directory.path, said)
        audited = audit(dataset)
        directory.write(AUDIT, as_json(audited))
        directory.write(REPORT, report.page(dataset, audited))
        directory.write(CARD, report.card(dataset, audited))
        directory.write(MANIFEST, manifest.croissant(directory.path, said))
    return audited


def _fetch(parts: Sequence[str], stage: str, directory: Path) -> None:
    """Bring the part files here that workers have written elsewhere: they are audited."""
    base = places.directory(stage)
    for name in parts if places.is_remote(stage) else ():
        path = directory / name.removeprefix(f"{base}/")
        path.parent.mkdir(parents=True, exist_ok=True)
        with places.fetched(name) as copy:
            shutil.move(copy, path)


@contextmanager
def _staged(name: str) -> Iterator[str]:
    """Yield where rows can wait; what is there goes away at the end."""
    try:
        yield name
    finally:
        if places.is_remote(name):
            for each in places.under(name):
                places.remove(each)
        else:
            shutil.rmtree(name, ignore_errors=True)
