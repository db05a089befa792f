"""Clusters of documents that share most of their n-grams."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field, model_validator

from stages.banding import bands_for
from stages.base import CorpusStage, Stage, Step, column
from stages.document import packed
from stages.errors import SpecError
from stages.flow import Flow, Site, keys_of, partitions_for
from stages.linking import compare
from stages.linking.buckets import Keyed, centers, offered, order_of, pairs_of
from stages.linking.components import clusters
from stages.text.minhash import Minhash


class NearDuplicates(CorpusStage):
    """Clusters of documents that are linked by a shared band of their MinHash signatures.

    Two documents of Jaccard index s share one of b bands of r values with probability 1 - (1 - s^r)^b (Leskovec et
    al., Mining of Massive Datasets, chapter 3). Bands are the sketch's own; or `bands` and `rows`; or, for a
    `threshold`, those that datasketch's optimizer finds for all the sketch's values.

    Documents with a band in common are compared: `jaccard` is the share of equal signature values, an estimate with a
    standard error of at most 0.5 / sqrt(values). With `verify` it is the true Jaccard index of the n-gram sets, for
    which the texts of compared documents are read, and pairs below the threshold (or below (1/b)^(1/r)) are not linked.
    In a bucket of more than `max_bucket` documents only the first `max_bucket`, by `doc_id`, are compared with all;
    the pairs left out are counted. A cluster is a connected component of links, so its ends can be less alike than the
    threshold. `scope` keeps documents of different sources or snapshots apart. Which member stays is the policy's
    decision (`one_of: copies.cluster`). Null where the text has no token.

    Bound: a shard's or a partition's share of bands x documents x 32 bytes, and what the compared documents of one
    shard are compared with; links are resolved at once up to four million (about 1 GB), beyond that in rounds.
    """

    kind: Literal["near_duplicates"] = "near_duplicates"
    writes: ClassVar = pa.schema(
        [
            column("cluster", pa.string(), "doc_id", doc="smallest doc_id of the cluster"),
            column("cluster_size", pa.int64(), "documents", better="lower", doc="documents of the cluster"),
            column("nearest", pa.string(), "doc_id", doc="the most similar of the documents compared with this one"),
            column("jaccard", pa.float64(), "1", better="lower", doc="of the n-grams of this document and the nearest"),
        ]
    )

    of: Step
    threshold: float | None = Field(default=None, gt=0, lt=1)
    bands: int | None = Field(default=None, ge=1)
    rows: int | None = Field(default=None, ge=1)
    verify: bool = False
    scope: Literal["global", "source", "snapshot"] = "global"
    max_bucket: int = Field(default=16, ge=1, le=1024)
    #: The sketch's stage, known after `resolve`.
    sketch: Minhash | None = None

    @model_validator(mode="after")
    def _bands_and_rows(self) -> Self:
        if (self.bands is None) != (self.rows is None):
            raise ValueError("give `bands` and `rows` together, or neither")
        return self

    def resolve(self, steps: Mapping[str, Stage]) -> Self:
        """The stage with its sketch, and with bands and rows settled."""
        sketch = steps[self.of]
        if not isinstance(sketch, Minhash):
            raise SpecError(f"near_duplicates is of {self.of!r}, a step of kind {sketch.kind!r}; name a minhash step")
        bands, rows = self._banding(sketch)
        if bands * rows > sketch.permutations:
            raise SpecError(
                f"near_duplicates wants {bands} bands of {rows} rows, but the sketch {self.of!r} has "
                f"{sketch.permutations} values; raise its bands or rows"
            )
        return self.model_copy(update={"sketch": sketch, "bands": bands, "rows": rows})

    def _settled(self) -> tuple[int, int]:
        """Bands and rows, as `resolve` found them."""
        assert self.bands is not None
        assert self.rows is not None
        return self.bands, self.rows

    def _banding(self, sketch: Minhash) -> tuple[int, int]:
        if self.bands is not None and self.rows is not None:
            return self.bands, self.rows
        if self.threshold is not None:
            return bands_for(self.threshold, sketch.permutations)
        return sketch.bands, sketch.rows

    def parameters(self) -> dict[str, Any]:
        """The fields that change the numbers; the sketch is in the key as the producer of what is read."""
        fields = super().parameters()
        del fields["sketch"]
        if not self.verify:
            del fields["threshold"]  # it chose bands and rows, and does nothing else
        return fields

    @property
    def least(self) -> float:
        """The Jaccard index below which verified pairs are not linked."""
        bands, rows = self._settled()
        return self.threshold if self.threshold is not None else float((1 / bands) ** (1 / rows))

    def reads(self) -> tuple[str, ...]:
        """The sketch, and what the scope goes by."""
        own = (f"{self.of}.signature", f"{self.of}.short")
        return own if self.scope == "global" else (*own, self.scope)

    def texts(self) -> tuple[str, ...]:
        """The text that was sketched, where pairs are verified."""
        return (self.sketch.text,) if self.verify and self.sketch is not None else ()

    def program(self, flow: Flow) -> None:
        """Buckets of equal bands, pairs, their Jaccard, and connected components of links."""
        flow.split(partitions_for(flow.documents * self._settled()[0]))
        keys = flow.at("shards", "bands", self.offer, to="partitions")
        told = flow.at("partitions", "buckets", self.meet, keys, to="shards")
        pairs = flow.at("shards", "pairs", self.pair, told, to="shards")
        lent = flow.at("shards", "lend", self.lend, pairs, to="shards")
        edges = flow.at("shards", "compare", self.compare, pairs, lent, to="shards")
        labels = clusters(flow, compare.links, edges)
        flow.settle(self.answer, edges, labels)

    # -- rounds -----------------------------------------------------------------------------------------------------

    def keyed(self, site: Site) -> tuple[Keyed, dict[str, int]]:
        """The shard's keys, and counts of documents that have none or that are short."""
        from stages.kernels.minhash import band_keys  # noqa: PLC0415 - numba is slow to import

        table = site.columns(*self.reads())
        rows = compare.valid(table[f"{self.of}.signature"])
        keys = band_keys(compare.signatures(table[f"{self.of}.signature"], rows), *self._settled())
        if self.scope != "global":
            keys ^= keys_of(table[self.scope].take(pa.array(rows)))[:, None]
        short = int(np.count_nonzero(table[f"{self.of}.short"].fill_null(False).to_numpy()))  # noqa: FBT003 - Arrow's argument
        counts = {"short_documents": short, "documents_without_tokens": table.num_rows - len(rows)}
        return Keyed(keys, order_of(table["doc_id"])[rows], rows), counts

    def offer(self, site: Site) -> tuple[pa.Table, dict[str, int]]:
        """The first documents of each of the shard's bands."""
        documents, counts = self.keyed(site)
        return offered(documents, site.number, site.sites["partitions"], self.max_bucket), counts

    def meet(self, site: Site, rows: pa.Table) -> tuple[pa.Table, dict[str, int]]:
        """The first documents of each bucket, to the shards that have others of it."""
        del site
        return centers(rows, self.max_bucket)

    def pair(self, site: Site, told: pa.Table) -> pa.Table:
        """Pairs of the shard's documents with those that come before them in a bucket; and which ones to borrow."""
        documents, _ = self.keyed(site)
        return compare.wanted(*pairs_of(documents, told, site.number), site.number)

    def lend(self, site: Site, asked: pa.Table) -> pa.Table:
        """Signatures, or n-gram sets, of the documents that shards ask for."""
        shown = compare.asked_rows(asked)
        return compare.lent(site, asked, shown, self._content(site, shown))

    def _content(self, site: Site, rows: NDArray[np.int64]) -> pa.Array:
        """For each row the bytes that it is compared by."""
        if not self.verify:
            table = site.columns(f"{self.of}.signature")
            return table[f"{self.of}.signature"].take(pa.array(rows)).combine_chunks().cast(pa.large_binary())
        assert self.sketch is not None
        return compare.sets_of(site.texts(self.sketch.text, rows), self.sketch)

    def compare(self, site: Site, pairs: pa.Table, lent: pa.Table) -> tuple[pa.Table, dict[str, int]]:
        """Every pair's Jaccard, told to the shards of both documents."""
        mine = compare.own_pairs(pairs, site.number)
        rows = np.unique(mine.row)
        own = self._content(site, rows)
        jaccard = (compare.set_similarity if self.verify else compare.signature_similarity)(mine, rows, own, lent)
        linked = jaccard >= self.least if self.verify else np.ones(len(jaccard), bool)
        ids = packed(site.columns()["doc_id"])
        counts = {"compared_pairs": len(jaccard), "linked_pairs": int(linked.sum())}
        return compare.edges(mine, site.number, ids, lent, jaccard, linked), counts

    def answer(self, site: Site, edges: pa.Table, labels: pa.Table) -> pa.Table:
        """The columns of every document with a signature."""
        table = site.columns(f"{self.of}.short")
        rows = compare.valid(table[f"{self.of}.short"])
        found = compare.Found(table.num_rows)
        found.own(packed(table["doc_id"]))
        found.label(labels)
        found.near(edges)
        return pa.table(
            {"row": rows, **{name: values.take(pa.array(rows)) for name, values in found.columns().items()}}
        )
