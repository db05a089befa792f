"""Keys have the order of what they stand for; ranges and ranks are those of one sort."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selection_flows import table_of

from stages.flow import TO, Exchange, Flow, MemoryFlow, MemorySite, Site, row_of, shard_of
from stages.selection.keys import LAST, Rows, falling, in_order, rising, rows_of, values_of
from stages.selection.ranking import range_of, ranked, scattered, split, started, summed

NUMBERS = st.floats(allow_nan=False)
#: Few values, so that many are equal.
WORDS = st.tuples(*[st.integers(0, 3) | st.sampled_from([2**63, 2**64 - 1])] * 4)


def rows(words: list[tuple[int, ...]]) -> Rows:
    group, key, high, low = (np.array([w[i] for w in words], np.uint64) for i in range(4))
    return Rows(np.arange(len(words)), group, key, high, low, np.arange(len(words)) % 5)


@settings(deadline=None)
@given(st.lists(NUMBERS))
def test_rising_keys_have_the_order_of_the_numbers_and_falling_ones_the_opposite(values: list[float]) -> None:
    x = np.array(values)
    there = np.ones(len(x), bool)

    assert x[np.argsort(rising(x, there), kind="stable")].tolist() == sorted(values)
    assert x[np.argsort(falling(x, there), kind="stable")].tolist() == sorted(values, reverse=True)
    assert (rising(x, there) < LAST).all()
    assert (falling(x, there) < LAST).all()


@settings(deadline=None)
@given(st.lists(NUMBERS))
def test_falling_keys_give_their_numbers_back(values: list[float]) -> None:
    x = np.array(values)

    assert values_of(falling(x, np.ones(len(x), bool))).tolist() == values


def test_what_is_not_there_is_last_and_no_number() -> None:
    x = np.array([math.inf, math.nan, -math.inf])
    there = np.array([True, False, True])

    assert np.argsort(rising(x, there)).tolist() == [2, 0, 1]
    assert np.argsort(falling(x, there)).tolist() == [0, 2, 1]
    assert np.isnan(values_of(falling(x, there))).tolist() == [False, True, False]


@settings(deadline=None)
@given(st.lists(WORDS, max_size=40))
def test_rows_are_in_order_by_group_key_and_id(words: list[tuple[int, ...]]) -> None:
    made = rows(words)
    order = in_order(made)

    assert sorted(order.tolist()) == list(range(len(words)))
    assert [words[i] for i in order.tolist()] == sorted(words)


@settings(deadline=None)
@given(st.lists(WORDS, max_size=40), st.lists(WORDS, max_size=9), st.booleans())
def test_the_range_of_a_row_is_how_many_splitters_do_not_stand_after_it(
    words: list[tuple[int, ...]], cuts: list[tuple[int, ...]], grouped: bool
) -> None:
    if not grouped:
        words, cuts = ([(0, *w[1:]) for w in some] for some in (words, cuts))
    splitters = sorted(w[:3] for w in cuts)
    table = pa.table(
        {c: np.array([s[i] for s in splitters], np.uint64) for i, c in enumerate(("group", "key", "high"))}
    )

    assert range_of(rows(words), table).tolist() == [sum(s <= w[:3] for s in splitters) for w in words]


def test_splitters_cut_a_sample_into_equal_ranges_for_every_shard() -> None:
    sample = rows([(0, key, 0, 0) for key in range(100)]).table()
    told = split(4, MemorySite("one", 0, {"shards": 2, "partitions": 4, "one": 1}), sample)

    assert told[TO].to_pylist() == [0, 0, 0, 1, 1, 1]
    assert told["key"].to_pylist() == [25, 50, 75] * 2


class _Ranks:
    """A program that gives every document its rank, the size of its group, and what stands before it."""

    def program(self, flow: Flow) -> None:
        offered: Exchange = flow.at("shards", "rows", self.offer, to="shards")
        found = scattered(flow, offered)
        sums = flow.at("partitions", "sum", summed, found, to="one")
        starts = flow.at("one", "starts", started, sums, to="partitions")
        answers = flow.at("partitions", "rank", self.rank, found, starts, to="shards")
        flow.settle(lambda _, table: table, answers)

    def offer(self, site: Site) -> pa.Table:
        table = site.columns("key", "group", "amount")
        words = (table[c].to_numpy() for c in ("key", "amount", "group"))
        return rows_of(table, *words).to_shard(site.number)

    def rank(self, site: Site, table: pa.Table, starts: pa.Table) -> pa.Table:
        found = ranked(table, starts)
        place = found.rows.place
        answers = {"rank": found.rank, "members": found.members, "before": found.before}
        return pa.table({TO: shard_of(place), "row": row_of(place), **answers})


@settings(deadline=None, max_examples=40)
@given(
    words=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 9)), max_size=60),
    size=st.integers(1, 30),
    partitions=st.integers(1, 6),
)
def test_ranks_are_those_of_one_sort_however_documents_are_cut(
    words: list[tuple[int, ...]], size: int, partitions: int
) -> None:
    group, key, amount = (np.array([w[i] for w in words], np.int64) for i in range(3))
    table = table_of(group=group.astype(np.uint64), key=key.astype(np.uint64), amount=amount)
    flow = MemoryFlow([table.slice(i, size) for i in range(0, max(1, table.num_rows), size)], partitions)
    _Ranks().program(flow)
    documents = list(zip(words, table["doc_id"].to_pylist(), strict=True))

    for (word, doc_id), answer in zip(documents, flow.answer().to_pylist(), strict=True):
        mine = [(w, i) for w, i in documents if w[0] == word[0]]
        earlier = [w for w, i in mine if (w[1], i) < (word[1], doc_id)]
        assert answer == {"rank": len(earlier), "members": len(mine), "before": sum(w[2] for w in earlier)}


def test_equal_keys_are_spread_over_partitions_by_id() -> None:
    """Ten thousand documents of one key are no burden for one partition alone."""
    n = 10_000
    table = table_of(key=np.zeros(n, np.uint64), group=np.zeros(n, np.uint64), amount=np.ones(n, np.int64))
    flow = MemoryFlow([table], 4)
    offered = flow.at("shards", "rows", _Ranks().offer, to="shards")
    sizes = [piece.num_rows for piece in scattered(flow, offered).content]

    assert sizes == pytest.approx([n / 4] * 4, rel=0.2)
