"""Rows of the test that a model has seen in training, to the digit or nearly.

A hash stands for the features of a row, so what is kept of all rows is eight bytes of each.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from network_pipeline.labelled.dataset import Dataset
from network_pipeline.labelled.findings import Finding, note, warning
from network_pipeline.labelled.splits import FOLDS
from network_pipeline.labelled.splitting import SPLIT

#: Share of test rows that have copies in training from where on it is a warning.
_MANY = 0.1

_TRAIN, _, _TEST = FOLDS


def findings_of(dataset: Dataset) -> Iterator[Finding]:
    """Look for rows that are alike, to the digit or nearly, in training and in test."""
    if not dataset.features:
        return
    alike = {
        "duplicates": pl.struct(dataset.features).hash(seed=1),
        "near duplicates": pl.struct(_coarse(dataset)).hash(seed=1),
    }
    for check, digest in alike.items():
        rows = dataset.rows.select(SPLIT, "label", digest.alias("digest")).collect()
        train = rows.filter(pl.col(SPLIT) == _TRAIN).select("digest").unique()
        test = rows.filter(pl.col(SPLIT) == _TEST)
        copies = test.join(train, on="digest", how="semi").height
        share = copies / test.height if test.height else 0.0
        text = f"{share:.1%} of test rows are alike one in training, {copies:,} rows"
        found = warning if share > _MANY else note
        yield found(check, "features", text, rows=copies, share=share)
        if check == "duplicates":
            yield _ceiling(rows)


def _coarse(dataset: Dataset) -> list[pl.Expr]:
    """Return features with numbers to half a power of two, so that nearly the same are the same."""
    schema = dataset.rows.collect_schema()
    numbers = [name for name in dataset.features if schema[name].is_numeric()]
    others = [pl.col(name) for name in dataset.features if name not in numbers]
    values = [pl.col(name).cast(pl.Float64) for name in numbers]
    return [*others, *(each.sign() * ((each.abs() + 1).log(2) * 2).round() for each in values)]


def _ceiling(rows: pl.DataFrame) -> Finding:
    """Say how many labelled rows a model can get right that knows features only."""
    counts = rows.drop_nulls("label").group_by("digest", "label").len()
    best = counts.group_by("digest").agg(pl.col("len").max())
    total, right = int(counts["len"].sum()), int(best["len"].sum())
    text = "rows alike in all features have the same label"
    if right < total:
        text = f"{total - right:,} rows are like more others with another label, in all features"
    return note(
        "duplicates", "labels", text, rows=total - right, best_accuracy=right / (total or 1)
    )
