"""One distribution as a drawing: kept below, rejected above it, the thresholds marked, the failing side shaded."""

import math
from typing import Any

from markupsafe import Markup

from pipelines.quantities import count, value
from pipelines.report.svg import drawing, tag

WIDTH = 332.0
_ROOM = 98.0  # for the bars
_LANE, _BOTTOM, _SIDE = 13.0, 24.0, 4.0
_RUG = 7.0
_HALF_TICK = 14.0  # half of a long tick label, in pixels
_LONG = 1e6  # ticks from here on are written with an exponent
_LETTER = 6.6  # mean width of one in a label, in pixels
SYMBOLS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "eq": "=", "in": "in"}
_TICKS = 4
_MANY = 3  # thresholds of one rule beyond this many are short lines
#: A bin this many times as tall as the next one would flatten the others: then heights are square roots.
_TOWER = 8


def histogram_figure(histogram: dict[str, Any]) -> Markup:
    """The drawing of one histogram of the report."""
    scale = _Scale(histogram["edges"], logarithmic=histogram["scale"] == "log")
    counts = [k + r for k, r in zip(histogram["kept"], histogram["rejected"], strict=True)]
    heights = _Heights(counts, roots=in_roots(histogram))
    marked = histogram["thresholds"]
    labels, lanes = _labels(marked, scale)
    top = 6 + _LANE * lanes
    floor = top + _ROOM
    parts = [_shade(mark, scale, top) for mark in marked]
    parts += [_bin(histogram, i, scale, heights, floor) for i in range(len(counts)) if counts[i]]
    parts.append(tag("line", x1=_SIDE, x2=WIDTH - _SIDE, y1=floor, y2=floor, class_="axis"))
    parts += [_tick(x, scale, floor) for x in _ticks(scale)]
    parts += [line for mark in marked for line in _mark(mark, scale, top)]
    parts += [tag("g", text, transform=f"translate(0 {top - 8 - _LANE * lane:g})") for lane, text in labels]
    marks = "; ".join(f"{m['reason']} {SYMBOLS[m['test']]} {m['written']}" for m in histogram["thresholds"])
    label = f"Distribution of {histogram['column']}, {count(sum(counts))} documents; thresholds: {marks}"
    return drawing(WIDTH, floor + _BOTTOM, label, *parts, class_="histogram")


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
        return max(0.8, _ROOM * (math.sqrt(part) if self._roots else part))


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


def _bin(histogram: dict[str, Any], i: int, scale: _Scale, heights: _Heights, floor: float) -> Markup:
    low, high = histogram["edges"][i], histogram["edges"][i + 1]
    kept, rejected = histogram["kept"][i], histogram["rejected"][i]
    x, width = scale.x(low), max(0.8, scale.x(high) - scale.x(low) - 0.8)
    tall = heights.of(kept + rejected)
    tall_kept = tall * kept / (kept + rejected)
    tip = f"{value(low)} to {value(high)}: {count(kept)} kept, {count(rejected)} rejected"
    rects = [
        tag("rect", x=x, width=width, y=floor - tall, height=tall - tall_kept, class_="rejected")
        if rejected
        else Markup(""),
        tag("rect", x=x, width=width, y=floor - tall_kept, height=tall_kept, class_="kept") if kept else Markup(""),
        tag("rect", x=x, width=width, y=floor - _ROOM, height=_ROOM, class_="hit"),
    ]
    return tag("g", tag("title", tip), *rects, data_tip=tip)


def _shade(mark: dict[str, Any], scale: _Scale, top: float) -> Markup:
    """The side that fails, where it is the same for every document."""
    places = [scale.x(r["value"]) for r in mark["resolved"]]
    if not places or mark["per"] or mark["where"] or mark.get("links"):
        return Markup("")
    if mark["test"] in ("ge", "gt"):
        left, right = _SIDE, min(places)
    else:
        left, right = max(places), WIDTH - _SIDE
    return tag("rect", x=left, y=top, width=max(0.0, right - left), height=_ROOM, class_="fails")


def _mark(mark: dict[str, Any], scale: _Scale, top: float) -> list[Markup]:
    """Lines at the thresholds; many of them (one a language, say) are a row of short ones."""
    places = [scale.x(r["value"]) for r in mark["resolved"]]
    bottom, name = (top + _ROOM, "threshold") if len(places) <= _MANY else (top + _RUG, "threshold one")
    return [tag("line", x1=x, x2=x, y1=top - 4, y2=bottom, class_=name) for x in sorted(set(places))]


def _labels(marks: list[dict[str, Any]], scale: _Scale) -> tuple[list[tuple[int, Markup]], int]:
    """The marks' labels, each with its lane counted from the drawing upwards, and the number of lanes."""
    lanes: list[list[tuple[float, float]]] = []
    found = []
    for mark in marks:
        places = [scale.x(r["value"]) for r in mark["resolved"]]
        if not places:
            continue
        text = _label(mark)
        middle, width = (min(places) + max(places)) / 2, _LETTER * len(text)
        left = min(max(_SIDE, middle - width / 2), max(_SIDE, WIDTH - _SIDE - width))
        lane = next(
            (i for i, used in enumerate(lanes) if all(left > b + 6 or left + width < a - 6 for a, b in used)),
            len(lanes),
        )
        if lane == len(lanes):
            lanes.append([])
        lanes[lane].append((left, left + width))
        anchor = "start" if left <= _SIDE else "end" if left + width >= WIDTH - _SIDE else "middle"
        at = {"start": _SIDE, "end": WIDTH - _SIDE, "middle": middle}[anchor]
        found.append((lane, tag("text", text, x=at, text_anchor=anchor, class_="mark")))
    return found, len(lanes)


def _label(mark: dict[str, Any]) -> str:
    """`≥ 50`, `≤ p70 = 6.41`, `≤ p70 per lang.code`, `≥ 0.9 for some`, `linked ≥ 0.72`."""
    numbers = [r["value"] for r in mark["resolved"]]
    text = f"{SYMBOLS[mark['test']]} {value(mark['written'])}"
    if mark["per"]:
        text += f" per {mark['per']}"
    elif mark["written"] != numbers[0]:
        text += f" = {value(numbers[0])}"
    if mark.get("links"):
        text = f"linked {text}"
    return f"{text} for some" if mark["where"] else text


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


def _tick(number: float, scale: _Scale, floor: float) -> Markup:
    x = scale.x(number)
    anchor = "start" if x < _HALF_TICK else "end" if x > WIDTH - _HALF_TICK else "middle"
    line = tag("line", x1=x, x2=x, y1=floor, y2=floor + 4, class_="axis")
    text = f"{number:.0e}".replace("e+0", "e") if number >= _LONG else value(round(number, 10))
    return line + tag("text", text, x=x, y=floor + 18, text_anchor=anchor, class_="tick")
