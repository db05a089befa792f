"""Approaches 1 to 3, the error held out, and whether quality moves the exponent or the offset."""

import numpy as np
import pytest

from trainer.scaling.approaches import compared, frontier_1, frontier_2, growth
from trainer.scaling.fit import resampled
from trainer.scaling.holdout import holdout
from trainer.scaling.law import Form
from trainer.scaling.points import Points
from trainer.scaling.quality import quality
from trainer.scaling.study import Question, study


def arms(*laws, noise=0.002, seed=0):
    """Runs of arms with their own B (at 30 M tokens) and beta: 5 sizes, 5 token counts."""
    generator = np.random.default_rng(seed)
    rows = [
        (n, d, 1.8 + 200 * n**-0.34 + b * (d / 3e7) ** -beta, k)
        for k, (b, beta) in enumerate(laws)
        for n in np.geomspace(3e5, 3e7, 5)
        for d in np.geomspace(1e6, 1e9, 5)
    ]
    sizes, tokens, mean, arm = np.array(rows).T
    names = ("unfiltered", "curated", "random")[: len(laws)]
    return Points(sizes, tokens, mean * np.exp(noise * generator.standard_normal(len(mean))), arm.astype(int), names)


def isoflop(exponent=0.5):
    """Profiles at five budgets, each symmetric in the log of the size around its optimum."""
    rows = []
    for flops in (1e18, 4e18, 1.6e19, 6.4e19, 2.56e20):
        best = 1e8 * (flops / 1e18) ** exponent
        for step in np.linspace(-1, 1, 7):
            size = best * np.exp(step)
            rows.append((size, flops / 6 / size, 2 + (1e18 / flops) ** 0.2 + 0.05 * step**2))
    sizes, tokens, losses = np.array(rows).T
    return Points(sizes, tokens, losses, np.zeros(len(rows), int))


def test_parabolas_find_the_growth_of_symmetric_profiles():
    compute, sizes = frontier_2(isoflop(0.47))

    assert np.exp(compute) == pytest.approx([1e18, 4e18, 1.6e19, 6.4e19, 2.56e20])
    assert np.exp(sizes) == pytest.approx([1e8 * 4 ** (0.47 * k) for k in range(5)])
    assert growth((compute, sizes)) == pytest.approx(0.47)


def test_the_envelope_finds_the_growth_of_a_law_with_many_sizes():
    sizes, tokens = (x.ravel() for x in np.meshgrid(np.geomspace(1e7, 1e10, 40), np.geomspace(1e8, 1e12, 60)))
    points = Points(sizes, tokens, 1.8 + 480 * sizes**-0.35 + 2000 * tokens**-0.35, np.zeros(len(sizes), int))

    assert growth(frontier_1(points)) == pytest.approx(0.5, abs=0.02)


def test_an_approach_without_the_runs_that_it_needs_says_which_they_are():
    points = arms((1.0, 0.35))

    rows = compared(points, np.full(50, 0.5), resamples=5, seed=0)

    assert [(row["approach"], row["parameters"]["value"] is None) for row in rows] == [
        (1, False),
        (2, True),
        (3, False),
    ]
    assert rows[1]["why"] == "it needs at least three budgets of compute with four sizes each on both sides of the best"
    assert rows[2]["tokens"] == {"value": 0.5, "low": 0.5, "high": 0.5}


def test_the_largest_sizes_are_held_out_until_there_are_three_runs():
    points = arms((1.0, 0.35), noise=0.0)
    largest = points.only(points.parameters_N > 2e7)
    points = points.only((points.parameters_N < 2e7) | (points.tokens_N > 5e8))

    found = holdout(points, Form())

    assert (len(largest), found["runs"], found["why"]) == (5, 6, None)
    assert found["from_parameters"] == pytest.approx(9486832.98)
    assert found["fitted_parameters"] == pytest.approx(3e6)
    assert max(found["error"], found["worst"], abs(found["bias"])) < 1e-5


def test_a_holdout_that_leaves_too_little_says_so():
    points = arms((1.0, 0.35))
    found = holdout(points.only(points.parameters_N < 4e6), Form())

    assert (found["error"], found["why"]) == (
        None,
        "without them there are only 2 model sizes, from which no exponent can be told; give runs of at least 3",
    )


