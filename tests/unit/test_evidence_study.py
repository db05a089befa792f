"""The whole study: its documented shape, what it says of known truths, and honest answers where nothing can be said."""

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trainer.evidence.losses import Losses
from trainer.evidence.noise import exchange_rate, measured_noise
from trainer.evidence.noise_model import NoiseModel, simulate
from trainer.evidence.same_arms import Design, quick_rate, replay
from trainer.evidence.study import study
from trainer.evidence.verdict import more_tokens

ARMS = {"unfiltered": 1.0, "curated": 1.4, "random": 1.0, "curated without dedup": 1.2, "curated without rules": 1.4}
WITHOUT = {"curated without dedup": "dedup", "curated without rules": "rules"}


@cache
def usual() -> dict[str, Any]:
    return whole()


def whole(**more: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "baseline": "unfiltered",
        "seed": 1,
        "resamples": 400,
        "control": "random",
        "without": WITHOUT,
    }
    return study(more.pop("losses", None) or simulate(ARMS, seed=3), **(settings | more))


def clean(value: Any) -> None:
    """Plain JSON without NaN, and no interval whose ends are the wrong way round."""
    json.dumps(value, allow_nan=False)
    if isinstance(value, dict):
        if {"low", "high"} <= set(value) and value["low"] is not None and value["high"] is not None:
            assert value["low"] <= value["high"]
        for inner in value.values():
            clean(inner)
    elif isinstance(value, list):
        for inner in value:
            clean(inner)


