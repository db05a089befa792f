"""Curves as a drawing: a line and a band for each series, or dots and whiskers beside the diagonal for reliability."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipelines.quantities import magnitude, value
from pipelines.report.axis import Axis, written
from pipelines.report.learned_card import Curve, Series
from pipelines.report.svg import drawing, tag
from pipelines.visible import one_line

Point = tuple[float, float | None, float | None, float | None]
#: Natural sizes of the drawing on a phone and on a desk, in pixels.
NARROW, WIDE = (332, 262), (490, 320)
_LETTER = 6.6  # mean width of one in a label, in pixels
_TOP, _FLOOR, _RIGHT = 26.0, 42.0, 12.0
_COLOURS = 8
#: Numbers along an axis, about.
_TICKS = 6
#: More points than this are drawn without dots.
_DOTTED = 40
#: Points that are drawn of a longer series, evenly chosen.
_MOST = 400
#: The series of the control, which every other one is compared with.
CONTROL = "random"


def curve_figure(curve: Curve, *, wide: bool) -> Markup:
    """The drawing of one curve; nothing where it has no point."""
    width, height = WIDE if wide else NARROW
    series = [(class_of(curve, n), s, thinned(s)) for n, s in enumerate(curve.series)]
    beside = [(x, y, None, None) for s in curve.series for x, y in s.through or ()]
    plot = _plot([*(p for _, _, points in series for p in points), *beside], curve, width, height)
    if plot is None:
        return Markup("")
    parts = _frame(curve, plot, width, height)
    for class_, one, points in series:
        parts.append(tag("g", *_drawn(one, points, plot, curve), class_=class_))
    label = f"{curve.title}: {curve.y} over {curve.x}; {'; '.join(_told(s) for s in curve.series)}"
    return drawing(width, height, label, *parts, class_=f"curve {'wide' if wide else 'narrow'}")


def _told(one: Series) -> str:
    """A series in words: its name, and the values at its ends."""
    known = [y for _, y, _, _ in sorted(one.points, key=lambda p: p[0]) if y is not None]
    return f"{one.name}, {value(known[0])} to {value(known[-1])}" if known else f"{one.name}, unknown"


def legend(curve: Curve) -> list[tuple[Markup, str]]:
    """A sample of each line of a curve, and its name."""
    found = [(_sample(class_of(curve, n), dotted=True), s.name) for n, s in enumerate(curve.series)]
    return [*found, (_sample("ideal", dotted=False), "perfectly calibrated")] if curve.reliability else found


def class_of(curve: Curve, number: int) -> str:
    """The class that gives a series its colour; the control has one of its own."""
    name = curve.series[number].name
    names = curve.palette if name in curve.palette else [s.name for s in curve.series]
    place = names.index(name) if names is curve.palette else number
    if name == CONTROL and len(names) > 1:
        return "control"
    return f"s{sum(other != CONTROL for other in names[:place]) % _COLOURS}"


def thinned(series: Series) -> list[Point]:
    """The points that are drawn, by x."""
    points = sorted(series.points, key=lambda p: p[0])
    every = -(-len(points) // _MOST) or 1
    return points[::every]


@dataclass(frozen=True, slots=True)
class _Plot:
    """Where values lie."""

    x: Axis
    y: Axis


def _plot(points: list[Point], curve: Curve, width: float, height: float) -> _Plot | None:
    known = [p for p in points if p[1] is not None]
    if not known:
        return None
    ys = [y for p in known for y in p[1:] if y is not None]
    xs = [p[0] for p in known]
    if curve.reliability and min(xs + ys) >= 0 and max(xs + ys) <= 1:
        xs, ys = [0.0, 1.0], [0.0, 1.0]
    if curve.level is not None:
        ys.append(curve.level)
    y = Axis.log_around(ys, height - _FLOOR, _TOP) if curve.log_y else Axis.around(ys, height - _FLOOR, _TOP)
    left = 10 + _LETTER * max(len(written(t)) for t in y.ticks(_TICKS) or [y.low])
    if curve.log_x:
        return _Plot(Axis.log_around(xs, left, width - _RIGHT), y)
    return _Plot(Axis.around(xs, left, width - _RIGHT, may_be_log=not curve.reliability), y)


def _frame(curve: Curve, plot: _Plot, width: float, height: float) -> list[Markup]:
    """Lines, numbers and names of the axes."""
    x, y, floor = plot.x, plot.y, height - _FLOOR
    parts = [tag("line", x1=x.start, x2=x.end, y1=y.at(t), y2=y.at(t), class_="grid") for t in y.ticks(_TICKS)]
    parts += [
        tag("text", written(t), x=x.start - 6, y=y.at(t) + 4, text_anchor="end", class_="tick") for t in y.ticks(_TICKS)
    ]
    parts.append(tag("line", x1=x.start, x2=x.end, y1=floor, y2=floor, class_="axis"))
    for t, label, anchor in _along(x, width, magnitude if curve.counted else written):
        parts.append(tag("line", x1=x.at(t), x2=x.at(t), y1=floor, y2=floor + 4, class_="axis"))
        parts.append(tag("text", label, x=x.at(t), y=floor + 17, text_anchor=anchor, class_="tick"))
    letters = int(width / _LETTER)
    name = one_line(curve.y, letters - 14) + (" (log scale)" if y.logarithmic else "")
    parts.append(tag("text", name, x=0, y=12, class_="name"))
    if curve.level is not None:
        parts.append(tag("line", x1=x.start, x2=x.end, y1=y.at(curve.level), y2=y.at(curve.level), class_="ideal"))
    name = one_line(curve.x, letters - 14) + (" (log scale)" if x.logarithmic else "")
    parts.append(tag("text", name, x=x.end, y=floor + 34, text_anchor="end", class_="name"))
    if curve.reliability:
        low, high = max(x.low, y.low), min(x.high, y.high)
        if low < high:
            ends = {"x1": x.at(low), "x2": x.at(high), "y1": y.at(low), "y2": y.at(high)}
            parts.append(tag("line", **ends, class_="ideal"))
    return parts


def _along(x: Axis, width: float, write: Callable[[float], str]) -> list[tuple[float, str, str]]:
    """Values along x, each with its number and where that is anchored; a number that would touch the one before is left out."""
    shown, free = [], -math.inf
    for t in x.ticks(5):
        label, place = write(t), x.at(t)
        half = _LETTER * len(label) / 2
        anchor, left, right = "middle", place - half, place + half
        if place > width - 2 * _RIGHT:
            anchor, left, right = "end", place - 2 * half, place
        if left >= free:
            shown.append((t, label, anchor))
            free = right + _LETTER
    return shown


def _drawn(one: Series, points: list[Point], plot: _Plot, curve: Curve) -> list[Markup]:
    """One series: what is not known leaves a gap."""
    if one.through is not None:
        line = [tag("polyline", points=_places(sorted(one.through), plot), class_="line")] if one.through else []
        return [*line, *(_dot(one.name, p, plot, curve) for p in points if p[1] is not None)]
    runs: list[list[Point]] = [[]]
    for point in points:
        if point[1] is None:
            runs.append([])
        else:
            runs[-1].append(point)
    parts = []
    for run in runs:
        banded = [p for p in run if p[2] is not None and p[3] is not None]
        if curve.reliability or len(run) == 1:
            parts += [tag("path", d=_whisker(p, plot), class_="interval") for p in banded]
        elif len(banded) == len(run) and run:
            around = [(p[0], p[2]) for p in run] + [(p[0], p[3]) for p in reversed(run)]
            parts.append(tag("polygon", points=_places(around, plot), class_="band"))
        if len(run) > 1:
            parts.append(tag("polyline", points=_places([(p[0], p[1]) for p in run], plot), class_="line"))
    if len(points) <= _DOTTED:
        parts += [_dot(one.name, p, plot, curve) for run in runs for p in run]
    return parts


def _places(points: Sequence[tuple[float, float | None]], plot: _Plot) -> str:
    return " ".join(f"{plot.x.at(x):.1f},{plot.y.at(y):.1f}" for x, y in points if y is not None)


def _whisker(point: Point, plot: _Plot) -> str:
    x, _, low, high = point
    assert low is not None and high is not None, "it has an interval"  # noqa: PT018 - one fact
    place = plot.x.at(x)
    return f"M{place:.1f} {plot.y.at(low):.1f}V{plot.y.at(high):.1f}"


def _dot(name: str, point: Point, plot: _Plot, curve: Curve) -> Markup:
    x, y, low, high = point
    assert y is not None, "runs have values"
    interval = f" ({value(low)} to {value(high)})" if low is not None and high is not None else ""
    tip = f"{name}: {curve.y} {value(y)}{interval} at {curve.x} {value(x)}"
    return tag("circle", tag("title", tip), cx=plot.x.at(x), cy=plot.y.at(y), r=3, class_="dot")


def _sample(class_: str, *, dotted: bool) -> Markup:
    line = tag("line", x1=1, x2=25, y1=6, y2=6, class_="ideal" if class_ == "ideal" else "line")
    dot = tag("circle", cx=13, cy=6, r=3, class_="dot") if dotted else Markup("")
    return tag("svg", tag("g", line, dot, class_=class_), width=26, height=12, aria_hidden="true", class_="sample")
