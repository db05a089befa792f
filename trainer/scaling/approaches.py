"""How the best size grows with compute, by approaches 1 and 2 of Hoffmann et al. (arXiv:2203.15556).

Both give a in N_best ~ C^a; that of the parametric law, approach 3, is beta / (alpha + beta). Approach 2 is biased even where
there is no noise, unless the budgets' profiles are symmetric around the optimum; it is here to be compared.
"""

from collections.abc import Callable

import numpy as np

from trainer.scaling.fit import interval
from trainer.scaling.points import Floats, Points

#: Runs within this factor of compute are one profile of approach 2.
_PROFILE = 1.5
#: Sizes of a profile, points of the envelope and budgets, at least.
_SIZES, _COVERING, _BUDGETS = 4, 3, 3
#: Budgets at which the envelope of approach 1 is read.
_READ = 200
#: Of a frontier, points that are told.
_SHOWN = 40

Frontier = tuple[Floats, Floats]


def frontier_1(points: Points) -> Frontier:
    """Logs of compute and of the best size along the envelope of all sizes' curves of loss against compute (approach 1).

    A size's curve joins its runs; a budget counts where at least three curves cover it and none at an end is best.
    """
    log_flops, log_loss, sizes = np.log(points.flops()), np.log(points.loss_N), points.sizes()
    read = np.linspace(log_flops.min(), log_flops.max(), _READ)
    curves, names = [], []
    for size in range(int(sizes.max()) + 1):
        rows = np.flatnonzero(sizes == size)
        if len(np.unique(points.tokens_N[rows])) > 1:
            order = rows[np.argsort(log_flops[rows], kind="stable")]
            curves.append(np.interp(read, log_flops[order], log_loss[order], left=np.nan, right=np.nan))
            names.append(float(np.log(points.parameters_N[rows]).mean()))
    if len(curves) < _COVERING:
        return np.array([]), np.array([])
    value = np.array(curves)
    known = ~np.isnan(value)
    enough = known.sum(axis=0) >= _COVERING
    best = np.argmin(np.where(known, value, np.inf), axis=0)
    first, last = known.argmax(axis=0), len(curves) - 1 - known[::-1].argmax(axis=0)
    inside = enough & (best > first) & (best < last)
    return read[inside], np.array(names)[best[inside]]


def frontier_2(points: Points) -> Frontier:
    """Logs of compute and of the best size of each budget: the vertex of a parabola of loss in log size (approach 2).

    Runs within a factor of 1.5 of compute are one budget; what compute differs by within it enters as a linear term.
    """
    log_flops, log_size = np.log(points.flops()), np.log(points.parameters_N)
    order = np.argsort(log_flops, kind="stable")
    found = []
    while len(order):
        near = log_flops[order] <= log_flops[order[0]] + np.log(_PROFILE)
        rows, order = order[near], order[~near]
        varies = np.ptp(log_flops[rows]) > 1e-9  # noqa: PLR2004 - rounding
        if len(np.unique(points.sizes()[rows])) < _SIZES or len(rows) < _SIZES + varies:
            continue
        middle, compute = log_size[rows].mean(), log_flops[rows].mean()
        x, c = log_size[rows] - middle, log_flops[rows] - compute
        design = np.column_stack([np.ones_like(x), x, x * x, c])
        _, slope, curvature, _ = np.linalg.lstsq(design, points.loss_N[rows], rcond=None)[0]
        if curvature > 0 and x.min() < -slope / (2 * curvature) < x.max():
            found.append((compute, middle - slope / (2 * curvature)))
    compute_B, size_B = zip(*found, strict=True) if found else ((), ())
    return np.array(compute_B), np.array(size_B)


def growth(frontier: Frontier) -> float | None:
    """The slope of log size in log compute; None where there are too few budgets."""
    compute, size = frontier
    if len(np.unique(compute.round(6))) < _BUDGETS or np.ptp(compute) < np.log(2):
        return None
    return float(np.polyfit(compute - compute.mean(), size, 1)[0])


def compared(
    points: Points, third: Floats, *, resamples: int, seed: int, confidence: float = 0.95
) -> list[dict[str, object]]:
    """The three exponents with bootstrap intervals over runs, and why one is unknown; `third`: of approach 3, fit first."""
    reasons = (
        "it needs at least three sizes, each with several token counts over a common range of compute",
        "it needs at least three budgets of compute with four sizes each on both sides of the best",
    )
    rows: list[dict[str, object]] = []
    for number, (frontier, reason) in enumerate(zip((frontier_1, frontier_2), reasons, strict=True), 1):
        found = frontier(points)
        value = growth(found)
        low, high, drawn = _spread(points, frontier, resamples, seed) if value is not None else (None, None, 0)
        known = value is not None
        row = _row(number, (value, low, high), None if known else reason)
        rows.append(row | {"resamples": drawn, "frontier": _thinned(found) if known else []})
    low, high = interval(third[1:], confidence)
    rows.append(_row(3, (float(third[0]), low, high), None) | {"resamples": len(third) - 1, "frontier": []})
    return rows


def _row(number: int, a: tuple[float | None, ...], why: str | None) -> dict[str, object]:
    """One approach: exponents of compute of the best parameters (a) and of the best tokens (1 - a)."""
    value, low, high = a
    rest = [None if x is None else 1 - x for x in (value, high, low)]
    keys = ("value", "low", "high")
    return {
        "approach": number,
        "parameters": dict(zip(keys, a, strict=True)),
        "tokens": dict(zip(keys, rest, strict=True)),
        "why": why,
    }


def _thinned(frontier: Frontier) -> list[tuple[float, float]]:
    """FLOPs and the best parameters, at most `_SHOWN` of them."""
    compute, size = (np.exp(x[:: -(-len(x) // _SHOWN)]).tolist() for x in frontier)
    return list(zip(compute, size, strict=True))


def _spread(
    points: Points, frontier: Callable[[Points], Frontier], resamples: int, seed: int
) -> tuple[float | None, float | None, int]:
    """The interval over samples of the runs, and in how many of them there was an exponent."""
    generator = np.random.default_rng(seed)
    drawn = (growth(frontier(points.only(generator.integers(0, len(points), len(points))))) for _ in range(resamples))
    known = np.array([a for a in drawn if a is not None])
    return (*interval(known), len(known))
