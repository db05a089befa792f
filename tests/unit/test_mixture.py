"""A mixture against filling each domain document by document; shares against fractions."""

from collections import defaultdict
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from selection_flows import run, table_of

from stages.chance import draw
from stages.corpus.mixture import MOST, Mixture
from stages.errors import DataError, SpecError
from stages.selection.shares import by_temperature, shares

NAMES = ["books", "網頁", "ويكي", "🌾", None]
TOKENS = st.one_of(st.none(), st.integers(0, 9), st.just(10**9))


def mixture(**fields: Any) -> Mixture:
    return Mixture.model_validate({"by": "domain", "count": "tokens", "seed": 1, **fields})


def table(domains: list[str | None], tokens: list[int | None], scores: list[float | None] | None = None) -> pa.Table:
    return table_of(
        domain=pa.array(domains, pa.string()),
        tokens=pa.array(tokens, pa.int64()),
        score=pa.array(scores if scores is not None else [None] * len(domains), pa.float64()),
    )


def oracle(stage: Mixture, made: pa.Table) -> dict[str, int | None]:
    """How often each document is read."""
    turns = draw(stage.seed, "mixture", made["doc_id"]).tolist()
    domains: dict[str, list[tuple[Any, str, int]]] = defaultdict(list)
    epochs: dict[str, int | None] = dict.fromkeys(made["doc_id"].to_pylist())
    for row, turn in zip(made.to_pylist(), turns, strict=True):
        name = row["domain"] if row["domain"] is not None or stage.on_null == "drop" else "unknown"
        if name is not None and row["tokens"] is not None:
            score = (row["score"] is None, -(row["score"] or 0)) if stage.score else turn
            domains[name].append((score, row["doc_id"], row["tokens"]))
    has = {name: sum(t for *_, t in found) for name, found in domains.items()}
    weights = stage.weights if stage.weights is not None else by_temperature(has, stage.temperature or 1)
    for name, share in shares(has, weights, stage.amount, stage.max_epochs).items():
        left, stopped = share.rest, share.weight == 0
        for _, doc_id, tokens in sorted(domains[name]):
            stopped = stopped or tokens > left
            left -= 0 if stopped else tokens
            epochs[doc_id] = share.epochs + (not stopped)
    return epochs


@settings(max_examples=80, deadline=None)
@given(
    documents=st.lists(st.tuples(st.sampled_from(NAMES), TOKENS, st.sampled_from([None, 0.0, 1.0, -2.0])), max_size=40),
    amount=st.sampled_from([0, 1, 30, 100, 10**9]),
    rule=st.sampled_from(
        [{"temperature": 1.0}, {"temperature": 3.3}, {"temperature": 0.2}, {"weights": {"books": 3, "🌾": 1.5}}]
    ),
    max_epochs=st.integers(1, 3),
    score=st.sampled_from([None, "score"]),
    on_null=st.sampled_from(["keep", "drop"]),
    cuts=st.lists(st.integers(0, 40), max_size=5),
    partitions=st.integers(1, 4),
)
def test_epochs_are_those_of_filling_domains_one_by_one(documents: Any, rule: Any, cuts: Any, **given: Any) -> None:
    partitions = given.pop("partitions")
    documents = [*documents, ("books", 5, 1.0), ("🌾", 0, None)]
    made = table([d for d, _, _ in documents], [t for _, t, _ in documents], [s for _, _, s in documents])
    stage = mixture(**rule, **given)

    found, counts = run(stage, made, [min(c, made.num_rows) for c in cuts], partitions)
    tokens = dict(zip(made["doc_id"].to_pylist(), made["tokens"].to_pylist(), strict=True))
    epochs = {i: row["epochs"] for i, row in found.items()}

    assert epochs == oracle(stage, made)
    assert all(row["selected"] == (None if row["epochs"] is None else row["epochs"] > 0) for row in found.values())
    assert counts["selected_documents"] == sum(row["selected"] is True for row in found.values())
    assert counts["selected_amount"] == sum(tokens[i] * e for i, e in epochs.items() if e) <= stage.amount
    for kind, total in (("documents", counts["selected_documents"]), ("amount", counts["selected_amount"])):
        assert sum(n for name, n in counts.items() if name.endswith(f":{kind}")) == total


def test_documents_that_are_not_kept_are_not_seen() -> None:
    chance = np.random.default_rng(1)
    made = table(chance.choice(["a", "b"], 60).tolist(), chance.integers(1, 9, 60).tolist())
    kept = pa.array([i % 4 != 1 for i in range(60)])
    stage = mixture(amount=90, temperature=2)

    found, counts = run(stage, made.append_column("kept", kept), [20, 21])
    expected, only = run(stage, made.filter(kept))

    assert {i: row for i, row in found.items() if row["epochs"] is not None} == expected
    assert counts == only


def test_a_share_is_met_within_one_document_and_domains_have_their_weights() -> None:
    chance = np.random.default_rng(2)
    made = table(
        chance.choice(["a", "b", "c"], 3000, p=[0.8, 0.1, 0.1]).tolist(), chance.integers(1, 50, 3000).tolist()
    )
    found, counts = run(mixture(amount=10_000, weights={"a": 1, "b": 2, "c": 1}, max_epochs=2), made)

    assert [counts[f"domain:{d}:target"] for d in "abc"] == [2500, 5000, 2500]
    assert all(0 <= counts[f"domain:{d}:target"] - counts[f"domain:{d}:amount"] < 50 for d in "abc")
    assert {row["domain_weight"] for row in found.values()} == {0.25, 0.5}