def test_an_arm_that_needs_fewer_tokens_everywhere_moves_the_offset():
    points = arms((1.0, 0.35), (0.9, 0.35), (1.0, 0.35), seed=2)

    found = quality(points, resampled(points, 200, seed=1))

    curated, random = found["arms"]
    assert found["answer"] == (
        "against unfiltered, curated moves the offset: a constant multiplier of tokens, and no measurable change of the "
        "exponent; against unfiltered, random moves neither measurably"
    )
    assert curated["constant_multiplier"]["low"] < (1 / 0.9) ** (1 / 0.35) < curated["constant_multiplier"]["high"]
    assert random["multiplier"]["low"] < 1 < random["multiplier"]["high"]
    helps = {(step["from"], step["to"]): step["helps"] for step in found["steps"]}
    assert helps["shared", "offset"] is True
    assert helps["offset", "both"] is not True


def test_an_arm_whose_loss_falls_faster_moves_the_exponent():
    points = arms((1.0, 0.35), (1.0, 0.42))

    found = quality(points, resampled(points, 200, seed=1))

    assert found["arms"][0]["moves"]["exponent"] is True
    assert found["arms"][0]["exponent"]["value"] == pytest.approx(0.07, abs=0.01)
    assert {(s["from"], s["to"]): s["helps"] for s in found["steps"]}["offset", "both"] is True
    objectives = {f["fit"]: f["objective"] for f in found["fits"]}
    assert objectives["all"] <= objectives["both"] <= min(objectives["offset"], objectives["exponent"])
    assert max(objectives["offset"], objectives["exponent"]) <= objectives["shared"]


def test_a_study_tells_of_every_arm_and_gives_the_baseline_first():
    points = arms((1.0, 0.35), (0.9, 0.35))

    found = study(points, Question(budgets=(1e16,), resamples=60), seed=0)

    assert [one["arm"] for one in found["arms"]] == ["unfiltered", "curated"]
    assert found["beta"] == found["arms"][0]["beta"]
    assert [p["arm"] for p in found["points"]] == ["unfiltered"] * 25 + ["curated"] * 25
    best = found["optimal"][0]
    assert 6 * best["parameters"]["value"] * best["tokens"]["value"] == pytest.approx(1e16)
    assert best["extrapolated"] is False


def test_a_study_without_samples_has_no_intervals():
    found = study(arms((1.0, 0.35)), Question(resamples=0), seed=0)

    assert (found["E"]["low"], found["E"]["high"]) == (None, None)
    assert found["warnings"] == []


def test_few_runs_along_one_line_are_warned_of():
    sizes = np.geomspace(1e6, 1e9, 7)
    losses = 1.8 + 200 * sizes**-0.34 + 300 * (20 * sizes) ** -0.3 + 0.01 * np.cos(7 * np.arange(7))
    points = Points(sizes, 20 * sizes, losses, np.zeros(7, int))

    found = study(points, Question(resamples=20), seed=0)

    assert found["warnings"][:2] == [
        "7 runs are few for five parameters, so their intervals are rough",
        "model size and tokens grow together in these runs, so their two terms can hardly be told apart",
    ]


def test_budgets_that_repeat_tokens_whose_worth_no_run_tells_are_warned_of():
    points = arms((1.0, 0.35), noise=0.0)

    few, enough = (study(points, Question((1e17,), u, resamples=0), seed=0) for u in (1e7, 1e12))

    assert few["warnings"] == [
        (
            f"unfiltered: no run saw its tokens again, so the {few['optimal'][0]['epochs']:.3g} epochs of a budget count as fresh "
            "tokens, which is too hopeful; give runs with repeats and their unique_tokens"
        )
    ]
    assert enough["warnings"] == []


def test_a_few_tokens_seen_again_say_nothing_of_repeats():
    points = arms((1.0, 0.35))
    hardly = Points(
        points.parameters_N, points.tokens_N, points.loss_N, points.arm_N, points.arms, points.tokens_N / 1.04
    )

    assert "repeats" not in study(hardly, Question(resamples=0), seed=0)


def test_repeats_worth_as_much_as_fresh_tokens_are_warned_of():
    points = arms((1.0, 0.35), noise=0.0)
    unique = np.minimum(points.tokens_N, 5e7)
    all_fresh = Points(points.parameters_N, points.tokens_N, points.loss_N, points.arm_N, points.arms, unique)

    found = study(all_fresh, Question(resamples=0), seed=0)

    assert found["repeats"]["value"] > 1e4
    assert found["beta"]["value"] == pytest.approx(0.35, abs=1e-3)
    assert found["warnings"] == [
        "unfiltered: the runs do not tell what repeated tokens are worth: R* came out at an end of what is possible"
    ]
