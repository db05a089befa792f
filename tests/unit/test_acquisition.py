"""Measures of value against the slow way of saying the same, and choices that depend on the documents alone."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learners import acquisition as a
from stages.document import doc_id

SIZES = st.tuples(st.integers(1, 6), st.integers(1, 12), st.integers(1, 5), st.integers(0, 2**32 - 1))


def ids(n: int, salt: str = "") -> pa.Array:
    return pa.array([doc_id("pool" + salt, "a.jsonl", i) for i in range(n)])


def probabilities(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Rows that sum to 1, some of them with zeros and ones."""
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(shape[-1]), shape[:-1])
    sure = rng.random(shape[:-1]) < 0.2
    p[sure] = np.eye(shape[-1])[rng.integers(0, shape[-1], sure.sum())]
    return p


def slow_entropy(p: list[float]) -> float:
    return -sum(x * math.log(x) for x in p if x > 0)


@given(SIZES)
def test_uncertainty_is_what_the_formulas_say(sizes):
    _, n, c, seed = sizes
    p_NC = probabilities((n, c), seed)

    assert a.entropy(p_NC) == pytest.approx([slow_entropy(p) for p in p_NC.tolist()], abs=1e-6)
    assert a.least_confidence(p_NC) == pytest.approx([1 - max(p) for p in p_NC.tolist()], abs=1e-6)
    second = [(sorted(p)[-2] if c > 1 else 0.0) for p in p_NC.tolist()]
    assert a.margin(p_NC) == pytest.approx(
        [1 - max(p) + s for p, s in zip(p_NC.tolist(), second, strict=True)], abs=1e-6
    )
    assert {f(p_NC).dtype for f in (a.entropy, a.least_confidence, a.margin)} == {np.dtype(np.float32)}


@given(SIZES)
def test_disagreement_is_what_the_formulas_say(sizes):
    m, n, c, seed = sizes
    p_MNC = probabilities((m, n, c), seed)
    votes = [[p_MNC[i, j].tolist().index(max(p_MNC[i, j])) for i in range(m)] for j in range(n)]
    shares = [[v.count(k) / m for k in range(c)] for v in votes]
    means = p_MNC.mean(axis=0).tolist()
    kl = [
        sum(x * math.log(x / means[j][k]) for i in range(m) for k, x in enumerate(p_MNC[i, j].tolist()) if x > 0) / m
        for j in range(n)
    ]

    assert a.vote_entropy(p_MNC) == pytest.approx([slow_entropy(s) for s in shares], abs=1e-6)
    assert a.mean_kl(p_MNC) == pytest.approx(kl, abs=1e-6)
    bald = [slow_entropy(means[j]) - sum(slow_entropy(p_MNC[i, j].tolist()) for i in range(m)) / m for j in range(n)]
    assert a.mean_kl(p_MNC) == pytest.approx(bald, abs=1e-6)


def test_what_cannot_be_scored_is_unknown_and_never_chosen():
    p_NC = np.array([[0.5, 0.5], [np.nan, np.nan], [0.9, 0.1]])

    for value in (a.entropy(p_NC), a.margin(p_NC), a.least_confidence(p_NC), a.mean_kl(np.stack([p_NC, p_NC]))):
        assert np.isnan(value).tolist() == [False, True, False]
    assert np.isnan(a.vote_entropy(np.stack([p_NC, p_NC]))).tolist() == [False, True, False]
    assert a.best(a.entropy(p_NC), ids(3), 3).tolist() == [0, 2]


