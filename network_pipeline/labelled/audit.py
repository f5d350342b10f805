"""What would make a model look better than it is, looked for in a finished dataset.

Every check reads the columns that it needs of ``rows.parquet``. Columns are compared with classes
on a sample, which is always the same; everything else is counted on all rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from network_pipeline.labelled import copies, findings, meaning, separability
from network_pipeline.labelled.dataset import Dataset
from network_pipeline.labelled.findings import Finding, failure, note, warning
from network_pipeline.labelled.labelling import FILE
from network_pipeline.labelled.labels import LABEL_COLUMNS, OTHERWISE
from network_pipeline.labelled.splits import FOLDS
from network_pipeline.labelled.splitting import SPLIT

#: From where on a column alone tells a class.
TELLING_AREA = 0.9
#: Rows that columns are compared with classes on, and the fewest of a class that say something.
SAMPLE_ROWS = 200_000
_LEAST_ROWS = 10
_MOSTLY = 0.99

_TRAIN, _, _TEST = FOLDS


@dataclass(frozen=True)
class Audit:
    """What was found, and how well each column tells a class, best first."""

    findings: Sequence[Finding]
    areas: Sequence[tuple[str, separability.Area]]


def audit(dataset: Dataset) -> Audit:
    """Look for everything."""
    areas = _areas(dataset)
    found = [
        *_balance(dataset),
        *_groups(dataset),
        *_times(dataset),
        *copies.findings_of(dataset),
        *_telling(dataset, areas),
        *_empty(dataset),
        *_rules(dataset.manifest),
        *_losses(dataset.manifest),
    ]
    return Audit(found, areas)


def as_json(audited: Audit) -> str:
    """Return an audit for programs: its findings, and how well each column tells a class."""
    said = {
        "counts": findings.counts(audited.findings),
        "findings": [each._asdict() for each in findings.ordered(audited.findings)],
        "areas": [{"column": name, **area._asdict()} for name, area in audited.areas],
    }
    return json.dumps(said, indent=1, ensure_ascii=False) + "\n"


def _balance(dataset: Dataset) -> Iterator[Finding]:
    """Compare labels and classes over the sides."""
    counts = dataset.rows.group_by(SPLIT, "label", "label_class").len().collect()
    total = _sum(counts)
    known = counts.drop_nulls("label")
    labels = known.group_by("label").agg(pl.col("len").sum()).sort("len", "label", descending=True)
    if missing := total - _sum(known):
        share = missing / total
        text = f"{missing:,} rows without a label, {share:.1%}"
        yield warning("balance", "labels", text, rows=missing, share=share)
    if labels.height < 2:
        yield failure("balance", "labels", "fewer than two labels: nothing can be learned")
    for fold in (_TRAIN, _TEST):
        yield from _balance_of(fold, known.filter(pl.col(SPLIT) == fold), labels["label"])
    classes = known.group_by("label_class").agg(pl.col(SPLIT).unique())
    for name, sides in classes.sort("label_class").iter_rows():
        if absent := [fold for fold in (_TRAIN, _TEST) if fold not in sides]:
            yield warning("balance", f"class {name}", f"no rows in {' and '.join(absent)}")


def _balance_of(fold: str, counts: pl.DataFrame, labels: pl.Series) -> Iterator[Finding]:
    rows = {name: _sum(counts.filter(pl.col("label") == name)) for name in labels.to_list()}
    for name, count in rows.items():
        if not count:
            yield failure("balance", fold, f"no rows with label {name}")
    if total := sum(rows.values()):
        name = max(rows, key=lambda each: rows[each])
        rate = rows[name] / total
        text = f"saying {name} of every row is right for {rate:.1%}"
        yield note("balance", fold, text, majority_rate=rate, rows=rows)


def _sum(counts: pl.DataFrame) -> int:
    return int(counts["len"].sum())


def _groups(dataset: Dataset) -> Iterator[Finding]:
    """Look for what is on more than one side, and classes that one capture stands for."""
    names = list(dataset.roles)
    by = dataset.manifest.get("split", {}).get("by")
    kinds: dict[str, pl.Expr] = {"connection": meaning.connection(names), FILE: pl.col(FILE)}
    if "session" in names:
        kinds["session"] = pl.col("session")
    for kind, key in kinds.items():
        groups, rows = _on_both_sides(dataset.rows, key)
        if groups:
            text = f"{groups:,} with rows in training and in test, {rows:,} rows"
            yield _of_both_sides(kind, by)("groups", f"{kind}s", text, groups=groups, rows=rows)
    yield from _hosts(dataset.rows, names)
    attacks = dataset.rows.filter(pl.col("label").is_not_null() & (pl.col("label") != "benign"))
    files = attacks.group_by("label_class").agg(pl.col(FILE).n_unique()).collect()
    for name, count in files.sort("label_class").iter_rows():
        if count == 1:
            text = "all rows are of one file: what a model learns may be the file"
            yield warning("groups", f"class {name}", text)


def _of_both_sides(kind: str, by: str | None) -> Callable[..., Finding]:
    """Return how bad it is that a kind of group is on both sides, by what the split was by.

    Times part connections, and some five-tuples are used again: no split by time is without.
    """
    if kind == by or (kind == "connection" and by != "time"):
        return failure
    return warning if kind == "connection" else note


def _on_both_sides(rows: pl.LazyFrame, key: pl.Expr) -> tuple[int, int]:
    """Return how many groups have rows in training and in test, and how many rows they have."""
    sides = rows.select(key.alias("key"), pl.col(SPLIT)).drop_nulls()
    counts = sides.group_by("key").agg(
        pl.len(),
        (pl.col(SPLIT) == _TRAIN).any().alias(_TRAIN),
        (pl.col(SPLIT) == _TEST).any().alias(_TEST),
    )
    both = counts.filter(pl.col(_TRAIN) & pl.col(_TEST))
    found = both.select(pl.len().alias("groups"), pl.col("len").sum().alias("rows")).collect()
    return int(found["groups"][0]), int(found["rows"][0])


def _hosts(rows: pl.LazyFrame, names: Sequence[str]) -> Iterator[Finding]:
    hosts = rows.select(meaning.value("src", names).alias("host"), SPLIT).drop_nulls()
    train = hosts.filter(pl.col(SPLIT) == _TRAIN).select("host").unique()
    test = hosts.filter(pl.col(SPLIT) == _TEST)
    known = test.join(train, on="host", how="semi")
    total, found = (each.select(pl.len()).collect().item() for each in (test, known))
    if found:
        share = found / total
        text = f"{share:.1%} of test rows were sent by hosts that sent training rows too"
        yield note("groups", "hosts", text, share=share)


def _times(dataset: Dataset) -> Iterator[Finding]:
    names = list(dataset.roles)
    spans = (
        dataset.rows.select(
            SPLIT,
            meaning.value("start", names).alias("start"),
            meaning.value("end", names).alias("end"),
        )
        .drop_nulls()
        .group_by(SPLIT)
        .agg(pl.col("start").min(), pl.col("end").max())
        .collect()
    )
    found = {fold: (start, end) for fold, start, end in spans.iter_rows()}
    if _TRAIN not in found or _TEST not in found or found[_TEST][0] > found[_TRAIN][1]:
        return
    if dataset.manifest.get("split", {}).get("by") == "time":
        yield failure("time", "split", "the test begins before training ends")
    elif found[_TEST][0] <= found[_TRAIN][1] and found[_TRAIN][0] <= found[_TEST][1]:
        yield note("time", "split", "training and test cover the same time")


def _areas(dataset: Dataset) -> list[tuple[str, separability.Area]]:
    """Return how well every column alone tells a class, on a sample of the labelled rows."""
    labelled = dataset.rows.filter(pl.col("label").is_not_null())
    total = labelled.select(pl.len()).collect().item()
    every = max(1, -(-total // SAMPLE_ROWS))
    sample = labelled.gather_every(every)
    labels = sample.select("label", "label_class").collect()
    classes = {
        name: (labels["label_class"] == name).to_numpy()
        for name in labels["label_class"].unique().sort()
    }
    classes["any attack"] = (labels["label"] != "benign").to_numpy()
    classes = {
        name: rows
        for name, rows in classes.items()
        if _LEAST_ROWS <= rows.sum() <= len(rows) - _LEAST_ROWS
    }
    if not classes:
        return []
    names = [name for name in dataset.roles if name not in (*LABEL_COLUMNS, SPLIT)]
    areas = [
        (name, separability.best_area(sample.select(name).collect()[name], classes))
        for name in names
    ]
    return sorted(areas, key=lambda each: (-each[1].area, each[0]))


def _telling(dataset: Dataset, areas: Sequence[tuple[str, separability.Area]]) -> Iterator[Finding]:
    """Name columns that tell a class alone, and those of the view that are no features."""
    known = dict(areas)
    for name in dataset.kept:
        area = known.get(name, separability.Area("", 0.5))
        tells = area.area >= TELLING_AREA
        text = f"kept for training, {dataset.roles[name]}, area {area.area:.3f} for "
        text += area.label_class + (": alone it tells this class" if tells else "")
        found = failure if tells else warning
        yield found("separability", name, text, area=area.area, label_class=area.label_class)
    for name, area in areas:
        if area.area < TELLING_AREA or name in dataset.kept:
            continue
        numbers = {"area": area.area, "label_class": area.label_class}
        text = f"alone it tells {area.label_class}, area {area.area:.3f}"
        if name in dataset.features:
            yield warning("separability", name, text, **numbers)
        else:
            text += f"; {dataset.roles[name]}, not in the training view"
            yield note("separability", name, text, **numbers)


def _empty(dataset: Dataset) -> Iterator[Finding]:
    """Name features that say nothing."""
    facts = dataset.rows.select(
        pl.len().alias("@rows"),
        *(pl.col(name).null_count().alias(f"{name}@null") for name in dataset.features),
        *(pl.col(name).n_unique().alias(name) for name in dataset.features),
    ).collect()
    [counts] = facts.to_dicts()
    total = counts["@rows"] or 1
    for name in dataset.features:
        missing = counts[f"{name}@null"]
        if missing == total:
            yield note("columns", name, "has no values")
        elif counts[name] - (missing > 0) <= 1:
            yield note("columns", name, "has one value only", missing=missing / total)
        elif missing / total > _MOSTLY:
            yield note("columns", name, f"absent in {missing / total:.1%} of rows")


def _rules(manifest: Mapping[str, Any]) -> Iterator[Finding]:
    """Say which rules matched nothing, and which matched the same rows."""
    for rule in manifest.get("rules", ()):
        if not rule["matched"]:
            yield warning("rules", rule["name"], f"matched no row ({rule['source']})")
        elif not rule["decided"]:
            yield warning("rules", rule["name"], "decided no row, others were first")
    for each in manifest.get("overlaps", ()):
        text = f"both matched {each['rows']:,} rows, the first decided"
        yield note("rules", f"{each['first']}, {each['other']}", text, rows=each["rows"])
    for each in manifest.get("alerts", ()):
        count, others = each["alerts"], each["without_connection"]
        if not count:
            yield warning("rules", each["name"], f"no alerts in {each['file']}")
        elif others:
            text = f"{others:,} of {count:,} alerts name no two hosts, and label nothing"
            yield warning("rules", each["name"], text, alerts=others)
    yield from _coverage(manifest)


def _coverage(manifest: Mapping[str, Any]) -> Iterator[Finding]:
    """Say how many rows have their label from a rule or an alert, and how many from none."""
    decided = {rule["name"]: rule["decided"] for rule in manifest.get("rules", ())}
    if not (total := manifest.get("rows", {}).get("written")):
        return
    rest = decided.get(OTHERWISE, 0)
    named = sum(decided.values()) - rest
    text = f"rules and alerts decided {named / total:.1%} of rows, otherwise {rest / total:.1%}"
    yield note("rules", "coverage", text, decided=named, otherwise=rest, rows=total)


def _losses(manifest: Mapping[str, Any]) -> Iterator[Finding]:
    """Say what the ledgers of the inputs say was lost."""
    for each in manifest.get("inputs", ()):
        lost = {name: count for name, count in each.get("losses", {}).items() if count}
        if lost:
            said = ", ".join(f"{count:,} {name}" for name, count in lost.items())
            yield warning("losses", each["name"], f"frames that are not in it: {said}", **lost)
