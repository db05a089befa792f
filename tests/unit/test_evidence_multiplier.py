"""Multipliers from losses: against curves whose law is known, a general optimizer, and brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares
from scipy.stats import qmc

from trainer.evidence import multiplier as m
from trainer.evidence.bootstrap import resample_documents
from trainer.evidence.comparison import compare, crossover_row, curve_rows, multiplier_row
from trainer.evidence.noise_model import NoiseModel, simulate

TOKENS = np.array([[1e6, 2e6, 4e6], [1e6, 2e6, 4e6]])


def law(multiplier: float, floor: float = 2.0, scale: float = 1.3, exponent: float = 0.35) -> np.ndarray:
    """Losses of (baseline, arm) at TOKENS where the arm's tokens are worth `multiplier`."""
    worth = TOKENS * np.array([[1.0], [multiplier]])
    return floor + scale * (worth / 4e6) ** -exponent


@settings(max_examples=100, deadline=None)
@given(st.floats(0.4, 2.5), st.floats(0.1, 3), st.floats(0.1, 3), st.floats(0.1, 0.8))
def test_both_ways_find_the_multiplier_of_a_power_law(multiplier, floor, scale, exponent) -> None:
    losses = law(multiplier, floor, scale, exponent)[None]

    for method in ("fit", "interpolation"):
        assert np.exp(m.log_multiplier(losses, TOKENS, method)[0]) == pytest.approx(multiplier, rel=0.02)


def test_budgets_need_not_be_equal_nor_tokens_exact() -> None:
    tokens = np.array([[1.01e6, 2.03e6, 3.9e6, 8.2e6], [0.98e6, 2.0e6, 4.1e6, 8.0e6]])
    losses = 1.5 + 0.9 * (tokens * np.array([[1.0], [1.3]]) / 4e6) ** -0.3

    for method in ("fit", "interpolation"):
        assert np.exp(m.log_multiplier(losses[None], tokens, method)[0]) == pytest.approx(1.3, rel=0.01)


def test_the_fit_is_the_least_squares_fit_of_a_general_optimizer() -> None:
    source = np.random.default_rng(1)
    starts = qmc.scale(qmc.Sobol(4, rng=1).random(16), [0.5, 0.2, 0.2, 0.05], [2.4, 2, 2, 1.5])
    for _ in range(5):
        seen = law(1.4) + source.normal(0, 0.004, (2, 3))

        def residual(p: np.ndarray, seen: np.ndarray = seen) -> np.ndarray:
            return (p[0] + p[1:3, None] * (TOKENS / 4e6) ** -p[3] - seen).ravel()

        runs = [least_squares(residual, s, bounds=([0, 0, 0, 0.02], [9, 9, 9, 2.0])) for s in starts]
        best = min(runs, key=lambda r: r.cost)
        found = m.fit(seen[None], TOKENS)
        assert found.squares_R[0] == pytest.approx(2 * best.cost, abs=5e-6)  # exponents are those of a grid
        assert found.floor_R[0] == pytest.approx(best.x[0], abs=0.05)
        expected = np.log(best.x[1] / best.x[2]) / best.x[3]
        assert found.logarithm[0] == pytest.approx(expected, abs=0.001)


def test_many_resamples_are_fitted_as_each_alone() -> None:
    source = np.random.default_rng(2)
    many = law(1.2) + source.normal(0, 0.01, (40, 2, 3))

    for method in ("fit", "interpolation"):
        together = m.log_multiplier(many, TOKENS, method)
        alone = np.array([m.log_multiplier(one[None], TOKENS, method)[0] for one in many])
        np.testing.assert_allclose(together, alone)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0, 10), min_size=1, max_size=7))
def test_falling_curves_are_isotonic_regressions(values: list[float]) -> None:
    blocks = [[v] for v in values]  # pool adjacent violators, the slow way
    k = 0
    while k < len(blocks) - 1:
        if np.mean(blocks[k]) < np.mean(blocks[k + 1]):
            blocks[k : k + 2] = [blocks[k] + blocks[k + 1]]
            k = max(k - 1, 0)
        else:
            k += 1
    expected = [float(np.mean(b)) for b in blocks for _ in b]

    np.testing.assert_allclose(m.falling(np.array([values]))[0], expected, atol=1e-9)


def test_interpolation_meets_the_budgets_and_goes_on_beyond_them() -> None:
    losses = law(1.0)[:1]
    floor = np.array([2.0])
    for k in range(3):
        x = m.log_tokens_at(losses[:, k], losses, np.log(TOKENS[0]), floor)
        assert np.exp(x[0]) == pytest.approx(TOKENS[0, k])
    beyond = 2.0 + 1.3 * 2.0**-0.35
    assert np.exp(m.log_tokens_at(np.array([beyond]), losses, np.log(TOKENS[0]), floor)[0]) == pytest.approx(8e6)


def test_a_curve_that_does_not_fall_has_no_multiplier() -> None:
    flat = law(1.0)
    flat[1] = flat[1, ::-1]

    assert np.isnan(m.log_multiplier(flat[None], TOKENS, "interpolation")[0])
    assert np.isnan(m.fit(-flat[None] + 9, TOKENS).exponent_R[0])


