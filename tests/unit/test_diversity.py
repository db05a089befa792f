"""Clusters by turns and farthest first, against slow searches over all pairs."""

import math
from collections import defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.corpus.diversity import Diversity
from stages.corpus.diversity_rule import FARTHEST, farthest_first
from stages.corpus.semantic_vectors import fixed
from stages.errors import DataError, SpecError
from stages.flow import MemoryFlow
from stages.text.embedding import Embedding
from stages.text.language import Language

VECTORS = st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3).filter(any), min_size=1, max_size=14)


def distance(a: list[float], b: list[float]) -> float:
    dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
    cosine = dot / math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b))
    return math.sqrt(max(0.0, 2 - 2 * cosine))


def slow_greedy(vectors: list[list[float]], most: int) -> list[float]:
    """The first, then always the farthest from all that were chosen, by comparing everything anew."""
    chosen, found = [0], [math.nan] * len(vectors)
    found[0] = FARTHEST
    while len(chosen) < min(most, len(vectors)):
        rest = [i for i in range(len(vectors)) if i not in chosen]
        near = [min(distance(vectors[i], vectors[c]) for c in chosen) for i in rest]
        best = max(near)
        pick = next(i for i, d in zip(rest, near, strict=True) if d > best - 1e-9)
        found[pick] = best
        chosen.append(pick)
    return [
        min(distance(v, vectors[c]) for c in chosen) if math.isnan(d) else d
        for v, d in zip(vectors, found, strict=True)
    ]


