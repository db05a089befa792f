"""Everything that `tamis scaling fit` tells of training runs, as data.

`study` gives
    E, A, B, alpha, beta (and repeats, R*, where tokens were seen twice): {"value", "low", "high"} of the baseline, the first arm
    exponents: {"parameters": beta / (alpha + beta), "tokens": alpha / (alpha + beta)}, each with its interval
    fit: how it was found; approaches: 1 to 3 compared; holdout: the error at the largest sizes
    optimal: for each budget parameters, tokens and loss with intervals, and whether that is beyond the runs
    arms: each arm's own fit, or null with one arm; quality: does it move the exponent or the offset?
    asked: the budgets and the distinct tokens of the question
    points: the runs with what the law says of them; warnings: what to know before it is believed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.scaling.approaches import compared
from trainer.scaling.fit import Fit, bootstrap, fit, identifiable, interval, resampled, widened
from trainer.scaling.holdout import holdout, residual
from trainer.scaling.law import coefficients
from trainer.scaling.optimum import optimum
from trainer.scaling.points import Floats, Points
from trainer.scaling.quality import quality

FORMAT = 1
CONFIDENCE = 0.95
#: Where no budget is given: the largest one of the runs, ten and a hundred times as much.
_DEFAULT_BUDGETS = (1.0, 10.0, 100.0)
#: Samples of the runs for approaches 1 and 2, at most.
_FRONTIERS = 200
#: Few runs for a bootstrap, size and tokens that hardly move apart, errors and starts that disagree, E near 0.
_FEWEST_REPEATS, _MOST_REPEATS = 0.01, 1e4
_FEW, _COLLINEAR, _FAR_OFF, _AGREEING, _NO_FLOOR = 20, 0.98, 0.02, 0.5, 0.02


@dataclass(frozen=True, slots=True)
class Question:
    """Budgets in FLOPs, distinct tokens that exist (None: no limit), samples of the bootstrap."""

    budgets: tuple[float, ...] = ()
    unique_tokens: float | None = None
    resamples: int = 1000


def study(points: Points, question: Question, *, seed: int) -> dict[str, Any]:
    """Fit the law to runs and tell what follows; see the module for what comes back.

    Raises:
        ValueError: an arm has too few runs, sizes or token counts.
    """
    parts = [points.of_arm(arm) for arm in range(len(points.arms))]
    for name, part in zip(points.arms, parts, strict=True):
        reason = identifiable(part)
        if reason:
            raise ValueError(f"arm {name}: {reason}" if len(parts) > 1 else reason)
    arms = [_of_arm(part, question, seed) for part in parts]
    weights = resampled(points, question.resamples, seed=seed)
    return {
        "format": FORMAT,
        "runs": len(points),
        "confidence": CONFIDENCE,
        "seed": seed,
        "asked": {"budgets": list(question.budgets), "unique_tokens": question.unique_tokens},
        **arms[0],
        "arms": arms if len(arms) > 1 else None,
        "quality": quality(points, weights) if len(arms) > 1 else None,
        "points": [row for arm in arms for row in arm.pop("points")],
        "warnings": list(dict.fromkeys(sentence for arm in arms for sentence in arm.pop("warnings"))),
    }


def _of_arm(points: Points, question: Question, seed: int) -> dict[str, Any]:
    """One arm's fit and what follows from it."""
    found = fit(points)
    weights = resampled(points, question.resamples, seed=seed)
    samples = widened(bootstrap(points, found, weights), found, len(points))
    vectors = np.vstack([found.vector_P, samples])  # the fit of all runs is the first
    own = {name: column[:, 0] for name, column in coefficients(vectors, found.form, found.center).items()}
    with np.errstate(all="ignore"):  # samples without any slope
        growth = own["beta"] / (own["alpha"] + own["beta"])
    frontiers = min(question.resamples, _FRONTIERS)
    held = holdout(points, found.form)
    optimal = [_optimal(points, own, flops, question) for flops in _budgets(points, question.budgets)]
    sentences = [*warnings(points, found, held), *_hopeful(found, optimal)]
    return {
        "arm": points.arms[0],
        **{name: estimate(column) for name, column in own.items()},
        "exponents": {"parameters": estimate(growth), "tokens": estimate(1 - growth)},
        "fit": _how(points, found, question.resamples),
        "approaches": compared(points, growth, resamples=frontiers, seed=seed, confidence=CONFIDENCE),
        "holdout": held,
        "optimal": optimal,
        "points": _rows(points, found),
        "warnings": [_named(points, sentence) for sentence in sentences],
    }


