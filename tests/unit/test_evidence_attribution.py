"""Shapley values of steps: against all orders written out, on games whose answer is known, and from a quarter of the runs."""

from collections.abc import Mapping
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.evidence import attribution as at

STEPS = ("rules", "dedup", "quality", "order", "select")
NEEDS = {"select": ("quality",), "order": ("dedup",)}


def by_hand(
    values: Mapping[frozenset, float], steps: tuple[str, ...], needs: Mapping[str, tuple[str, ...]]
) -> dict[str, float]:
    orders = [o for o in permutations(steps) if all(o.index(n) < o.index(s) for s in steps for n in needs.get(s, ()))]
    worth = dict.fromkeys(steps, 0.0)
    for order in orders:
        for k, step in enumerate(order):
            worth[step] += (values[frozenset(order[: k + 1])] - values[frozenset(order[:k])]) / len(orders)
    return worth


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(0, 2**32 - 1), st.booleans())
def test_values_are_the_mean_over_all_orders_that_respect_the_needs(count: int, seed: int, chained: bool) -> None:
    steps = STEPS[:count]
    needs = {steps[1]: steps[:1]} if chained and count > 1 else {}
    source = np.random.default_rng(seed)
    values = {s: np.asarray(source.normal()) for s in at.pipelines(steps, needs)}

    found = at.shares(values, steps, needs)
    assert {k: float(v) for k, v in found.items()} == pytest.approx(by_hand(values, steps, needs))
    assert sum(found.values()) == pytest.approx(values[frozenset(steps)] - values[frozenset()])


def test_pipelines_hold_what_their_steps_need() -> None:
    found = at.pipelines(("a", "b", "c"), {"c": ("a",)})

    assert [set(s) for s in found] == [set(), {"a"}, {"b"}, {"a", "b"}, {"a", "c"}, {"a", "b", "c"}]


@pytest.mark.parametrize("needs", [{}, NEEDS])
def test_a_quarter_of_the_pipelines_gives_exact_values_of_an_additive_game(needs) -> None:
    own = dict(zip(STEPS, (0.03, 0.01, 0.05, 0.0, -0.01), strict=True))
    every = {s: np.asarray(sum(own[x] for x in s)) for s in at.pipelines(STEPS, needs)}
    chosen = at.design(STEPS, needs, seed=1)

    assert len(chosen) <= 8 == 2**5 // 4
    assert {frozenset(), frozenset(STEPS)} <= set(chosen)
    found = at.shares({s: every[s] for s in chosen}, STEPS, needs)
    assert {k: float(v) for k, v in found.items()} == pytest.approx(own, abs=1e-9)
    assert at.left_out_error({s: every[s] for s in chosen}, STEPS, needs) == pytest.approx(0, abs=1e-9)


def test_values_of_a_quarter_with_noise_and_pairs_are_near_the_exact_ones_and_sum_to_the_total() -> None:
    source = np.random.default_rng(3)
    own = dict(zip(STEPS, (0.03, 0.01, 0.05, 0.02, -0.01), strict=True))
    every = {
        s: np.asarray(
            sum(own[x] for x in s)
            - 0.006 * ("rules" in s and "quality" in s)
            + 0.004 * ("dedup" in s and "select" in s)
        )
        for s in at.pipelines(STEPS, {})
    }
    exact = at.shares(every, STEPS, {})
    chosen = at.design(STEPS, {}, seed=2)
    drawn = {s: every[s] + source.normal(0, 0.001, 400) for s in chosen}
    found = at.shares(drawn, STEPS, {})

    total = drawn[frozenset(STEPS)] - drawn[frozenset()]
    np.testing.assert_allclose(sum(found.values()), total, atol=1e-12)
    low, high = np.quantile(sum(found.values()), [0.025, 0.975])
    assert low < float(every[frozenset(STEPS)] - every[frozenset()]) < high
    for step in STEPS:
        assert found[step].mean() == pytest.approx(float(exact[step]), abs=0.004)


def test_designs_repeat_with_their_seed() -> None:
    assert at.design(STEPS, NEEDS, seed=4) == at.design(STEPS, NEEDS, seed=4)


def test_attribution_refuses_what_it_cannot_answer() -> None:
    with pytest.raises(ValueError, match=r"need \['nothing'\]"):
        at.pipelines(("a",), {"a": ("nothing",)})
    with pytest.raises(ValueError, match="too many pipelines"):
        at.pipelines([str(k) for k in range(13)], {})
    with pytest.raises(ValueError, match="the empty and the whole"):
        at.shares({frozenset(): np.asarray(0.0)}, ("a", "b"), {})
    some = {frozenset(): np.asarray(0.0), frozenset("abc"): np.asarray(1.0)}
    with pytest.raises(ValueError, match="2 pipelines do not determine the worth of 3 steps"):
        at.shares(some, ("a", "b", "c"), {})
    assert at.left_out_error(some, ("a", "b", "c"), {}) is None
