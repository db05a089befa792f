"""Rounds through files carry every row to its site, once, whatever the sites."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.flow import Related, StoreFlow, read_pieces, write_pieces
from pipelines.shards import Shard
from pipelines.store import Store
from stages.document import DOCUMENT, packed, unpacked
from stages.flow import TO, MemoryFlow, Site, partition_of, place_of, row_of, shard_of

WORDS = ["a", "bb", "篩", "мука", "🌾", "a"]


class Census:
    """Counts how often each text's first word occurs: a program with every kind of place in it."""

    def program(self, flow: Any) -> None:
        flow.split(3)
        sent = flow.at("shards", "words", self.words, to="partitions")
        counted = flow.at("partitions", "count", self.count, sent, to="one")
        told = flow.at("one", "tell", self.tell, counted, to="shards")
        flow.settle(self.answer, told)

    def words(self, site: Site) -> tuple[pa.Table, dict[str, int]]:
        rows = site.columns("text")
        texts = [t for batch in site.texts("text", np.arange(rows.num_rows)) for t in batch["text"].to_pylist()]
        assert texts == rows["text"].to_pylist()
        words = [str(t) for t in texts]
        to = [len(w) % site.sites["partitions"] for w in words]
        shard = np.full(len(words), site.number)
        return pa.table(
            {TO: pa.array(to, pa.int64()), "word": pa.array(words, pa.string()), "shard": shard, "row": rows["row"]}
        ), {"words": len(words)}

    def count(self, site: Site, rows: pa.Table) -> pa.Table:
        words = rows["word"].to_pylist()
        times = pa.array([words.count(w) for w in words], pa.int64())
        return rows.append_column("times", times).append_column(TO, pa.array([0] * len(words), pa.int64()))

    def tell(self, site: Site, rows: pa.Table) -> pa.Table:
        return pa.table({TO: rows["shard"], "row": rows["row"], "times": rows["times"]})

    def answer(self, site: Site, rows: pa.Table) -> pa.Table:
        return rows


def shard_of_texts(store: Store, number: int, texts: list[str]) -> Shard:
    path = f"shard-{number}.parquet"
    columns = {
        f.name: pa.array([f"{number}{i}" if f.type == pa.string() else i for i in range(len(texts))], f.type)
        for f in DOCUMENT
    }
    columns["doc_id"] = pa.array([f"{number:016x}{i:016x}" for i in range(len(texts))])
    columns["text"] = pa.array(texts, pa.string())
    pq.write_table(pa.table(columns, schema=DOCUMENT), Path(store.url) / path, row_group_size=2)
    return Shard(f"{9 - number}digest", path, len(texts), sum(len(t) for t in texts), "s")


def at_once(name: str, tasks: Sequence[Any]) -> Iterator[tuple[Any, Mapping[str, Any], bool]]:
    for task in reversed(tasks):  # in any order
        yield task, task(), False


def test_a_program_over_the_store_gives_what_it_gives_in_memory(store):
    texts = [[WORDS[(i * k) % 6] for i in range(5 * k)] for k in range(4)]
    shards = [shard_of_texts(store, number, some) for number, some in enumerate(texts)]
    schema = pa.schema([("times", pa.int64())])
    flow = StoreFlow(store, shards, Related("census", "steps/census", "key", Census(), schema), at_once)
    Census().program(flow)
    tables = [
        pa.table({"doc_id": pa.array(["x"] * len(t), pa.string()), "text": pa.array(t, pa.string())}) for t in texts
    ]
    memory = MemoryFlow(tables)
    Census().program(memory)

    paths = {shard.digest: record["files"][0]["path"] for shard, record, _ in flow.results}
    found = [pq.read_table(Path(store.url) / paths[shard.digest])["times"].to_pylist() for shard in shards]
    assert found == [t["times"].to_pylist() for t in memory.settled]
    assert (flow.counts, flow.documents) == (memory.counts, 30)


def test_no_exchange_is_left_when_its_addresses_are_swept(store):
    shards = [shard_of_texts(store, 0, ["a", "a"])]
    census = Related("census", "steps/census", "key", Census(), pa.schema([("times", pa.int64())]))
    flow = StoreFlow(store, shards, census, at_once)
    Census().program(flow)

    left = {p for p in store.list("steps/census") if p.endswith(".arrows")}
    assert {p.rpartition("/")[2].split(".")[1] for p in left} == {"0-words", "1-count", "4-tell"}
    assert len(flow.addresses) == len(left) == 5


@given(st.lists(st.tuples(st.integers(0, 4), st.text(max_size=3)), max_size=30))
def test_every_piece_holds_the_rows_of_its_site_in_their_order(rows):
    table = pa.table(
        {TO: pa.array([to for to, _ in rows], pa.int64()), "word": pa.array([w for _, w in rows], pa.string())}
    )
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(folder)
        with (Path(folder) / "pieces").open("wb") as file:
            write_pieces(file, table, 5)
        found = [read_pieces(store, ["pieces"], site, 5) for site in range(5)]

    assert [t.schema for t in found] == [pa.schema([("word", pa.string())])] * 5
    assert [t["word"].to_pylist() for t in found] == [[w for to, w in rows if to == site] for site in range(5)]


@given(st.lists(st.integers(0, 2**64 - 1), max_size=40), st.integers(1, 2**20))
def test_partitions_follow_the_order_of_keys_and_none_is_missed(keys, partitions):
    found = partition_of(np.array(sorted(keys), np.uint64), partitions)

    assert (np.diff(found) >= 0).all()
    assert all(0 <= p < partitions for p in found.tolist())
    assert found.tolist() == [
        k * partitions >> 64 if partitions == 1 else (k >> 32) * partitions >> 32 for k in sorted(keys)
    ]


@given(st.integers(0, 2**30), st.integers(0, 2**32 - 1))
def test_a_place_is_a_shard_and_a_row(shard, row):
    place = place_of(shard, np.array([row], np.int64))

    assert (shard_of(place).tolist(), row_of(place).tolist()) == ([shard], [row])


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=10), st.data())
def test_a_doc_id_is_the_hexadecimal_of_its_bytes(ids, data):
    texts = pa.chunked_array([pa.array([i.hex() for i in ids], pa.string())])
    start = data.draw(st.integers(0, len(ids)))

    assert [bytes(b) for b in packed(texts.slice(start))] == ids[start:]
    assert unpacked(packed(texts)).to_pylist() == [i.hex() for i in ids]


@pytest.mark.parametrize("chunks", [0, 1, 3])
def test_doc_ids_of_any_number_of_chunks_are_packed(chunks):
    texts = pa.chunked_array([pa.array([f"{i:032x}"]) for i in range(chunks)], pa.string())

    assert [int.from_bytes(b.tobytes(), "big") for b in packed(texts)] == list(range(chunks))
