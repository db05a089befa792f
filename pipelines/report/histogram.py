"""Distributions of measured columns, kept against rejected, in bins chosen from a sample and counted over everything.

Two passes: the first draws a bounded sample of rows (by hash of the document id) and the extremes; from these come
the edges; the second counts every document into fixed bins.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stages.chance import lowest

Reals = npt.NDArray[np.float64]

SAMPLED = 4096
_BINS = 36
#: Of the sample, cut at both ends before the range is chosen; what lies outside is counted as below or above.
_TAIL = 0.005
#: A column that spans more than this factor between its middle and its upper end gets logarithmic bins.
_SKEW = 12.0
_PER_DECADE = 10


def numbers(column: pa.ChunkedArray) -> Reals:
    """The column as doubles, NaN for null."""
    return np.asarray(
        pc.cast(column, pa.float64()).to_numpy(zero_copy_only=False)
        if isinstance(column, pa.Array)
        else pc.cast(column, pa.float64()).to_numpy(),
        np.float64,
    )


class Sampled:
    """A bounded, hash-chosen sample of rows of numeric columns, and each column's extremes."""

    def __init__(self, columns: list[str]) -> None:
        self.columns = columns
        self._numbers = np.empty(0, np.uint64)
        self._rows_NC = np.empty((0, len(columns)))
        self.low = np.full(len(columns), np.inf)
        self.high = np.full(len(columns), -np.inf)

    def add(self, drawn_N: npt.NDArray[np.uint64], values_NC: Reals) -> None:
        """Consider the rows of a shard."""
        if not len(drawn_N) or not self.columns:
            return
        finite = np.isfinite(values_NC)
        self.low = np.minimum(self.low, np.where(finite, values_NC, np.inf).min(axis=0))
        self.high = np.maximum(self.high, np.where(finite, values_NC, -np.inf).max(axis=0))
        best = lowest(drawn_N, SAMPLED)
        merged = np.concatenate([self._numbers, drawn_N[best]])
        rows = np.concatenate([self._rows_NC, values_NC[best]])
        order = lowest(merged, SAMPLED)
        self._numbers, self._rows_NC = merged[order], rows[order]

    def values(self, column: str) -> Reals:
        """The sampled values of a column that are not null."""
        values: Reals = self._rows_NC[:, self.columns.index(column)]
        return values[np.isfinite(values)]

    def extremes(self, column: str) -> tuple[float | None, float | None]:
        """The least and the greatest value of all documents; None when all are null."""
        i = self.columns.index(column)
        if not math.isfinite(self.low[i]):
            return None, None
        return float(self.low[i]), float(self.high[i])


@dataclass(slots=True)
class Histogram:
    """Counts of kept and rejected documents in bins [edge, next edge), the last one closed."""

    column: str
    scale: str  # linear or log
    edges: Reals
    whole: bool  # the values are integers
    counts: npt.NDArray[np.int64] = field(init=False)  # (kept, rejected) x (below, bins..., above)
    nulls: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros((2, len(self.edges) + 1), np.int64)
        self.nulls = np.zeros(2, np.int64)

    def add(self, values_N: Reals, fates_N: npt.NDArray[np.int64]) -> None:
        """Count the rows of a shard; `fates_N` is 0 for kept and 1 for rejected, others are left out."""
        last = self.edges[-1]
        for fate in (0, 1):
            mine = values_N[fates_N == fate]
            self.nulls[fate] += int(np.isnan(mine).sum())
            mine = mine[~np.isnan(mine)]
            place = np.searchsorted(self.edges, mine, side="right")
            place[mine == last] = len(self.edges) - 1
            self.counts[fate] += np.bincount(place, minlength=len(self.edges) + 1)

    def json(self) -> dict[str, Any]:
        """The histogram as data."""
        kept, rejected = self.counts
        return {
            "column": self.column,
            "scale": self.scale,
            "edges": [float(e) for e in self.edges],
            "kept": kept[1:-1].tolist(),
            "rejected": rejected[1:-1].tolist(),
            "below": {"kept": int(kept[0]), "rejected": int(rejected[0])},
            "above": {"kept": int(kept[-1]), "rejected": int(rejected[-1])},
            "null": {"kept": int(self.nulls[0]), "rejected": int(self.nulls[1])},
        }


def binned(column: str, values: Reals, thresholds: list[float], *, whole: bool) -> Histogram:
    """An empty histogram whose range covers nearly all of the sampled values and every threshold."""
    if not len(values):
        return Histogram(column, "linear", np.array([0.0, 1.0]), whole)
    low, middle, high = np.quantile(values, [_TAIL, 0.5, 1 - _TAIL])
    low, high = min(low, *thresholds, high), max(high, *thresholds, low)
    if low >= 0 and high > _SKEW * max(middle, 1.0 if whole else 1e-9) and high > 1:
        return Histogram(column, "log", log_edges(values, [t for t in thresholds if t > 0], high, whole=whole), whole)
    return Histogram(column, "linear", linear_edges(low, high, whole=whole), whole)


def linear_edges(low: float, high: float, *, whole: bool) -> Reals:
    """Edges at round numbers that cover [low, high] in about 36 bins; integers keep bins of whole width."""
    span = high - low
    if span <= 0:
        span = abs(low) or 1.0
    step = nice(span / _BINS)
    if whole:
        step = max(1.0, step)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if whole and last * step <= high:
        last += 1  # an integer at the upper end needs its own bin
    digits = max(0, 2 - math.floor(math.log10(step)))
    return np.array([round(k * step, digits) for k in range(first, max(last, first + 1) + 1)])


def log_edges(values: Reals, thresholds: list[float], high: float, *, whole: bool) -> Reals:
    """Edges in a geometric row, ten a decade or fewer, from the least usual value; zeros fall below the first."""
    positive = values[values > 0]
    least = float(np.quantile(positive, _TAIL)) if len(positive) else high / 10
    least = min([max(1.0 if whole else high / 1e6, least), *thresholds])
    first = math.floor(_PER_DECADE * math.log10(least) + 1e-9)
    last = max(math.ceil(_PER_DECADE * math.log10(high) - 1e-9), first + 1)
    every = max(1, round((last - first) / _BINS))
    edges = 10.0 ** (np.arange(first, last + every, every) / _PER_DECADE)
    # Integers: edges between whole numbers, so that no bin is empty by construction.
    return np.unique(np.ceil(edges - 1e-9)) if whole else edges


def nice(step: float) -> float:
    """The smallest of 1, 2, 2.5, 5, 10 times a power of ten that is at least `step`."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= step * (1 - 1e-9))
