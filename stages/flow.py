"""How a corpus stage relates documents: rounds of work at sites, with tables sent from one round's sites to the next's.

A site is a shard, a partition, or the single site `one`. In a round every site runs one pure, picklable function over
the tables that earlier rounds sent it, and sends one table on; each row names the site that it goes to in `to`.
A site holds its own tables and nothing else, so memory is bounded by the number of sites, and a round can be resumed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Place = Literal["shards", "partitions", "one"]
#: A function of a site and the tables sent to it; gives the table to send, and counts that are added up over sites.
Work = Callable[..., pa.Table | tuple[pa.Table, Mapping[str, int]]]
#: The column that names the site a row goes to.
TO = "to"
#: Rows that one partition is meant to hold.
PARTITION_ROWS = 200_000
#: Entries (a few numbers each) that one partition is meant to hold.
PARTITION_ENTRIES = 1_000_000


class Site(Protocol):
    """What a round's function sees of where it runs."""

    @property
    def place(self) -> Place:
        """Which kind of site this is."""

    @property
    def number(self) -> int:
        """Which of the place's sites this is."""

    @property
    def sites(self) -> Mapping[Place, int]:
        """How many sites each place has."""

    def columns(self, *names: str) -> pa.Table:
        """`row` (int64), `doc_id` and columns of `reads()` of every row of this shard, in order, nulls included."""

    def texts(self, column: str, rows: NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
        """`row` and `text` of the chosen rows of this shard (sorted, distinct), some at a time."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a round sent: how many rows to which place, and its counts."""

    name: str
    to: Place
    rows: int
    counts: Mapping[str, int]
    content: Any  # where the tables are; known to the flow alone


class Flow(Protocol):
    """Where a program runs."""

    @property
    def documents(self) -> int:
        """Documents of the corpus."""

    @property
    def sites(self) -> Mapping[Place, int]:
        """How many sites each place has."""

    def split(self, partitions: int) -> None:
        """Choose the number of partitions, before the first round that uses them."""

    def at(self, place: Place, name: str, work: Work, *inputs: Exchange, to: Place) -> Exchange:
        """Run a round: `work(site, *tables)` at every site of a place, over what earlier rounds sent there."""

    def settle(self, work: Work, *inputs: Exchange) -> None:
        """The last round, at shards: `work` gives `row` and the stage's columns; rows that are not given get null."""


def partitions_for(entries: int, each: int = PARTITION_ENTRIES) -> int:
    """How many partitions hold that many entries."""
    return max(1, -(-entries // each))


def partition_of(keys: NDArray[np.uint64], partitions: int) -> NDArray[np.int64]:
    """The partition of each 64-bit hash, by its high bits; equal keys meet."""
    return ((keys >> np.uint64(32)) * np.uint64(partitions) >> np.uint64(32)).astype(np.int64)


def keys_of(values: pa.ChunkedArray | pa.Array) -> NDArray[np.uint64]:
    """A 64-bit hash of each value (text, bytes or a number), equal on every machine and the same for all nulls."""
    from stages.kernels.byte_hash import byte_hashes  # noqa: PLC0415 - numba is slow to import

    whole = pa.concat_arrays(values.chunks) if isinstance(values, pa.ChunkedArray) and values.num_chunks else values
    if not len(whole):
        return np.empty(0, np.uint64)
    if pa.types.is_fixed_size_binary(whole.type):
        whole = whole.cast(pa.binary())
    if not pa.types.is_binary(whole.type):
        whole = whole.cast(pa.string())
    keys = byte_hashes(whole.view(pa.string()))
    return np.where(whole.is_valid().to_numpy(zero_copy_only=False), keys, np.uint64(0)) if whole.null_count else keys


def place_of(shard: int | NDArray[np.int64], row: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number for a document: its shard's number and its row."""
    place: NDArray[np.int64] = (np.int64(shard) if isinstance(shard, int) else shard) << np.int64(32) | row
    return place


def shard_of(place: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of a document's shard."""
    return place >> np.int64(32)


def row_of(place: NDArray[np.int64]) -> NDArray[np.int64]:
    """A document's row in its shard."""
    return place & np.int64(0xFFFFFFFF)


class OneRound(Protocol):
    """What meets by one value: a corpus stage with `relate`, or a choice of the policy."""

    @property
    def partition_by(self) -> str | None:
        """The column whose equal values must meet; None: all rows meet."""

    def related_rows(self, site: Any) -> pa.Table:
        """`row`, `doc_id` and narrow columns of the rows of a shard that take part."""

    def relate(self, rows: pa.Table) -> Mapping[str, pa.Array]:
        """One value a row of a partition, which is sorted by `doc_id`."""


def one_round(stage: OneRound, flow: Flow) -> None:
    """Scatter rows by one value, relate them where they meet, and bring the answers home."""
    flow.split(partitions_for(flow.documents, PARTITION_ROWS) if stage.partition_by else 1)
    sent = flow.at("shards", "scatter", partial(_scatter, stage), to="partitions")
    answers = flow.at("partitions", "gather", partial(_gather, stage), sent, to="shards")
    flow.settle(arrived, answers)


def _scatter(stage: OneRound, site: Site) -> pa.Table:
    rows = stage.related_rows(site)
    by, partitions = stage.partition_by, site.sites["partitions"]
    to = np.zeros(rows.num_rows, np.int64)
    if by is not None and partitions > 1:
        to = partition_of(keys_of(rows[by]), partitions)
    place = place_of(site.number, rows["row"].to_numpy())
    return rows.drop_columns(["row"]).append_column("place", pa.array(place)).append_column(TO, pa.array(to))


def _gather(stage: OneRound, site: Site, rows: pa.Table) -> pa.Table:
    del site
    rows = rows.combine_chunks()
    rows = rows.take(pc.sort_indices(rows, sort_keys=[("doc_id", "ascending")]))
    place = rows["place"].to_numpy()
    answer = stage.relate(rows.drop_columns(["place"]))
    return pa.table({TO: shard_of(place), "row": row_of(place), **answer})


def arrived(site: Site, answers: pa.Table) -> pa.Table:
    """The answers that were sent to this shard, as they are."""
    del site
    return answers


# -- in memory ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MemorySite:
    """A site of a `MemoryFlow`."""

    place: Place
    number: int
    sites: Mapping[Place, int]
    table: pa.Table | None = None

    def columns(self, *names: str) -> pa.Table:
        """See `Site`."""
        assert self.table is not None
        chosen = self.table.select(["doc_id", *names])
        return chosen.add_column(0, "row", pa.array(np.arange(chosen.num_rows)))

    def texts(self, column: str, rows: NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
        """See `Site`."""
        assert self.table is not None
        for start in range(0, len(rows), 3):
            some = rows[start : start + 3]
            texts = self.table[column].take(pa.array(some)).combine_chunks()
            yield pa.record_batch({"row": pa.array(some), "text": texts})


@dataclass(slots=True)
class MemoryFlow:
    """Runs a program over tables in memory; each table is a shard with `doc_id` and the columns that are read.

    Partitions are as many as asked for here, whatever the program chooses.
    """

    shards: Sequence[pa.Table]
    partitions: int = 3
    settled: list[pa.Table] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def documents(self) -> int:
        """See `Flow`."""
        return sum(t.num_rows for t in self.shards)

    @property
    def sites(self) -> Mapping[Place, int]:
        """See `Flow`."""
        return {"shards": len(self.shards), "partitions": self.partitions, "one": 1}

    def split(self, partitions: int) -> None:
        """See `Flow`."""

    def at(self, place: Place, name: str, work: Work, *inputs: Exchange, to: Place) -> Exchange:
        """See `Flow`."""
        sent = [self._run(place, number, work, inputs) for number in range(self.sites[place])]
        total: dict[str, int] = {}
        for _, counts in sent:
            add_counts(total, counts)
        add_counts(self.counts, total)
        rows = sum(table.num_rows for table, _ in sent)
        pieces = zip(*(pieces_of(table, self.sites[to]) for table, _ in sent), strict=True)
        return Exchange(name, to, rows, total, [pa.concat_tables(some) for some in pieces])

    def settle(self, work: Work, *inputs: Exchange) -> None:
        """See `Flow`."""
        for number, shard in enumerate(self.shards):
            answer, counts = self._run("shards", number, work, inputs)
            add_counts(self.counts, counts)
            self.settled.append(settled(answer, shard.num_rows))

    def answer(self) -> pa.Table:
        """The stage's columns for the rows of all shards."""
        return pa.concat_tables(self.settled)

    def _run(
        self, place: Place, number: int, work: Work, inputs: Sequence[Exchange]
    ) -> tuple[pa.Table, Mapping[str, int]]:
        assert all(e.to == place for e in inputs)
        table = self.shards[number] if place == "shards" else None
        site = MemorySite(place, number, self.sites, table)
        return with_counts(work(site, *(e.content[number] for e in inputs)))


def with_counts(answer: pa.Table | tuple[pa.Table, Mapping[str, int]]) -> tuple[pa.Table, Mapping[str, int]]:
    """A round's table and its counts."""
    return answer if isinstance(answer, tuple) else (answer, {})


def add_counts(total: dict[str, int], more: Mapping[str, int]) -> None:
    """Add counts up."""
    for name, n in more.items():
        total[name] = total.get(name, 0) + int(n)


def pieces_of(table: pa.Table, sites: int) -> list[pa.Table]:
    """The rows for each site, in their order, without `to`."""
    to = table[TO].to_numpy()
    assert not len(to) or (to.min() >= 0 and to.max() < sites), "a row goes to a site that is not there"
    table = table.drop_columns([TO])
    if len(to) and np.any(to[1:] < to[:-1]):
        # numpy sorts numbers of 16 bits by radix
        order = np.argsort(to.astype(np.uint16) if sites <= 1 << 16 else to, kind="stable")
        table, to = table.combine_chunks().take(pa.array(order)), to[order]
    bounds = np.searchsorted(to, np.arange(sites + 1))
    return [table.slice(a, b - a) for a, b in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)]


def settled(answer: pa.Table, rows: int) -> pa.Table:
    """The columns of `answer` at the rows that it names, null elsewhere."""
    places = np.full(rows, -1, np.int64)
    places[answer["row"].to_numpy()] = np.arange(answer.num_rows)
    return answer.drop_columns(["row"]).combine_chunks().take(pa.array(places, mask=places < 0))
