"""A numeric axis of a drawing: from values to places, and the round numbers along it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from pipelines.quantities import value

_STEPS = (1, 2, 2.5, 5, 10)
_LONG = 1e6  # from here on numbers are written with an exponent
#: Extents narrower than this part of their numbers are one value.
_NARROW, _TINY = 1e-9, 1e-290
#: Extents this many times as wide as they begin are drawn by their logarithms.
_WIDE = 100
_PADDING = 0.06
#: Marks of a power of ten on a short logarithmic axis, from few to many, and how many are enough.
_MARKS = ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7), (1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9))
_LEAST_MARKS = 3


@dataclass(frozen=True, slots=True)
class Axis:
    """Values from `low` to `high`, which lie at `start` and `end` of a drawing, in its units."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    @classmethod
    def around(cls, values: Sequence[float], start: float, end: float, *, may_be_log: bool = False) -> Self:
        """The axis that shows these values, with a little room, but not below 0 or above 1 where no value is."""
        low, high = min(values), max(values)
        if may_be_log and 0 < low <= high / _WIDE:
            return cls(low, high, start, end, logarithmic=True)
        return cls._even(low, high, start, end)

    @classmethod
    def log_around(cls, values: Sequence[float], start: float, end: float) -> Self:
        """The axis that shows these values by their logarithms, with a little room; even where one is not above 0."""
        low, high = min(values), max(values)
        if low <= _TINY:
            return cls._even(low, high, start, end)
        room = (high / low) ** _PADDING if high > low * (1 + _NARROW) else 1.1
        return cls(low / room, high * room, start, end, logarithmic=True)

    @classmethod
    def _even(cls, low: float, high: float, start: float, end: float) -> Self:
        width = high - low
        near = max(abs(low), abs(high))
        alone = 0.05 * near if near > _TINY else 0.5
        room = _PADDING * width if width > max(_NARROW * near, _TINY) else alone
        first = max(0.0, low - room) if low >= 0 else low - room
        last = min(1.0, high + room) if low >= 0 and high <= 1 else high + room
        return cls(first, last, start, end)

    def at(self, number: float) -> float:
        """The place of a value, kept inside the axis."""
        if self.logarithmic:
            part = math.log(max(number, self.low) / self.low) / math.log(self.high / self.low)
        else:
            part = (number - self.low) / (self.high - self.low)
        return self.start + (self.end - self.start) * min(1.0, max(0.0, part))

    def ticks(self, most: int) -> list[float]:
        """Round numbers along it, about as many as `most`."""
        if self.logarithmic:
            first, last = math.ceil(math.log10(self.low) - _NARROW), math.floor(math.log10(self.high) + _NARROW)
            if self.high < _WIDE * self.low:
                return self._few(first - 1, last, most)
            return [10.0**k for k in range(first, last + 1, max(1, math.ceil((last - first + 1) / most)))]
        step = nice((self.high - self.low) / most)
        first, last = math.ceil(self.low / step - _NARROW), math.floor(self.high / step + _NARROW)
        return [round(k * step, 12) if step > _NARROW else k * step for k in range(first, last + 1)]

    def _few(self, first: int, last: int, most: int) -> list[float]:
        """Round numbers along a logarithmic axis of less than two powers of ten."""
        for steps in _MARKS:
            found = [m * 10.0**k for k in range(first, last + 1) for m in steps]
            inside = [x for x in found if self.low * (1 - _NARROW) <= x <= self.high * (1 + _NARROW)]
            if len(inside) >= _LEAST_MARKS:
                return [round(x, 12) if x > _NARROW else x for x in inside[:: math.ceil(len(inside) / (most + 2))]]
        step = nice((self.high - self.low) / most)
        return [k * step for k in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]


def nice(number: float) -> float:
    """The least of 1, 2, 2.5 and 5 times a power of ten that is at least the positive number."""
    power = 10.0 ** math.floor(math.log10(number))
    return next(m * power for m in _STEPS if m * power >= number * (1 - _NARROW))


def written(number: float) -> str:
    """A round number as an axis has it."""
    return f"{number:.3g}".replace("e+0", "e").replace("e+", "e") if abs(number) >= _LONG else value(number)
