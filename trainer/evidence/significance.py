"""P values of resamples, Holm's correction over arms, and multipliers shrunk against the winner's curse."""

from collections.abc import Sequence

import numpy as np

from trainer.evidence.losses import Floats


def two_sided(drawn_R: Floats) -> float:
    """Twice the smaller share of draws on either side of 0: the level at which a percentile interval just touches 0.

    Draws without a value (NaN) count on both sides; never below 2 / (R + 1), as R draws cannot show less
    (Davison and Hinkley 1997, section 4.2.5).
    """
    unknown = np.isnan(drawn_R)
    below, above = int((unknown | (drawn_R <= 0)).sum()), int((unknown | (drawn_R >= 0)).sum())
    return min(1.0, 2 * (min(below, above) + 1) / (len(drawn_R) + 1))


def holm(p: Sequence[float | None]) -> list[float | None]:
    """P values adjusted for as many tests as there are values (Holm 1979); None stays None and is no test."""
    known = sorted((value, place) for place, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    highest = 0.0
    for rank, (value, place) in enumerate(known):
        highest = max(highest, min(1.0, value * (len(known) - rank)))
        adjusted[place] = highest
    return adjusted


def shrunk(effects: Sequence[float | None], errors: Sequence[float | None]) -> list[float | None]:
    """Effects drawn towards 0 by how much of their spread is noise; the best of several arms is overstated otherwise.

    The posterior mean under effects ~ N(0, t^2), t^2 = max(0, mean(effect^2 - error^2)) over the arms (James and Stein's
    estimator with known errors; Efron and Morris 1973). errors: standard errors, in the same unit.
    """
    known = [(e, s) for e, s in zip(effects, errors, strict=True) if e is not None and s is not None]
    spread = max(0.0, float(np.mean([e * e - s * s for e, s in known]))) if known else 0.0
    return [
        None if e is None or s is None else e * spread / (spread + s * s) if spread + s * s > 0 else e
        for e, s in zip(effects, errors, strict=True)
    ]


def standard_error(drawn_R: Floats) -> float | None:
    """Half the width of the middle 68.27 % of the draws, which heavy tails do not move; None where it is not finite."""
    low, high = np.quantile(np.where(np.isnan(drawn_R), np.inf, drawn_R), [0.15865, 0.84135], method="nearest")
    return float(high - low) / 2 if np.isfinite(low) and np.isfinite(high) else None