def unit(n: int, d: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@given(SIZES)
def test_density_is_the_mean_cosine_and_weights_a_value(sizes):
    _, n, d, seed = sizes
    x_ND = unit(n, d, seed)
    slow = [max(0.0, sum(float(x @ y) for y in x_ND) / n) for x in x_ND]

    assert a.density(x_ND) == pytest.approx(slow, abs=1e-5)
    value = np.linspace(0, 1, n)
    assert a.density_weighted(value, a.density(x_ND), beta=2.0) == pytest.approx(
        [v * s**2 for v, s in zip(value, slow, strict=True)], abs=1e-5
    )


def slow_k_center(x: np.ndarray, names: list[str], centers: list[int], n: int) -> list[int]:
    picked: list[int] = []
    while len(picked) < n and len(picked) + len(centers) < len(x):
        left = [i for i in range(len(x)) if i not in (*centers, *picked)]
        far = {i: min(float(((x[i].astype(float) - x[j]) ** 2).sum()) for j in (*centers, *picked)) for i in left}
        picked.append(min(left, key=lambda i: (-far[i], names[i])))
    return picked


@given(SIZES)
def test_k_center_takes_the_farthest_each_time(sizes):
    k, n, d, seed = sizes
    x_ND, names = unit(n, d, seed), ids(n)
    centers = np.random.default_rng(seed).permutation(n)[: min(k, n)]

    assert a.k_center(x_ND, names, centers, 5, seed=1).tolist() == slow_k_center(
        x_ND, names.to_pylist(), centers.tolist(), 5
    )


@given(SIZES, st.sampled_from(["best", "pick", "k_center", "spread", "random"]))
def test_no_choice_depends_on_the_order_of_the_documents(sizes, how):
    k, n, d, seed = sizes
    x_ND, names = unit(n, d, seed), ids(n)
    value = np.round(np.random.default_rng(seed).random(n), 1)  # with ties

    def chosen(order: np.ndarray) -> list[str]:
        own, vectors, worth = names.take(pa.array(order)), x_ND[order], value[order]
        picks = {
            "best": lambda: a.best(worth, own, k),
            "pick": lambda: a.pick(worth, own, k, temperature=0.5, seed=3),
            "k_center": lambda: a.k_center(vectors, own, np.array([], np.intp), k, seed=3),
            "spread": lambda: a.spread(worth, vectors, own, k, candidates=2 * k),
            "random": lambda: a.best(a.random(own, seed=3), own, k),
        }[how]()
        return own.take(pa.array(picks)).to_pylist()

    assert chosen(np.random.default_rng(seed + 1).permutation(n)) == chosen(np.arange(n))


def test_equal_values_are_ordered_by_doc_id():
    names = ids(50)

    assert names.take(pa.array(a.best(np.ones(50), names, 50))).to_pylist() == sorted(names.to_pylist())


def test_a_spread_batch_holds_the_best_and_no_two_alike():
    x_ND = np.array([[1, 0], [1, 0], [0, 1], [-1, 0]], np.float32)
    value = np.array([0.9, 0.8, 0.7, 0.1])

    assert a.spread(value, x_ND, ids(4), 2, candidates=3).tolist() == [0, 2]
    assert a.spread(value, x_ND, ids(4), 2, candidates=1).tolist() == [0, 1]


def test_gumbel_noise_draws_in_proportion_to_the_exponential_of_the_value():
    value, share = np.log([1.0, 2.0, 5.0]), np.array([1, 2, 5]) / 8
    trials = 4_000
    first = [int(a.pick(value, ids(3), 1, temperature=1.0, seed=s)[0]) for s in range(trials)]
    seen = np.bincount(first, minlength=3)
    chi2 = float((((seen - trials * share) ** 2) / (trials * share)).sum())

    assert chi2 < 13.8, "the 99.9 % quantile for 2 degrees of freedom"
    assert a.pick(value, ids(3), 3, temperature=0, seed=1).tolist() == [2, 1, 0]


def test_another_seed_draws_others_and_the_same_the_same():
    assert (a.random(ids(100), seed=1) == a.random(ids(100), seed=1)).all()
    assert (a.random(ids(100), seed=1) != a.random(ids(100), seed=2)).any()


def test_random_is_uniform():
    counts = np.histogram(a.random(ids(20_000), seed=5), bins=10, range=(0, 1))[0]

    assert float(((counts - 2000) ** 2 / 2000).sum()) < 27.9, "the 99.9 % quantile for 9 degrees of freedom"


def test_nothing_is_chosen_of_nothing():
    none = pa.array([], pa.string())
    x_ND = np.zeros((0, 2), np.float32)

    assert a.best(np.array([]), none, 3).tolist() == []
    assert a.k_center(x_ND, none, np.array([], np.intp), 3, seed=1).tolist() == []
    assert a.spread(np.array([]), x_ND, none, 3, candidates=9).tolist() == []
    assert a.density(x_ND).tolist() == []
