"""Minima of many small problems at once: BFGS with a weak Wolfe line search, every problem a row.

The bootstrap solves hundreds of problems that differ in their weights alone. One numpy operation on all of them costs little
more than on one, so a thousand fits take as long as some twenty by `scipy.optimize`. BFGS with this line search also finds
minima of functions with kinks, which a Huber loss of small delta nearly has (Lewis and Overton, 2013).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from trainer.scaling.points import Floats

#: Values and gradients of rows: (vectors [K, P], numbers of the problems [K]) to ([K], [K, P]).
Values = Callable[[Floats, NDArray[np.int64]], tuple[Floats, Floats]]

_ARMIJO, _WOLFE = 1e-4, 0.5
_TRIALS = 30


def descend(values: Values, starts_KP: Floats, *, rounds: int = 300, tolerance: float = 1e-9) -> tuple[Floats, Floats]:
    """Minima [K, P] and their values [K], one for each start.

    A problem ends when a round lowers it by less than `tolerance` of its value, or finds no lower point.
    """
    x = starts_KP.copy()
    everyone = np.arange(len(x))
    f, g = values(x, everyone)
    inverse = np.broadcast_to(np.eye(x.shape[1]), (*x.shape, x.shape[1])).copy()
    first = np.ones(len(x), bool)
    going = np.isfinite(f)
    for _ in range(rounds):
        rows = everyone[going]
        if not len(rows):
            break
        direction = -np.einsum("kij,kj->ki", inverse[rows], g[rows])
        uphill = (direction * g[rows]).sum(axis=1) >= 0
        inverse[rows[uphill]] = np.eye(x.shape[1])
        direction[uphill] = -g[rows[uphill]]
        length = np.linalg.norm(direction, axis=1, keepdims=True)
        direction = np.where(first[rows, None], direction * 0.1 / np.maximum(length, 1e-300), direction)
        steps, f_new, g_new = _search(values, (x[rows], f[rows], g[rows]), direction, rows)
        moved = steps[:, None] * direction
        _update(inverse, rows, moved, g_new - g[rows], first)
        gained = f[rows] - f_new
        x[rows] += moved
        f[rows], g[rows] = f_new, g_new
        going[rows[gained <= tolerance * np.abs(f_new)]] = False
        first[rows] = False
    return x, f


def _search(
    values: Values, here: tuple[Floats, Floats, Floats], direction: Floats, rows: NDArray[np.int64]
) -> tuple[Floats, Floats, Floats]:
    """Step lengths that satisfy the weak Wolfe conditions, by bisection; 0 where no lower point was found."""
    x, f, g = here
    slope = (g * direction).sum(axis=1)
    low, high, step = np.zeros(len(x)), np.full(len(x), np.inf), np.ones(len(x))
    best, best_f, best_g = np.zeros(len(x)), f.copy(), g.copy()
    open_ = np.arange(len(x))
    for _ in range(_TRIALS):
        at = step[open_]
        f_new, g_new = values(x[open_] + at[:, None] * direction[open_], rows[open_])
        fell = f_new <= f[open_] + _ARMIJO * at * slope[open_]  # False where it is NaN
        flat = (g_new * direction[open_]).sum(axis=1) >= _WOLFE * slope[open_]
        lower = fell & (f_new <= best_f[open_])
        kept = open_[lower]
        best[kept], best_f[kept], best_g[kept] = at[lower], f_new[lower], g_new[lower]
        high[open_[~fell]] = at[~fell]
        low[open_[fell]] = at[fell]
        open_ = open_[~(fell & flat)]
        if not len(open_):
            break
        bounded = np.isfinite(high[open_])
        middle = np.where(bounded, 0.5 * (low[open_] + np.where(bounded, high[open_], 0.0)), 2.0 * low[open_])
        step[open_] = middle
    return best, best_f, best_g


def _update(inverse: Floats, rows: NDArray[np.int64], moved: Floats, turned: Floats, first: NDArray[np.bool_]) -> None:
    """The BFGS update of inverse Hessians, where the curvature is positive; the first one also sets their scale."""
    curvature = (moved * turned).sum(axis=1)
    good = curvature > 1e-14 * np.linalg.norm(moved, axis=1) * np.linalg.norm(turned, axis=1)
    rows, s, y, c = rows[good], moved[good], turned[good], curvature[good]
    if not len(rows):
        return
    scale = np.where(first[rows], c / (y * y).sum(axis=1), 1.0)
    h = inverse[rows] * scale[:, None, None]
    hy = np.einsum("kij,kj->ki", h, y)
    factor = (1.0 + (y * hy).sum(axis=1) / c) / c
    crossed = np.einsum("ki,kj->kij", hy, s)
    inverse[rows] = (
        h
        + factor[:, None, None] * np.einsum("ki,kj->kij", s, s)
        - (crossed + np.swapaxes(crossed, 1, 2)) / c[:, None, None]
    )
