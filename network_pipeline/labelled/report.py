"""One page about a dataset that needs nothing but a browser, and its card in Markdown.

Everything is counted in the finished dataset, so the page shows what is in the files. What people
wrote (names, classes, filters) goes into the page escaped, and the page forbids itself scripts and
the network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jinja2
import polars as pl
from markupsafe import Markup

from network_pipeline.labelled import charts, findings, meaning
from network_pipeline.labelled.audit import TELLING_AREA, Audit
from network_pipeline.labelled.dataset import Dataset
from network_pipeline.labelled.splits import FOLDS
from network_pipeline.labelled.splitting import SPLIT

_SPANS = 80
_TICKS = 5
_TALKERS = 15
_SHOWN_FEATURES = 8
_SHOWN_CLASSES = 7
_VALUES = 12
_UNLABELLED = "unlabelled"

_PROTOCOL_NAMES = {number: name for name, number in meaning.PROTOCOLS.items()}


@dataclass(frozen=True)
class Feature:
    """A feature and how its values are spread in each class."""

    name: str
    area: float
    label_class: str
    chart: Markup


def page(dataset: Dataset, audit: Audit) -> str:
    """Return the page, as HTML."""
    return _template("report.html.jinja").render(_facts(dataset, audit))


def card(dataset: Dataset, audit: Audit) -> str:
    """Return the card, as Markdown."""
    return _template("card.md.jinja").render(_facts(dataset, audit, with_charts=False))


def _template(name: str) -> jinja2.Template:
    loader = jinja2.PackageLoader("network_pipeline.labelled", "templates")
    # Markdown is not HTML, but what shows it lets HTML through.
    made = jinja2.Environment(
        loader=loader,
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["count"] = lambda number: f"{number:,}"
    made.filters["percent"] = lambda share: f"{share:.1%}"
    return made.get_template(name)


def _facts(dataset: Dataset, audit: Audit, *, with_charts: bool = True) -> dict[str, Any]:
    counts = _class_counts(dataset)
    facts: dict[str, Any] = {
        "said": dataset.manifest,
        "folds": FOLDS,
        "classes": counts,
        "span": _span(dataset),
        "findings": findings.ordered(audit.findings),
        "levels": findings.counts(audit.findings),
        "roles": _roles(dataset),
        "features": dataset.features,
        "kept": dataset.kept,
        "telling_area": TELLING_AREA,
    }
    if with_charts:
        facts |= {
            "class_chart": _class_chart(counts),
            "time_chart": _time_chart(dataset),
            "protocol_chart": _protocol_chart(dataset),
            "talkers": _talkers(dataset),
            "shown_features": _shown_features(dataset, audit),
        }
    return facts


def _label() -> pl.Expr:
    return pl.col("label").fill_null(_UNLABELLED)


def _class_counts(dataset: Dataset) -> list[dict[str, Any]]:
    """Return the rows of every class: all, and those on every side."""
    keys = [_label(), pl.col("label_class").fill_null("").alias("label_class")]
    counts = (
        dataset.rows.group_by(*keys)
        .agg(
            pl.len().alias("rows"),
            *((pl.col(SPLIT) == fold).sum().alias(fold) for fold in FOLDS),
        )
        .sort(["rows", "label", "label_class"], descending=[True, False, False])
    )
    return counts.collect().to_dicts()


def _class_chart(counts: Sequence[Mapping[str, Any]]) -> Markup:
    labels = sorted({each["label"] for each in counts}, key=list(charts.COLOURS).index)
    parted = {
        label: [each["rows"] if each["label"] == label else 0 for each in counts]
        for label in labels
    }
    names = [each["label_class"] or _UNLABELLED for each in counts]
    return charts.bars("classes", names, parted, "rows")


def _span(dataset: Dataset) -> tuple[str, str] | None:
    names = list(dataset.roles)
    times = dataset.rows.select(
        meaning.value("start", names).min().alias("start"),
        meaning.value("end", names).max().alias("end"),
    ).collect()
    start, end = times.row(0)
    return None if start is None else (_moment(start), _moment(end))


def _moment(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _time_chart(dataset: Dataset) -> Markup | None:
    start = meaning.value("start", list(dataset.roles)).alias("start")
    times = dataset.rows.select(start, _label()).drop_nulls()
    ends = times.select(pl.col("start").min(), pl.col("start").max().alias("last")).collect()
    first, last = ends.row(0)
    if first is None or first == last:
        return None
    width = (last - first) // _SPANS + 1
    counts = times.group_by((pl.col("start") - first) // width, "label").len().collect()
    found = {(span, label): number for span, label, number in counts.iter_rows()}
    labels = sorted({label for _, label in found}, key=list(charts.COLOURS).index)
    rows = {label: [found.get((span, label), 0) for span in range(_SPANS)] for label in labels}
    places = [round(_SPANS * place / _TICKS) for place in range(_TICKS + 1)]
    ticks = [(place - 0.5, _moment(first + place * width).replace(" ", "\n")) for place in places]
    return charts.over_time("time", ticks, rows, dataset.manifest["kind"])


def _protocol_chart(dataset: Dataset) -> Markup:
    number = meaning.value("protocol", list(dataset.roles)).alias("protocol")
    counts = dataset.rows.select(number, _label()).group_by("protocol", "label").len().collect()
    totals = counts.group_by("protocol").agg(pl.col("len").sum())
    order = totals.sort(["len", "protocol"], descending=[True, False])["protocol"].to_list()
    order = order[:_VALUES]
    found = {(protocol, label): count for protocol, label, count in counts.iter_rows()}
    labels = sorted({label for _, label in found}, key=list(charts.COLOURS).index)
    rows = {label: [found.get((each, label), 0) for each in order] for label in labels}
    names = [
        "none" if each is None else _PROTOCOL_NAMES.get(each, f"protocol {each}") for each in order
    ]
    return charts.bars("protocols", names, rows, "rows")


def _talkers(dataset: Dataset) -> list[dict[str, Any]]:
    """Return the hosts that sent most rows."""
    names = list(dataset.roles)
    hosts = dataset.rows.select(
        meaning.value("src", names).alias("host"),
        meaning.value("dst", names).alias("peer"),
        (pl.col("label") != "benign").fill_null(value=False).alias("attack"),
    ).drop_nulls("host")
    found = (
        hosts.group_by("host")
        .agg(pl.len().alias("rows"), pl.col("peer").n_unique().alias("peers"), pl.sum("attack"))
        .sort(["rows", "host"], descending=[True, False])
        .head(_TALKERS)
    )
    return found.collect().to_dicts()


def _shown_features(dataset: Dataset, audit: Audit) -> list[Feature]:
    """Return the columns of the training view that tell classes best."""
    in_view = [each for each in audit.areas if each[0] in dataset.features]
    return [
        Feature(name, area.area, area.label_class, _spread_chart(dataset, name))
        for name, area in in_view[:_SHOWN_FEATURES]
    ]


def _spread_chart(dataset: Dataset, name: str) -> Markup:
    values = _value_names(dataset, name)
    counts = (
        dataset.rows.select(pl.col("label_class"), values.alias("value"))
        .drop_nulls("label_class")
        .group_by("label_class", "value")
        .len()
        .collect()
    )
    totals = counts.group_by("label_class").agg(pl.col("len").sum())
    totals = totals.sort(["len", "label_class"], descending=[True, False]).head(_SHOWN_CLASSES)
    order = sorted({(value or "") for value in counts["value"]}, key=_range_order)
    found = {(key, value or ""): count for key, value, count in counts.iter_rows()}
    shares = {
        key: [found.get((key, value), 0) / total for value in order]
        for key, total in totals.iter_rows()
    }
    return charts.distributions(name, [each or "absent" for each in order], shares)


def _value_names(dataset: Dataset, name: str) -> pl.Expr:
    """Return an expression for the value's text where there are few, else for its range."""
    counts = dataset.rows.group_by(name).len().sort(["len", name], descending=[True, False])
    frequent = counts.head(_VALUES + 1).collect()
    if frequent.height <= _VALUES:
        return pl.col(name).cast(pl.String)
    if dataset.rows.collect_schema()[name].is_numeric():
        places = [place / _VALUES for place in range(1, _VALUES)]
        edges = dataset.rows.select(
            pl.col(name).quantile(place, "nearest").alias(str(place)) for place in places
        ).collect()
        breaks = sorted({float(each) for each in edges.row(0)})
        return _range_names(pl.col(name).cast(pl.Float64), breaks)
    kept = frequent[name].to_list()[: _VALUES - 1]
    return (
        pl.when(pl.col(name).is_in(kept))
        .then(pl.col(name).cast(pl.String))
        .otherwise(pl.lit("others"))
    )


def _range_names(value: pl.Expr, breaks: Sequence[float]) -> pl.Expr:
    texts = [pl.when(value <= edge).then(pl.lit(f"≤ {edge:g}")) for edge in breaks]
    above = pl.when(value > breaks[-1]).then(pl.lit(f"> {breaks[-1]:g}"))
    return pl.coalesce(*texts, above)


def _range_order(text: str) -> tuple[bool, float, str]:
    """Order texts by the number in them, where they have one; absent ones are first."""
    number = text.removeprefix("≤ ").removeprefix("> ")
    try:
        return False, float(number) + (0.5 if text.startswith(">") else 0), text
    except ValueError:
        return text != "", 0.0, text


def _roles(dataset: Dataset) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, role in dataset.roles.items():
        found.setdefault(role, []).append(name)
    return dict(sorted(found.items()))
