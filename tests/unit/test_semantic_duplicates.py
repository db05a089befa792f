import math
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.corpus.semantic_duplicates import SemanticDuplicates
from stages.corpus.semantic_kmeans import assign, below, cells_for, chances, sample_size, train
from stages.corpus.semantic_rule import groups, nearest_earlier
from stages.corpus.semantic_vectors import LENGTH, cosines, fixed, squares
from stages.embeddings.encoding import vectors_of
from stages.errors import SpecError
from stages.flow import MemoryFlow
from stages.text.embedding import Embedding
from stages.text.text_stats import TextStats

VECTORS = st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3).filter(any), min_size=0, max_size=12)
STAGE = SemanticDuplicates(of="meaning", clusters=1, epsilon=0.05, seed=7)


def cosine(a: list[float], b: list[float]) -> float:
    dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b))


def slow_rule(vectors: list[list[float]]) -> list[float | None]:
    """The largest cosine of each vector to any vector before it."""
    return [max((cosine(v, w) for w in vectors[:i]), default=None) for i, v in enumerate(vectors)]


def shard(vectors: Any, start: int = 0) -> pa.Table:
    """Documents with these vectors; None has no vector."""
    values = [None if v is None else np.asarray(v / np.linalg.norm(v), "<f2").tobytes() for v in vectors]
    width = next((len(v) for v in values if v is not None), 16)
    return pa.table(
        {
            "doc_id": pa.array([f"{start + i:032x}" for i in range(len(values))], pa.string()),
            "meaning.vector": pa.array(values, pa.binary(width)),
            "meaning.tokens": pa.array([0 if v is None else 5 for v in values], pa.int64()),
        }
    )


def answers(stage: SemanticDuplicates, *shards: pa.Table) -> list[dict[str, Any]]:
    flow = MemoryFlow(shards)
    stage.program(flow)
    rows: list[dict[str, Any]] = flow.answer().to_pylist()
    return rows


def near(rng: np.random.Generator, vector: Any, similarity: float) -> Any:
    """A vector with exactly that cosine to a unit vector."""
    other = rng.standard_normal(len(vector))
    other -= (other @ vector) * vector
    return similarity * vector + math.sqrt(1 - similarity**2) * other / np.linalg.norm(other)


@settings(max_examples=200, deadline=None)
@given(VECTORS, st.sampled_from([1, 2, 5, 2048]))
def test_the_nearest_earlier_vector_is_the_one_that_a_slow_search_finds(vectors: list[list[float]], block: int) -> None:
    points = fixed(np.array(vectors, np.float64).reshape(-1, 3))
    nearest, found = nearest_earlier(points, block)
    expected = slow_rule(points.astype(float).tolist())

    assert [None if i < 0 else c for i, c in zip(nearest, found, strict=True)] == pytest.approx(expected, abs=1e-7)
    for i, j in enumerate(nearest.tolist()):
        assert j < i
        if j >= 0:
            assert cosine(points[i].tolist(), points[j].tolist()) == pytest.approx(found[i], abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(VECTORS)
def test_blocks_change_no_bit(vectors: list[list[float]]) -> None:
    points = fixed(np.array(vectors, np.float64).reshape(-1, 3))
    whole = nearest_earlier(points)

    for block in (1, 3):
        parts = nearest_earlier(points, block)
        assert [a.tobytes() for a in parts] == [a.tobytes() for a in whole]


def test_a_copy_is_nearest_to_the_first_of_its_kind() -> None:
    nearest, found = nearest_earlier(fixed(np.array([[1, 2], [3, 4], [1, 2], [3, 4], [1, 2]])))

    assert nearest.tolist() == [-1, 0, 0, 1, 0]
    assert found[2:].tolist() == [1.0, 1.0, 1.0]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 100), st.booleans()), max_size=30))
def test_groups_are_those_of_a_slow_walk(links: list[tuple[int, bool]]) -> None:
    nearest = [-1 if i == 0 else n % i for i, (n, _) in enumerate(links)]
    linked = [i > 0 and link for i, (_, link) in enumerate(links)]

    def walk(i: int) -> int:
        return walk(nearest[i]) if linked[i] else i

    found = groups(np.array(nearest, np.int64), np.array(linked, bool))

    assert found.tolist() == [walk(i) for i in range(len(links))]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 1024), st.integers(0, 2**32 - 1))
def test_no_sum_of_products_leaves_the_integers_that_float32_holds(dimensions: int, seed: int) -> None:
    points = fixed(np.random.default_rng(seed).standard_normal((2, dimensions)).astype(np.float16)).astype(np.int64)

    assert np.abs(points[0] * points[1]).sum() <= 2**24
    assert (points**2).sum(axis=1).max() <= LENGTH**2


