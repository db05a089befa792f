"""Components at once and in rounds of stars against networkx-free search, on random graphs."""

from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.flow import TO, MemoryFlow, place_of
from stages.linking.compare import fixed
from stages.linking.components import LINKS, clusters


def ids_of(nodes: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """16 bytes of which the order is not that of the numbers."""
    mixed = (nodes.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)).astype(">u8")
    return np.concatenate([mixed[:, None], mixed[:, None]], axis=1).view(np.uint8).reshape(-1, 16)


def sent(links: pa.Table, site: Any) -> pa.Table:
    """A third of the links at each shard."""
    mine = links.take(pa.array(np.flatnonzero(np.arange(links.num_rows) % 3 == site.number)))
    return mine.append_column(TO, pa.array(np.full(mine.num_rows, site.number)))


def as_sent(site: Any, table: pa.Table) -> pa.Table:
    del site
    return table


def found(pairs: list[tuple[int, int]], rows: int, at_once: int) -> list[tuple[bytes, int] | None]:
    """Cluster and size by node; node n is row n // 3 of shard n % 3."""
    a, b = (np.array([p[k] for p in pairs], np.int64).reshape(-1) for k in (0, 1))
    pa_, pb = (place_of(n % 3, n // 3) for n in (a, b))
    links = pa.table(
        {
            "a": np.maximum(pa_, pb),
            "b": np.minimum(pa_, pb),
            "a_id": fixed(ids_of(np.where(pa_ > pb, a, b))),
            "b_id": fixed(ids_of(np.where(pa_ > pb, b, a))),
        },
        schema=LINKS,
    )
    flow = MemoryFlow([pa.table({"doc_id": ["x"] * rows})] * 3, 4)
    edges = flow.at("shards", "edges", partial(sent, links), to="shards")
    labels = clusters(flow, as_sent, edges, at_once)
    answer: list[tuple[bytes, int] | None] = [None] * (3 * rows)
    for shard, table in enumerate(labels.content):
        for row, cluster, size in zip(*(table[c].to_pylist() for c in ("row", "cluster", "cluster_size")), strict=True):
            assert answer[3 * row + shard] is None, "a document is labelled once"
            answer[3 * row + shard] = (cluster, size)
    return answer


def expected(pairs: list[tuple[int, int]], nodes: int) -> list[tuple[bytes, int] | None]:
    group = list(range(nodes))
    for _ in range(nodes):
        for a, b in pairs:
            group[a] = group[b] = min(group[a], group[b])
    members: dict[int, list[int]] = {}
    for node in {n for p in pairs for n in p}:
        members.setdefault(group[node], []).append(node)
    answer: list[tuple[bytes, int] | None] = [None] * nodes
    for some in members.values():
        smallest = min(bytes(i) for i in ids_of(np.array(some)))
        for node in some:
            answer[node] = (smallest, len(some))
    return answer


def graphs() -> Any:
    node = st.integers(0, 35)
    return st.lists(st.tuples(node, node).filter(lambda p: p[0] != p[1]), max_size=60)


@pytest.mark.parametrize("at_once", [0, 10**6])
@settings(max_examples=60, deadline=None)
@given(pairs=graphs())
def test_components_equal_those_found_by_search(pairs: list[tuple[int, int]], at_once: int) -> None:
    if not pairs and at_once == 0:
        at_once = -1
    assert found(pairs, 12, at_once) == expected(pairs, 36)


@pytest.mark.parametrize("at_once", [0, 10**6])
def test_a_long_chain_is_one_component(at_once: int) -> None:
    chain = [(i, i + 1) for i in range(299)]
    answer = found(chain, 100, at_once)

    assert {a for a in answer if a} == {(min(bytes(i) for i in ids_of(np.arange(300))), 300)}