def arm(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(a for a in found["arms"] if a["name"] == name)


def test_a_study_has_the_documented_shape() -> None:
    found = usual()
    clean(found)

    assert list(found) == [
        "format", "baseline", "control", "confidence", "resamples", "seed", "seeds", "budgets", "documents", "bytes",
        "verdict", "arms", "attribution", "noise", "same_arms",
    ]  # fmt: skip
    assert [a["name"] for a in found["arms"]] == list(ARMS)[1:]
    assert set(arm(found, "curated")) == {
        "name", "decided", "sentence", "p", "p_holm", "tested", "seeds", "seed_correlation", "missing", "deltas",
        "multiplier", "curve", "crossover", "domains", "estimands", "versus_control",
    }  # fmt: skip
    assert set(arm(found, "curated")["multiplier"]) == {
        "value", "low", "high", "shrunk", "target_bits_per_byte", "observed", "extrapolated", "method", "with_curation", "reason",
    }  # fmt: skip
    assert set(arm(found, "curated")["versus_control"]) == {"p", "p_holm", "decided", "delta", "multiplier", "sentence"}
    assert set(found["noise"]) == {
        "seed_sd_bits_per_byte", "seed_sd_nats_per_token", "percent_tokens_bits_per_byte", "percent_tokens_nats_per_token",
        "seed_sd_percent_tokens", "detectable_percent_tokens", "correlation", "degrees_of_freedom", "paired", "sentence",
    }  # fmt: skip


def test_a_study_repeats_with_its_seed() -> None:
    assert usual() == whole()
    assert usual() != whole(seed=2)


def test_a_study_finds_what_was_put_in() -> None:
    found = usual()

    assert [a["decided"] for a in found["arms"]] == ["better", None, "better", "better"]
    assert found["verdict"] == (f"Better than unfiltered: {best(found)}; not distinguishable from unfiltered: random.")
    for name, worth in list(ARMS.items())[1:]:
        row = arm(found, name)
        assert row["multiplier"]["low"] < worth < row["multiplier"]["high"]
        assert abs(np.log(row["multiplier"]["shrunk"])) <= abs(np.log(row["multiplier"]["value"]))
        assert [d["budget"] for d in row["deltas"]] == [1_000_000, 2_000_000, 4_000_000]
        assert all(d["arm"] - d["baseline"] == pytest.approx(d["value"]) for d in row["deltas"])
        assert len(row["domains"]) == 2
        for domain in row["domains"]:
            assert domain["multiplier"]["low"] < worth * 1.03
            assert domain["multiplier"]["high"] > worth * 0.97
    assert arm(found, "curated")["versus_control"]["decided"] == "better"
    assert arm(found, "random")["versus_control"] is None


def best(found: dict[str, Any]) -> str:
    better = sorted((a for a in found["arms"] if a["decided"]), key=lambda a: -a["multiplier"]["value"])
    return ", ".join(f"{a['name']} (worth {a['multiplier']['value']:.3g} times the tokens)" for a in better)


def test_sentences_say_what_was_saved_or_that_nothing_can_be_told() -> None:
    found = usual()
    better, same = arm(found, "curated"), arm(found, "random")
    m = better["multiplier"]

    assert better["sentence"].startswith(f"curated is better than unfiltered (p = {better['p_holm']:.0g}): it reaches ")
    assert f"a multiplier of {m['value']:.3g} (95 % interval {m['low']:.3g} to {m['high']:.3g})." in better["sentence"]
    assert same["sentence"].startswith("random and unfiltered are not distinguishable (p = ")


def test_a_step_that_was_left_out_helps_or_cannot_be_told() -> None:
    found = usual()["attribution"]

    assert found["whole"] == "curated"
    assert [(s["step"], s["decided"]) for s in found["steps"]] == [("dedup", "helps"), ("rules", None)]
    assert found["sentence"] == (
        "Of the steps of curated, left out one at a time: dedup helps; for rules no effect can be told from noise."
    )
    dedup = found["steps"][0]
    assert dedup["delta"]["low"] > 0
    assert dedup["multiplier"]["low"] < 1.4 / 1.2 < dedup["multiplier"]["high"]
    assert whole(without={})["attribution"] is None


def test_a_domain_is_judged_by_its_own_documents() -> None:
    losses = changed()
    gain = (
        simulate({"base": 1.0, "arm": 2.0}, seed=1).nats_ASBD[1]
        - simulate({"base": 1.0, "arm": 1.4}, seed=1).nats_ASBD[1]
    )
    first = losses.domain_D == 0
    losses.nats_ASBD[1][..., first] += gain[..., first]
    domains = study(losses, baseline="base", seed=1, resamples=400)["arms"][0]["domains"]

    for domain, worth in zip(domains, (2.0, 1.4), strict=True):
        assert domain["multiplier"]["low"] < worth < domain["multiplier"]["high"]
        assert domain["multiplier"]["high"] - domain["multiplier"]["low"] < 0.4
        assert domain["delta"]["low"] < domain["delta"]["value"] < domain["delta"]["high"]


def test_a_worse_arm_is_called_worse() -> None:
    found = study(simulate({"base": 1.0, "arm": 0.7}, seed=1), baseline="base", seed=1, resamples=400)

    assert found["arms"][0]["decided"] == "worse"
    assert found["arms"][0]["multiplier"]["high"] < 1
    assert found["verdict"] == "Worse: arm."


def test_curation_is_charged_where_its_cost_is_known() -> None:
    free = simulate({"base": 1.0, "arm": 1.4}, seed=1)
    object.__setattr__(free, "curation_flops_A", np.array([0.0, 1e13]))
    found = study(free, baseline="base", seed=1, resamples=400)["arms"][0]["multiplier"]
    tokens = 6 * 1.8e6 * 4e6

    assert found["with_curation"]["value"] == pytest.approx(tokens / (tokens / found["value"] + 1e13))
    assert found["with_curation"]["low"] < found["with_curation"]["value"] < found["with_curation"]["high"]


def changed(**fields: Any) -> Losses:
    losses = simulate(
        {"base": 1.0, "arm": 1.4, "other": 1.0}, seed=1, **{k: v for k, v in fields.items() if k != "nan"}
    )
    for place in fields.get("nan", ()):
        losses.nats_ASBD[place] = np.nan
    return losses


@pytest.mark.parametrize(
    ("losses", "sentence"),
    [
        (changed(seeds=1), "one seed shows no noise to judge by; train at least two, better three."),
        (changed(nan=[(1, 0), (1, 1)]), "only one seed has every budget in both arms; runs are missing or diverged."),
        (changed(nan=[(1,)]), "no seed has every budget in both arms; runs are missing or diverged."),
        (changed(nan=[(1, slice(None), 2)]), "no seed has both at the largest budget, 4000000 tokens."),
    ],
)
def test_what_cannot_be_judged_is_said_and_shown_without_a_verdict(losses: Losses, sentence: str) -> None:
    found = study(losses, baseline="base", seed=1, resamples=100)
    clean(found)
    row = found["arms"][0]

    assert (row["decided"], row["p"], row["p_holm"], row["tested"]) == (None, None, None, None)
    assert row["sentence"] == f"arm and base cannot be compared: {sentence}"
    assert len(row["deltas"]) == 3


@settings(max_examples=60, deadline=None)
@example((3, 2, 1), 1, 0.0, 0.0, 0)  # runs that are all the same: one arm under three names
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4)),
    st.integers(1, 4),
    st.sampled_from([0.0, 1e-9, 0.002, 5.0]),
    st.sampled_from([0.0, 0.2, 0.7]),
    st.integers(0, 2**32 - 1),
)
def test_any_losses_give_plain_json_without_a_crash(runs, documents, noise, lost, seed) -> None:
    source = np.random.default_rng(seed)
    arms, seeds, budgets = runs
    tokens_B = 1e6 * np.sort(source.choice([1, 2, 4, 8, 8], budgets)).astype(float)
    nats = 100 * (1 + tokens_B[:, None] ** -0.1) + source.normal(0, noise * 100, (*runs, documents))
    nats[source.random(runs) < lost] = np.nan
    losses = Losses(
        arms=tuple(f"arm {k}" for k in range(arms)),
        seeds=tuple(range(seeds)),
        budgets=tuple(int(t) for t in tokens_B),
        domains=("one", "two"),
        nats_ASBD=nats,
        tokens_ASB=np.broadcast_to(tokens_B, runs).copy(),
        flops_ASB=np.broadcast_to(tokens_B * 6, runs).copy(),
        bytes_D=np.full(documents, 400.0),
        domain_D=source.integers(0, 2, documents),
        hit_AD=np.zeros((arms, documents), np.bool_),
        curation_flops_A=source.choice([0.0, 1e6, 1e9], arms),
        pool_tokens_A=source.choice([0.0, 1e6, 1e9], arms),
    )
    found = study(
        losses, baseline="arm 0", seed=1, resamples=80, control=losses.arms[-1], without={losses.arms[-1]: "step"}
    )

    clean(found)
    for row in found["arms"]:
        assert row["sentence"].endswith(".")
        assert row["decided"] is None or row["p_holm"] <= 0.05


