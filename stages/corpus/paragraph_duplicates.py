"""Paragraphs and lines that occur more than once in the corpus."""

from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from stages.base import Column, CorpusStage, RowStage, column
from stages.corpus.substring_duplicates import SPANS
from stages.corpus.substring_tables import NOTHING, Ids, flat
from stages.flow import TO, Flow, Site, partition_of, partitions_for
from stages.text.paragraphs import Paragraphs, Unit

Ints = NDArray[np.int64]


class ParagraphDuplicates(CorpusStage):
    """Bytes of each text in paragraphs (or lines) whose words occur earlier in the corpus.

    Earlier is in a document with a smaller `doc_id`, or at an earlier place of the same one; with `keep: none` the
    first occurrence counts too, so that no copy is left. What is equal is decided by hashes of the words (see
    `paragraphs`, which also says what a paragraph is and which are too short to be compared). `span_removal` writes the
    text without the spans. Null where the text is null.

    Bound: of one shard 150 bytes for every paragraph that is compared; of one partition a million entries of 60 bytes,
    sorted. A paragraph that is everywhere costs one entry a shard.

    Sources: Wenzek et al. (2020), CCNet, arXiv:1911.00359 (paragraphs); Lee et al. (2022), arXiv:2107.06499.
    """

    kind: Literal["paragraph_duplicates"] = "paragraph_duplicates"
    version: ClassVar = 2
    writes: ClassVar = pa.schema(
        [
            column("spans", SPANS, "bytes", doc="where the repeated paragraphs are, sorted and disjoint"),
            column("paragraphs", pa.int64(), "paragraphs", doc="or lines"),
            column("duplicate_paragraphs", pa.int64(), "paragraphs", better="lower", doc="in spans"),
            column("duplicate_bytes", pa.int64(), "bytes", better="lower", doc="in spans, blank lines after them too"),
            column("duplicate_fraction", pa.float64(), "1", better="lower", doc="bytes in spans; null for no bytes"),
            column(
                "max_occurrences",
                pa.int64(),
                "paragraphs",
                better="lower",
                doc="in the corpus, of the one that occurs most; 1 below min_occurrences, null where none is compared",
            ),
        ]
    )

    text: Column = "text"
    unit: Unit = "paragraph"
    min_words: int = Field(default=5, ge=1)
    lowercase: bool = True
    punctuation: bool = False
    digits: bool = False
    accents: bool = False
    min_occurrences: int = Field(default=2, ge=2)
    keep: Literal["first", "none"] = "first"

    def companions(self) -> dict[str, RowStage]:
        """The hashes of each text's paragraphs."""
        shared = ("text", "unit", "min_words", "lowercase", "punctuation", "digits", "accents")
        return {"words": Paragraphs(**{name: getattr(self, name) for name in shared})}

    def reads(self) -> tuple[str, ...]:
        """The companion's columns."""
        return tuple(f"words.{field.name}" for field in Paragraphs.writes)

    def program(self, flow: Flow) -> None:
        """Distinct paragraphs of each shard meet, and those that are repeated are told to whoever has them."""
        told = flow.at("shards", "count", self.count, to="one")
        flow.split(partitions_for(told.counts["compared_paragraphs"]))
        offered = flow.at("shards", "paragraphs", self.offer, to="partitions")
        known = flow.at("partitions", "repeated", self.meet, offered, to="shards")
        flow.settle(self.answer, known)

    # -- rounds -----------------------------------------------------------------------------------------------------

    def count(self, site: Site) -> tuple[pa.Table, dict[str, int]]:
        """How many paragraphs are compared, by which the number of partitions is chosen."""
        table = site.columns("words.hashes", "words.paragraphs")
        compared = pc.sum(pc.list_value_length(table["words.hashes"])).as_py() or 0
        return NOTHING, {"paragraphs": pc.sum(table["words.paragraphs"]).as_py() or 0, "compared_paragraphs": compared}

    def offer(self, site: Site) -> pa.Table:
        """Each distinct paragraph of the shard: how often it is there, and the place of its first occurrence."""
        table = site.columns("words.hashes")
        keys, lengths = flat(table["words.hashes"])
        ids = Ids.of(table["doc_id"])
        in_order = _in_order(lengths, ids.by_rank)
        distinct, first, count = np.unique(keys[in_order], return_index=True, return_counts=True)
        first = in_order[first]  # the first in that order, which is by document and place
        row, at = _places(lengths)
        row, at = row[first], at[first]
        return pa.table(
            {
                TO: partition_of(distinct, site.sites["partitions"]),
                "key": distinct,
                "count": count.astype(np.int64),
                "high": ids.high[row],
                "low": ids.low[row],
                "at": at,
                "shard": np.full(len(distinct), site.number, np.int64),
            }
        )

    def meet(self, site: Site, rows: pa.Table) -> tuple[pa.Table, dict[str, int]]:
        """Repeated paragraphs with their number and first occurrence, to every shard that has them."""
        del site
        key, high, low, at, count, shard = (rows[c].to_numpy() for c in ("key", "high", "low", "at", "count", "shard"))
        sort = np.lexsort((at, low, high, key))
        new = np.ones(len(key), bool)
        new[1:] = key[sort][1:] != key[sort][:-1]
        starts = np.flatnonzero(new)
        total = np.add.reduceat(count[sort], starts) if len(starts) else np.empty(0, np.int64)
        size = np.diff(np.append(starts, len(key)))
        repeated = total >= self.min_occurrences
        entry = sort[np.repeat(repeated, size)]
        head = np.repeat(sort[starts[repeated]], size[repeated])
        told = pa.table(
            {
                TO: shard[entry],
                "key": key[entry],
                "total": np.repeat(total[repeated], size[repeated]),
                "high": high[head],
                "low": low[head],
                "at": at[head],
            }
        )
        return told, {"repeated_paragraphs": int(repeated.sum()), "occurrences": int(total[repeated].sum())}

    def answer(self, site: Site, known: pa.Table) -> pa.Table:
        """The columns of every row with a text."""
        table = site.columns(*self.reads())
        keys, lengths = flat(table["words.hashes"])
        ids = Ids.of(table["doc_id"])
        row, at = _places(lengths)
        total, struck = self._judged(keys, row, at, ids, known)
        begins, ends = (flat(table[f"words.{name}"])[0][struck].astype(np.int64) for name in ("begins", "ends"))
        rows = np.flatnonzero(pc.is_valid(table["words.bytes"]).to_numpy())
        size, units = (table[f"words.{name}"].fill_null(0).to_numpy()[rows] for name in ("bytes", "paragraphs"))
        most = np.zeros(table.num_rows, np.int64)
        np.maximum.at(most, row, total)
        row = row[struck]
        removed = np.bincount(row, ends - begins, table.num_rows).astype(np.int64)[rows]
        return pa.table(
            {
                "row": rows,
                "spans": _spans(row, begins, ends, table.num_rows).take(pa.array(rows)),
                "paragraphs": units,
                "duplicate_paragraphs": np.bincount(row, minlength=table.num_rows)[rows],
                "duplicate_bytes": removed,
                "duplicate_fraction": pa.array(removed / np.maximum(size, 1), mask=size == 0),
                "max_occurrences": pa.array(most[rows], mask=most[rows] == 0),
            }
        )

    def _judged(
        self, keys: NDArray[np.uint64], row: Ints, at: Ints, ids: Ids, known: pa.Table
    ) -> tuple[Ints, NDArray[np.bool_]]:
        """How often each paragraph occurs in the corpus (1: less than asked for), and whether it is struck."""
        total = np.ones(len(keys), np.int64)
        struck = np.zeros(len(keys), bool)
        if not known.num_rows:
            return total, struck
        sort = np.argsort(known["key"].to_numpy())
        key, count, high, low, first = (known[c].to_numpy()[sort] for c in ("key", "total", "high", "low", "at"))
        place = np.minimum(np.searchsorted(key, keys), len(key) - 1)
        here = key[place] == keys
        total[here] = count[place[here]]
        struck[here] = True
        if self.keep == "first":
            is_first = (ids.high[row] == high[place]) & (ids.low[row] == low[place]) & (at == first[place])
            struck &= ~is_first
        return total, struck


def _places(lengths: Ints) -> tuple[Ints, Ints]:
    """For each unit its row and its number in the row."""
    row = np.repeat(np.arange(len(lengths)), lengths)
    return row, np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _in_order(lengths: Ints, by_rank: Ints) -> Ints:
    """Numbers of all units, those of the first document by rank first."""
    sizes = lengths[by_rank]
    shift = (np.cumsum(lengths) - lengths)[by_rank] - (np.cumsum(sizes) - sizes)
    order: Ints = np.repeat(shift, sizes) + np.arange(sizes.sum())
    return order


def _spans(row: Ints, begins: Ints, ends: Ints, rows: int) -> pa.Array:
    """A list of spans for each row, neighbours joined."""
    new = np.ones(len(row), bool)
    new[1:] = (row[1:] != row[:-1]) | (begins[1:] != ends[:-1])
    starts = np.flatnonzero(new)
    stops = np.append(starts[1:], len(row)) - 1 if len(row) else starts
    pairs = pa.StructArray.from_arrays([pa.array(begins[starts]), pa.array(ends[stops])], fields=list(SPANS.value_type))
    places = np.searchsorted(row[starts], np.arange(rows + 1))
    return pa.ListArray.from_arrays(pa.array(places, pa.int32()), pairs)
