"""A budget against one sort of all documents, and its sampling against the probabilities that it is meant to have."""

import itertools
import math
from collections import Counter
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from selection_flows import run, shards_of, table_of

from stages.chance import draw, gumbel
from stages.corpus.budget import Budget
from stages.errors import DataError, SpecError
from stages.flow import MemoryFlow, MemorySite
from stages.selection.threshold import first_left_out

SCORES = st.one_of(
    st.none(),
    st.sampled_from([0.0, -0.0, 1.0, 0.5, math.inf, -math.inf, math.nan, 5e-324, -1e308]),
    st.floats(-3, 3),
)
TOKENS = st.one_of(st.none(), st.integers(0, 9), st.just(10**12))


def budget(**fields: Any) -> Budget:
    return Budget.model_validate({"by": "score", "count": "tokens", "seed": 1, **fields})


def table(scores: list[float | None], tokens: list[int | None]) -> pa.Table:
    return table_of(score=pa.array(scores, pa.float64()), tokens=pa.array(tokens, pa.int64()))


def oracle(stage: Budget, documents: pa.Table) -> dict[str, bool | None]:
    """One document after the other, best first."""
    noise = gumbel(draw(stage.seed, "budget", documents["doc_id"])) * stage.temperature
    waiting = []
    chosen: dict[str, bool | None] = {}
    for row, g in zip(documents.to_pylist(), noise.tolist(), strict=True):
        chosen[row["doc_id"]] = None
        score = None if row["score"] is None or math.isnan(row["score"]) else row["score"]
        if row["tokens"] is None or (score is None and stage.on_null == "drop"):
            continue
        sign = 1 if stage.order == "highest" else -1
        priority = 0 if score is None else sign * score + (g if stage.temperature else 0)
        waiting.append((score is None, -priority, row["doc_id"], row["tokens"]))
    left = stage.amount
    for _, _, doc_id, tokens in sorted(waiting):
        left = left - tokens if tokens <= left else -1
        chosen[doc_id] = left >= 0
    return chosen


@settings(max_examples=60, deadline=None)
@given(
    documents=st.lists(st.tuples(SCORES, TOKENS), max_size=40),
    amount=st.sampled_from([0, 1, 5, 20, 60, 10**12, 10**15]),
    temperature=st.sampled_from([0, 0.1, 2.0, 1e300]),
    order=st.sampled_from(["highest", "lowest"]),
    on_null=st.sampled_from(["keep", "drop"]),
    cuts=st.lists(st.integers(0, 40), max_size=5),
)
def test_the_choice_is_that_of_one_sort_however_documents_are_cut(
    documents: Any, amount: int, temperature: float, order: str, on_null: str, cuts: list[int]
) -> None:
    made = table([s for s, _ in documents], [t for _, t in documents])
    stage = budget(amount=amount, temperature=temperature, order=order, on_null=on_null)
    assume(not documents or set(oracle(stage, made).values()) != {None})

    found, counts = run(stage, made, [min(c, made.num_rows) for c in cuts])
    selected = {i: row["selected"] for i, row in found.items()}
    tokens = dict(zip(made["doc_id"].to_pylist(), made["tokens"].to_pylist(), strict=True))

    assert selected == oracle(stage, made)
    assert counts["selected_documents"] == sum(1 for s in selected.values() if s)
    assert counts["selected_amount"] == sum(tokens[i] for i, s in selected.items() if s) <= amount
    assert counts["documents_without_score"] == sum(s is None or math.isnan(s) for s, _ in documents)
    assert counts["documents_without_count"] == sum(t is None for _, t in documents)
    all_fit = False not in selected.values()
    assert counts["short_of_budget"] == (amount - counts["selected_amount"] if all_fit else 0)


@pytest.mark.parametrize(("at_once", "amount"), [(1, 2500), (7, 2500), *((100, 2500 + i) for i in range(8))])
def test_further_rounds_find_the_same_document(at_once: int, amount: int) -> None:
    """Three thousand documents, many of them alike, so that the range in which the budget ends is cut again."""
    chance = np.random.default_rng(0)
    made = table(chance.integers(0, 4, 3000).tolist(), chance.integers(0, 5, 3000).tolist())
    stage = budget(amount=amount)
    flow = MemoryFlow(shards_of(made, [100, 1700]))
    rows = flow.at("shards", "rows", stage.offer, to="shards")
    flow.settle(stage.answer, rows, first_left_out(flow, rows, stage.amount, at_once))

    selected = dict(zip(made["doc_id"].to_pylist(), flow.answer()["selected"].to_pylist(), strict=True))
    assert selected == oracle(stage, made)


def test_documents_that_are_not_kept_are_not_seen() -> None:
    chance = np.random.default_rng(1)
    made = table(chance.normal(size=60).tolist(), chance.integers(0, 9, 60).tolist())
    kept = [i % 3 != 1 for i in range(60)]
    stage = budget(amount=90, temperature=0.5)

    found, counts = run(stage, made.append_column("kept", pa.array(kept)), [20, 21])
    expected, only = run(stage, made.filter(pa.array(kept)))

    gone = dict.fromkeys(made.filter(pa.array([not k for k in kept]))["doc_id"].to_pylist())
    assert found == expected | {i: {"selected": None, "priority": None} for i in gone}
    assert counts == only


def test_the_priority_is_the_score_and_noise_in_units_of_the_score() -> None:
    made = table([1.0, 2.0, None], [1, 1, 1])
    noise = gumbel(draw(1, "budget", made["doc_id"]))
    found, _ = run(budget(amount=9, temperature=0.25), made)

    assert [row["priority"] for row in found.values()] == [1.0 + 0.25 * noise[0], 2.0 + 0.25 * noise[1], None]


