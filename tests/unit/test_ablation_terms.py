"""Equal terms between arms: trained tokens, raw pool, total compute."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.ablation.bracket import bracket
from pipelines.ablation.terms import Supply, equal_compute, equal_pool, equal_tokens
from stages.errors import SpecError

BASE = Supply("unfiltered", 1000, 0.0)
supplies = st.builds(Supply, st.just("arm"), st.integers(1, 10**9), st.floats(0, 10**4))


def test_equal_tokens_are_the_budgets():
    assert equal_tokens([BASE], [10, 20]) == {"unfiltered": (10, 20)}


def test_an_arm_of_a_third_of_the_pool_trains_on_a_third_of_the_budget():
    assert equal_pool([BASE, Supply("curated", 333, 5.0)], [300, 600], 1000) == {
        "unfiltered": (300, 600),
        "curated": (100, 200),
    }


@given(supplies, st.integers(10**6, 10**9), st.floats(1e-6, 1e-2))
def test_training_and_curation_together_cost_the_budget(arm, budget, rate):
    charge = arm.curation_cpu_seconds / rate
    try:
        (tokens,) = equal_compute([arm], [budget], rate)["arm"]
    except SpecError:
        assert charge > budget - 1
        return

    paid = min(1.0, tokens / arm.tokens) * charge
    assert math.isclose(tokens + paid, budget, rel_tol=1e-6, abs_tol=2 + charge / arm.tokens)


def test_curation_that_takes_a_whole_budget_is_refused_with_a_sentence():
    with pytest.raises(
        SpecError, match="costs as much as training 2,000,000 tokens, which leaves nothing of the budget of 1,000"
    ):
        equal_compute([Supply("curated", 1000, 2000.0)], [1000], 0.001)


def test_a_bracket_takes_the_rate_with_the_lowest_loss():
    found = bracket(0.01, (0.5, 1, 2), lambda rates: {r: abs(math.log(r / 0.01)) for r in rates})

    assert found is not None
    assert (found.chosen, found.edge, sorted(found.losses)) == (0.01, False, [0.005, 0.01, 0.02])


def test_a_bracket_that_ends_at_its_edge_is_widened_by_its_own_ratio():
    found = bracket(0.01, (0.5, 1, 2), lambda rates: {r: abs(math.log(r / 0.04)) for r in rates})

    assert found is not None
    assert (found.chosen, found.edge, sorted(found.losses)) == (0.04, False, [0.005, 0.01, 0.02, 0.04, 0.08])


def test_a_bracket_that_never_turns_says_that_its_best_is_an_edge():
    found = bracket(1.0, (1, 2), lambda rates: {r: r for r in rates})

    assert found is not None
    assert (found.chosen, found.edge) == (0.25, True)


def test_rates_that_diverge_are_never_chosen():
    found = bracket(1.0, (0.5, 1, 2), lambda rates: {r: None if r > 0.5 else 1.0 + r for r in rates})

    assert found is not None
    assert (found.chosen, found.losses[2.0]) == (0.125, None)


def test_a_bracket_in_which_all_runs_diverge_has_no_rate():
    assert bracket(1.0, (0.5, 1, 2), dict.fromkeys) is None
