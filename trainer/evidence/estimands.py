"""Two recipes compared at equal tokens, at equal raw pool and at equal compute: three questions with three answers.

*Equal tokens*: both train on the largest budget; what a token of either is worth, as if data were free.
*Equal pool*: both start from the same raw documents, of which a stricter recipe leaves fewer, each seen once: the arm trains
on budget x (its pool / the baseline's pool) tokens. A recipe can win at equal tokens and lose here.
*Equal compute*: both spend the same FLOPs on curation and training together, so the arm's curation is taken out of its
training: tokens = (FLOPs of the baseline's budget and curation - FLOPs of the arm's curation) / FLOPs per token.

The arm's loss after other numbers of tokens than were trained is read off its own budgets (log(L - E) linear in log D);
outside of them it is an extrapolation and says so.
"""

from typing import Any

import numpy as np

from trainer.evidence import multiplier as multipliers
from trainer.evidence.bootstrap import interval
from trainer.evidence.comparison import Comparison, last_delta
from trainer.evidence.losses import Losses

_UNKNOWN: dict[str, Any] = {"value": None, "low": None, "high": None}


def estimand_rows(found: Comparison, losses: Losses, confidence: float) -> list[dict[str, Any]]:
    """One row for each of tokens, pool and compute, in that order."""
    if not found.tokens_2B.size or not np.isfinite(found.tokens_2B).all():
        reason = found.reason or "the arms share no budget"
        return [_none(equal, None, None, reason) for equal in ("tokens", "pool", "compute")]
    base, arm = (float(t) for t in found.tokens_2B[:, -1])
    tokens = {
        "equal": "tokens",
        "baseline_tokens": base,
        "arm_tokens": arm,
        "delta": last_delta(found, confidence),
        "extrapolated": False,
        "reason": found.reason,
    }
    return [tokens, _pool(found, losses, confidence), _compute(found, losses, confidence)]


def _none(equal: str, base: float | None, arm: float | None, reason: str) -> dict[str, Any]:
    row = {"equal": equal, "baseline_tokens": base, "arm_tokens": arm, "delta": dict(_UNKNOWN)}
    return row | {"extrapolated": False, "reason": reason}


def _pool(found: Comparison, losses: Losses, confidence: float) -> dict[str, Any]:
    base = float(found.tokens_2B[0, -1])
    if losses.pool_tokens_A is None:
        return _none("pool", base, None, "the tokens that each arm has of the pool are not known")
    whole, left = (float(losses.pool_tokens_A[k]) for k in (found.pair.baseline, found.pair.arm))
    if whole <= 0 or left <= 0:
        return _none("pool", base, None, "nothing of the pool is left")
    return _read_off("pool", base * left / whole, found, confidence)


def _compute(found: Comparison, losses: Losses, confidence: float) -> dict[str, Any]:
    base = float(found.tokens_2B[0, -1])
    if losses.curation_flops_A is None:
        return _none("compute", base, None, "the cost of curation is not known")
    spent = float(found.flops_2B[0, -1] + losses.curation_flops_A[found.pair.baseline])
    left = spent - float(losses.curation_flops_A[found.pair.arm])
    if left <= 0:
        return _none("compute", base, None, "curation alone costs more than the baseline's curation and training")
    return _read_off("compute", left * float(found.tokens_2B[1, -1] / found.flops_2B[1, -1]), found, confidence)


def _read_off(equal: str, arm_tokens: float, found: Comparison, confidence: float) -> dict[str, Any]:
    """The arm after other numbers of tokens against the baseline at its largest budget."""
    base = float(found.tokens_2B[0, -1])
    if found.found_2B.shape[1] < multipliers.FEWEST_BUDGETS or not (np.diff(found.tokens_2B, axis=1) > 0).all():
        return _none(equal, base, arm_tokens, f"{multipliers.FEWEST_BUDGETS} growing budgets are needed to read it off")
    x_B = np.log(found.tokens_2B[1])
    both = np.concatenate([found.found_2B[None], found.drawn_R2B])
    floor_R = multipliers.floors(both, found.tokens_2B)
    delta_R = multipliers.loss_at(float(np.log(arm_tokens)), both[:, 1], x_B, floor_R) - both[:, 0, -1]
    rounding = 1e-9
    return {
        "equal": equal,
        "baseline_tokens": base,
        "arm_tokens": arm_tokens,
        "delta": interval(float(delta_R[0]), delta_R[1:], confidence),
        "extrapolated": bool(not x_B[0] - rounding <= np.log(arm_tokens) <= x_B[-1] + rounding),
        "reason": found.reason,
    }
