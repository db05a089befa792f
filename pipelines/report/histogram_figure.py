"""One distribution as a drawing: kept below, rejected above it, the thresholds marked, the failing side shaded."""

import math
from typing import Any

from markupsafe import Markup

from pipelines.quantities import count, value
from pipelines.report.svg import drawing, tag

WIDTH, HEIGHT = 332.0, 150.0
_TOP, _BOTTOM, _SIDE = 28.0, 24.0, 4.0
SYMBOLS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "eq": "=", "in": "in"}
_TICKS = 4
_MANY = 3  # thresholds beyond this many are drawn as a band
#: A bin this many times as tall as the next one would flatten the others: then heights are square roots.
_TOWER = 8


def histogram_figure(histogram: dict[str, Any]) -> Markup:
    """The drawing of one histogram of the report."""
    scale = _Scale(histogram["edges"], logarithmic=histogram["scale"] == "log")
    counts = [k + r for k, r in zip(histogram["kept"], histogram["rejected"], strict=True)]
    heights = _Heights(counts, roots=in_roots(histogram))
    parts = [_shade(mark, scale) for mark in histogram["thresholds"]]
    parts += [_bin(histogram, i, scale, heights) for i in range(len(counts)) if counts[i]]
    parts.append(tag("line", x1=_SIDE, x2=WIDTH - _SIDE, y1=HEIGHT - _BOTTOM, y2=HEIGHT - _BOTTOM, class_="axis"))
    parts += [_tick(x, scale) for x in _ticks(scale)]
    parts += [part for mark in histogram["thresholds"] for part in _mark(mark, scale)]
    marks = "; ".join(f"{m['reason']} {SYMBOLS[m['test']]} {m['written']}" for m in histogram["thresholds"])
    label = f"Distribution of {histogram['column']}, {count(sum(counts))} documents; thresholds: {marks}"
    return drawing(WIDTH, HEIGHT, label, *parts, class_="histogram")


def in_roots(histogram: dict[str, Any]) -> bool:
    """Whether the drawing's heights are square roots of counts, because one bin towers over all others."""
    counts = sorted(k + r for k, r in zip(histogram["kept"], histogram["rejected"], strict=True))
    return len(counts) > 1 and counts[-1] > _TOWER * max(1, counts[-2])


class _Heights:
    """From counts to heights on the page."""

    def __init__(self, counts: list[int], *, roots: bool) -> None:
        self._roots = roots
        self._top = max([*counts, 1])

    def of(self, count: int) -> float:
        """The height of a bin; what is there can be seen."""
        part = count / self._top
        return max(0.8, (HEIGHT - _TOP - _BOTTOM) * (math.sqrt(part) if self._roots else part))


class _Scale:
    """From values to places on the page."""

    def __init__(self, edges: list[float], *, logarithmic: bool) -> None:
        self.edges, self.logarithmic = edges, logarithmic
        self._low, self._high = self._on(edges[0]), self._on(edges[-1])

    def x(self, number: float) -> float:
        """The place of a value, kept inside the drawing."""
        if self.logarithmic and number <= 0:
            return _SIDE
        part = (self._on(number) - self._low) / (self._high - self._low)
        return _SIDE + (WIDTH - 2 * _SIDE) * min(1.0, max(0.0, part))

    def _on(self, number: float) -> float:
        return math.log10(number) if self.logarithmic else number


def _bin(histogram: dict[str, Any], i: int, scale: _Scale, heights: _Heights) -> Markup:
    low, high = histogram["edges"][i], histogram["edges"][i + 1]
    kept, rejected = histogram["kept"][i], histogram["rejected"][i]
    x, width = scale.x(low), max(0.8, scale.x(high) - scale.x(low) - 0.8)
    floor = HEIGHT - _BOTTOM
    tall = heights.of(kept + rejected)
    tall_kept = tall * kept / (kept + rejected)
    tip = f"{value(low)} to {value(high)}: {count(kept)} kept, {count(rejected)} rejected"
    rects = [
        tag("rect", x=x, width=width, y=floor - tall, height=tall - tall_kept, class_="rejected")
        if rejected
        else Markup(""),
        tag("rect", x=x, width=width, y=floor - tall_kept, height=tall_kept, class_="kept") if kept else Markup(""),
        tag("rect", x=x, width=width, y=_TOP, height=floor - _TOP, class_="hit"),
    ]
    return tag("g", tag("title", tip), *rects, data_tip=tip)


def _shade(mark: dict[str, Any], scale: _Scale) -> Markup:
    """The side that fails: the part of the range that fails for every group."""
    places = [scale.x(r["value"]) for r in mark["resolved"]]
    if not places:
        return Markup("")
    if mark["test"] in ("ge", "gt"):
        left, right = _SIDE, min(places)
    else:
        left, right = max(places), WIDTH - _SIDE
    return tag("rect", x=left, y=_TOP, width=max(0.0, right - left), height=HEIGHT - _TOP - _BOTTOM, class_="fails")


def _mark(mark: dict[str, Any], scale: _Scale) -> list[Markup]:
    places = sorted(scale.x(r["value"]) for r in mark["resolved"])
    if not places:
        return []
    bottom = HEIGHT - _BOTTOM
    if len(places) > _MANY:
        width = max(1.0, places[-1] - places[0])
        lines = [tag("rect", x=places[0], y=_TOP - 4, width=width, height=bottom - _TOP + 4, class_="band")]
    else:
        lines = [tag("line", x1=x, x2=x, y1=_TOP - 4, y2=bottom, class_="threshold") for x in places]
    numbers = [r["value"] for r in mark["resolved"]]
    text = (
        f"{SYMBOLS[mark['test']]} {value(numbers[0])}"
        if len(numbers) == 1
        else f"{SYMBOLS[mark['test']]} {mark['written']}"
    )
    if len(numbers) > 1:
        text += f" ({value(min(numbers))} to {value(max(numbers))})"
    elif mark["written"] != numbers[0]:
        text = f"{SYMBOLS[mark['test']]} {mark['written']} = {value(numbers[0])}"
    middle = (places[0] + places[-1]) / 2
    anchor = "start" if middle < WIDTH / 3 else "end" if middle > 2 * WIDTH / 3 else "middle"
    at = {"start": places[0], "end": places[-1], "middle": middle}[anchor]
    lines.append(tag("text", text, x=at, y=_TOP - 10, text_anchor=anchor, class_="mark"))
    return lines


def _ticks(scale: _Scale) -> list[float]:
    low, high = scale.edges[0], scale.edges[-1]
    if scale.logarithmic:
        first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
        every = max(1, math.ceil((last - first + 1) / (_TICKS + 1)))
        return [10.0**k for k in range(first, last + 1, every)]
    raw = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _tick(number: float, scale: _Scale) -> Markup:
    x = scale.x(number)
    anchor = "start" if x < 14 else "end" if x > WIDTH - 14 else "middle"
    line = tag("line", x1=x, x2=x, y1=HEIGHT - _BOTTOM, y2=HEIGHT - _BOTTOM + 4, class_="axis")
    text = f"{number:.0e}".replace("e+0", "e") if number >= 1e6 else value(round(number, 10))
    return line + tag("text", text, x=x, y=HEIGHT - 6, text_anchor=anchor, class_="tick")