def test_cosines_in_fixed_point_are_off_by_little() -> None:
    vectors = np.random.default_rng(5).standard_normal((200, 384)).astype(np.float16).astype(np.float64)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    points = fixed(vectors)
    dots = (points[:100].astype(np.int64) * points[100:]).sum(axis=1)

    found = cosines(dots.astype(np.float64), squares(points[:100]), squares(points[100:]))

    assert np.abs(found - (unit[:100] * unit[100:]).sum(axis=1)).max() < 3e-4


def test_vectors_go_to_the_centroid_that_a_slow_search_finds() -> None:
    rng = np.random.default_rng(1)
    points, centroids = fixed(rng.standard_normal((300, 8))), fixed(rng.standard_normal((7, 8)))

    cell, found = assign(points, centroids)

    slow = [[cosine(p, c) for c in centroids.tolist()] for p in points.tolist()]
    assert cell.tolist() == [row.index(max(row)) for row in slow]
    assert found.tolist() == pytest.approx([max(row) for row in slow], abs=1e-12)


@pytest.mark.parametrize(("vectors", "cells"), [(1, 1), (5, 5), (5, 50), (2000, 20)])
def test_training_twice_gives_the_same_centroids(vectors: int, cells: int) -> None:
    points = fixed(np.random.default_rng(2).standard_normal((vectors, 16)))

    first, again = train(points, cells, 3), train(points, cells, 3)

    assert first.tobytes() == again.tobytes()
    assert first.shape == (min(vectors, cells), 16)


def test_the_sample_holds_the_lowest_of_all_wherever_they_are() -> None:
    ids = np.random.default_rng(3).integers(0, 256, (50_000, 16), np.uint8)
    chance = chances(1, "semantic_duplicates", ids)
    lowest = set(np.argsort(chance)[:5000].tolist())

    assert lowest <= set(np.flatnonzero(below(chance, 5000, 50_000)).tolist())
    assert np.count_nonzero(below(chance, 5000, 50_000)) < 6000
    assert chances(1, "semantic_duplicates", ids[100:200]).tolist() == chance[100:200].tolist()
    assert below(chance, 50_000, 50_000).all()


def test_the_number_of_cells_and_the_sample_are_bounded() -> None:
    assert [cells_for(n) for n in (0, 1, 10_000, 10**6, 10**11)] == [1, 1, 2, 244, 50_000]
    assert sample_size(50_000) == 2**18


def test_duplicates_are_those_of_the_rule_in_slow_python() -> None:
    rng = np.random.default_rng(11)
    seeds = rng.standard_normal((30, 32))
    seeds /= np.linalg.norm(seeds, axis=1, keepdims=True)
    vectors = [near(rng, seeds[i % 30], s) for i, s in enumerate(rng.choice([0.999, 0.98, 0.9, 0.8], 150))]
    table = shard(vectors)
    points = fixed(vectors_of(table["meaning.vector"].chunk(0))).astype(float)
    rows = answers(STAGE, table.slice(0, 40), table.slice(40))

    order = sorted(range(150), key=lambda i: (rows[i]["centroid_cosine"], table["doc_id"][i].as_py()))
    expected = dict(zip(order, slow_rule(points[order].tolist()), strict=True))

    assert [r["cosine"] for r in rows] == pytest.approx([expected[i] for i in range(150)], abs=1e-7)
    assert [r["duplicate"] for r in rows] == [(expected[i] or 0) > 0.95 for i in range(150)]
    assert 10 < sum(r["duplicate"] for r in rows) < 140


def test_farther_from_the_centroid_comes_first_and_is_kept() -> None:
    axis = np.eye(64)[0]
    rng = np.random.default_rng(4)
    edge = near(rng, axis, 0.5)
    rows = answers(STAGE, shard([axis] * 5 + [near(rng, edge, 0.99) + 0.05 * axis, edge]))
    inner, outer = rows[5], rows[6]

    assert outer["centroid_cosine"] < inner["centroid_cosine"]
    assert (outer["duplicate"], inner["duplicate"]) == (False, True)
    assert inner["nearest"] == f"{6:032x}"
    assert inner["cluster"] == outer["cluster"] == f"{5:032x}"
    assert (inner["cluster_size"], outer["cluster_size"]) == (2, 2)