def test_the_count_of_the_threshold_is_the_priority_of_the_first_left_out() -> None:
    _, counts = run(budget(amount=25), table([0.5, 0.25, 0.125, 3.0], [10, 10, 10, 10]))

    assert counts["threshold_priority_in_millionths"] == 250_000


def test_the_first_that_does_not_fit_ends_it_though_smaller_ones_would() -> None:
    found, counts = run(budget(amount=10), table([3.0, 2.0, 1.0], [4, 7, 1]))

    assert [row["selected"] for row in found.values()] == [True, False, False]
    assert counts["selected_amount"] == 4


def test_first_two_draws_have_the_probabilities_of_sampling_without_replacement() -> None:
    """Chi-squared over all ordered pairs of five documents: p(i) p(j) / (1 - p(i)), p proportional to exp(score / T)."""
    scores, temperature, draws = [0.0, 0.5, 1.0, 1.5, 2.0], 0.7, 2000
    made = table(list(scores), [1] * 5)
    pairs: Counter[tuple[int, int]] = Counter()
    for seed in range(draws):
        rows, _ = budget(amount=2, temperature=temperature, seed=seed).offer(MemorySite("shards", 0, {}, made))
        first, second = np.argsort(rows["key"].to_numpy())[:2].tolist()
        pairs[first, second] += 1
    weight = [math.exp(s / temperature) for s in scores]
    p = [w / sum(weight) for w in weight]
    expected = {(i, j): draws * p[i] * p[j] / (1 - p[i]) for i, j in itertools.permutations(range(5), 2)}
    statistic = sum((pairs[k] - e) ** 2 / e for k, e in expected.items())

    assert sum(expected.values()) == pytest.approx(draws)
    assert statistic < 36.19  # the 99th percentile of chi-squared with 19 degrees of freedom


def test_documents_are_selected_as_often_as_sampling_without_replacement_would() -> None:
    """Whole runs: inclusion of each of four documents in samples of two, against its exact probability."""
    scores, runs = [0.0, 1.0, 1.0, 2.0], 200
    included = np.zeros(4)
    for seed in range(runs):
        found, _ = run(budget(amount=2, temperature=1.0, seed=seed), table(list(scores), [1] * 4))
        included += [row["selected"] for row in found.values()]
    weight = [Fraction(math.exp(s)) for s in scores]
    total = sum(weight)
    exact = [
        float(weight[i] / total + sum(weight[j] / total * weight[i] / (total - weight[j]) for j in range(4) if j != i))
        for i in range(4)
    ]

    assert sum(exact) == pytest.approx(2)
    for count, p in zip(included, exact, strict=True):
        assert abs(count - runs * p) < 3.3 * math.sqrt(runs * p * (1 - p))


def test_equal_scores_without_temperature_go_by_doc_id() -> None:
    made = table([1.0] * 20, [1] * 20)
    found, _ = run(budget(amount=7), made, [3, 4, 15], 2)

    assert [i for i, row in found.items() if row["selected"]] == [
        i for i in made["doc_id"].to_pylist() if i in sorted(made["doc_id"].to_pylist())[:7]
    ]


def test_whole_numbers_and_truth_values_are_scores_too() -> None:
    found, _ = run(budget(amount=1), table_of(score=[3, 5, 4], tokens=pa.array([1, 1, 1], pa.uint64())))
    truth, _ = run(budget(amount=1), table_of(score=[False, True, False], tokens=pa.array([1, 1, 1], pa.int8())))

    assert [row["selected"] for row in found.values()] == [False, True, False]
    assert [row["selected"] for row in truth.values()] == [False, True, False]


def test_a_seed_without_temperature_is_no_part_of_the_identity() -> None:
    assert budget(amount=1, seed=1).identity() == budget(amount=1, seed=2).identity()
    assert budget(amount=1, temperature=1.0, seed=1).identity() != budget(amount=1, temperature=1.0, seed=2).identity()


@pytest.mark.parametrize("tokens", [[3, -1, 2], [3, 2**41, 2]])
def test_an_amount_that_no_document_can_have_is_refused_with_the_document(tokens: list[int]) -> None:
    made = table([1.0, 2.0, 3.0], list(tokens))
    with pytest.raises(DataError) as caught:
        run(budget(amount=5), made)

    assert caught.value.message == (
        f"'tokens' holds {tokens[1]} for document {made['doc_id'][1]}, and budget counts amounts from 0 to 2**40; "
        "name a column that holds amounts"
    )


def test_scores_that_are_all_unknown_are_refused_and_no_documents_at_all_are_not() -> None:
    with pytest.raises(DataError) as caught:
        run(budget(amount=5), table([None, math.nan, 1.0], [1, 1, None]))
    _, counts = run(budget(amount=5), table([], []))

    assert caught.value.message == (
        "budget can use none of the documents that it is given: 2 have no 'score' and 1 have no 'tokens'; name a column "
        "that is measured for them (a model for another language measures nothing), or mend the step that writes it"
    )
    assert (counts["selected_documents"], counts["short_of_budget"]) == (0, 5)


def test_columns_of_the_wrong_type_are_refused() -> None:
    with pytest.raises(SpecError, match="budget orders documents by 'score', which holds string; name a column of num"):
        run(budget(amount=5), table_of(score=["a"], tokens=[1]))
    with pytest.raises(SpecError, match="budget counts 'tokens', which holds double; name a column of whole numbers"):
        run(budget(amount=5), table_of(score=[1.0], tokens=[1.0]))
