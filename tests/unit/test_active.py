"""The loop of active learning: what it asks, what it learns from, when it ends, and what it measures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learners.active import MEASURES, Answers, Metric, Pool, Settings, learn, plateau, wilson
from learners.efficiency import Labelled, Trial, as_curve, compared, curves
from stages.document import doc_id
from stages.errors import DataError

N = 200


@dataclass
class Line:
    """Probabilities by the distance to the middle of the two classes' means: a scorer of one line of code."""

    labels: tuple[str, ...]
    p: np.ndarray

    def predict(self) -> np.ndarray:
        return self.p


POINTS = np.random.default_rng(7).normal(size=(N, 2)).astype(np.float32)
VECTORS = POINTS / np.linalg.norm(POINTS, axis=1, keepdims=True)
TRUTH = ["high" if x > 0.3 else "low" for x in POINTS[:, 0]]
IDS = pa.array([doc_id("web", "a.jsonl", i) for i in range(N)])


def fit(rows: np.ndarray, labels: Sequence[str], seed: int) -> Line:
    names = tuple(sorted(set(labels)))
    means = [POINTS[rows][np.array(labels) == name].mean(axis=0) for name in names]
    logits = np.stack([-((POINTS - mean) ** 2).sum(axis=1) for mean in means], axis=1)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    return Line(names, p / p.sum(axis=1, keepdims=True))


def truthful(number: int, propose: Callable[[], np.ndarray]) -> Answers:
    return Answers({int(r): TRUTH[r] for r in propose()})


def pool(vectors: np.ndarray | None = VECTORS, askable: Sequence[int] = range(N)) -> Pool:
    mask = np.zeros(N, bool)
    mask[list(askable)] = True
    return Pool(IDS, mask, vectors)


def go(ask: Any = truthful, **settings: Any) -> Any:
    return learn(pool(), fit, ask, Settings(**{"budget": 40, "rounds": 4, "patience": 0, **settings}), seed=1)


@pytest.mark.parametrize("measure", MEASURES)
def test_every_measure_spends_its_budget_on_different_documents(measure):
    done = go(acquire=measure)

    assert (done.why, len(done.labels), [r.labelled for r in done.rounds]) == ("budget", 40, [10, 20, 30, 40])
    assert all(TRUTH[row] == label for row, label in done.labels.items())


@pytest.mark.parametrize("measure", MEASURES)
def test_the_first_batch_is_the_control_s(measure):
    assert go(acquire=measure).rounds[0].answers == go(acquire="random").rounds[0].answers


@pytest.mark.parametrize("measure", MEASURES)
def test_the_order_of_the_pool_changes_no_pick(measure):
    order = np.random.default_rng(3).permutation(N)
    settings = Settings(acquire=measure, budget=40, rounds=4, patience=0)

    def turned_fit(rows: np.ndarray, labels: Sequence[str], seed: int) -> Line:
        by_row = sorted(zip(order[rows].tolist(), labels, strict=True))
        line = fit(np.array([r for r, _ in by_row]), [label for _, label in by_row], seed)
        return Line(line.labels, line.p[order])

    turned = Pool(IDS.take(pa.array(order)), np.ones(N, bool), VECTORS[order])
    done = learn(
        turned, turned_fit, lambda n, propose: Answers({int(r): TRUTH[order[r]] for r in propose()}), settings, seed=1
    )

    assert {int(order[r]) for r in done.labels} == set(go(acquire=measure).labels)


def test_what_was_held_out_or_cannot_be_asked_is_never_asked():
    held = {row: TRUTH[row] for row in range(50)}
    asked: list[int] = []

    def ask(number: int, propose: Callable[[], np.ndarray]) -> Answers:
        asked.extend(propose().tolist())
        return truthful(number, lambda: np.array(asked[-10:]))

    settings = Settings(budget=60, rounds=6, patience=0)
    done = learn(pool(askable=range(120)), fit, ask, settings, seed=1, held_out=held)

    assert set(asked) <= set(range(50, 120))
    assert len(set(asked)) == len(asked) == 60
    accuracy = done.rounds[-1].metric
    said = np.array(done.scorer.labels)[done.scorer.predict()[:50].argmax(axis=1)]
    assert accuracy.value == float((said == np.array(TRUTH[:50])).mean())
    assert accuracy.low < accuracy.value < accuracy.high or accuracy.value == 1


def test_it_ends_when_nothing_is_left_to_ask():
    done = learn(pool(askable=range(25)), fit, truthful, Settings(budget=40, rounds=4, patience=0), seed=1)

    assert (done.why, len(done.labels)) == ("pool", 25)


def test_while_all_labels_are_equal_batches_are_random():
    def low_at_first(number: int, propose: Callable[[], np.ndarray]) -> Answers:
        return Answers({int(r): "high" if number >= 3 and i % 2 else "low" for i, r in enumerate(propose())})

    drawn = go(acquire="random", budget=N, rounds=20).rounds
    rounds = go(low_at_first, acquire="entropy", budget=N, rounds=20).rounds

    assert [set(r.answers.labels) for r in rounds[:4]] == [set(r.answers.labels) for r in drawn[:4]]
    assert [r.scorer is None for r in rounds[:5]] == [True, True, True, False, False]
    assert set(rounds[4].answers.labels) != set(drawn[4].answers.labels)


def test_one_label_only_is_an_error_that_says_what_to_do():
    with pytest.raises(DataError, match=r"all 40 labels are 'low', .* raise the budget"):
        go(lambda number, propose: Answers(dict.fromkeys(propose().tolist(), "low")))


