"""Near duplicates against slow and obvious oracles: pairs from shared bands, exact Jaccard, components by search."""

import itertools
import random
from collections import defaultdict
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.base import measure
from stages.corpus.near_duplicates import NearDuplicates
from stages.flow import MemoryFlow
from stages.text.minhash import Minhash

WORDS = [
    *["the", "sieve", "lets", "fine", "flour", "through", "and", "keeps", "coarse", "bran", "for", "baking", "bread"],
    "篩",
    "粉",
    "المنخل",
    "мука",
    "🌾x",
    "é",
]


def doc_id(i: int) -> str:
    return f"{(i * 0x9E3779B97F4A7C15F39CC0605CEDC834 + 7) % 2**128:032x}"


def texts_of(seed: int, groups: int, size: int) -> list[str | None]:
    """Groups of edited copies, in several scripts, with empty and short texts between."""
    draw = random.Random(seed)
    found: list[str | None] = ["", None, "...", "the sieve", "the sieve", "  \n "]
    for _ in range(groups):
        words = [draw.choice(WORDS) + str(draw.randrange(30)) for _ in range(60)]
        for k in range(draw.randrange(1, size + 1)):
            copy = list(words)
            for _ in range(k * draw.randrange(4)):
                copy[draw.randrange(len(copy))] = draw.choice(WORDS) + "!"
            found.append(" ".join(copy))
    draw.shuffle(found)
    return found


def sketched(texts: list[str | None], sketch: Minhash) -> pa.Table:
    answer = measure(sketch, sketch.open(), pa.record_batch({"text": pa.array(texts, pa.string())}))
    columns = {f"sketch.{name}": answer[name] for name in answer.schema.names}
    sources = [("a", "b", "c")[i % 3] for i in range(len(texts))]
    ids = [doc_id(i) for i in range(len(texts))]
    return pa.table({"doc_id": ids, "text": pa.array(texts, pa.string()), "source": sources, **columns})


def stage_of(sketch: Minhash, **fields: Any) -> NearDuplicates:
    return NearDuplicates(of="sketch", **fields).resolve({"sketch": sketch})


def run(stage: NearDuplicates, table: pa.Table, cuts: list[int] | None = None, partitions: int = 3) -> dict[str, Any]:
    bounds = [0, *sorted(cuts or []), table.num_rows]
    shards = [table.slice(a, b - a) for a, b in itertools.pairwise(bounds)]
    flow = MemoryFlow(shards, partitions)
    stage.program(flow)
    answer = flow.answer().to_pylist()
    ids = pa.concat_tables(shards)["doc_id"].to_pylist()
    return {
        i: tuple(row[c] for c in ("cluster", "cluster_size", "nearest", "jaccard"))
        for i, row in zip(ids, answer, strict=True)
    }


def components(nodes: list[str], links: set[tuple[str, str]]) -> dict[str, list[str]]:
    near = defaultdict(set)
    for a, b in links:
        near[a].add(b)
        near[b].add(a)
    found: dict[str, list[str]] = {}
    for node in nodes:
        if node not in found:
            members, waiting = set(), [node]
            while waiting:
                one = waiting.pop()
                if one not in members:
                    members.add(one)
                    waiting += near[one]
            found |= dict.fromkeys(members, sorted(members))
    return found


def oracle(stage: NearDuplicates, table: pa.Table) -> dict[str, Any]:
    """All pairs, one by one."""
    rows = [r for r in table.to_pylist() if r["sketch.signature"] is not None]
    bands, per = stage.bands or 0, stage.rows or 0
    signature = {r["doc_id"]: np.frombuffer(r["sketch.signature"], "<u4") for r in rows}
    pairs: dict[tuple[str, str], float] = {}
    links = set()
    for x, y in itertools.combinations(rows, 2):
        a, b = x["doc_id"], y["doc_id"]
        if stage.scope == "source" and x["source"] != y["source"]:
            continue
        cut = [slice(i * per, (i + 1) * per) for i in range(bands)]
        if not any((signature[a][c] == signature[b][c]).all() for c in cut):
            continue
        value = true_jaccard(x["text"], y["text"]) if stage.verify else float((signature[a] == signature[b]).mean())
        pairs[a, b] = pairs[b, a] = value
        if not stage.verify or value >= stage.least:
            links.add((a, b))
    cluster = components([r["doc_id"] for r in rows], links)
    answer: dict[str, Any] = dict.fromkeys(table["doc_id"].to_pylist(), (None, None, None, None))
    for r in rows:
        me = r["doc_id"]
        seen = sorted((-value, b) for (a, b), value in pairs.items() if a == me)
        nearest, value = (seen[0][1], -seen[0][0]) if seen else (None, None)
        answer[me] = (cluster[me][0], len(cluster[me]), nearest, value)
    return answer


def grams(text: str) -> set[tuple[str, ...]]:
    words = (
        "".join(c if c.isalnum() or c == "\u0301" else " " for c in text.lower())
        .replace("篩", " 篩 ")
        .replace("粉", " 粉 ")
        .split()
    )
    return {tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))}


def true_jaccard(a: str, b: str) -> float:
    x, y = grams(a), grams(b)
    return len(x & y) / len(x | y)


@pytest.mark.parametrize("fields", [{}, {"verify": True}, {"scope": "source"}, {"threshold": 0.5, "verify": True}])
def test_clusters_and_nearest_equal_those_of_all_pairs(fields: dict[str, Any]) -> None:
    sketch = Minhash(bands=14, rows=4)
    table = sketched(texts_of(3, 25, 7), sketch)
    stage = stage_of(sketch, **fields)

    found = run(stage, table, [20, 33, 33, 60])

    assert found == oracle(stage, table)
    assert sum(size is not None and size > 1 for _, size, _, _ in found.values()) > 20


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_shards_and_partitions_change_nothing(seed: int, data: Any) -> None:
    sketch = Minhash(bands=10, rows=3, seed=seed % 5)
    table = sketched(texts_of(seed, 8, 6), sketch)
    stage = stage_of(sketch, verify=seed % 2 == 0, max_bucket=data.draw(st.integers(1, 5)))
    order = data.draw(st.permutations(range(table.num_rows)))
    cuts = data.draw(st.lists(st.integers(0, table.num_rows), max_size=6))

    once = run(stage, table, [])

    assert run(stage, table.take(order), cuts, data.draw(st.integers(1, 7))) == once


def test_a_large_bucket_is_capped_and_what_is_skipped_is_counted() -> None:
    sketch = Minhash()
    table = sketched(["one and the same text of eight words here"] * 50, sketch)
    stage = stage_of(sketch, max_bucket=4)
    flow = MemoryFlow([table.slice(0, 20), table.slice(20)])
    stage.program(flow)

    assert flow.answer()["cluster_size"].to_pylist() == [50] * 50
    assert flow.counts == {
        "short_documents": 0,
        "documents_without_tokens": 0,
        "buckets": 14,
        "capped_buckets": 14,
        "skipped_pairs": 14 * (50 * 49 // 2 - (4 * 3 // 2 + 46 * 4)),
        "compared_pairs": 4 * 3 // 2 + 46 * 4,
        "linked_pairs": 4 * 3 // 2 + 46 * 4,
    }


def test_no_documents_at_all_have_no_duplicates() -> None:
    sketch = Minhash()
    empty = sketched(["x"], sketch).slice(0, 0)

    assert run(stage_of(sketch), empty) == {}
    assert run(stage_of(sketch, verify=True), sketched([None, "", "!"], sketch)) == {
        doc_id(i): (None,) * 4 for i in range(3)
    }