@settings(max_examples=150, deadline=None)
@given(VECTORS, st.sampled_from([1, 3, 100]), st.sampled_from([0, 100]))
def test_distances_are_those_of_a_slow_greedy(vectors: list[list[float]], most: int, held: int) -> None:
    points = fixed(np.array(vectors, np.float64))

    found = farthest_first(points, held, most)

    assert found.tolist() == pytest.approx(slow_greedy(points.astype(float).tolist(), most), abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(VECTORS)
def test_what_is_taken_by_distance_is_far_apart_and_covers_the_rest(vectors: list[list[float]]) -> None:
    points = fixed(np.array(vectors, np.float64))
    rows, found = points.astype(float).tolist(), farthest_first(points)

    for r in found:
        taken = [v for v, d in zip(rows, found, strict=True) if d >= r]
        rest = [v for v, d in zip(rows, found, strict=True) if d < r]
        assert all(distance(a, b) >= r - 1e-6 for i, a in enumerate(taken) for b in taken[:i])
        assert all(min(distance(v, t) for t in taken) < r + 1e-6 for v in rest)


def test_the_greedy_is_within_twice_of_the_best_centers() -> None:
    rng = np.random.default_rng(3)
    points = fixed(rng.standard_normal((9, 4)))
    rows, found = points.astype(float).tolist(), farthest_first(points)

    def radius(centers: Any) -> float:
        return max(min(distance(v, rows[c]) for c in centers) for v in rows)

    mine = radius(np.argsort(-found)[:3].tolist())
    best = min(radius((a, b, c)) for a in range(9) for b in range(a) for c in range(b))
    assert best <= mine <= 2 * best


def table(vectors: Any, scores: Any = None, start: int = 0) -> pa.Table:
    """Documents with these vectors; None has no vector."""
    values = [None if v is None else np.asarray(v / np.linalg.norm(v), "<f2").tobytes() for v in vectors]
    width = next((len(v) for v in values if v is not None), 16)
    columns = {
        "doc_id": pa.array(
            [f"{(start + i) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}" for i in range(len(values))]
        ),
        "meaning.vector": pa.array(values, pa.binary(width)),
        "meaning.tokens": pa.array([0 if v is None else 5 for v in values], pa.int64()),
    }
    return pa.table(columns if scores is None else {**columns, "own.score": pa.array(scores, pa.float32())})


def answers(stage: Diversity, *shards: pa.Table, partitions: int = 3) -> list[dict[str, Any]]:
    flow = MemoryFlow(shards, partitions)
    stage.program(flow)
    rows: list[dict[str, Any]] = flow.answer().to_pylist()
    return rows


def test_clusters_take_turns() -> None:
    rng = np.random.default_rng(1)
    vectors = [np.eye(3)[i] + rng.standard_normal(3) * 0.3 for i in [0] * 50 + [1] * 20 + [2] * 5]

    rows = answers(Diversity(of="meaning", clusters=3, seed=5), table(vectors))

    members = defaultdict(list)
    for row in rows:
        members[row["cluster"]].append(row)
    assert len(members) == 3
    for mine in members.values():
        assert sorted(r["round"] for r in mine) == list(range(1, len(mine) + 1))
        assert {r["cluster_size"] for r in mine} == {len(mine)}
        assert [r["distance"] for r in mine].count(FARTHEST) == 1
    least = min(map(len, members.values()))
    first = sorted(rows, key=lambda r: r["round"])[: 3 * least]
    assert all(sum(r["cluster"] == c for r in first) == least for c in members)


def test_a_score_ranks_a_cluster_highest_first_and_unknown_last() -> None:
    vectors = list(np.random.default_rng(2).standard_normal((6, 4)))
    stage = Diversity(of="meaning", clusters=1, score="own.score", seed=5)

    rows = answers(stage, table(vectors, [0.5, None, 3.0, -1.0, 3.0, None]))

    rounds = [r["round"] for r in rows]
    assert (rounds[0], rounds[3]) == (3, 4)
    assert {rounds[2], rounds[4]} == {1, 2}
    assert {rounds[1], rounds[5]} == {5, 6}


def test_another_seed_gives_another_order() -> None:
    given_ = table(list(np.random.default_rng(2).standard_normal((40, 4))))

    orders = {
        tuple(r["round"] for r in answers(Diversity(of="meaning", clusters=1, seed=seed), given_)) for seed in range(4)
    }

    assert len(orders) == 4


def test_one_cell_is_the_greedy_over_all_documents() -> None:
    given_ = table(list(np.random.default_rng(7).standard_normal((30, 8))))
    stage = Diversity(of="meaning", clusters=1, seed=5)
    points = fixed(np.frombuffer(b"".join(given_["meaning.vector"].to_pylist()), "<f2").reshape(30, 8)).astype(float)

    rows = answers(stage, given_)

    order = sorted(range(30), key=lambda i: rows[i]["round"])
    assert [rows[i]["distance"] for i in order] == pytest.approx(slow_greedy(points[order].tolist(), 30), abs=1e-6)


def test_neither_shards_nor_partitions_change_anything() -> None:
    vectors = [*np.random.default_rng(12).standard_normal((300, 8)), None, None]
    whole = table(vectors, [i % 7 if i % 5 else None for i in range(302)])
    for score in (None, "own.score"):
        stage = Diversity(of="meaning", clusters=9, score=score, seed=3)
        found = [
            answers(stage, *(whole.slice(i, size) for i in range(0, 302, size)), partitions=partitions)
            for size, partitions in ((302, 1), (37, 4), (150, 20))
        ]
        assert found[0] == found[1] == found[2]
        assert found[0][-1] == dict.fromkeys(stage.schema().names)


@pytest.mark.timeout(60)
def test_a_hundred_thousand_copies_finish() -> None:
    rows = answers(Diversity(of="meaning", clusters=1, seed=1), table([np.ones(16)] * 100_000))

    assert sorted(r["distance"] for r in rows)[-2:] == [0.0, 2.0]


def test_a_corpus_without_a_vector_is_refused() -> None:
    with pytest.raises(DataError, match="none of 2 documents has a vector of step 'meaning'"):
        answers(Diversity(of="meaning", seed=1), table([None, None]))


def test_what_is_no_embedding_and_no_score_is_refused() -> None:
    with pytest.raises(SpecError, match="diversity is of 'lang', a step of kind 'language'; name an embedding step"):
        Diversity(of="lang", seed=1).resolve({"lang": Language()})
    with pytest.raises(SpecError, match=r"diversity reads numbers, and 'lang.code' holds string"):
        Diversity(of="meaning", score="lang.code", seed=1).resolve({"meaning": Embedding(), "lang": Language()})