def test_no_label_at_all_is_an_error_and_every_skipped_document_is_asked_once():
    asked: list[int] = []

    def refuse(number: int, propose: Callable[[], np.ndarray]) -> Answers:
        rows = propose().tolist()
        asked.extend(rows)
        return Answers({}, dict.fromkeys(rows, "refused"))

    with pytest.raises(DataError, match="no document got a label"):
        go(refuse)
    assert len(set(asked)) == len(asked) == 40


def test_scores_that_are_all_unknown_are_an_error():
    def blind(rows: np.ndarray, labels: Sequence[str], seed: int) -> Line:
        return Line(tuple(sorted(set(labels))), np.full((N, len(set(labels))), np.nan))

    with pytest.raises(DataError, match="no document of the pool that is left can be scored"):
        learn(pool(), blind, truthful, Settings(budget=40, rounds=4), seed=1)


def test_an_oracle_that_stops_ends_the_rounds_with_what_it_gave():
    def capped(number: int, propose: Callable[[], np.ndarray]) -> Answers:
        rows = propose()[: 10 if number < 2 else 3]
        return Answers({int(r): TRUTH[r] for r in rows}, stop="spending cap" if number == 2 else None)

    done = go(capped)
    assert (done.why, len(done.labels), len(done.rounds)) == ("spending cap", 23, 3)


def metric(right: list[bool]) -> Metric:
    return Metric(float(np.mean(right)), 0, 1, np.array(right))


def test_a_plateau_is_no_gain_beyond_chance_for_so_many_rounds():
    flat = metric([True] * 70 + [False] * 30)
    lucky = metric([True] * 71 + [False] * 29)
    better = metric([True] * 80 + [False] * 20)

    assert plateau([flat, lucky, flat], 2)
    assert plateau([flat, flat, flat], 2), "no difference at all is no gain"
    assert not plateau([flat, better, flat], 2)
    assert not plateau([flat, flat, better], 2)
    assert not plateau([flat, flat], 2), "too few rounds to tell"
    assert not plateau([flat] * 9, 0), "never, where it is not wanted"
    assert plateau([flat, better, better, better], 2)


def test_rounds_stop_on_a_plateau():
    held = {row: TRUTH[row] for row in range(100)}
    settings = Settings(acquire="random", budget=100, rounds=20, patience=3)
    done = learn(pool(), fit, truthful, settings, seed=1, held_out=held)

    assert done.why == "plateau"
    assert len(done.rounds) < 20
    assert plateau([r.metric for r in done.rounds], 3)
    assert not plateau([r.metric for r in done.rounds[:-1]], 3)


@given(st.integers(1, 300), st.integers(1, 40))
def test_batches_share_the_budget(budget, rounds):
    sizes = Settings(budget=budget, rounds=rounds).batches()

    assert sum(sizes) == budget
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == min(rounds, budget)


def test_wilson_s_interval_is_the_published_one():
    """Newcombe 1998, Statistics in Medicine 17: 857-872, Table I, method 3: 81/263 and 0/20."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


KNOWN = Labelled(IDS, TRUTH, VECTORS, fit)


def test_arms_share_their_first_batch_and_their_test_part():
    found = curves(KNOWN, Trial(60, Settings(budget=40, rounds=4)), ["random", "entropy", "margin"], [1, 2, 3])

    assert found.labels == (10, 20, 30, 40)
    assert {arm: values.shape for arm, values in found.accuracy.items()} == {
        "random": (3, 4), "entropy": (3, 4), "margin": (3, 4),
    }  # fmt: skip
    assert (found.accuracy["random"][:, 0] == found.accuracy["entropy"][:, 0]).all()
    assert (found.accuracy["random"] != found.accuracy["entropy"]).any()
    assert (found.accuracy["margin"] == found.accuracy["entropy"]).all(), "with two classes they order alike"


def test_wrong_labels_teach_and_never_test():
    clean = curves(KNOWN, Trial(60, Settings(budget=140, rounds=1)), ["random"], range(5))
    noisy = curves(KNOWN, Trial(60, Settings(budget=140, rounds=1), noise=1.0), ["random"], range(5))

    assert (clean.accuracy["random"] + noisy.accuracy["random"]).mean() == pytest.approx(1, abs=0.02)


def test_a_comparison_says_how_many_labels_an_arm_needs():
    found = curves(KNOWN, Trial(60, Settings(budget=40, rounds=4)), ["random", "entropy"], [1, 2, 3])
    found.accuracy["random"][:] = [[0.5, 0.6, 0.7, 0.8], [0.5, 0.6, 0.7, 0.8], [0.5, 0.6, 0.7, 0.8]]
    found.accuracy["entropy"][:] = [[0.5, 0.8, 0.8, 0.9], [0.5, 0.9, 0.9, 0.9], [0.5, 0.85, 0.8, 0.9]]
    result = compared(found, "entropy", 40, seed=1)

    assert result["labels_needed"] == {"value": 20, "low": 20, "high": 20}
    assert result["share"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert result["gain"] == pytest.approx({"value": 0.1, "low": 0.1, "high": 0.1})
    assert result["half"] == 20
    assert result["gain_at_half"]["value"] == pytest.approx(0.05)
    assert 0 <= result["gain_at_half"]["low"] < 0.05 < result["gain_at_half"]["high"] <= 0.1

    found.accuracy["entropy"][:] = 0.1
    assert compared(found, "entropy", 40, seed=1)["labels_needed"] == {"value": None, "low": None, "high": None}
    points = as_curve(found, "title", seed=1)["series"][1]["points"]
    assert points[0] == [10, pytest.approx(0.1), pytest.approx(0.1), pytest.approx(0.1)]
