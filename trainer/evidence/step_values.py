"""Shapley values of steps with intervals, from arms that are pipelines with some of the steps."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trainer.evidence.attribution import Needs, Subset, left_out_error, pipelines, shares
from trainer.evidence.bootstrap import Pair, document_share, interval, pair, resample_documents, seed_noise
from trainer.evidence.losses import Floats, Losses
from trainer.evidence.verdict import number

RESAMPLES = 2000


def step_values(
    losses: Losses,
    members: Mapping[str, Subset],
    needs: Needs,
    *,
    seed: int,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> dict[str, Any]:
    """What each step takes off the loss at the largest budget, in bits per byte, over all orders of the steps.

    members: the steps that each arm has, one arm with none (the baseline) and one with all. As plain JSON:
    {"steps": [{"step", "value", "low", "high"}], "total": {"value", "low", "high"}, "pipelines": arms that were trained,
    "of": pipelines there are, "method": "exact" | "surrogate", "left_out_error": bits per byte | null, "sentence"}, or
    only {"steps": [], "sentence"} where there are fewer than two seeds that all arms have. The values sum to the total.

    Raises:
        ValueError: an arm is unknown, no arm has all steps or none, or the arms do not determine the steps' worth.
    """
    unknown = sorted(set(members) - set(losses.arms))
    if unknown:
        raise ValueError(f"{unknown} are no arms of these losses, which have {list(losses.arms)}")
    steps = sorted(frozenset[str]().union(*members.values()))
    empty = next((a for a, own in members.items() if not own), None)
    if empty is None or frozenset(steps) not in members.values():
        raise ValueError("attribution needs one arm without any step and one arm with all of them")
    chosen = _common(losses, [pair(losses, a, empty) for a in members])
    if chosen is None:
        return {"steps": [], "sentence": "What steps are worth is unknown: fewer than two seeds have every arm."}
    drawn_RA = _drawn(losses, list(members), chosen, seed=seed, resamples=resamples)
    trained = {own: -drawn_RA[:, k] for k, own in enumerate(members.values())}
    worth = shares(trained, steps, needs)
    error = left_out_error({s: v[:1] for s, v in trained.items()}, steps, needs)
    total = trained[frozenset(steps)] - trained[frozenset()]
    count, of = len(trained), len(pipelines(steps, needs))
    rows = [{"step": s, **interval(float(v[0]), v[1:], confidence)} for s, v in worth.items()]
    found = {"steps": rows, "total": interval(float(total[0]), total[1:], confidence), "pipelines": count, "of": of}
    found |= {"method": "exact" if count == of else "surrogate", "left_out_error": error if count < of else None}
    return found | {"sentence": _sentence(rows, float(total[0]), count, of)}


def _common(losses: Losses, pairs: Sequence[Pair]) -> Pair | None:
    """The seeds and the largest budget that all arms have, as a pair of the first two arms."""
    last = len(losses.budgets) - 1
    nats_ASD = losses.nats_ASBD[[p.arm for p in pairs], :, last]
    seeds = np.flatnonzero(np.isfinite(nats_ASD).all(axis=(0, 2)))
    if len(seeds) < 2:  # noqa: PLR2004 - one seed shows no noise
        return None
    return Pair(pairs[0].baseline, pairs[0].arm, seeds, np.array([last]), ())


def _drawn(losses: Losses, arms: Sequence[str], chosen: Pair, *, seed: int, resamples: int) -> Floats:
    """Bits per byte of every arm at the largest budget, [1 + R, arms]; the first row is as found."""
    panel = resample_documents(losses, seed=seed, resamples=resamples)
    bpb_RASB = panel.bits_per_byte()
    mean_RA = bpb_RASB[:, :, chosen.seeds, -1].mean(axis=2)
    base_R = mean_RA[:, chosen.baseline]
    noise = seed_noise(bpb_RASB[0], chosen)
    drawn_RA = np.zeros((resamples + 1, len(arms)))
    for k, arm in enumerate(arms):
        at = losses.arms.index(arm)
        own = Pair(chosen.baseline, at, chosen.seeds, chosen.budgets, ())
        kept = float(np.sqrt(document_share(losses, own)[0])) if at != chosen.baseline else 0.0
        apart_R = mean_RA[:, at] - base_R
        drawn_RA[:, k] = base_R + apart_R[0] + kept * (apart_R - apart_R[0])
    drawn_RA[1:] += noise.draw(resamples, np.random.default_rng([seed, 1]), len(arms))[:, :, 0]
    return drawn_RA


def _sentence(rows: Sequence[Mapping[str, Any]], total: float, count: int, of: int) -> str:
    sure = [r for r in rows if r["low"] is not None and r["high"] is not None and (r["low"] > 0 or r["high"] < 0)]
    words = [f"{r['step']} {'takes off' if r['value'] > 0 else 'adds'} {number(abs(r['value']))}" for r in sure]
    said = ", ".join(words) if words else "no step can be told from noise"
    return f"Of {number(total)} bits per byte in all, {said}; from {count} of {of} pipelines."
