"""Does better data move the exponent or the offset? One law for several arms, nested in what each arm has of its own.

E, A and alpha are shared, for models and held-out text are the same. An arm's B says how many tokens it saves at a given place
(the **offset**: a constant multiplier), its beta whether the saving grows with tokens (the **exponent**). Offsets are told in the
middle of the observed token counts, where they hardly depend on exponents.
"""

from typing import Any

import numpy as np

from trainer.scaling.fit import Fit, bootstrap, fit, interval, widened
from trainer.scaling.holdout import holdout
from trainer.scaling.law import Form, Objective
from trainer.scaling.points import Floats, Points

#: Nested fits, each with what an arm has of its own; a later one contains those named.
NESTED: dict[str, tuple[dict[str, bool], tuple[str, ...]]] = {
    "shared": ({}, ()),
    "offset": ({"offset": True}, ("shared",)),
    "exponent": ({"exponent": True}, ("shared",)),
    "both": ({"offset": True, "exponent": True}, ("offset", "exponent")),
    "all": ({"offset": True, "exponent": True, "floor": True}, ("both",)),
}


def quality(points: Points, weights_KN: Floats, confidence: float = 0.95) -> dict[str, Any]:
    """Nested fits of all arms, their errors on runs left out, and by arm what differs from the first, the baseline.

    Intervals of differences are as wide as the number of arms asks for (Bonferroni), those of nested fits are not.
    """
    fits = nested(points)
    samples = {name: bootstrap(points, found, weights_KN) for name, found in fits.items()}
    left_out = {name: _left_out(points, fits[name], samples[name], weights_KN) for name in fits}
    wider = {name: widened(samples[name], fits[name], len(points)) for name in ("offset", "both")}
    others = range(1, len(points.arms))
    wide = 1 - (1 - confidence) / len(others)
    arms = [_difference(points, fits, wider, arm, wide) for arm in others]
    return {
        "baseline": points.arms[0],
        "fits": [_described(name, fits[name], points, left_out) for name in fits],
        "steps": [
            _step(name, below, left_out, confidence) for name, (_, simpler) in NESTED.items() for below in simpler
        ],
        "arms": arms,
        "confidence": wide,
        "center_tokens": float(np.exp(fits["both"].center.tokens)),
        "answer": answer(points.arms[0], arms),
    }


def nested(points: Points) -> dict[str, Fit]:
    """Every nested fit; each starts from those that it contains."""
    found: dict[str, Fit] = {}
    repeats = points.repeated()
    for name, (own, simpler) in NESTED.items():
        form = Form(len(points.arms), repetition=repeats, **own)
        starts = [_widened(found[below].vector_P, found[below].form, form) for below in simpler]
        found[name] = fit(points, form, np.array(starts) if starts else None)
    return found


def _widened(vector_P: Floats, narrow: Form, wide: Form) -> Floats:
    """A vector of a form as one of a form that contains it."""
    found = np.empty(wide.parameters)
    for name, place in wide.slices.items():
        found[place] = vector_P[narrow.slices[name]]
    return found


def _left_out(points: Points, found: Fit, samples_KP: Floats, weights_KN: Floats) -> Floats:
    """The mean size of the error of log loss on the runs that each sample left out, [K]."""
    errors_KN = np.abs(Objective(points, found.form, found.center).residuals(samples_KP))
    out_KN = weights_KN == 0
    with np.errstate(invalid="ignore"):  # a sample that left nothing out tells nothing: NaN
        mean: Floats = (errors_KN * out_KN).sum(axis=1) / out_KN.sum(axis=1)
    return mean


def _described(name: str, found: Fit, points: Points, left_out: dict[str, Floats]) -> dict[str, Any]:
    finite = left_out[name][np.isfinite(left_out[name])]
    return {
        "fit": name,
        "parameters": found.form.parameters,
        "objective": found.objective,
        "left_out_error": float(np.median(finite)) if len(finite) else None,
        "holdout": holdout(points, found.form),
    }


def _step(name: str, below: str, left_out: dict[str, Floats], confidence: float) -> dict[str, Any]:
    """By how much a fit errs less than a simpler one on runs left out (of the log loss), with its interval."""
    gained = left_out[below] - left_out[name]
    finite = gained[np.isfinite(gained)]
    low, high = interval(gained, confidence)
    return {
        "from": below,
        "to": name,
        "gain": {"value": float(np.median(finite)) if len(finite) else None, "low": low, "high": high},
        "helps": None if low is None or high is None else low > 0 or (False if high < 0 else None),
    }


def _difference(
    points: Points, fits: dict[str, Fit], samples: dict[str, Floats], arm: int, confidence: float
) -> dict[str, Any]:
    """What an arm has other than the baseline: beta under `both`, the token multiplier under `both` and `offset`."""
    form, value_P, drawn_KP = fits["both"].form, fits["both"].vector_P[None], samples["both"]
    exponent = _estimate(_of_exponent(value_P, form, arm), _of_exponent(drawn_KP, form, arm), confidence)
    middle = _estimate(_multiplier(value_P, form, arm), _multiplier(drawn_KP, form, arm), confidence)
    form, value_P, drawn_KP = fits["offset"].form, fits["offset"].vector_P[None], samples["offset"]
    constant = _estimate(_multiplier(value_P, form, arm), _multiplier(drawn_KP, form, arm), confidence)
    moves = {"exponent": _apart(exponent, 0.0), "offset": _apart(middle, 1.0)}
    return {
        "arm": points.arms[arm],
        "exponent": exponent,
        "multiplier": middle,
        "constant_multiplier": constant,
        "moves": moves,
    }


def _of_exponent(vectors_KP: Floats, form: Form, arm: int) -> Floats:
    beta = vectors_KP[:, form.slices["beta"]]
    found: Floats = beta[:, arm] - beta[:, 0]
    return found


def _multiplier(vectors_KP: Floats, form: Form, arm: int) -> Floats:
    """Tokens of the baseline that do what one token of the arm does, in the middle of the token counts."""
    b, beta = vectors_KP[:, form.slices["b"]], vectors_KP[:, form.slices["beta"]]
    with np.errstate(all="ignore"):  # a sample without a slope has no multiplier
        return np.exp((b[:, 0] - b[:, arm]) / beta[:, 0])


def _estimate(value: Floats, drawn: Floats, confidence: float) -> dict[str, float | None]:
    low, high = interval(drawn, confidence)
    return {"value": float(value[0]), "low": low, "high": high}


def _apart(found: dict[str, float | None], neutral: float) -> bool | None:
    """Whether the interval excludes the neutral value; None without an interval."""
    low, high = found["low"], found["high"]
    return None if low is None or high is None else not low <= neutral <= high


def answer(baseline: str, arms: list[dict[str, Any]]) -> str:
    """The question's answer in a sentence for each arm."""
    sentences = []
    for one in arms:
        moves = tuple(one["moves"][name] for name in ("exponent", "offset"))
        what = {
            (True, True): "moves both the exponent of tokens and the offset",
            (True, False): "moves the exponent of tokens and not measurably the offset",
            (
                False,
                True,
            ): "moves the offset: a constant multiplier of tokens, and no measurable change of the exponent",
            (False, False): "moves neither measurably",
        }.get(moves, "cannot be told apart: there are too few runs for an interval")
        sentences.append(f"against {baseline}, {one['arm']} {what}")
    return "; ".join(sentences)
