"""Seeds x documents resampled: against exact formulas, Student's t, brute force, and simulations whose truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from trainer.evidence.bootstrap import (
    document_share,
    interval,
    pair,
    percentile_bootstrap,
    resample_documents,
    resample_pair,
    seed_correlation,
    seed_noise,
)
from trainer.evidence.noise_model import NoiseModel, course, simulate
from trainer.evidence.noise_model import seed_noise as drawn_noise
from trainer.evidence.significance import holm, shrunk, standard_error, two_sided


def spread(draws: np.ndarray) -> float:
    return float(draws.std())


def test_the_first_row_of_a_resampled_panel_is_the_panel() -> None:
    losses = simulate({"a": 1.0, "b": 1.2}, seed=1, domains=3)
    panel = resample_documents(losses, seed=1, resamples=10)

    np.testing.assert_allclose(panel.bits_per_byte()[0], losses.bits_per_byte())
    for k in range(3):
        np.testing.assert_allclose(panel.bits_per_byte(k)[0], losses.domain_bits_per_byte()[..., k])


def test_documents_are_resampled_within_domains_alike_for_all_runs() -> None:
    losses = simulate({"a": 1.0, "b": 1.0}, seed=1, documents=40)
    panel = resample_documents(losses, seed=4, resamples=50)
    same = resample_documents(losses, seed=4, resamples=50)
    other = resample_documents(losses, seed=5, resamples=50)

    np.testing.assert_array_equal(panel.nats_RKASB, same.nats_RKASB)
    assert (panel.nats_RKASB[1:] != other.nats_RKASB[1:]).all()
    # Each weight vector is one of counts that sum to the documents of the domain: bytes of equal documents never change.
    equal = simulate({"a": 1.0}, seed=1, documents=40)
    object.__setattr__(equal, "bytes_D", np.full(40, 7.0))
    assert set(resample_documents(equal, seed=1, resamples=20).bytes_RK.ravel()) == {140.0}


def test_the_spread_of_resampled_documents_is_that_of_a_ratio_of_sums() -> None:
    losses = simulate({"a": 1.0, "b": 1.3}, seed=2, documents=300, domains=1)
    panel = resample_documents(losses, seed=1, resamples=4000)

    x, y = losses.nats_ASBD[0, 0, 0] / np.log(2), losses.bytes_D
    residual = x - x.sum() / y.sum() * y
    expected = np.sqrt((residual**2).sum()) / y.sum()
    assert spread(panel.bits_per_byte()[1:, 0, 0, 0]) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("arms", "seeds", "paired", "degrees"),
    [(2, 3, False, 4), (2, 5, False, 8), (3, 3, False, 6), (2, 2, False, 2), (2, 7, True, 6), (4, 3, True, 6)],
)
def test_pairing_is_used_where_it_leaves_six_degrees_of_freedom(arms, seeds, paired, degrees) -> None:
    losses = simulate({f"arm {k}": 1.0 for k in range(arms)}, seed=3, seeds=seeds)
    noise = seed_noise(losses.bits_per_byte(), pair(losses, "arm 1", "arm 0"))

    assert (noise.shared_SB is not None, noise.degrees) == (paired, degrees)


@pytest.mark.parametrize(("seeds", "arms"), [(2, 2), (3, 2), (5, 2), (3, 3), (4, 4)])
def test_seeds_alone_give_the_interval_of_student_s_t(seeds: int, arms: int) -> None:
    losses = simulate({f"arm {k}": 1.0 for k in range(arms)}, seed=5, seeds=seeds)
    x_AS = losses.bits_per_byte()[:, :, -1]
    within = x_AS - x_AS.mean(axis=1, keepdims=True)
    degrees = (arms - 1) * (seeds - 1)
    if degrees >= 6:
        within = within - within.mean(axis=0)
    else:
        degrees = arms * (seeds - 1)
    error = np.sqrt(2 * (within**2).sum() / degrees / seeds)

    noise = seed_noise(losses.bits_per_byte(), pair(losses, "arm 1", "arm 0"))
    drawn = noise.draw(200_000, np.random.default_rng(1))
    low, high = np.quantile(drawn[:, 1, -1] - drawn[:, 0, -1], [0.025, 0.975])
    half = stats.t.isf(0.025, degrees) * error
    assert (low, high) == (pytest.approx(-half, rel=0.03), pytest.approx(half, rel=0.03))


def test_an_arm_noisier_than_the_others_is_judged_by_its_own_noise() -> None:
    losses = simulate({f"arm {k}": 1.0 for k in range(5)}, seed=6)
    loud = losses.nats_ASBD.copy()
    loud[1] += 0.05 * np.array([-1.0, 0.0, 1.0])[:, None, None] * losses.bytes_D
    object.__setattr__(losses, "nats_ASBD", loud)
    bpb = losses.bits_per_byte()

    assert len(seed_noise(bpb, pair(losses, "arm 1", "arm 0")).rows_NB) == 6
    own = seed_noise(bpb, pair(losses, "arm 3", "arm 2"))
    assert (own.spread < 0.01).all()


def test_an_arm_under_two_names_lends_its_noise_once() -> None:
    losses = simulate({f"arm {k}": 1.0 for k in range(4)}, seed=6)
    once = seed_noise(losses.bits_per_byte(), pair(losses, "arm 1", "arm 0"))
    losses.nats_ASBD[2:] = losses.nats_ASBD[1]
    twice = seed_noise(losses.bits_per_byte(), pair(losses, "arm 1", "arm 0"))

    assert (once.degrees, twice.degrees, len(twice.rows_NB)) == (6, 4, 6)


def test_what_single_runs_do_on_documents_is_not_counted_twice() -> None:
    runs_alone = simulate({"a": 1.0, "b": 1.0}, seed=7, documents=2000, model=NoiseModel(fixed_panel=False))
    suited = simulate(
        {"a": 1.0, "b": 1.1}, seed=7, documents=2000, model=NoiseModel(affinity_sd=0.2, run_sd=0.01, fixed_panel=False)
    )

    assert (document_share(runs_alone, pair(runs_alone, "b", "a")) < 0.1).all()
    assert (document_share(suited, pair(suited, "b", "a")) > 0.98).all()


def test_a_missing_run_takes_its_seed_out_of_the_pairs_that_need_it_alone() -> None:
    losses = simulate({"a": 1.0, "b": 1.0, "c": 1.0}, seed=1)
    losses.nats_ASBD[1, 2, 0] = np.nan

    hurt, whole = pair(losses, "b", "a"), pair(losses, "c", "a")
    assert (hurt.seeds.tolist(), hurt.budgets.tolist(), hurt.missing) == ([0, 1], [0, 1, 2], ((2, 0),))
    assert (whole.seeds.tolist(), whole.missing) == ([0, 1, 2], ())


def test_a_budget_at_which_no_seed_is_left_is_not_compared() -> None:
    losses = simulate({"a": 1.0, "b": 1.0}, seed=1)
    losses.nats_ASBD[1, :, 2] = np.nan

    assert pair(losses, "b", "a").budgets.tolist() == [0, 1]


def test_one_seed_cannot_be_resampled() -> None:
    losses = simulate({"a": 1.0, "b": 1.0}, seed=1, seeds=1)
    panel = resample_documents(losses, seed=1, resamples=3)

    with pytest.raises(ValueError, match="two seeds"):
        resample_pair(losses, panel, pair(losses, "b", "a"), seed=1)


def test_resamples_repeat_with_their_seed_and_differ_with_another() -> None:
    losses = simulate({"a": 1.0, "b": 1.2}, seed=1)
    panel = resample_documents(losses, seed=1, resamples=100)
    first, again, other = (resample_pair(losses, panel, pair(losses, "b", "a"), seed=s)[1] for s in (1, 1, 2))

    np.testing.assert_array_equal(first, again)
    assert (first != other).all()


def test_draws_without_a_value_widen_an_interval_to_both_sides() -> None:
    draws = np.arange(1000.0)
    some = np.where(np.arange(1000) % 100 == 0, np.nan, draws)
    many = np.where(np.arange(1000) % 10 == 0, np.nan, draws)

    assert interval(500.0, draws, 0.95) == {"value": 500.0, "low": 24.0, "high": 975.0}
    assert interval(500.0, some, 0.95)["low"] < 24.0
    assert interval(500.0, many, 0.95) == {"value": 500.0, "low": None, "high": None}
    assert interval(float("nan"), draws, 0.95) == {"value": None, "low": None, "high": None}


def test_seed_correlation_is_pearson_s_and_needs_three_seeds() -> None:
    losses = simulate({"a": 1.0, "b": 1.1}, seed=1, seeds=6, model=NoiseModel(correlation=0.8))
    x = losses.bits_per_byte()
    expected = np.mean([np.corrcoef(x[0, :, b], x[1, :, b])[0, 1] for b in range(3)])

    assert seed_correlation(x, pair(losses, "b", "a")) == pytest.approx(expected)
    two = simulate({"a": 1.0, "b": 1.1}, seed=1, seeds=2)
    assert seed_correlation(two.bits_per_byte(), pair(two, "b", "a")) is None


def test_p_values_of_normal_draws_are_those_of_the_normal_distribution() -> None:
    draws = stats.norm.ppf((np.arange(100_000) + 0.5) / 100_000)

    for shift in (0.0, 1.0, 1.96, 3.0):
        assert two_sided(draws + shift) == pytest.approx(2 * stats.norm.sf(shift), abs=1e-4)
    assert two_sided(np.full(999, 5.0)) == 2 / 1000
    assert two_sided(np.zeros(10)) == 1.0
    assert two_sided(np.full(10, np.nan)) == 1.0


def test_p_is_at_most_five_percent_just_where_the_interval_leaves_out_zero() -> None:
    source = np.random.default_rng(1)
    for _ in range(200):
        draws = source.normal(source.normal(0, 2.5), 1, 999)
        bounds = interval(1.0, draws, 0.95)
        assert (two_sided(draws) <= 0.05) == (bounds["low"] > 0 or bounds["high"] < 0)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.none() | st.floats(0, 1), max_size=8))
def test_holm_is_the_stepwise_rule_at_every_level(p: list[float | None]) -> None:
    adjusted = holm(p)

    for alpha in (0.01, 0.05, 0.2):
        order = sorted((v, k) for k, v in enumerate(p) if v is not None)
        rejected = set()
        for rank, (value, place) in enumerate(order):
            if value * (len(order) - rank) > alpha:
                break
            rejected.add(place)
        assert {k for k, v in enumerate(adjusted) if v is not None and v <= alpha} == rejected


def test_holm_has_its_textbook_values() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_shrinking_takes_the_winner_s_curse_away() -> None:
    source = np.random.default_rng(1)
    truth = source.normal(0, 0.1, (3000, 6))
    error = 0.1
    seen = truth + source.normal(0, error, truth.shape)
    milder = np.array([shrunk(row.tolist(), [error] * 6) for row in seen])
    best = seen.argmax(axis=1)
    rows = np.arange(len(seen))
    over, left = (x[rows, best] - truth[rows, best] for x in (seen, milder))

    assert over.mean() > 0.05
    assert abs(left.mean()) < over.mean() / 4
    assert (left**2).mean() < (over**2).mean()
    assert shrunk([None, 0.5], [None, 1e-9]) == [None, pytest.approx(0.5)]
    assert shrunk([0.0], [0.0]) == [0.0]


def test_standard_errors_are_not_moved_by_heavy_tails() -> None:
    draws = stats.norm.ppf((np.arange(10_000) + 0.5) / 10_000)
    wild = draws.copy()
    wild[:50], wild[-50:] = -1e9, 1e9

    assert standard_error(draws) == pytest.approx(1, abs=0.01)
    assert standard_error(wild) == pytest.approx(1, abs=0.01)
    assert standard_error(np.full(9, np.nan)) is None


def test_simulated_noise_has_the_published_spread_and_correlations() -> None:
    shares = np.array([0.25, 0.5, 0.75, 1.0])
    x = drawn_noise(NoiseModel(correlation=0.4), (2, 1), shares, np.random.default_rng(1), 40_000)[:, :, 0]

    np.testing.assert_allclose(x[:, 0].std(axis=0), [0.0040, 0.0029, 0.0024, 0.0021], rtol=0.02)
    np.testing.assert_allclose(np.corrcoef(x[:, 0].T)[-1], [0.72, 0.89, 0.97, 1], atol=0.02)
    assert np.corrcoef(x[:, 0, -1], x[:, 1, -1])[0, 1] == pytest.approx(0.4, abs=0.02)
    assert course(np.array([0.08]))[0] * 0.0021 == pytest.approx(0.0086, rel=0.01)


def test_calibrated_intervals_hold_the_truth_where_the_plain_bootstrap_does_not() -> None:
    held = np.zeros(2)
    replays = 200
    model = NoiseModel(run_sd=0.002, fixed_panel=False)  # what seeds do to all documents dominates, as on a large panel
    for number in range(replays):
        losses = simulate({"a": 1.0, "b": 1.0}, seed=number, documents=60, model=model)
        panel = resample_documents(losses, seed=number, resamples=300)
        chosen = pair(losses, "b", "a")
        _, drawn = resample_pair(losses, panel, chosen, seed=number)
        apart_SD = losses.nats_ASBD[1, :, -1] - losses.nats_ASBD[0, :, -1]
        plain = percentile_bootstrap(apart_SD, losses.bytes_D, seed=number, resamples=300)
        for k, draws in enumerate((drawn[:, 1, -1] - drawn[:, 0, -1], plain)):
            low, high = np.quantile(draws, [0.025, 0.975])
            held[k] += low <= 0 <= high

    assert held[0] / replays >= 0.92
    assert held[1] / replays < 0.85
