"""A column's distribution as a drawing without words: bars by fate, and a line where the threshold is.

It is stretched to the width of the range input below it, so both have the same ends; words around it are HTML.
"""

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from pipelines.quantities import count, value
from pipelines.report.svg import tag
from pipelines.sample import FATES

WIDTH, HEIGHT = 1000.0, 180.0
#: A bin this many times as tall as the next one would flatten the others: then heights are square roots.
_TOWER = 8


def figure(histogram: Mapping[str, Any], threshold: float | None, label: str) -> Markup:
    """The drawing of a histogram of numbers."""
    edges, counts = histogram["edges"], histogram["counts"]
    fates = [fate for fate in FATES if fate in counts]
    totals = [sum(counts[f][i] for f in fates) for i in range(len(edges) - 1)]
    roots, top = in_roots(histogram), max([*totals, 1])
    bars = []
    for i, total in enumerate(totals):
        if total:
            part = total / top
            tall = max(2.0, HEIGHT * (math.sqrt(part) if roots else part))
            bars.append(_bar(histogram, i, fates, tall))
    line: tuple[Markup, ...] = ()
    if threshold is not None:
        x = place(edges, threshold)
        line = (tag("line", x1=x, x2=x, y1=0.0, y2=HEIGHT, class_="threshold", id="threshold-line"),)
    return tag(
        "svg",
        *bars,
        *line,
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
        class_="spread",
    )


def in_roots(histogram: Mapping[str, Any]) -> bool:
    """Whether the drawing's heights are square roots of counts, because one bin towers over all others."""
    totals = sorted(map(sum, zip(*histogram["counts"].values(), strict=True)))
    return len(totals) > 1 and totals[-1] > _TOWER * max(1, totals[-2])


def place(edges: list[float], number: float) -> float:
    """Where a number is in the drawing, kept inside it."""
    part = (number - edges[0]) / (edges[-1] - edges[0])
    return WIDTH * min(1.0, max(0.0, part))


def _bar(histogram: Mapping[str, Any], i: int, fates: list[str], tall: float) -> Markup:
    edges, counts = histogram["edges"], histogram["counts"]
    x = place(edges, edges[i])
    width = max(1.0, place(edges, edges[i + 1]) - x - 1.0)
    total = sum(counts[f][i] for f in fates)
    said = ", ".join(f"{count(counts[f][i])} {f}" for f in fates)
    rects, y = [], HEIGHT
    for fate in fates:
        high = tall * counts[fate][i] / total
        if high:
            rects.append(tag("rect", x=x, width=width, y=y - high, height=high, class_=fate))
            y -= high
    return tag("g", tag("title", f"{value(edges[i])} to {value(edges[i + 1])}: {said}"), *rects)