def test_a_document_is_compared_with_dropped_ones_too() -> None:
    """Steps towards the centroid at 23 degrees: each is near the one before, and only the first stays."""
    steps = [np.array([math.cos(a), math.sin(a)]) for a in np.radians([60, 45, 30, *[20] * 20])]
    rows = answers(STAGE.model_copy(update={"epsilon": 0.04}), shard(steps))

    assert [r["duplicate"] for r in rows] == [False] + [True] * 22
    assert rows[2]["nearest"] == f"{1:032x}"
    assert {r["cluster"] for r in rows} == {f"{0:032x}"}
    assert {r["cluster_size"] for r in rows} == {23}


def test_a_larger_epsilon_removes_more() -> None:
    rng = np.random.default_rng(8)
    base = rng.standard_normal((20, 16))
    table = shard([near(rng, v / np.linalg.norm(v), s) for v in base for s in (1.0, 0.995, 0.97, 0.9)])

    removed = [
        {i for i, r in enumerate(answers(STAGE.model_copy(update={"epsilon": e}), table)) if r["duplicate"]}
        for e in (0.0, 0.01, 0.05, 0.2, 0.9)
    ]

    assert all(a <= b for a, b in pairwise(removed))
    assert len(removed[0]) < len(removed[2]) < len(removed[4])


def test_duplicate_says_what_a_plain_rule_on_the_cosine_would() -> None:
    rng = np.random.default_rng(9)
    axis = np.eye(8)[0]
    rows = answers(STAGE, shard([near(rng, axis, s) for s in np.linspace(0.9, 1, 60)]))

    assert [r["duplicate"] for r in rows] == [r["cosine"] is not None and not r["cosine"] <= 0.95 for r in rows]


def test_documents_without_a_vector_have_no_answer_and_change_none() -> None:
    vectors = list(np.random.default_rng(6).standard_normal((20, 8)))
    empty = dict.fromkeys(STAGE.schema().names)
    whole = answers(STAGE, shard(vectors))

    rows = answers(STAGE, shard([*vectors[:10], None]), shard([], 10), shard([*vectors[10:], None, None], 10))

    assert [r for r in rows if r["cell"] is not None] == whole
    assert [r for r in rows if r["cell"] is None] == [empty] * 3
    assert answers(STAGE, shard([None, None])) == [empty] * 2


def test_neither_shards_nor_partitions_change_anything_with_many_cells() -> None:
    table = shard(list(np.random.default_rng(12).standard_normal((400, 8))))
    stage = STAGE.model_copy(update={"clusters": 9, "epsilon": 0.2})
    found = []
    for size, partitions in ((400, 1), (37, 4), (150, 20)):
        flow = MemoryFlow([table.slice(i, size) for i in range(0, 400, size)], partitions)
        stage.program(flow)
        found.append(flow.answer().combine_chunks())

    assert found[0].equals(found[1])
    assert found[0].equals(found[2])
    assert len(set(found[0]["cell"].to_pylist())) == 9


@pytest.mark.timeout(60)
def test_a_hundred_thousand_copies_finish() -> None:
    rows = answers(SemanticDuplicates(of="meaning", seed=1), shard([np.ones(16)] * 100_000))

    assert sum(r["duplicate"] for r in rows) == 99_999
    assert {r["cluster"] for r in rows} == {f"{0:032x}"}


def test_planted_copies_and_rewordings_are_found_by_the_static_model() -> None:
    texts = [
        "The committee approved the new budget for schools on Monday after a long debate about teachers' pay.",
        "On Monday, after a long debate about the pay of teachers, the committee approved the new schools budget.",
        "Photosynthesis turns sunlight, water and carbon dioxide into sugar and oxygen in the leaves of plants.",
        "In the leaves of plants, photosynthesis turns water, carbon dioxide and sunlight into oxygen and sugar.",
        "To install the printer, connect the cable, switch it on and follow the steps on the screen.",
        "The striker scored twice in the second half and the visitors won the cup final by three goals to one.",
        "今天天气很好，我们一起去公园散步。",
        "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
    ]
    stage = Embedding()
    given = stage.open()(pa.RecordBatch.from_pydict({"text": [*texts, texts[4] + " 🎉"]}))
    ids = pa.array([f"{i:032x}" for i in range(9)])
    table = pa.table({"doc_id": ids, "meaning.vector": given["vector"], "meaning.tokens": given["tokens"]})

    rows = answers(STAGE, table)

    assert [int(r["cluster"], 16) for r in rows] == [0, 0, 2, 2, 4, 5, 6, 7, 4]
    assert sum(r["duplicate"] for r in rows) == 3


def test_a_step_that_is_no_embedding_is_refused() -> None:
    with pytest.raises(SpecError, match="is of 'stats', a step of kind 'text_stats'; name an embedding step"):
        SemanticDuplicates(of="stats", seed=1).resolve({"stats": TextStats()})
