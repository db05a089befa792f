"""How far the law is off at sizes larger than those that it was fitted on."""

from typing import Any

import numpy as np

from trainer.scaling.fit import Fit, fit, identifiable
from trainer.scaling.law import Form, Objective
from trainer.scaling.points import Floats, Points

#: Runs that are held out, at least: the largest size, and the next ones until there are so many.
LEAST_HELD = 3


def holdout(points: Points, form: Form) -> dict[str, Any]:
    """Fit without the largest sizes and predict them: relative errors of the loss, or `why` that cannot be.

    `error` is the mean size of the relative error, `bias` its mean (above 0: predicted too high), `worst` the largest size;
    `from_parameters` is the smallest model held out, `fitted_parameters` the largest one fitted.
    """
    sizes = points.sizes()
    counts = np.bincount(sizes)
    held = sizes >= len(counts) - 1 - int(np.argmax(np.cumsum(counts[::-1]) >= LEAST_HELD))
    rest = points.only(~held)
    reason = identifiable(rest)
    known = {"runs": int(held.sum()), "from_parameters": float(points.parameters_N[held].min())}
    if reason or held.all():
        return {
            **known,
            "error": None,
            "bias": None,
            "worst": None,
            "fitted_parameters": None,
            "why": f"without them {reason}",
        }
    found = fit(rest, form)
    ratio = np.expm1(residual(points.only(held), found))
    return {
        **known,
        "error": float(np.abs(ratio).mean()),
        "bias": float(ratio.mean()),
        "worst": float(np.abs(ratio).max()),
        "fitted_parameters": float(rest.parameters_N.max()),
        "why": None,
    }


def residual(points: Points, found: Fit) -> Floats:
    """Predicted less observed log losses of runs, [N], under a fit of these or other ones."""
    residual_N: Floats = Objective(points, found.form, found.center).residuals(found.vector_P[None])[0]
    return residual_N
