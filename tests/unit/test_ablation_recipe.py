"""How arms are trained on a budget: schedules, where branches leave their trunk, and budgets that are too small."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.ablation.recipe import Recipe, recipe_of
from pipelines.ablation.request import AblateRequest
from stages.errors import SpecError
from trainer.averaging import first_averaged
from trainer.settings import Averaging


def recipe(**fields: object) -> Recipe:
    asked = {"panel": "held-out", "parameters": 60_000, "context": 64, "precision": "fp32", "budgets": [100_000]}
    return recipe_of(AblateRequest.model_validate({**asked, **fields}), 300)


def test_a_constant_rate_ends_in_the_mean_of_ten_weights_of_its_last_tenth():
    made = recipe(schedule="constant")
    settings = made.endpoint(made.batch_tokens * 1000, 1, 0.01)

    assert settings.averaging == Averaging(kind="last", count=10, every=10)


@given(st.integers(30, 5000), st.floats(0.01, 0.9))
def test_what_is_averaged_is_trained_after_the_trunk(steps, decay):
    made = recipe(schedule="constant", decay=decay)
    tokens = steps * made.batch_tokens
    first = first_averaged(made.endpoint(tokens, 1, 0.01).averaging, steps)

    assert first is not None
    assert made.leaves_at(tokens) < first <= steps


@pytest.mark.parametrize("schedule", ["wsd", "cosine"])
def test_a_decayed_run_averages_nothing(schedule):
    assert recipe(schedule=schedule).endpoint(100_000, 1, 0.01).averaging is None


def test_a_budget_of_less_than_a_sequence_is_refused_with_a_sentence():
    with pytest.raises(SpecError, match="the smallest budget of 63 tokens is less than one sequence of 64; raise the"):
        recipe(budgets=[63, 100_000])
