"""Equal terms: how many tokens each arm is trained on, for each budget of the request."""

from collections.abc import Sequence
from dataclasses import dataclass

from stages.errors import SpecError


@dataclass(frozen=True, slots=True)
class Supply:
    """What an arm has: its tokens (a document's end included, repeats too), and the processor time of its curation."""

    name: str
    tokens: int
    curation_cpu_seconds: float


def equal_tokens(arms: Sequence[Supply], budgets: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Every arm is trained on the budgets themselves."""
    return {arm.name: tuple(budgets) for arm in arms}


def equal_pool(arms: Sequence[Supply], budgets: Sequence[int], raw_tokens: int) -> dict[str, tuple[int, ...]]:
    """Every arm is trained on what its policy leaves of the same raw documents: budgets count tokens of raw text.

    An arm that keeps a third of the tokens is trained on a third of the budget.
    """
    return {arm.name: tuple(max(1, round(b * arm.tokens / raw_tokens)) for b in budgets) for arm in arms}


def equal_compute(
    arms: Sequence[Supply], budgets: Sequence[int], cpu_seconds_per_token: float
) -> dict[str, tuple[int, ...]]:
    """Every arm has the processor time of the budgets: curation is charged in tokens that could have been trained.

    An arm pays for the share of its documents that it reads: budget = tokens + min(1, tokens / supply) * curation, with
    curation in tokens. A second epoch costs no second curation.

    Raises:
        SpecError: curation takes all of a budget.
    """
    found = {}
    for arm in arms:
        charge = arm.curation_cpu_seconds / cpu_seconds_per_token
        found[arm.name] = tuple(_left(arm, budget, charge) for budget in budgets)
    return found


def _left(arm: Supply, budget: int, charge: float) -> int:
    one_epoch = budget * arm.tokens / (arm.tokens + charge) if arm.tokens else 0.0
    tokens = one_epoch if one_epoch <= arm.tokens else budget - charge
    if tokens < 1:
        raise SpecError(
            f"curating the arm {arm.name!r} costs as much as training {charge:,.0f} tokens, which leaves nothing of the "
            f"budget of {budget:,}; raise the budgets or compare at equal tokens",
            arm=arm.name,
        )
    return round(tokens)