def test_a_small_domain_is_repeated_up_to_the_limit_and_the_others_get_the_rest() -> None:
    made = table(["small"] * 2 + ["large"] * 50, [10] * 52)
    found, counts = run(mixture(amount=200, weights={"small": 1, "large": 1}, max_epochs=3), made)
    rows = list(found.values())

    assert [row["epochs"] for row in rows[:2]] == [3, 3]
    assert sum(row["epochs"] for row in rows[2:]) == 14
    assert (counts["domain:small:target"], counts["domain:large:target"], counts["short_of_budget"]) == (60, 140, 0)


def test_part_of_an_epoch_is_the_best_documents_once_more() -> None:
    made = table(["a"] * 4, [10] * 4, [0.1, 0.4, None, 0.3])
    found, _ = run(mixture(amount=65, weights={"a": 1}, max_epochs=2, score="score"), made)

    assert [row["epochs"] for row in found.values()] == [1, 2, 1, 2]


def test_what_nobody_can_fill_is_counted() -> None:
    found, counts = run(mixture(amount=1000, temperature=1, max_epochs=2), table(["a", "b"], [30, 20]))

    assert [row["epochs"] for row in found.values()] == [2, 2]
    assert counts["short_of_budget"] == 900


def test_domains_without_a_weight_get_nothing_and_are_counted() -> None:
    found, counts = run(mixture(amount=100, weights={"a": 1}), table(["a", "b", "c", "c"], [10, 0, 10, 10]))

    assert [(row["selected"], row["epochs"], row["domain_weight"]) for row in found.values()] == [
        (True, 1, 1.0),
        *[(False, 0, 0.0)] * 3,
    ]
    assert (counts["unnamed_domains"], counts["unnamed_documents"]) == (2, 3)


def test_one_giant_document_does_not_fit_and_takes_nothing() -> None:
    found, counts = run(mixture(amount=100, weights={"a": 1, "b": 1}), table(["a", "b", "b"], [10**12, 30, 20]))

    assert [row["epochs"] for row in found.values()] == [0, 1, 1]
    assert counts["domain:a:amount"] == 0


def test_a_weight_for_a_domain_that_is_not_there_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(SpecError) as caught:
        run(mixture(amount=100, weights={"boks": 1}), table(["books"], [1]))

    assert caught.value.message == (
        "mixture has a weight for 'boks', but no document has that in 'domain'; did you mean 'books'?"
    )


def test_domains_that_are_all_unknown_are_refused() -> None:
    with pytest.raises(DataError, match="mixture can use none of the documents that it is given: 2 have no 'domain'"):
        run(mixture(amount=1, temperature=1), table([None, None], [1, 1]))


def test_too_many_domains_are_refused() -> None:
    n = MOST + 1
    with pytest.raises(SpecError, match="mixture found 4,097 domains in 'domain', more than 4,096; name a coarser col"):
        run(mixture(amount=100, temperature=1), table([str(i) for i in range(n)], [1] * n))


def test_domains_may_be_numbers_but_not_measurements() -> None:
    found, _ = run(mixture(amount=1, weights={"7": 1}), table_of(domain=[7, 8], tokens=[1, 1]))

    assert [row["epochs"] for row in found.values()] == [1, 0]
    with pytest.raises(SpecError, match="mixture has domains by 'domain', which holds double; name a column of names"):
        run(mixture(amount=1, temperature=1), table_of(domain=[0.5], tokens=[1]))


@pytest.mark.parametrize(
    "fields", [{}, {"weights": {"a": 1}, "temperature": 1}, {"weights": {}}, {"weights": {"a": 0}}, {"temperature": 0}]
)
def test_a_mixture_has_one_rule(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        mixture(amount=1, **fields)


def test_temperature_one_leaves_proportions_and_a_high_one_evens_them_out() -> None:
    has = {"a": 900, "b": 100}

    assert shares(has, by_temperature(has, 1), 1000, 1)["a"].target == 900
    assert shares(has, by_temperature(has, 1e9), 100, 1)["a"].target in (49, 50)
    assert by_temperature(has, 2) == pytest.approx({"a": 1.0, "b": 1 / 3})
    assert by_temperature({"a": 0}, 2) == {"a": 0.0}


@settings(deadline=None)
@given(
    has=st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 1000), min_size=1),
    weights=st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 5), min_size=1),
    amount=st.integers(0, 4000),
    max_epochs=st.integers(1, 4),
)
def test_shares_are_proportional_among_the_domains_that_are_not_full(
    has: dict[str, int], weights: dict[str, float], amount: int, max_epochs: int
) -> None:
    given_ = {n: w for n, w in weights.items() if n in has and w > 0}
    found = {n: s for n, s in shares(has, weights, amount, max_epochs).items() if n in given_}
    caps = {n: has[n] * max_epochs for n in found}
    open_ = [n for n, s in found.items() if s.target < caps[n]]

    assert all(s.target <= caps[n] and s.target == s.epochs * has[n] + s.rest for n, s in found.items())
    assert sum(s.target for s in found.values()) <= amount
    if open_:
        # The amount is given out, but for what is rounded down, and those that are full would have got no less.
        assert amount - sum(s.target for s in found.values()) < len(open_)
        weight = {n: Fraction(w) for n, w in given_.items()}
        bound = min((found[n].target + 1) / weight[n] for n in open_)
        assert all(found[n].target / weight[n] < bound for n in found)