def test_a_diverged_run_leaves_its_seed_out_and_is_named() -> None:
    found = study(changed(nan=[(1, 2, 1)]), baseline="base", seed=1, resamples=400)
    clean(found)

    assert (found["arms"][0]["seeds"], found["arms"][1]["seeds"]) == (2, 3)
    assert found["arms"][0]["missing"] == ["seed 3 at 2000000 tokens"]
    assert found["arms"][0]["decided"] == "better"


@pytest.mark.parametrize("budgets", [(4_000_000,), (2_000_000, 4_000_000)])
def test_fewer_than_three_budgets_give_a_difference_and_no_multiplier(budgets: tuple[int, ...]) -> None:
    found = study(changed(budgets=budgets), baseline="base", seed=1, resamples=400)
    clean(found)
    row = found["arms"][0]

    assert (row["decided"], row["tested"], row["multiplier"]["value"]) == ("better", "loss", None)
    assert row["multiplier"]["reason"] == f"3 budgets are needed and {len(budgets)} are there"
    assert "after 4,000,000 tokens the loss differs by -0.0" in row["sentence"]
    assert (row["curve"], row["crossover"]["observed"]) == ([], False)


def test_identical_arms_are_not_distinguishable() -> None:
    losses = changed()
    losses.nats_ASBD[1] = losses.nats_ASBD[0]
    found = study(losses, baseline="base", seed=1, resamples=400)
    clean(found)
    row = found["arms"][0]

    assert (row["decided"], row["multiplier"]["value"], row["seed_correlation"]) == (
        None,
        pytest.approx(1),
        pytest.approx(1),
    )
    assert row["p"] > 0.9


def test_runs_that_do_not_differ_over_seeds_are_not_taken_for_certainty() -> None:
    losses = changed()
    losses.nats_ASBD[:] = losses.nats_ASBD[:, :1]
    found = study(losses, baseline="base", seed=1, resamples=100)
    clean(found)

    assert found["arms"][0]["sentence"].endswith(
        "its seeds do not differ at all, as if one run had been counted twice."
    )
    assert found["noise"]["seed_sd_bits_per_byte"] is None


def test_a_loss_that_rises_with_tokens_has_no_multiplier() -> None:
    losses = changed()
    losses.nats_ASBD[1] = losses.nats_ASBD[1, :, ::-1]
    found = study(losses, baseline="base", seed=1, resamples=400)
    clean(found)

    assert found["arms"][0]["tested"] == "loss"
    assert found["arms"][0]["multiplier"]["reason"] == "the loss does not fall with tokens"


def test_an_effect_as_large_as_the_budgets_is_called_an_extrapolation() -> None:
    found = study(simulate({"base": 1.0, "arm": 6.0}, seed=1), baseline="base", seed=1, resamples=400)
    clean(found)

    assert found["arms"][0]["decided"] == "better"
    assert found["arms"][0]["sentence"].endswith("This is an extrapolation: the two were never observed at one loss.")


def test_a_baseline_alone_is_a_study_of_nothing() -> None:
    found = study(simulate({"base": 1.0}, seed=1), baseline="base", seed=1, resamples=50)
    clean(found)

    assert (found["arms"], found["same_arms"]) == ([], None)
    assert found["verdict"] == "Nothing was compared with base."


