"""A dataset from its inputs to its directory: rows, audit, report, card and manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from network_pipeline.labelled import manifest, report, rules_file
from network_pipeline.labelled.audit import Audit, as_json, audit
from network_pipeline.labelled.dataset import open_dataset
from network_pipeline.labelled.prepare import Plan, Preparation
from network_pipeline.labelled.tables import open_tables
from network_pipeline.labelled.whole_directory import MANIFEST, WholeDirectory

AUDIT, REPORT, CARD = "audit.json", "report.html", "README.md"


class Inputs(NamedTuple):
    """What a dataset is made of: files of rows, who made them, and the rules file."""

    files: Sequence[str]
    form: str
    labels: Path


def make(target: Path, inputs: Inputs, plan: Plan) -> Audit:
    """Make a dataset, which appears as a whole; return what its audit found.

    Raises:
        UsageError: the inputs, the rules and the plan do not fit each other.
        DatasetError: the dataset cannot be written.
    """
    rules = rules_file.load(inputs.labels)
    tables = open_tables(inputs.files, inputs.form)
    made = Preparation(tables, rules, plan)
    made.check()
    with WholeDirectory(target) as directory:
        made.run(directory.path)
        said = manifest.prepared(target.name, tables, rules, plan, made)
        dataset = open_dataset(directory.path, said)
        audited = audit(dataset)
        directory.write(AUDIT, as_json(audited))
        directory.write(REPORT, report.page(dataset, audited))
        directory.write(CARD, report.card(dataset, audited))
        directory.write(MANIFEST, manifest.croissant(directory.path, said))
    return audited
