"""The rounds of learning an n-gram model on an engine: each task reads what tasks before it committed.

WordsOf      a shard       -> its words by number, and which words those are
CountsOf     a shard       -> its n-grams with counts, by partition of the last word
Adjusted     a partition   -> n-grams of all orders with adjusted counts
ContextsOf   a partition   -> backoffs of its n-grams, and shares of the n-grams whose contexts are here
Lines        a partition   -> probabilities, lines of an ARPA file, keys of a table
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from learners.ngram import arrays
from learners.ngram.counting import merged, numbered, scattered
from learners.ngram.estimating import Totals, adjusted, contexts, interpolated, routes, unigram_shares
from learners.ngram.settings import Settings
from pipelines.commit import Attempt, Record
from pipelines.passes import peak_memory_bytes
from pipelines.shards import Shard, batches
from pipelines.store import Store
from stages.chance import draw
from stages.kernels.arrow import frozen
from stages.ngrams.reading import Reading

Array = NDArray[Any]
#: Draws which documents are held out.
HELD_OUT = "ngram held out"
ARRAYS, WORDS = ".arrays", ".parquet"


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of the store for the files of one model in the making."""

    store: Store
    folder: str

    def arrays(self, record: Record) -> dict[str, Array]:
        """The arrays of a task's file, mapped."""
        path = next(f["path"] for f in record["files"] if f["path"].endswith(ARRAYS))
        return arrays.read(self.store.local(path))

    def words(self, record: Record) -> pa.Table:
        """The words of a shard."""
        path = next(f["path"] for f in record["files"] if f["path"].endswith(WORDS))
        return pq.read_table(self.store.local(path))

    def commit(
        self,
        name: str,
        found: Mapping[str, Array],
        facts: Mapping[str, Any],
        began: float,
        words: pa.Table | None = None,
    ) -> Record:
        """Commit arrays, and words where there are any, under a name; `began` is the processor time of the start."""
        with Attempt(self.store, self.folder, name, durable=False) as attempt:
            with attempt.file(ARRAYS) as path:
                arrays.write(path, found)
            if words is not None:
                with attempt.file(WORDS) as path:
                    pq.write_table(words, path, compression="lz4")
            cost = {"cpu_seconds": time.process_time() - began, "peak_memory_bytes": peak_memory_bytes()}
            return attempt.commit({**facts, **cost})


@dataclass(frozen=True, slots=True)
class Held:
    """Which documents are not learned from: this share of all, by hash; 0: none."""

    share: float
    seed: int

    def masks(self, doc_ids: pa.Array) -> NDArray[np.bool_]:
        """Whether each document is held out."""
        return np.asarray(draw(self.seed, HELD_OUT, doc_ids).astype(np.float64) < self.share * 2.0**64)


@dataclass(frozen=True, slots=True)
class WordsOf:
    """The words of a shard's documents."""

    place: Place
    name: str
    shard: Shard
    reading: Reading
    held: Held

    def __call__(self) -> Record:
        """Commit the numbers of the words and the words."""
        from stages.kernels.ngram_words import END, Numbering  # noqa: PLC0415 - loads numba

        began = time.process_time()
        read, numbering = self.reading.open(), Numbering()
        tokens, documents = [], 0
        for batch in batches(self.place.store, self.shard, ["text", "doc_id"], {}):
            texts = batch["text"]
            if self.held.share:
                texts = texts.filter(pa.array(~self.held.masks(batch["doc_id"])))
            documents += len(texts)
            tokens.append(numbering.number(read(texts)))
        numbers = np.concatenate(tokens) if tokens else np.empty(0, np.uint32)
        counts = np.bincount(numbers[numbers != np.uint32(END)], minlength=numbering.known)
        words = numbering.words().append_column("count", pa.array(counts, pa.int64()))
        sentences = int((numbers == np.uint32(END)).sum())
        facts = {"documents": documents, "words": len(numbers) - sentences, "sentences": sentences}
        facts["reserved"] = numbering.reserved
        return self.place.commit(self.name, {"tokens": numbers}, facts, began, words)


@dataclass(frozen=True, slots=True)
class CountsOf:
    """The n-grams of a shard."""

    place: Place
    name: str
    settings: Settings
    words: Record
    vocabulary: Record

    def __call__(self) -> Record:
        """Commit words, counts, and where each partition ends."""
        began = time.process_time()
        vocabulary = self.place.arrays(self.vocabulary)
        ids = numbered(self.place.arrays(self.words)["tokens"], self.place.words(self.words), vocabulary)
        return self.place.commit(self.name, scattered(ids, self.settings.order, vocabulary["starts"]), {}, began)


