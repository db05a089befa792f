"""What each stage of a pipeline adds, shared fairly: Shapley values over the pipelines that were trained.

The gain of a pipeline is the fall of bits per byte against no stage at all, at the largest budget. Intervals are
percentiles over resampled seeds (the same for all pipelines, which are paired) and documents; the shares sum to the gain
of the whole pipeline in every resample.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.evidence.attribution import left_out_error, pipelines, shares
from trainer.evidence.losses import Floats, Losses

Subset = frozenset[str]


def stage_shares(
    losses: Losses, stages: Mapping[str, Subset], steps: Sequence[str], *, seed: int, resamples: int, confidence: float
) -> dict[str, Any] | None:
    """The share of every step, as `{"steps": [{"step", "value", "low", "high"}], "total": ..., "exact", "sentence"}`.

    stages: by arm, the steps that it has; the first arm of a set of steps counts. None: no pipeline beside the empty and
    the whole one was trained, or the runs do not determine the main effects.
    """
    arms = {subset: arm for arm, subset in reversed(list(stages.items())) if _complete(losses, arm)}
    whole = frozenset(steps)
    if frozenset() not in arms or whole not in arms or len(arms) < 3:  # noqa: PLR2004 - the two and one more
        return None
    nats_ASD = losses.nats_ASBD[:, :, -1]
    drawn = {
        s: -_resampled(losses, nats_ASD[losses.arms.index(a)], seed=seed, resamples=resamples) for s, a in arms.items()
    }
    point = {s: -float(losses.bits_per_byte()[losses.arms.index(a), :, -1].mean()) for s, a in arms.items()}
    trained_R = {s: values - drawn[frozenset()] for s, values in drawn.items()}
    trained = {s: np.asarray(value - point[frozenset()]) for s, value in point.items()}
    try:
        shares_R, own = shares(trained_R, steps, {}), shares(trained, steps, {})
    except ValueError:
        return None
    exact = all(s in trained for s in pipelines(steps, {}))
    total = {"value": float(trained[whole]), **_bounds(trained_R[whole], confidence)}
    return {
        "steps": [{"step": s, "value": float(own[s]), **_bounds(shares_R[s], confidence)} for s in steps],
        "total": total,
        "exact": exact,
        "trained": len(arms),
        "left_out_error": None if exact else left_out_error(trained, steps, {}),
        "sentence": _sentence(len(arms), len(steps), exact=exact),
    }


def _complete(losses: Losses, arm: str) -> bool:
    return arm in losses.arms and bool(np.isfinite(losses.nats_ASBD[losses.arms.index(arm), :, -1]).all())


def _resampled(losses: Losses, nats_SD: Floats, *, seed: int, resamples: int) -> Floats:
    """Bits per byte of resampled seeds and documents, [R]; equal draws for every arm."""
    source = np.random.default_rng(seed)
    seeds_RS = source.integers(len(nats_SD), size=(resamples, len(nats_SD)))
    documents = len(losses.bytes_D)
    weights_RD = source.multinomial(documents, np.full(documents, 1 / documents), size=resamples).astype(np.float64)
    nats_RS = weights_RD @ nats_SD.T
    found: Floats = np.take_along_axis(nats_RS, seeds_RS, axis=1).mean(axis=1) / (
        np.log(2) * (weights_RD @ losses.bytes_D)
    )
    return found


def _bounds(values_R: Floats, confidence: float) -> dict[str, float]:
    low, high = np.quantile(values_R, [(1 - confidence) / 2, (1 + confidence) / 2])
    return {"low": float(low), "high": float(high)}


def _sentence(trained: int, steps: int, *, exact: bool) -> str:
    if exact:
        return f"All {trained} pipelines of {steps} stages were trained, so the shares are exact but for noise."
    return (
        f"{trained} of {2**steps} pipelines were trained; the others were estimated from them by least squares, so the "
        "shares are estimates."
    )
