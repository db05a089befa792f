"""What a token budget means for a view: epochs, unique tokens, and what repeated tokens are worth.

Repeated tokens teach less than fresh ones: U unique tokens, seen 1 + R times, are worth D' = U + U R* (1 - exp(-R / R*))
fresh ones, with R* = 15.39 fitted in Muennighoff et al. 2023, "Scaling Data-Constrained Language Models",
arXiv:2305.16264, section 3.1 (15 here). Up to four epochs D' is close to D; after 16 little is added.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.token_pack import TokenPack
from trainer.view import View

Real = NDArray[np.float64]
HALF_LIFE = 15.0


@dataclass(frozen=True, slots=True)
class Use:
    """A budget of trained tokens on a view: `epochs` of it, `unique` tokens among them, worth `effective` fresh tokens.

    Tokens count the end-of-text token before each document, as training does.
    """

    budget: int
    epochs: float
    unique: float
    effective: float


def describe(view: View, pack: TokenPack, budgets: Sequence[int]) -> list[Use]:
    """What each budget means, for a view with or without repeated rows.

    Within the first epoch of a view without an order, `unique` is the expectation over orders: a document that stands c
    times in the view is not yet seen, after a fraction f of the epoch, with probability (1 - f)^c. With an order, documents
    are counted in it; that their sequences are mixed within 1/64 of the epoch (`trainer/sequences.py`) is left out.

    Raises:
        DataError: the view is empty or of another pack.
        ValueError: a budget is not positive.
    """
    if min(budgets, default=1) <= 0:
        raise ValueError(f"budgets of {sorted(budgets)} tokens are not all positive")
    view.check(pack)
    rows, firsts, counts = np.unique(view.rows, return_index=True, return_counts=True)
    held = pack.lengths_of(rows) + 1
    total = int((held * counts).sum())
    begins = np.empty(0, np.int64)
    if view.ordered:
        ends = np.cumsum(pack.lengths_of(view.rows) + 1)
        begins = ends[firsts] - held
    uses = []
    for budget in budgets:
        share = min(budget / total, 1.0)
        if share == 1.0:
            unique = float(held.sum())
        elif view.ordered:
            unique = float(np.clip(budget - begins, 0, held).sum())
        else:
            unique = float((held * (1 - (1 - share) ** counts)).sum())
        uses.append(Use(budget, budget / total, unique, float(effective_tokens(budget, unique))))
    return uses


def effective_tokens(tokens: float | Real, unique: float | Real, half_life: float = HALF_LIFE) -> Real:
    """D' = U + U R* (1 - exp(-R / R*)) with R = D / U - 1, for D trained tokens of which U are unique, U <= D."""
    repeats = np.maximum(np.asarray(tokens) / unique - 1, 0)
    found: Real = np.asarray(unique * (1 - half_life * np.expm1(-repeats / half_life)))
    return found
