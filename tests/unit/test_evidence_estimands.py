"""Equal tokens, equal pool, equal compute: against a law of loss whose truth is known."""

from typing import Any

import numpy as np
import pytest

from trainer.evidence.bootstrap import resample_documents
from trainer.evidence.comparison import compare
from trainer.evidence.estimands import estimand_rows
from trainer.evidence.losses import Losses
from trainer.evidence.noise_model import NoiseModel, simulate, true_losses

PER_TOKEN = 6 * 1.8e6


def rows(losses: Losses, **fields: Any) -> list[dict[str, Any]]:
    for name, value in fields.items():
        object.__setattr__(losses, name, value)
    panel = resample_documents(losses, seed=1, resamples=400)
    return estimand_rows(compare(losses, panel, "arm", "base", seed=1), losses, 0.95)


def simulated(**more: Any) -> Losses:
    return simulate({"base": 1.0, "arm": 1.5}, seed=1, **({"model": NoiseModel(seed_sd=0.0005)} | more))


def truth(losses: Losses, arm_tokens: float) -> float:
    """Bits per byte of the arm after so many tokens minus the baseline after its largest budget."""
    nats = [float(true_losses(np.array([4e6]), np.array([worth / 4e6]))[0]) for worth in (1.5 * arm_tokens, 4e6)]
    assert losses.tokens_D is not None
    return float((nats[0] - nats[1]) * losses.tokens_D.sum() / losses.bytes_D.sum() / np.log(2))


def test_one_recipe_wins_at_equal_tokens_and_loses_at_equal_pool_and_compute() -> None:
    losses = simulated()
    tokens, pool, compute = rows(
        losses, pool_tokens_A=np.array([9e8, 4.5e8]), curation_flops_A=np.array([1e12, 1e12 + 2e6 * PER_TOKEN])
    )

    assert [r["equal"] for r in (tokens, pool, compute)] == ["tokens", "pool", "compute"]
    assert [r["arm_tokens"] for r in (tokens, pool, compute)] == pytest.approx([4e6, 2e6, 2e6])
    assert tokens["delta"]["high"] < 0 < pool["delta"]["low"]
    assert pool["delta"] == compute["delta"]
    for row in (tokens, pool):
        assert row["delta"]["low"] < truth(losses, row["arm_tokens"]) < row["delta"]["high"]
        assert (row["extrapolated"], row["reason"]) == (False, None)


@pytest.mark.parametrize(("share", "outside"), [(0.4, False), (0.1, True), (1.6, True)])
def test_losses_between_and_beyond_budgets_are_those_of_the_law(share: float, outside: bool) -> None:
    losses = simulated()
    pool = rows(losses, pool_tokens_A=np.array([1.0, share]))[1]

    assert pool["extrapolated"] == outside
    assert pool["delta"]["value"] == pytest.approx(truth(losses, 4e6 * share), abs=0.004)


def test_what_is_not_known_is_said() -> None:
    tokens, pool, compute = rows(simulated())
    assert tokens["reason"] is None
    assert pool["reason"] == "the tokens that each arm has of the pool are not known"
    assert compute["reason"] == "the cost of curation is not known"

    dear = rows(simulated(), curation_flops_A=np.array([0.0, 1e20]), pool_tokens_A=np.array([1.0, 0.0]))
    assert [r["reason"] for r in dear[1:]] == [
        "nothing of the pool is left",
        "curation alone costs more than the baseline's curation and training",
    ]
    few = rows(simulated(budgets=(4_000_000,)), pool_tokens_A=np.array([1.0, 0.5]))
    assert few[1]["reason"] == "3 growing budgets are needed to read it off"
    one = simulated(seeds=1)
    one.nats_ASBD[1] = np.nan
    assert [r["reason"] for r in rows(one)] == [
        "one seed shows no noise to judge by; train at least two, better three"
    ] * 3