def test_the_fit_is_used_where_the_target_was_not_observed_by_both() -> None:
    assert m.choose(law(1.5), TOKENS) == "interpolation"
    assert m.observed(law(1.5)) == (law(1.5)[0, -1], law(1.5)[1, 0])
    assert m.choose(law(6.0), TOKENS) == "fit"
    assert m.observed(law(6.0)) is None


def test_curation_is_charged_to_the_arm_that_needed_it() -> None:
    log_m = np.log(np.array([2.0, 0.5]))
    tokens, rate = np.array([4e6, 4e6]), np.array([10.0, 10.0])

    free = m.with_curation(log_m, tokens, rate, np.zeros(2))
    np.testing.assert_allclose(free, log_m)
    charged = m.with_curation(log_m, tokens, rate, np.array([0.0, 1e7]))
    np.testing.assert_allclose(np.exp(charged), [4e7 / (2e7 + 1e7), 2e7 / (4e7 + 1e7)])


def test_a_multiplier_without_bound_has_none_with_curation_either() -> None:
    tokens, rate = np.array([4e6, 4e6]), np.array([10.0, 10.0])

    free = m.with_curation(np.array([np.inf, -np.inf, 800.0]), tokens, rate, np.zeros(2))
    charged = m.with_curation(np.array([np.inf]), tokens, rate, np.array([0.0, 1e7]))

    np.testing.assert_array_equal(free, [np.inf, -np.inf, np.inf])
    np.testing.assert_allclose(np.exp(charged), [4e7 / 1e7])


def test_a_crossover_is_where_the_difference_turns() -> None:
    log_tokens = np.log(np.array([1e6, 2e6, 4e6]))
    wins_then_loses = np.array([[-0.02, -0.01, 0.01], [-0.02, 0.0, 0.01], [0.02, 0.01, -0.01], [-3.0, -2.0, -1.0]])

    np.testing.assert_allclose(
        np.exp(m.crossover(wins_then_loses, log_tokens)), [2e6 * np.sqrt(2), np.inf, np.inf, np.inf]
    )


def compared(multiplier: float, **settings):
    losses = simulate({"base": 1.0, "arm": multiplier}, seed=3, **settings)
    panel = resample_documents(losses, seed=1, resamples=500)
    return losses, compare(losses, panel, "arm", "base", seed=1)


def test_a_simulated_gain_is_found_with_an_interval_that_holds_it() -> None:
    for worth in (0.7, 1.3, 1.6):
        losses, found = compared(worth, model=NoiseModel(seed_sd=0.0013))
        row = multiplier_row(found, losses, 0.95)

        assert row["low"] < worth < row["high"]
        assert row["high"] / row["low"] < 1.25
        assert not row["extrapolated"]
        assert row["observed"][0] <= row["target_bits_per_byte"] <= row["observed"][1]


def test_a_gain_beyond_all_budgets_is_an_extrapolation() -> None:
    losses, found = compared(6.0)
    row = multiplier_row(found, losses, 0.95)

    assert (row["method"], row["extrapolated"], row["observed"]) == ("fit", True, None)
    assert row["low"] < 6 < row["high"]


def test_a_curve_of_multipliers_is_flat_for_a_constant_gain_and_says_where_it_extrapolates() -> None:
    _, found = compared(1.3, model=NoiseModel(seed_sd=0.0005))
    rows = curve_rows(found, 0.95)

    assert [r["tokens"] for r in rows][::3] == pytest.approx([1e6, 2e6, 4e6])
    assert [r["value"] for r in rows] == pytest.approx([1.3] * 7, abs=0.04)
    assert [r["extrapolated"] for r in rows] == [True, True, False, False, False, False, False]
    assert rows[-1]["flops"] == pytest.approx(6 * 1.8e6 * 4e6)


def test_curves_that_cross_have_a_crossover_with_an_interval() -> None:
    losses = simulate({"base": 1.0, "arm": 1.0}, seed=3, model=NoiseModel(seed_sd=0.001))
    tilt = np.array([-0.02, -0.008, 0.008])[:, None] * losses.tokens_D
    losses.nats_ASBD[1] += tilt
    panel = resample_documents(losses, seed=1, resamples=500)
    found = compare(losses, panel, "arm", "base", seed=1)
    row = crossover_row(found, ("arm", "base"), 0.95)

    assert row["observed"]
    assert 2e6 < row["tokens"]["low"] < row["tokens"]["value"] < row["tokens"]["high"] < 4e6
    assert row["sentence"].startswith("arm stops winning over base after about 2,")
    back = crossover_row(compare(losses, panel, "base", "arm", seed=1), ("base", "arm"), 0.95)
    assert (back["observed"], back["tokens"]) == (False, None)
    assert back["sentence"].startswith("base begins to win over arm")


def test_no_crossover_is_made_of_noise() -> None:
    _, found = compared(1.0)
    row = crossover_row(found, ("arm", "base"), 0.95)

    assert row == {
        "tokens": None,
        "flops": None,
        "observed": False,
        "sentence": "no crossover was observed up to 4,000,000 tokens",
    }
