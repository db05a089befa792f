"""Estimates as dots and whiskers on one common axis, a drawing for each row of a table; as wide as their place."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from markupsafe import Markup

from pipelines.quantities import value
from pipelines.report.axis import Axis, written
from pipelines.report.svg import tag
from pipelines.visible import visible

_START, _END = 4.0, 96.0  # percent
_EDGE = 5.0  # nearer to an end of the axis than this, numbers are written inwards
_HEIGHT, _MIDDLE, _LETTERS = 24, 12, 16
_BAR = 10
_TICKS = 5
#: Bounds are cut that are further from the neutral value than this factor or, on an even axis, so many times as far as most.
_FURTHEST, _WIDTHS = 16.0, 4.0
#: Widths of intervals outside of which numbers are written without regard to them.
_NARROWEST, _WIDEST = 1e-7, 1e4
_ROUNDING = 1e-9  # 0.1 as a difference may be a little less

Estimate = dict[str, float | None]


@dataclass(frozen=True, slots=True)
class Scale:
    """The axis of a column of estimates, and the value that says that nothing differs."""

    axis: Axis
    neutral: float

    @classmethod
    def of(cls, estimates: Sequence[Estimate | None], neutral: float, *, logarithmic: bool) -> Self:
        """The axis that shows all of them, far bounds cut."""
        values = [e["value"] for e in estimates if e and e["value"] is not None]
        bounds = [x for e in estimates if e for x in (e["low"], e["high"]) if x is not None]
        if logarithmic:
            kept = [x for x in bounds if neutral / _FURTHEST <= x <= neutral * _FURTHEST]
            around = [min(max(x, neutral / _FURTHEST), neutral * _FURTHEST) for x in [neutral, *values]]
            return cls(Axis.log_around([*around, *kept], _START, _END), neutral)
        far = sorted(abs(x - neutral) for x in bounds)
        usual = max([abs(x - neutral) for x in values] + far[len(far) // 2 : len(far) // 2 + 1], default=0.0)
        kept = [x for x in bounds if abs(x - neutral) <= _WIDTHS * usual]
        low, high = min([neutral, *values, *kept]), max([neutral, *values, *kept])
        room = 0.06 * (high - low) or 0.5
        return cls(Axis(low - room, high + room, _START, _END), neutral)

    def mark(self, one: Estimate | None, label: str, *, state: str = "", bar: bool = False) -> Markup:
        """The drawing of one estimate; `state` is a class that colours it. An unbounded side ends in an arrow."""
        parts = [self._line(self.neutral, 0, _HEIGHT, "neutral")]
        if one is None or one["value"] is None:
            return self._svg(parts, f"{label}: unknown", state)
        number, low, high = one["value"], one["low"], one["high"]
        if bar:
            first, last = sorted((self.axis.at(self.neutral), self.axis.at(number)))
            place = {"x": _percent(first), "width": _percent(last - first)}
            parts.append(tag("rect", **place, y=_MIDDLE - _BAR / 2, height=_BAR, class_="amount"))
        left, right = self._inside(low, self.axis.low), self._inside(high, self.axis.high)
        parts.append(tag("line", x1=self._at(left), x2=self._at(right), y1=_MIDDLE, y2=_MIDDLE, class_="interval"))
        parts.append(self._end(low, left, "‹", "end"))
        parts.append(self._end(high, right, "›", "start"))
        if not bar:
            parts.append(tag("circle", cx=self._at(number), cy=_MIDDLE, r=4, class_="dot"))
        return self._svg(parts, f"{label}: {digits(one)}, {interval(one)}", state)

    def ruler(self) -> Markup:
        """The axis with its numbers."""
        ticks = [t for t in self.axis.ticks(_TICKS) if self.axis.low <= t <= self.axis.high]
        parts = [tag("line", x1=f"{_START}%", x2=f"{_END}%", y1=1, y2=1, class_="axis")]
        for t in ticks:
            parts.append(self._line(t, 1, 5, "axis"))
            place = self.axis.at(t)
            anchor = "start" if place < _START + _EDGE else "end" if place > _END - _EDGE else "middle"
            parts.append(tag("text", written(t), x=_percent(place), y=_LETTERS + 2, text_anchor=anchor, class_="tick"))
        return tag("svg", *parts, class_="mark", width="100%", height=_HEIGHT, aria_hidden="true")

    def _end(self, bound: float | None, place: float, arrow: str, anchor: str) -> Markup:
        """The end of a whisker: a bar, or an arrow where it goes on."""
        if bound is not None and self.axis.low <= bound <= self.axis.high:
            return self._line(bound, _MIDDLE - 4, _MIDDLE + 4, "end")
        return tag("text", arrow, x=self._at(place), y=_MIDDLE + 4.5, text_anchor=anchor, class_="arrow")

    def _inside(self, bound: float | None, edge: float) -> float:
        return edge if bound is None else min(max(bound, self.axis.low), self.axis.high)

    def _line(self, number: float, top: float, bottom: float, class_: str) -> Markup:
        return tag("line", x1=self._at(number), x2=self._at(number), y1=top, y2=bottom, class_=class_)

    def _at(self, number: float) -> str:
        return _percent(self.axis.at(number))

    def _svg(self, parts: Sequence[Markup], label: str, state: str) -> Markup:
        own: dict[str, Any] = {"role": "img", "aria_label": visible(label), "class_": f"mark {state}".rstrip()}
        return tag("svg", *parts, **own, width="100%", height=_HEIGHT)


def digits(one: Estimate, *, signed: bool = False) -> str:
    """The value, as precise as its interval is narrow."""
    number = one["value"]
    if number is None:
        return "–"
    places = _places(one)
    return value(float(f"{number:.3g}")) if places is None else _fixed(number, places, "+" if signed else "")


def interval(one: Estimate | None) -> str:
    """The bounds in words: `1.2 to 1.5`, `at least 1.2`, or `not bounded`."""
    low, high = (None, None) if one is None else (one["low"], one["high"])
    places = None if one is None else _places(one)

    def bound(number: float) -> str:
        return value(number) if places is None else _fixed(number, places)

    if low is not None and high is not None:
        return f"{bound(low)} to {bound(high)}"
    if low is not None:
        return f"at least {bound(low)}"
    return "not bounded" if high is None else f"at most {bound(high)}"


def _fixed(number: float, places: int, sign: str = "") -> str:
    """With so many decimals; what is 0 with them has no sign."""
    text = f"{number:{sign}.{places}f}"
    return text if float(text) else text.lstrip("+-")


def _places(one: Estimate) -> int | None:
    """Decimals that tell half the width of an interval with two digits; None where there is no width."""
    number, low, high = one["value"], one["low"], one["high"]
    known = [abs(number - x) for x in (low, high) if x is not None and number is not None]
    width = max(known, default=0.0)
    if not _NARROWEST < width < _WIDEST:
        return None
    return max(0, 1 - math.floor(math.log10(width) + _ROUNDING))


def _percent(place: float) -> str:
    return f"{place:.2f}%"
