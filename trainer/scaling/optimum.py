"""The model and the tokens that a budget of FLOPs is best spent on."""

import numpy as np

from trainer.scaling.points import FLOPS_PER_PARAMETER_TOKEN, Floats

#: Sizes tried where tokens are limited: a grid over this many powers of ten around the size for unlimited tokens.
_GRID, _DECADES = 481, 4.0


def optimum(own: dict[str, Floats], flops: float, unique: float | None = None) -> dict[str, Floats]:
    """Parameters, tokens and loss at the optimum, [K], for coefficients [K] of the law.

    Minimizes L(N, D) on 6 N D = flops (arXiv:2203.15556, equation 4). With `unique`, no more than that many distinct tokens
    exist and others are repeats, which count as `repeats` (R*) says; without R*, repeats count as fresh tokens.
    """
    budget = flops / FLOPS_PER_PARAMETER_TOKEN
    alpha, beta = own["alpha"], own["beta"]
    with np.errstate(all="ignore"):  # samples whose exponents are not positive have no optimum: NaN
        ratio = (alpha * own["A"] / (beta * own["B"])) ** (1 / (alpha + beta))
        parameters = ratio * budget ** (beta / (alpha + beta))
        valid = (alpha > 0) & (beta > 0)
        parameters = np.where(valid, parameters, np.nan)
        if unique is not None and "repeats" in own:
            parameters = _searched(own, parameters, budget, unique)
        tokens = budget / parameters
        return {"parameters": parameters, "tokens": tokens, "loss": loss(own, parameters, tokens, unique)}


def loss(own: dict[str, Floats], parameters: Floats, tokens: Floats, unique: float | None = None) -> Floats:
    """What the law says of a model size and tokens, of which `unique` are distinct."""
    effective = tokens if unique is None or "repeats" not in own else _effective(tokens, unique, own["repeats"])
    found: Floats = own["E"] + own["A"] * parameters ** -own["alpha"] + own["B"] * effective ** -own["beta"]
    return found


def _effective(tokens: Floats, unique: float, repeats: Floats) -> Floats:
    fresh = np.minimum(tokens, unique)
    found: Floats = fresh * (1 - repeats * np.expm1(-(tokens / fresh - 1) / repeats))
    return found


def _searched(own: dict[str, Floats], around: Floats, budget: float, unique: float) -> Floats:
    """The best size where tokens repeat: the best of a grid, then the vertex of the parabola around it."""
    steps_G = np.linspace(-_DECADES / 2, _DECADES / 2, _GRID) * np.log(10)
    size_KG = np.log(around)[:, None] + steps_G
    wide = {name: column[:, None] for name, column in own.items()}
    value_KG = loss(wide, np.exp(size_KG), budget / np.exp(size_KG), unique)
    best = np.clip(np.nanargmin(np.where(np.isnan(value_KG), np.inf, value_KG), axis=1), 1, _GRID - 2)
    rows = np.arange(len(best))
    left, middle, right = (value_KG[rows, best + k] for k in (-1, 0, 1))
    shift = 0.5 * (left - right) / (left - 2 * middle + right)
    found: Floats = np.exp(size_KG[rows, best] + np.clip(shift, -1, 1) * (steps_G[1] - steps_G[0]))
    return found