@dataclass(frozen=True, slots=True)
class Adjusted:
    """The n-grams of a partition."""

    place: Place
    name: str
    settings: Settings
    partition: int
    counts: tuple[Record, ...]
    vocabulary: Record

    def __call__(self) -> Record:
        """Commit n-grams of all orders; the record has the statistics."""
        began = time.process_time()
        vocabulary = self.place.arrays(self.vocabulary)
        starts = vocabulary["starts"]
        pieces = []
        for record in self.counts:
            found = self.place.arrays(record)
            rows = span(found["ends"], self.partition)
            pieces.append((found["words"][rows], found["counts"][rows]))
        words, counts = merged(pieces, len(vocabulary["hashes"]))
        del pieces
        last = self.partition == len(starts) - 1
        made = adjusted(words, counts, self.settings, first=self.partition == 0, last=last)
        statistics = {k: v.tolist() for k, v in made.items() if k.startswith("statistics")}
        return self.place.commit(
            self.name, made | routes(made, self.settings, starts), {"statistics": statistics}, began
        )


@dataclass(frozen=True, slots=True)
class ContextsOf:
    """The n-grams of all partitions whose contexts end in the words of one."""

    place: Place
    name: str
    settings: Settings
    partition: int
    adjusted: tuple[Record, ...]
    totals: Totals

    def __call__(self) -> Record:
        """Commit for each order shares and backoffs, partition after partition, and the contexts' own backoffs."""
        began = time.process_time()
        parts = [self.place.arrays(record) for record in self.adjusted]
        found: dict[str, Array] = {}
        for k in range(2, self.settings.order + 1):
            pieces = []
            for part in parts:
                rows = part[f"route{k}"][span(part[f"ends{k}"], self.partition)]
                pieces.append((part[f"words{k}"][rows], part[f"adjusted{k}"][rows], part[f"kept{k}"][rows]))
            made = contexts(parts[self.partition], k, pieces, self.totals.discounts[k - 1])
            found |= {f"share{k}": made.share, f"gamma{k}": made.gamma, f"backoff{k - 1}": made.backoffs}
            found[f"ends{k}"] = np.cumsum([len(w) for w, _, _ in pieces])
        return self.place.commit(self.name, found, {}, began)


@dataclass(frozen=True, slots=True)
class Lines:
    """The probabilities of a partition's n-grams."""

    place: Place
    name: str
    settings: Settings
    partition: int
    adjusted: Record
    contexts: tuple[Record, ...]
    totals: Totals
    vocabulary: Record

    def __call__(self) -> Record:
        """Commit for each order the lines of the ARPA file, and keys and values for the table."""
        from stages.kernels.ngram_text import keys_of, lines_of  # noqa: PLC0415 - loads numba

        began = time.process_time()
        own = self.place.arrays(self.adjusted)
        vocabulary = self.place.arrays(self.vocabulary)
        sums = [self.place.arrays(record) for record in self.contexts]
        orders = range(1, self.settings.order + 1)
        shares = [unigram_shares(own, self.totals), *(self._shares(own, sums, k) for k in orders[1:])]
        backoffs = [sums[self.partition][f"backoff{k}"] for k in orders[:-1]]
        found: dict[str, Array] = {}
        for k, made in enumerate(interpolated(own, shares, backoffs, self.totals), 1):
            found[f"lines{k}"] = lines_of(
                *map(frozen, (made.words, made.logs, made.backoffs, vocabulary["data"], vocabulary["offsets"]))
            )
            found |= {f"keys{k}": keys_of(frozen(made.words), frozen(vocabulary["hashes"])), f"logs{k}": made.logs}
            found[f"backoffs{k}"] = made.backoffs if len(made.backoffs) else np.zeros(len(made.logs), np.float32)
        return self.place.commit(self.name, found, {}, began)

    def _shares(self, own: Mapping[str, Array], sums: list[dict[str, Array]], k: int) -> tuple[Array, Array]:
        """Shares and backoffs of the partition's n-grams of one order, in its own order again."""
        share = np.empty(len(own[f"words{k}"]), np.float32)
        gamma = np.empty_like(share)
        for q, made in enumerate(sums):
            rows = own[f"route{k}"][span(own[f"ends{k}"], q)]
            there = span(made[f"ends{k}"], self.partition)
            share[rows], gamma[rows] = made[f"share{k}"][there], made[f"gamma{k}"][there]
        return share, gamma


def span(ends: Array, i: int) -> slice:
    """The rows of the i-th of several pieces that lie one after the other."""
    return slice(int(ends[i - 1]) if i else 0, int(ends[i]))


def written(place: Place, lines: list[Record], totals: Totals, into: Path) -> None:
    """Write the ARPA file: lines of all partitions, order by order."""
    with into.open("wb") as file:
        file.write(b"\\data\\\n" + b"".join(b"ngram %d=%d\n" % (k, n) for k, n in enumerate(totals.kept, 1)) + b"\n")
        for k in range(1, len(totals.kept) + 1):
            file.write(b"\\%d-grams:\n" % k)
            for record in lines:
                file.write(place.arrays(record)[f"lines{k}"].data)
            file.write(b"\n")
        file.write(b"\\end\\\n")
