"""What a classifier is worth on documents that it has not seen, with intervals over documents.

All measures of two classes take `y_N` (true for the high class), `p_N` (its probability) and weights, with which the
bootstrap counts a document as often as it was drawn.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Truth = NDArray[np.bool_]
#: The 97.5 % quantile of the normal distribution.
Z95 = 1.959963984540054
#: Probabilities are kept this far from 0 and 1 in log losses.
LEAST = 1e-15
BINS, RESAMPLES = 10, 1_000


@dataclass(frozen=True, slots=True)
class Metric:
    """A value with its 95 % interval; `value` is None where the documents do not tell (one class only)."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    better: Literal["higher", "lower"]
    unit: str = "1"

    def json(self) -> dict[str, Any]:
        """The metric as a card has it."""
        return {name: getattr(self, name) for name in ("name", "value", "low", "high", "unit", "better")}


def wilson(right: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share by Wilson 1927."""
    if not of:
        return 0.0, 1.0
    share, z2 = right / of, Z95 * Z95
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z95 / (1 + z2 / of) * float(np.sqrt(share * (1 - share) / of + z2 / (4 * of * of)))
    return max(0.0, middle - half), min(1.0, middle + half)


def accuracy(y_N: Truth, p_N: Floats, w_N: Floats | None = None) -> float:
    """Share of documents on the right side of 0.5."""
    return float(np.average((p_N >= 0.5) == y_N, weights=w_N))  # noqa: PLR2004 - the middle


def roc_auc(y_N: Truth, p_N: Floats, w_N: Floats | None = None) -> float:
    """Probability that a document of the high class has the larger p than one of the other; ties count half."""
    high_T, low_T = _steps(y_N, p_N, w_N)
    below_T = low_T.sum() - np.cumsum(low_T)  # falling p: what comes later is smaller
    return float((high_T * (below_T + 0.5 * low_T)).sum() / (high_T.sum() * low_T.sum()))


def average_precision(y_N: Truth, p_N: Floats, w_N: Floats | None = None) -> float:
    """Precision at each threshold, averaged over the recall gained there."""
    high_T, low_T = _steps(y_N, p_N, w_N)
    found_T, taken_T = np.cumsum(high_T), np.cumsum(high_T + low_T)
    precision_T = np.divide(found_T, taken_T, out=np.zeros_like(found_T), where=taken_T > 0)
    return float((high_T * precision_T).sum() / high_T.sum())


def _steps(y_N: Truth, p_N: Floats, w_N: Floats | None) -> tuple[Floats, Floats]:
    """Weight of the high class and of the other at each different p, from the largest p on."""
    w_N = np.ones(len(p_N)) if w_N is None else w_N
    order = np.argsort(-p_N, kind="stable")
    first = np.flatnonzero(np.append(True, np.diff(p_N[order]) != 0))
    high = np.add.reduceat((w_N * y_N)[order], first)
    low = np.add.reduceat((w_N * ~y_N)[order], first)
    return high.astype(np.float64), low.astype(np.float64)


def log_loss(y_N: Truth, p_N: Floats, w_N: Floats | None = None) -> float:
    """Mean of -log p of what is true, in nats."""
    inside = np.clip(p_N, LEAST, 1 - LEAST)
    return float(-np.average(np.where(y_N, np.log(inside), np.log1p(-inside)), weights=w_N))


def brier(y_N: Truth, p_N: Floats, w_N: Floats | None = None) -> float:
    """Mean squared distance of p from what is true; Brier 1950."""
    return float(np.average(np.square(p_N - y_N), weights=w_N))


def calibration_error(y_N: Truth, p_N: Floats, w_N: Floats | None = None) -> float:
    """Expected calibration error: |share of the high class - mean p| in ten equal bins, weighted by documents."""
    w_N = np.ones(len(p_N)) if w_N is None else w_N
    bin_N = np.minimum((p_N * BINS).astype(np.int64), BINS - 1)
    gap_B = np.bincount(bin_N, w_N * (y_N - p_N), BINS)
    return float(np.abs(gap_B).sum() / w_N.sum())


_OF_TWO: tuple[tuple[str, Callable[..., float], Literal["higher", "lower"], str], ...] = (
    ("ROC AUC", roc_auc, "higher", "1"),
    ("average precision", average_precision, "higher", "1"),
    ("log loss", log_loss, "lower", "nats/document"),
    ("Brier score", brier, "lower", "1"),
    ("expected calibration error", calibration_error, "lower", "1"),
)


def measure_two(y_N: Truth, p_N: Floats, *, seed: int, resamples: int = RESAMPLES) -> list[Metric]:
    """Accuracy with Wilson's interval, and the other measures with the bootstrap's: 2.5 % and 97.5 % over resamples."""
    right = int(((p_N >= 0.5) == y_N).sum())  # noqa: PLR2004 - the middle
    answer = [Metric("accuracy", right / len(y_N), *wilson(right, len(y_N)), "higher")]
    if y_N.all() or not y_N.any():
        return [*answer, *(Metric(name, None, None, None, better, unit) for name, _, better, unit in _OF_TWO)]
    source = np.random.Generator(np.random.PCG64(seed))
    values: list[list[float]] = []
    while len(values) < resamples:
        w_N = source.multinomial(len(y_N), np.full(len(y_N), 1 / len(y_N))).astype(np.float64)
        if 0 < (w_N * y_N).sum() < len(y_N):  # a resample of one class says nothing of two
            values.append([measure(y_N, p_N, w_N) for _, measure, _, _ in _OF_TWO])
    low, high = np.quantile(np.array(values), [0.025, 0.975], axis=0)
    for i, (name, measure, better, unit) in enumerate(_OF_TWO):
        answer.append(Metric(name, measure(y_N, p_N), float(low[i]), float(high[i]), better, unit))
    return answer


def measure_many(y_N: NDArray[np.int64], p_NC: Floats) -> list[Metric]:
    """Accuracy with Wilson's interval, and log loss with a normal one, for any number of classes."""
    right = int((p_NC.argmax(axis=1) == y_N).sum())
    losses = -np.log(np.clip(p_NC[np.arange(len(y_N)), y_N], LEAST, 1))
    mean, half = float(losses.mean()), Z95 * float(losses.std(ddof=1) / np.sqrt(len(y_N))) if len(y_N) > 1 else 0.0
    return [
        Metric("accuracy", right / len(y_N), *wilson(right, len(y_N)), "higher"),
        Metric("log loss", mean, mean - half, mean + half, "lower", "nats/document"),
    ]


def reliability(y_N: Truth, p_N: Floats) -> list[list[float]]:
    """For each of ten equal bins with documents: mean p, share of the high class, and Wilson's interval of the share."""
    bin_N = np.minimum((p_N * BINS).astype(np.int64), BINS - 1)
    points = []
    for b in range(BINS):
        own = bin_N == b
        if own.any():
            high, of = int(y_N[own].sum()), int(own.sum())
            points.append([float(p_N[own].mean()), high / of, *wilson(high, of)])
    return points
