"""Looks at a running ablation: what they may spend, what they never decide, and by simulation what they cost and save."""

import numpy as np
import pytest
from scipy import stats

from trainer.evidence import noise_model
from trainer.evidence.noise_model import NoiseModel
from trainer.evidence.sequential import LOOKS, Look, Seen, level, look, predictive_power


def seen(name: str = "curated", p: float | None = 0.001, effect: float = 0.02, **more) -> Seen:
    return Seen(name, p, effect, more.pop("error", 0.003), more.pop("degrees", 4), **more)


def test_looks_spend_alpha_once() -> None:
    assert [level(s, LOOKS, 0.05) for s in LOOKS] == pytest.approx([0.0125] * 4)
    assert sum(level(s, (0.1, 0.4, 1.0), 0.05) for s in (0.1, 0.4, 1.0)) == pytest.approx(0.05)
    with pytest.raises(ValueError, match="none of the looks"):
        level(0.3, LOOKS, 0.05)
    with pytest.raises(ValueError, match="must rise to 1"):
        level(0.5, (0.5, 0.7), 0.05)


def test_a_clear_arm_is_decided_early_and_stops_all_runs() -> None:
    assert look([seen()], share=0.25) == Look(
        0.25,
        0.0125,
        {"curated": "better"},
        (),
        True,
        "After 25 % of the largest budget: curated is better; all runs stop here.",
    )
    assert look([seen(effect=-0.02)], share=0.25).decided == {"curated": "worse"}


@pytest.mark.parametrize("arm", [seen("curriculum", ordered=True), seen("curriculum", epochs=2.5)])
def test_an_ordered_or_repeated_arm_is_never_decided_or_given_up_before_the_end(arm: Seen) -> None:
    for share in LOOKS[:-1]:
        found = look([arm, seen()], share=share)
        assert (found.decided, found.futile, found.stop) == ({"curriculum": None, "curated": "better"}, (), False)
        assert "level says nothing yet of curriculum (ordered or repeated data); all runs go on" in found.sentence
    assert look([arm, seen()], share=1.0).decided == {"curriculum": "better", "curated": "better"}


def test_one_undecided_arm_keeps_all_runs_going_and_decisions_stand() -> None:
    first = look([seen(), seen("random", p=0.2, effect=0.012, error=0.008)], share=0.25)
    assert (first.decided, first.stop) == ({"curated": "better", "random": None}, False)

    second = look([seen(p=0.9), seen("random", p=0.9, effect=0.0001)], share=0.5, before=first.decided)
    assert (second.decided, second.futile, second.stop) == ({"curated": "better", "random": None}, ("random",), True)


def test_what_cannot_be_tested_goes_on_to_the_end() -> None:
    unknown = Seen("new", None, None, None, 0)

    assert not look([unknown], share=0.5).stop
    assert (
        look([unknown], share=1.0).sentence
        == "After 100 % of the largest budget: nothing is decided; the runs are complete."
    )


def test_predictive_power_is_that_of_a_simulation() -> None:
    source = np.random.default_rng(1)
    sd, correlation = noise_model.course(np.array([0.5, 1.0]))
    now, effect, critical = 0.004, 0.006, 3.0
    last = now * sd[1] / sd[0]
    cov = np.array([[now**2, correlation[0, 1] * now * last], [correlation[0, 1] * now * last, last**2]])
    noise = source.multivariate_normal([0, 0], cov, 200_000)
    end = effect - noise[:, 0] + noise[:, 1]  # flat prior: the truth is what is seen less its noise

    assert predictive_power(effect, now, 0.5, critical) == pytest.approx(
        (np.abs(end) > critical * last).mean(), abs=0.005
    )


def run(gain: float, *, seeds: int, sd: float, replays: int = 1000) -> tuple[float, float, float]:
    """Share decided with looks, share decided at the end alone, and share of the largest budget saved."""
    shares = np.array(LOOKS)
    x = noise_model.seed_noise(NoiseModel(seed_sd=sd), (2, seeds), shares, np.random.default_rng(7), replays)
    truth = [noise_model.true_losses(4e6 * shares, np.array(w)) for w in (1.0, 1 + gain)]
    effect = (x[:, 0] - x[:, 1]).mean(axis=1) + truth[0] - truth[1]
    error = np.sqrt(2 * x.var(axis=2, ddof=1).mean(axis=1) / seeds)
    p = 2 * stats.t.sf(np.abs(effect) / error, 2 * (seeds - 1))
    decided, used = 0, 0.0
    for row in range(replays):
        before: dict = {}
        for k, share in enumerate(LOOKS):
            one = Seen("arm", p[row, k], effect[row, k], error[row, k], 2 * (seeds - 1))
            found = look([one], share=share, before=before)
            before = found.decided
            if found.stop:
                break
        decided += before["arm"] is not None
        used += found.share
    return decided / replays, float((p[:, -1] <= 0.05).mean()), 1 - used / replays


def test_looks_keep_the_error_and_save_most_of_the_tokens() -> None:
    same, _, saved_same = run(0.0, seeds=3, sd=0.0021)
    large, full, saved_large = run(0.13, seeds=3, sd=0.0021)
    small, full_small, saved_small = run(0.05, seeds=5, sd=0.0021)

    assert same <= 0.05
    assert saved_same > 0.55
    assert (large, full) == (pytest.approx(1, abs=0.01), pytest.approx(1, abs=0.01))
    assert saved_large > 0.6
    assert small > full_small - 0.04
    assert saved_small > 0.5
