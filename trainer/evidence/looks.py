"""A look at an ablation whose larger budgets are not trained yet: its decayed branches so far are what is seen."""

from collections.abc import Mapping
from dataclasses import dataclass

from trainer.evidence.bootstrap import resample_documents
from trainer.evidence.comparison import Comparison, compare
from trainer.evidence.losses import Losses
from trainer.evidence.sequential import Look, Seen, look
from trainer.evidence.significance import standard_error
from trainer.evidence.verdict import Decision

RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Kind:
    """What bars an arm from being judged early: an order of its documents, or more than one epoch by the end."""

    ordered: bool = False
    epochs: float = 1.0


def look_at(
    losses: Losses,
    budget: int,
    *,
    baseline: str,
    seed: int,
    kinds: Mapping[str, Kind] | None = None,
    before: Mapping[str, Decision | None] | None = None,
    alpha: float = 0.05,
) -> Look:
    """Judge every arm by the budgets up to `budget`, each budget being one look; larger ones may be NaN.

    kinds: of arms that are ordered or repeat data. before: what the look before decided.

    Raises:
        ValueError: the baseline is no arm, or the budget is none of the losses'.
    """
    if baseline not in losses.arms or budget not in losses.budgets:
        raise ValueError(f"arm {baseline} or budget {budget} is none of {list(losses.arms)} and {list(losses.budgets)}")
    count = losses.budgets.index(budget) + 1
    so_far = losses.up_to(count)
    panel = resample_documents(so_far, seed=seed, resamples=RESAMPLES)
    seen = [
        _seen(arm, compare(so_far, panel, arm, baseline, seed=seed), (kinds or {}).get(arm, Kind()))
        for arm in losses.arms
        if arm != baseline
    ]
    shares = [b / losses.budgets[-1] for b in losses.budgets]
    return look(seen, share=shares[count - 1], looks=shares, alpha=alpha, before=dict(before or {}))


def _seen(arm: str, found: Comparison, kind: Kind) -> Seen:
    if found.tested is None or found.noise is None:
        return Seen(arm, None, None, None, 0, kind.ordered, kind.epochs)
    drawn_R = (
        found.log_multiplier_R
        if found.tested == "multiplier"
        else found.drawn_R2B[:, 0, -1] - found.drawn_R2B[:, 1, -1]
    )
    return Seen(arm, found.p, found.effect, standard_error(drawn_R), found.noise.degrees, kind.ordered, kind.epochs)
