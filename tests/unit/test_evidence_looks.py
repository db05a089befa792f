"""Looks at unfinished ablations and values of steps, from whole losses."""

import json

import numpy as np
import pytest

from trainer.evidence.attribution import design
from trainer.evidence.looks import Kind, look_at
from trainer.evidence.noise_model import NoiseModel, simulate
from trainer.evidence.step_values import step_values

STEPS = ("dedup", "quality", "rules")


def test_budgets_still_to_come_are_not_looked_at() -> None:
    losses = simulate({"base": 1.0, "better": 1.6, "same": 1.0, "curriculum": 1.6}, seed=1)
    part = losses.up_to(3)
    part.nats_ASBD[:, :, 1:] = np.nan
    first = look_at(part, 1_000_000, baseline="base", seed=1, kinds={"curriculum": Kind(ordered=True)})

    assert first.share == 0.25
    assert first.decided == {"better": "better", "same": None, "curriculum": None}
    assert not first.stop
    assert first == look_at(
        simulate({"base": 1.0, "better": 1.6, "same": 1.0, "curriculum": 1.6}, seed=1),
        1_000_000,
        baseline="base",
        seed=1,
        kinds={"curriculum": Kind(ordered=True)},
    )


def test_the_last_look_decides_ordered_and_repeated_arms_too() -> None:
    losses = simulate({"base": 1.0, "better": 1.6, "again": 1.6}, seed=1)
    kinds = {"again": Kind(epochs=3.0)}
    early = look_at(losses, 2_000_000, baseline="base", seed=1, kinds=kinds)
    late = look_at(losses, 4_000_000, baseline="base", seed=1, kinds=kinds, before=early.decided)

    assert (early.decided, early.stop) == ({"better": "better", "again": None}, False)
    assert (late.decided, late.stop) == ({"better": "better", "again": "better"}, True)


def test_what_cannot_be_compared_goes_on() -> None:
    found = look_at(simulate({"base": 1.0, "arm": 1.6}, seed=1, seeds=1), 1_000_000, baseline="base", seed=1)

    assert (found.decided, found.futile, found.stop) == ({"arm": None}, (), False)
    with pytest.raises(ValueError, match="budget 5 is none of"):
        look_at(simulate({"base": 1.0}, seed=1), 5, baseline="base", seed=1)


def test_step_values_sum_to_the_total_and_hold_what_was_put_in() -> None:
    worth = {"dedup": 1.2, "quality": 1.3, "rules": 1.0}
    members = {"+".join(sorted(s)) or "none": s for s in design(STEPS, {}, share=0.6, seed=1)}
    multipliers = {name: float(np.prod([worth[x] for x in own])) for name, own in members.items()}
    losses = simulate(multipliers, seed=2, model=NoiseModel(seed_sd=0.0013, affinity_sd=0.005))
    found = step_values(losses, members, {}, seed=1, resamples=1000)
    json.dumps(found, allow_nan=False)

    assert [s["step"] for s in found["steps"]] == sorted(STEPS)
    assert (found["method"], found["of"]) == ("surrogate", 8)
    assert found["pipelines"] == len(members) < 8
    assert sum(s["value"] for s in found["steps"]) == pytest.approx(found["total"]["value"])
    assert found["total"]["low"] < found["total"]["value"] < found["total"]["high"]
    dedup, quality, rules = found["steps"]
    assert dedup["low"] > 0
    assert quality["low"] > 0
    assert rules["low"] < 0 < rules["high"]
    assert found["sentence"].startswith("Of 0.0")
    assert "dedup takes off 0.00" in found["sentence"]


def test_intervals_of_step_values_hold_the_truth() -> None:
    members = {"none": frozenset[str](), "a": frozenset("a"), "b": frozenset("b"), "both": frozenset("ab")}
    held = np.zeros(2)
    for number in range(100):
        losses = simulate({"none": 1.0, "a": 1.0, "b": 1.0, "both": 1.0}, seed=number, documents=40)
        found = step_values(losses, members, {}, seed=number, resamples=200)
        held += [s["low"] <= 0 <= s["high"] for s in found["steps"]]

    assert (held >= 88).all()


def test_values_of_steps_are_refused_or_unknown_where_arms_or_seeds_lack() -> None:
    losses = simulate({"none": 1.0, "a": 1.2}, seed=1)
    both = {"none": frozenset[str](), "a": frozenset("a")}
    with pytest.raises(ValueError, match="no arms of these losses"):
        step_values(losses, both | {"b": frozenset("b")}, {}, seed=1)
    with pytest.raises(ValueError, match="one arm without any step"):
        step_values(losses, {"a": frozenset("a")}, {}, seed=1)
    losses.nats_ASBD[1, :2] = np.nan
    assert step_values(losses, both, {}, seed=1) == {
        "steps": [],
        "sentence": "What steps are worth is unknown: fewer than two seeds have every arm.",
    }