def estimate(samples: Floats) -> dict[str, float | None]:
    """The first number, and the interval of the others."""
    low, high = interval(samples[1:], CONFIDENCE)
    return {"value": float(samples[0]) if np.isfinite(samples[0]) else None, "low": low, "high": high}


def _how(points: Points, found: Fit, resamples: int) -> dict[str, Any]:
    error = residual(points, found)
    return {
        "runs": len(points),
        "sizes": int(points.sizes().max()) + 1,
        "objective": found.objective,
        "error": float(np.abs(np.expm1(error)).mean()),
        "starts": found.starts,
        "agreeing_starts": found.agreeing,
        "resamples": resamples,
        "repetition": found.form.repetition,
    }


def _budgets(points: Points, given: Sequence[float]) -> tuple[float, ...]:
    return tuple(given) or tuple(factor * float(points.flops().max()) for factor in _DEFAULT_BUDGETS)


def _optimal(points: Points, own: dict[str, Floats], flops: float, question: Question) -> dict[str, Any]:
    best = optimum(own, flops, question.unique_tokens)
    told: dict[str, Any] = {name: estimate(column) for name, column in best.items()}
    size, tokens = best["parameters"][0], best["tokens"][0]
    beyond = not (
        flops <= points.flops().max() * (1 + 1e-9)
        and points.parameters_N.min() <= size <= points.parameters_N.max()
        and points.tokens_N.min() <= tokens <= points.tokens_N.max()
    )
    epochs = max(1.0, float(tokens) / question.unique_tokens) if question.unique_tokens else None
    return {"flops": flops, **told, "epochs": epochs, "extrapolated": beyond}


def _rows(points: Points, found: Fit) -> list[dict[str, Any]]:
    predicted = points.loss_N * np.exp(residual(points, found))
    unique = [None] * len(points) if points.unique_N is None else points.unique_N.tolist()
    columns = (points.parameters_N, points.tokens_N, points.loss_N, predicted)
    keys = ("parameters", "tokens", "loss", "predicted")
    return [
        {"arm": points.arms[0], **dict(zip(keys, map(float, row), strict=True)), "unique_tokens": one}
        for row, one in zip(zip(*columns, strict=True), unique, strict=True)
    ]


def warnings(points: Points, found: Fit, held: dict[str, Any]) -> list[str]:
    """What to know before a fit is believed."""
    sentences = []
    own = found.coefficients()
    if len(points) < _FEW:
        sentences.append(f"{len(points)} runs are few for five parameters, so their intervals are rough")
    if abs(np.corrcoef(np.log(points.parameters_N), np.log(points.tokens_N))[0, 1]) > _COLLINEAR:
        sentences.append(
            "model size and tokens grow together in these runs, so their two terms can hardly be told apart"
        )
    if found.agreeing < _AGREEING:
        sentences.append(
            f"only {found.agreeing:.0%} of the starts came to the best minimum: there are others nearly as good"
        )
    if own["alpha"][0] <= 0 or own["beta"][0] <= 0:
        sentences.append("an exponent is not positive, so more of it would not help and there is no best size")
    if own["E"][0] < _NO_FLOOR * points.loss_N.min():
        sentences.append(
            "the runs do not tell the irreducible loss: E came out as nothing, and the exponents depend on it"
        )
    if "repeats" in own and not _FEWEST_REPEATS < own["repeats"][0] < _MOST_REPEATS:
        sentences.append(
            "the runs do not tell what repeated tokens are worth: R* came out at an end of what is possible"
        )
    if held["error"] is not None and held["error"] > _FAR_OFF:
        sentences.append(
            f"fitted without the largest models, the law misses their loss by {held['error']:.1%} on average"
        )
    return sentences


def _hopeful(found: Fit, optimal: Sequence[dict[str, Any]]) -> list[str]:
    """That budgets see tokens again whose worth the runs do not tell."""
    most = max((o["epochs"] or 0.0 for o in optimal), default=0.0)
    if found.form.repetition or not most > 1:
        return []
    return [
        (
            f"no run saw its tokens again, so the {most:.3g} epochs of a budget count as fresh tokens, which is too hopeful; "
            "give runs with repeats and their unique_tokens"
        )
    ]


def _named(points: Points, sentence: str) -> str:
    return sentence if points.arms == ("all",) else f"{points.arms[0]}: {sentence}"
