"""Fitting the parametric law: a grid of starts, L-BFGS with tight tolerances, and a bootstrap over runs."""

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import minimize  # type: ignore[import-untyped]  # it has no stubs

from trainer.scaling.descent import descend
from trainer.scaling.law import Center, Form, Objective, coefficients
from trainer.scaling.points import Floats, Points

#: Runs below which five numbers cannot be fitted with anything left over, and different sizes and token counts.
LEAST_RUNS, LEAST_SIZES = 6, 3
#: The grid of starts: E as part of the lowest loss, the part of the rest that the size explains, alpha and beta.
_FLOORS, _SHARES, _EXPONENTS = (0.3, 0.6, 0.85, 0.95), (0.25, 0.5, 0.75), (0.15, 0.3, 0.5, 0.8)
_FIRST_REPEATS = 15.0  # R* of arXiv:2305.16264
#: Starts that L-BFGS refines after all have come down, and what counts as the same minimum.
_REFINED, _SAME = 4, 1e-6
#: Numbers held at once by the bootstrap: vectors times runs.
_CHUNK = 2_000_000
_TIGHT = {"ftol": 1e-16, "gtol": 1e-12, "maxiter": 5000, "maxfun": 50_000}


@dataclass(frozen=True, slots=True)
class Fit:
    """The minimum: its vector [P] and value, how many starts there were and the part of them that came to it."""

    form: Form
    center: Center
    vector_P: Floats
    objective: float
    starts: int
    agreeing: float

    def coefficients(self) -> dict[str, Floats]:
        """E, A, B, alpha, beta (and repeats), each a number for each arm or one for all."""
        return {name: column[0] for name, column in coefficients(self.vector_P[None], self.form, self.center).items()}


def identifiable(points: Points) -> str | None:
    """Why these runs cannot be fitted, as the rest of a sentence; None where they can."""
    if len(points) < LEAST_RUNS:
        return f"{len(points)} {'run is' if len(points) == 1 else 'runs are'} too few for five parameters; give at least {LEAST_RUNS}"
    for column, what in ((points.parameters_N, "model size"), (points.tokens_N, "token count")):
        count = len(np.unique(column))
        if count < LEAST_SIZES:
            return (
                f"there {'is' if count == 1 else 'are'} only {count} {what}{'' if count == 1 else 's'}, from which no "
                f"exponent can be told; give runs of at least {LEAST_SIZES}"
            )
    return None


def fit(points: Points, form: Form | None = None, starts_KP: Floats | None = None) -> Fit:
    """The law that fits best, from `starts_KP` or from the grid; forms of several arms start from fits of simpler ones.

    Raises:
        ValueError: too few runs, sizes or token counts.
    """
    reason = identifiable(points)
    if reason:
        raise ValueError(reason)
    form = form or Form(repetition=points.repeated())
    objective = Objective(points, form)
    starts = grid(points, form) if starts_KP is None else starts_KP
    coarse_KP, value_K = descend(lambda vectors, _: objective(vectors), starts)
    order = np.argsort(value_K)[:_REFINED]
    refined = [refine(objective, coarse_KP[k]) for k in order]
    vector, value = min(refined, key=lambda pair: pair[1])
    agreeing = float((value_K <= value * (1 + _SAME) + 1e-15).mean())
    return Fit(form, objective.center, vector, value, len(starts), agreeing)


def refine(
    objective: Objective,
    start_P: Floats,
    *,
    reduction: Literal["sum", "mean"] = "sum",
    options: dict[str, float] | None = None,
) -> tuple[Floats, float]:
    """One minimum by L-BFGS: its vector and value. `mean` with the optimizer's own tolerances (`options={}`) ends early.

    That is how Hoffmann et al. came to their exponents; it is here to be shown.
    """
    scale = 1.0 if reduction == "sum" else 1.0 / len(objective.points)

    def value(vector: Floats) -> tuple[float, Floats]:
        values, gradients = objective(vector[None])
        return float(values[0]) * scale, gradients[0] * scale

    found = minimize(value, start_P, jac=True, method="L-BFGS-B", options=_TIGHT if options is None else options)
    return found.x, float(found.fun) / scale


def grid(points: Points, form: Form) -> Floats:
    """Starts, [K, P]: plausible floors, shares and exponents, whatever the units of the loss."""
    lowest, middle = points.loss_N.min(), float(np.median(points.loss_N))
    rows = []
    for floor, share, alpha, beta in itertools.product(_FLOORS, _SHARES, _EXPONENTS, _EXPONENTS):
        rest = middle - floor * lowest
        row = {
            "e": np.log(floor * lowest),
            "a": np.log(share * rest),
            "alpha": alpha,
            "b": np.log((1 - share) * rest),
            "beta": beta,
            "repeats": np.log(_FIRST_REPEATS),
        }
        rows.append(np.concatenate([np.full(s.stop - s.start, row[name]) for name, s in form.slices.items()]))
    return np.array(rows)


def resampled(points: Points, resamples: int, *, seed: int) -> Floats:
    """How often each run counts in each sample, [resamples, N]: drawn with replacement within each arm."""
    generator = np.random.default_rng(seed)
    weights = np.zeros((resamples, len(points)))
    for arm in range(len(points.arms)):
        rows = np.flatnonzero(points.arm_N == arm)
        if len(rows):
            weights[:, rows] = generator.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=resamples)
    return weights


def bootstrap(points: Points, fitted: Fit, weights_KN: Floats) -> Floats:
    """The parameter vectors, [K, P], that fit the samples best, each from the fit of all runs."""
    objective = Objective(points, fitted.form, fitted.center)
    found = np.empty((len(weights_KN), len(fitted.vector_P)))
    step = max(1, _CHUNK // max(1, len(points)))
    for first in range(0, len(weights_KN), step):
        part = weights_KN[first : first + step]
        starts = np.repeat(fitted.vector_P[None], len(part), axis=0)
        found[first : first + step], _ = descend(lambda v, k, part=part: objective(v, part[k]), starts)  # type: ignore[misc]  # a lambda's default
    return found


def widened(samples_KP: Floats, fitted: Fit, runs: int) -> Floats:
    """Samples as far from the fit as those of errors would be: a fit takes up a part of the noise, `parameters` of `runs`.

    The factor is sqrt(runs / (runs - parameters)), which is 1.01 for five parameters of 240 runs and 1.31 of 12.
    """
    factor = np.sqrt(runs / max(1, runs - len(fitted.vector_P)))
    found: Floats = fitted.vector_P + factor * (samples_KP - fitted.vector_P)
    return found


def interval(samples: Floats, confidence: float = 0.95) -> tuple[float | None, float | None]:
    """The percentile interval; None, None where there are too few finite samples to have one."""
    finite = samples[np.isfinite(samples)]
    if len(finite) < 2 / (1 - confidence):
        return None, None
    low, high = np.quantile(finite, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
