"""One metric as a dot and its interval as a whisker, on an axis of its own whose ends are written."""

from markupsafe import Markup

from pipelines.quantities import value
from pipelines.report.axis import nice, written
from pipelines.report.svg import tag
from pipelines.visible import visible

_MIDDLE, _FLOOR, _LETTERS, _HEIGHT = 8, 17, 29, 32
_LEFT, _RIGHT = 3.0, 97.0  # percent
_TINY = 1e-290


def whisker(number: float | None, low: float | None, high: float | None, label: str) -> Markup:
    """The drawing; it is as wide as its place. Nothing where the number is unknown."""
    if number is None:
        return Markup("")
    numbers = [number, *(x for x in (low, high) if x is not None)]
    first, last = _ends(numbers)

    def at(x: float) -> str:
        return f"{_LEFT + (_RIGHT - _LEFT) * (x - first) / (last - first):.2f}%"

    parts = [tag("line", x1=f"{_LEFT}%", x2=f"{_RIGHT}%", y1=_FLOOR, y2=_FLOOR, class_="axis")]
    for x, anchor in ((first, "start"), (last, "end")):
        parts.append(tag("line", x1=at(x), x2=at(x), y1=_FLOOR, y2=_FLOOR + 3, class_="axis"))
        parts.append(tag("text", written(x), x=at(x), y=_LETTERS, text_anchor=anchor, class_="tick"))
    if first < 0 < last:
        parts.append(tag("line", x1=at(0), x2=at(0), y1=0, y2=_FLOOR, class_="axis"))
    if low is not None and high is not None:
        parts.append(tag("line", x1=at(low), x2=at(high), y1=_MIDDLE, y2=_MIDDLE, class_="interval"))
        parts += [tag("line", x1=at(x), x2=at(x), y1=_MIDDLE - 4, y2=_MIDDLE + 4, class_="end") for x in (low, high)]
    parts.append(tag("circle", cx=at(number), cy=_MIDDLE, r=3.5, class_="dot"))
    said = f"{label}: {value(number)}" + (f", {value(low)} to {value(high)}" if None not in (low, high) else "")
    return tag("svg", *parts, role="img", aria_label=visible(said), class_="whisker", width="100%", height=_HEIGHT)


def _ends(numbers: list[float]) -> tuple[float, float]:
    """From 0 to 1 where all numbers are in it, or its tenth at either end; else from 0 to round numbers."""
    low, high = min(numbers), max(numbers)
    if low >= 0 and high <= 1:
        return (0.0, 0.1) if high <= 0.1 else (0.9, 1.0) if low >= 0.9 else (0.0, 1.0)  # noqa: PLR2004 - a tenth
    first = -nice(-low) if low < -_TINY else 0.0
    last = nice(high) if high > _TINY else 0.0
    return (first, last) if last > first else (0.0, 1.0)
