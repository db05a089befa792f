"""Two arms compared: differences by budget, the multiplier, its curve and crossover, and the p value of the verdict."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from trainer.evidence import multiplier as multipliers
from trainer.evidence.bootstrap import (
    NO_SPREAD,
    Pair,
    Panel,
    SeedNoise,
    interval,
    pair,
    resample_pair,
    seed_noise,
)
from trainer.evidence.losses import Floats, Losses
from trainer.evidence.significance import two_sided

Tested = Literal["multiplier", "loss"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """(baseline, arm) over the budgets that both have.

    found_2B, drawn_R2B: bits per byte, and resampled; log_multiplier and its draws: NaN where there is none, with the
    reason as a sentence's end; p: two-sided, that the multiplier is 1, or (without one) that the loss at the largest
    budget is equal; None, with `reason`, where nothing can be tested.
    """

    pair: Pair
    found_2B: Floats
    drawn_R2B: Floats
    tokens_2B: Floats
    flops_2B: Floats
    method: multipliers.Method | None
    log_multiplier: float
    log_multiplier_R: Floats
    p: float | None
    tested: Tested | None
    reason: str | None
    no_multiplier: str | None
    noise: SeedNoise | None

    @property
    def effect(self) -> float | None:
        """Above 0 where the arm is better: log multiplier, or bits per byte less at the largest budget."""
        if self.tested is None:
            return None
        if self.tested == "multiplier":
            return self.log_multiplier
        return float(self.found_2B[0, -1] - self.found_2B[1, -1])


def compare(
    losses: Losses, panel: Panel, arm: str, baseline: str, *, seed: int, domain: int | None = None
) -> Comparison:
    """Compare an arm with a baseline, on one domain or the whole panel."""
    chosen = pair(losses, arm, baseline)
    two = np.array([chosen.baseline, chosen.arm])
    rows = np.ix_(two, chosen.seeds, chosen.budgets)
    if not chosen.enough:
        return _nothing(losses, chosen, _too_few(losses, chosen))
    bpb_ASB = panel.bits_per_byte(domain)[0]
    noise = seed_noise(bpb_ASB, chosen)
    tokens_2B, flops_2B = losses.tokens_ASB[rows].mean(axis=1), losses.flops_ASB[rows].mean(axis=1)
    if not (noise.spread > NO_SPREAD * np.abs(bpb_ASB[two][:, chosen.seeds][..., chosen.budgets]).max()).all():
        return _nothing(losses, chosen, "its seeds do not differ at all, as if one run had been counted twice")
    found_2B, drawn_R2B = resample_pair(losses, panel, chosen, seed=seed, domain=domain)
    method, why = _method(found_2B, tokens_2B)
    log_m, log_m_R = float("nan"), np.full(len(drawn_R2B), np.nan)
    if method is not None:
        log_m = float(multipliers.log_multiplier(found_2B[None], tokens_2B, method)[0])
        log_m_R = multipliers.log_multiplier(drawn_R2B, tokens_2B, method)
        why = None if np.isfinite(log_m) else "the loss does not fall with tokens"
    lost = chosen.budgets[-1] != len(losses.budgets) - 1
    reason = f"no seed has both at the largest budget, {losses.budgets[-1]} tokens" if lost else None
    drawn_R = drawn_R2B[:, 0, -1] - drawn_R2B[:, 1, -1] if why else log_m_R
    return Comparison(
        chosen,
        found_2B,
        drawn_R2B,
        tokens_2B,
        flops_2B,
        method if why is None else None,
        log_m,
        log_m_R,
        None if lost else two_sided(drawn_R),
        None if lost else "loss" if why else "multiplier",
        reason,
        why,
        noise,
    )


def _method(found_2B: Floats, tokens_2B: Floats) -> tuple[multipliers.Method | None, str | None]:
    """How tokens are found for a loss, or why they are not."""
    if found_2B.shape[1] < multipliers.FEWEST_BUDGETS:
        return None, f"{multipliers.FEWEST_BUDGETS} budgets are needed and {found_2B.shape[1]} are there"
    if not (np.diff(tokens_2B, axis=1) > 0).all():
        return None, "the budgets do not grow"
    return multipliers.choose(found_2B, tokens_2B), None


def _nothing(losses: Losses, chosen: Pair, reason: str) -> Comparison:
    """A comparison that shows what was found and judges nothing."""
    two = np.array([chosen.baseline, chosen.arm])
    rows = np.ix_(two, chosen.seeds, chosen.budgets)
    shape = (2, len(chosen.budgets))
    some = len(chosen.seeds) > 0
    found_2B = losses.bits_per_byte()[rows].mean(axis=1) if some else np.full(shape, np.nan)
    tokens_2B = losses.tokens_ASB[rows].mean(axis=1) if some else np.full(shape, np.nan)
    flops_2B = losses.flops_ASB[rows].mean(axis=1) if some else np.full(shape, np.nan)
    nan = float("nan")
    empty = np.zeros(0)
    return Comparison(
        chosen, found_2B, np.zeros((0, *shape)), tokens_2B, flops_2B, None, nan, empty, None, None, reason, reason, None
    )


def _too_few(losses: Losses, chosen: Pair) -> str:
    """Why two arms have too few paired seeds."""
    if len(losses.seeds) == 1:
        return "one seed shows no noise to judge by; train at least two, better three"
    count = len(chosen.seeds)
    have = "no seed has" if count == 0 else "only one seed has"
    return f"{have} every budget in both arms; runs are missing or diverged"


def delta_rows(found: Comparison, losses: Losses, confidence: float) -> list[dict[str, Any]]:
    """Arm minus baseline by budget with intervals; null at budgets that the two do not share."""
    mean_2B = np.full((2, len(losses.budgets)), np.nan)
    rows = []
    for place, budget in enumerate(losses.budgets):
        here = np.flatnonzero(found.pair.budgets == place)
        row: dict[str, Any] = {"budget": int(budget), "tokens": None, "flops": None, "baseline": None, "arm": None}
        row |= {"value": None, "low": None, "high": None}
        if len(here) and len(found.pair.seeds):
            k = int(here[0])
            mean_2B[:, place] = found.found_2B[:, k]
            drawn_R = found.drawn_R2B[:, 1, k] - found.drawn_R2B[:, 0, k]
            row |= interval(float(found.found_2B[1, k] - found.found_2B[0, k]), drawn_R, confidence)
            row |= {"baseline": float(found.found_2B[0, k]), "arm": float(found.found_2B[1, k])}
            row |= {"tokens": float(found.tokens_2B[0, k]), "flops": float(found.flops_2B[0, k])}
        rows.append(row)
    return rows


def last_delta(one: Comparison, confidence: float) -> dict[str, Any]:
    """Arm minus baseline at the largest budget that both have."""
    if not one.found_2B.size:
        return {"value": None, "low": None, "high": None}
    drawn_R = one.drawn_R2B[:, 1, -1] - one.drawn_R2B[:, 0, -1]
    return interval(float(one.found_2B[1, -1] - one.found_2B[0, -1]), drawn_R, confidence)


def exponent(bounds: dict[str, Any]) -> dict[str, Any]:
    """An interval of logarithms as one of ratios; numbers too large to be anything become null."""
    with np.errstate(over="ignore"):
        raised = {k: None if v is None else float(np.exp(v)) for k, v in bounds.items()}
    return {k: v if v is not None and np.isfinite(v) else None for k, v in raised.items()}


def multiplier_row(found: Comparison, losses: Losses, confidence: float) -> dict[str, Any]:
    """The multiplier at the target loss as the report shows it (`shrunk` is filled by the study)."""
    row: dict[str, Any] = exponent(interval(found.log_multiplier, found.log_multiplier_R, confidence))
    row |= {"shrunk": None, "target_bits_per_byte": None, "observed": None, "extrapolated": False}
    row |= {"method": found.method, "with_curation": None, "reason": found.no_multiplier}
    if np.isfinite(found.found_2B).all() and found.found_2B.size:
        bounds = multipliers.observed(found.found_2B)
        goal = float(found.found_2B[:, -1].max())
        row |= {"target_bits_per_byte": goal, "observed": None if bounds is None else list(bounds)}
        row["extrapolated"] = bounds is None or not bounds[0] <= goal <= bounds[1]
    if row["value"] is not None and losses.curation_flops_A is not None:
        two = np.array([found.pair.baseline, found.pair.arm])
        curation_2 = losses.curation_flops_A[two]
        per_token_2 = found.flops_2B[:, -1] / found.tokens_2B[:, -1]
        both = [
            multipliers.with_curation(x, found.tokens_2B[:, -1], per_token_2, curation_2)
            for x in (np.array([found.log_multiplier]), found.log_multiplier_R)
        ]
        row["with_curation"] = exponent(interval(float(both[0][0]), both[1], confidence))
    return row


def curve_rows(found: Comparison, confidence: float) -> list[dict[str, Any]]:
    """The multiplier at the losses of the baseline from its first to its last budget, two points between budgets."""
    if found.method is None:
        return []
    x_B = np.log(found.tokens_2B[0])
    x_P = np.interp(np.arange(3 * len(x_B) - 2) / 3, np.arange(len(x_B)), x_B)
    value_P = multipliers.curve(found.found_2B[None], found.tokens_2B, x_P)[0]
    drawn_RP = multipliers.curve(found.drawn_R2B, found.tokens_2B, x_P)
    arm_P = x_P - value_P  # log tokens of the arm for that loss
    ends = np.log(found.tokens_2B[1, [0, -1]])
    flops_P = np.exp(np.interp(x_P, x_B, np.log(found.flops_2B[0])))
    rows = []
    for place, x in enumerate(x_P):
        outside = not ends[0] - 1e-9 <= arm_P[place] <= ends[1] + 1e-9
        row = {"tokens": float(np.exp(x)), "flops": float(flops_P[place])}
        row |= exponent(interval(float(value_P[place]), drawn_RP[:, place], confidence))
        rows.append(row | {"extrapolated": bool(outside)})
    return rows


def crossover_row(found: Comparison, names: tuple[str, str], confidence: float) -> dict[str, Any]:
    """Where (arm, baseline) cross: observed where so many of the resamples cross between the budgets."""
    row: dict[str, Any] = {"tokens": None, "flops": None, "observed": False}
    if not len(found.drawn_R2B) or found.found_2B.shape[1] < 2:  # noqa: PLR2004 - a crossing lies between two
        return row | {"sentence": "a crossover cannot be looked for with fewer than two budgets and two seeds"}
    x_B = np.log(found.tokens_2B[0])
    last = float(found.tokens_2B[0, -1])
    delta_RB = found.drawn_R2B[:, 1] - found.drawn_R2B[:, 0]
    at_R = multipliers.crossover(delta_RB, x_B)
    at = float(multipliers.crossover((found.found_2B[1] - found.found_2B[0])[None], x_B)[0])
    if np.isfinite(at) and float(np.isfinite(at_R).mean()) >= confidence:
        row |= {"tokens": exponent(interval(at, at_R, confidence)), "observed": True}
        row["flops"] = float(np.exp(np.interp(at, x_B, np.log(found.flops_2B[0]))))
        return row | {"sentence": f"{names[0]} stops winning over {names[1]} after about {np.exp(at):,.0f} tokens"}
    back_R = multipliers.crossover(-delta_RB, x_B)
    if float(np.isfinite(back_R).mean()) >= confidence:
        begin = f"{names[0]} begins to win over {names[1]} between the budgets, and no end of it was observed"
        return row | {"sentence": f"{begin} up to {last:,.0f} tokens"}
    return row | {"sentence": f"no crossover was observed up to {last:,.0f} tokens"}