def test_what_is_no_arm_is_refused() -> None:
    losses = simulate({"base": 1.0, "arm": 1.1}, seed=1)
    for wrong in ({"baseline": "bse"}, {"control": "rnd"}, {"without": {"arm without x": "x"}}, {"resamples": 0}):
        with pytest.raises(
            ValueError, match=r"no arms of these losses|0 resamples cannot decide 1 arms; use at least 39"
        ):
            study(losses, **({"baseline": "base", "seed": 1, "resamples": 50} | wrong))
    with pytest.raises(ValueError, match="confidence lies between"):
        study(losses, baseline="base", seed=1, confidence=1.0)
    with pytest.raises(ValueError, match="no bytes"):
        study(losses.only(np.zeros(200, bool)), baseline="base", seed=1)


def test_noise_is_measured_as_it_was_put_in() -> None:
    model = NoiseModel(seed_sd=0.0021, correlation=0.5)
    losses = simulate({f"arm {k}": 1.0 for k in range(4)}, seed=2, seeds=40, model=model)
    found = measured_noise(losses, "arm 0", 0.95)

    assert found["seed_sd_nats_per_token"] == pytest.approx(0.0021, rel=0.12)
    assert found["percent_tokens_nats_per_token"] == pytest.approx(0.0015, rel=0.08)
    assert found["correlation"] == pytest.approx(0.5, abs=0.15)
    assert (
        found["seed_sd_bits_per_byte"]["low"]
        < found["seed_sd_bits_per_byte"]["value"]
        < found["seed_sd_bits_per_byte"]["high"]
    )
    assert exchange_rate(simulate({"a": 1.0}, seed=1, budgets=(1_000_000,)), "a") is None


@pytest.mark.parametrize("arms", [3, 4])  # judged by the spread within arms, and by paired differences
def test_the_detectable_gain_is_found_nine_times_in_ten(arms: int) -> None:
    design, model = Design(arms=arms, seeds=3), NoiseModel(seed_sd=0.002, correlation=0.3)
    losses = simulate({f"arm {k}": 1.0 for k in range(arms)}, seed=2, model=model)
    noise = measured_noise(losses, "arm 0", 0.95)
    per_percent = noise["percent_tokens_bits_per_byte"]
    as_measured = NoiseModel(
        seed_sd=noise["seed_sd_bits_per_byte"]["value"], correlation=max(noise["correlation"], 0.0)
    )

    percents = np.log1p(noise["detectable_percent_tokens"] / 100) / np.log(1.01)
    found = quick_rate(design, as_measured, percents * per_percent, seed=1, replays=4000)
    assert found == pytest.approx(0.9, abs=0.04)


def test_percents_of_tokens_compound_so_that_loud_noise_is_told_in_times() -> None:
    losses = simulate({f"arm {k}": 1.0 for k in range(3)}, seed=2, model=NoiseModel(seed_sd=0.4, correlation=0.0))
    noise = measured_noise(losses, "arm 0", 0.95)

    times = 1 + noise["seed_sd_percent_tokens"] / 100
    assert times == pytest.approx(
        1.01 ** (noise["seed_sd_bits_per_byte"]["value"] / noise["percent_tokens_bits_per_byte"])
    )
    assert f"as much as {times:.3g} times the tokens change it" in noise["sentence"]
    assert [more_tokens(p) for p in (4.1, 4_400.0, 1e9)] == [
        "4.1 % more tokens",
        "45 times the tokens",
        "over 1,000 times the tokens",
    ]


def test_identical_data_under_two_names_is_declared_different_in_at_most_16_of_200_replays() -> None:
    assert replay(Design(documents=60), NoiseModel(seed_sd=0.0021), multiplier=1.0, seed=1) <= 16


@pytest.mark.parametrize(("sd", "seeds", "arms"), [(0.0013, 3, 2), (0.0021, 5, 2), (0.0021, 3, 3)])
def test_five_percent_more_tokens_are_found_nine_times_in_ten(sd: float, seeds: int, arms: int) -> None:
    design = Design(arms=arms, seeds=seeds, documents=200)

    assert replay(design, NoiseModel(seed_sd=sd), multiplier=1.05, seed=1, replays=100) >= 90


@pytest.mark.long
def test_what_is_found_does_not_grow_wrong_with_three_arms_and_seeds() -> None:
    design = Design(arms=3, documents=60)

    assert all(
        replay(design, NoiseModel(seed_sd=0.0021, correlation=c), multiplier=1.0, seed=1) <= 16 for c in (0.0, 0.5)
    )


@pytest.mark.parametrize(("arms", "seeds", "correlation"), [(2, 2, 0.0), (2, 3, 0.5), (3, 3, 0.5), (5, 4, 0.9)])
def test_the_quick_rate_keeps_five_percent(arms: int, seeds: int, correlation: float) -> None:
    rate = quick_rate(Design(arms=arms, seeds=seeds), NoiseModel(correlation=correlation), 0.0, seed=1, replays=20_000)

    assert rate <= 0.056
