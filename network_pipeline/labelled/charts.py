"""Charts of a dataset as SVG that stands in a page: no fonts, no scripts, the same bytes always.

Matplotlib draws them, without its state machine (pyplot) and without a display. Texts stay texts.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

#: What tells labels apart, also where colours are not seen: they differ in lightness.
COLOURS = {
    "benign": "#4c78a8",
    "attack": "#c1272d",
    "attempted": "#f0a030",
    "unlabelled": "#b8b8b8",
}
#: Of classes: none is the one of what is benign.
_CLASS_COLOURS = ("#c1272d", "#f0a030", "#54a24b", "#79539c", "#83bcb6", "#9d755d", "#e377a2")
_INK = "#333333"

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": "#999999",
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _INK,
    "ytick.color": _INK,
}

_COUNTS = StrMethodFormatter("{x:,.0f}")

Counts = Mapping[str, Sequence[int]]


def bars(name: str, labels: Sequence[str], counts: Counts, unit: str) -> Markup:
    """Return a bar for each label, from top to bottom, parted by the keys of ``counts``."""
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(7.2, 0.5 + 0.28 * max(1, len(labels)) + 0.3), layout="constrained")
        axes = figure.add_subplot()
        left = [0] * len(labels)
        for key, row in counts.items():
            axes.barh(range(len(labels)), row, left=left, color=_colour(key, counts), label=key)
            left = [before + count for before, count in zip(left, row, strict=True)]
        axes.set_yticks(range(len(labels)), [_short(each) for each in labels])
        axes.invert_yaxis()
        axes.xaxis.set_major_formatter(_COUNTS)
        _finish(axes, len(counts), unit)
        return _svg(figure)


def over_time(name: str, ticks: Sequence[tuple[float, str]], counts: Counts, unit: str) -> Markup:
    """Return stacked bars of equal spans of time; ``ticks`` are places and their text."""
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(7.2, 2.4), layout="constrained")
        axes = figure.add_subplot()
        bottom = [0] * max((len(row) for row in counts.values()), default=0)
        for key, row in counts.items():
            places = range(len(row))
            axes.bar(places, row, 1.0, bottom=bottom, color=_colour(key, counts), label=key)
            bottom = [before + count for before, count in zip(bottom, row, strict=True)]
        axes.set_yscale("symlog", linthresh=1)
        axes.yaxis.set_major_formatter(_COUNTS)
        axes.set_ylim(bottom=0)
        axes.set_xticks([place for place, _ in ticks], [text for _, text in ticks])
        _finish(axes, len(counts), "")
        axes.set_ylabel(f"{unit}, logarithmic")
        return _svg(figure)


def distributions(
    name: str, labels: Sequence[str], shares: Mapping[str, Sequence[float]]
) -> Markup:
    """Return, for each key of ``shares``, a line of bars: its share of each of the values."""
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(7.2, 0.55 * max(1, len(shares)) + 0.7), layout="constrained")
        rows = figure.subplots(max(1, len(shares)), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (key, row) in zip(rows, shares.items(), strict=False):
            axes.bar(range(len(row)), row, 0.9, color=_colour(key, shares))
            axes.set_ylim(0, 1)
            axes.set_yticks([])
            axes.spines["left"].set_visible(False)
            axes.set_ylabel(_short(key), rotation=0, ha="right", va="center")
        rows[-1].set_xticks(range(len(labels)), [_short(each, 12) for each in labels], rotation=40)
        for text in rows[-1].get_xticklabels():
            text.set_ha("right")
        return _svg(figure)


def _finish(axes: Axes, keys: int, unit: str) -> None:
    axes.set_xlabel(unit)
    if keys > 1:
        axes.figure.legend(frameon=False, loc="outside upper center", ncols=min(keys, 5))


def _colour(key: str, keys: Mapping[str, object]) -> str:
    if key in COLOURS:
        return COLOURS[key]
    return _CLASS_COLOURS[list(keys).index(key) % len(_CLASS_COLOURS)]


def _short(text: str, most: int = 28) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _svg(figure: Figure) -> Markup:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    drawn = text[text.index("<svg") :]
    drawn = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'role="img"', drawn, count=1)
    return Markup(drawn)  # noqa: S704  Matplotlib has escaped its texts
