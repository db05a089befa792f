"""Whether a document was seen before: its nearest twin in a near-duplicate index."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import numpy as np
import pyarrow as pa
from pydantic import Field

from stages.base import Columns, Example, Files, Kernel, RowStage, Stage, Step, column
from stages.catalog import did_you_mean
from stages.errors import SpecError, StorageError
from stages.index.filters import BandFilters, filter_facts, need_package
from stages.index.manifest import Manifest, checked_name, manifest_path, newest_in, parse, sketch_of
from stages.index.search import Snapshot
from stages.index.segment import halves, sketches
from stages.text.minhash import Minhash

#: The backends whose documents are files of the store: as they are, or as bits of Bloom filters.
STORE, BLOOM = "store", "bloom"


class IndexMatches(RowStage):
    """Estimated Jaccard similarity, in [0, 1], of the most similar document of a near-duplicate index, and which it is.

    Documents of the index that share at least one band with the sketch of the step `of` are compared with it; the
    estimate is the share of equal values (`tamis index info` tells bands and rows, and so with which probability a twin
    of some similarity is found). Of candidates equally similar the first by doc_id counts, then the one added first. A
    document without candidates has no `nearest` and no `jaccard`, and 0 `matches`; one without a sketch has null
    everywhere. Of a bucket of more than 1,000 documents the first 1,000 by doc_id are compared.

    An index kept in Bloom filters knows members and nothing of them: `matches` is 1 for a document that shares a band
    with some member, or seems to (`tamis index info` and the report tell how often), and all else is null.

    A run over documents that were added before meets them again, with a Jaccard of 1. Where that is not wanted, name in
    `own_corpus` the corpus under which they were added: its documents with the same doc_id do not count then.

    The state of the index, not its place, is part of the step's identity: a later add or removal makes another step.

    Raises:
        SpecError: there is no such index, its sketches were made otherwise, a run cannot look documents up in it
            (redis), or it is asked what it does not know (bloom).
        StorageError: a file of the index is missing or damaged.
    """

    kind: Literal["index_matches"] = "index_matches"
    pinned: ClassVar = ("snapshot", "manifest", "bloom")
    writes: ClassVar = pa.schema(
        [
            column("jaccard", pa.float64(), "1", better="lower", doc="estimated, of `nearest`"),
            column("nearest", pa.string(), "doc_id", doc="the most similar document of the index"),
            column("corpus", pa.string(), "name", doc="the corpus that `nearest` was added with"),
            column("matches", pa.int64(), "documents", better="lower", doc="candidates at least `threshold` similar"),
        ]
    )
    examples: ClassVar = (
        Example(
            {"sketch.signature": b"\x01\x02\x03\x04" * 112},
            {"jaccard": None, "nearest": None, "corpus": None, "matches": 0},
            {"of": "sketch", "index": "seen"},
        ),
    )

    of: Step
    index: str = Field(min_length=1)
    threshold: float = Field(default=0.0, ge=0, le=1)
    own_corpus: str | None = None
    #: The index's state, in 16 hex digits; where a spec gives it, the index must be in that state still.
    snapshot: str | None = None
    #: Where the planner found the state.
    manifest: str | None = None
    #: What the planner found of an index that is kept in Bloom filters: `filter_facts`, `bands` and `rows`.
    bloom: dict[str, Any] | None = None
    #: How the step `of` makes its sketches, as the planner found it.
    sketch: dict[str, Any] | None = None

    def parameters(self) -> dict[str, Any]:
        """What changes the numbers; the index's state is an artifact."""
        fields = super().parameters()
        return {name: fields[name] for name in ("threshold", "own_corpus")}

    def artifacts(self) -> dict[str, str]:
        """The state of the index."""
        return {} if self.snapshot is None else {"index": self.snapshot}

    def reads(self) -> tuple[str, ...]:
        """The sketch, and the document's id where it must be told from its own entry."""
        signature = f"{self.of}.signature"
        return (signature,) if self.own_corpus is None else (signature, "doc_id")

    def resolve(self, steps: Mapping[str, Stage]) -> Self:
        """The stage with how its sketches are made."""
        sketch = steps[self.of]
        if not isinstance(sketch, Minhash):
            raise SpecError(
                f"index_matches looks up sketches, and the step {self.of!r} is of kind {sketch.kind!r}; "
                "name a minhash step in `of`",
                step=self.of,
            )
        return self.model_copy(update={"sketch": sketch_of(sketch.identity())})

    def located(self, files: Files) -> Self:
        """The stage with the state that the index is in now."""
        found = newest_in(files, checked_name(self.index))
        if found is None:
            known = sorted(_names(files))
            hint = did_you_mean(self.index, known) if known else "; make it with: tamis index add INDEX RUN"
            raise SpecError(f"the store has no index {self.index!r}{hint}", index=self.index)
        path, manifest = found
        if self.snapshot not in {None, manifest.snapshot}:
            raise SpecError(
                f"the index {self.index!r} is in the state {manifest.snapshot}, not {self.snapshot}; "
                "change `snapshot` in the spec or leave it out",
                index=self.index,
            )
        if self.sketch is not None:
            manifest.configuration.accept(self.sketch, self.index, f"step {self.of!r}")
        bloom = self._filters(manifest)
        return self.model_copy(update={"snapshot": manifest.snapshot, "manifest": path, "bloom": bloom})

    def _filters(self, manifest: Manifest) -> dict[str, Any] | None:
        """What is known of the index's Bloom filters; None where it is kept in the store.

        Raises:
            SpecError: the index is kept elsewhere, or cannot tell what the stage asks for.
        """
        if manifest.backend == STORE:
            return None
        if manifest.backend != BLOOM:
            raise SpecError(
                f"the index {self.index!r} is kept in {manifest.backend}, which a run cannot look documents up in; "
                "name an index with the backend store or bloom",
                index=self.index,
            )
        for name, value in (("threshold", self.threshold or None), ("own_corpus", self.own_corpus)):
            if value is not None:
                raise SpecError(
                    f"the index {self.index!r} is a Bloom filter, which can tell neither how alike documents are nor "
                    f"whose twins; leave out `{name}: {value}` or name an index with the backend store",
                    index=self.index,
                )
        need_package(manifest)
        return {**filter_facts(manifest), "bands": manifest.configuration.bands, "rows": manifest.configuration.rows}

    def unknowable(self) -> dict[str, str]:
        """What a Bloom filter cannot tell."""
        why = (
            f"the index {self.index!r} is a Bloom filter, which names no twin; "
            "write a rule on `matches`, which is 0 for documents that it does not know"
        )
        return {} if self.bloom is None else dict.fromkeys(("jaccard", "nearest", "corpus"), why)

    def open(self) -> Kernel:
        """The kernel of an index that holds nothing, for a stage that was not located in a store."""
        return lambda batch: self._columns(batch, None)

    def open_in(self, files: Files) -> Kernel:
        """Map the index's files and return the kernel."""
        if self.manifest is None:
            raise StorageError(f"the index {self.index!r} was not located in this store; plan the run with its store")
        manifest = parse(files.local(self.manifest).read_bytes(), self.manifest)
        if manifest.backend == BLOOM:
            filters = BandFilters(files, manifest)
            return lambda batch: self._known(batch, filters)
        snapshot = Snapshot(files, manifest)
        return lambda batch: self._columns(batch, snapshot)

    def _known(self, batch: pa.RecordBatch, filters: BandFilters) -> Columns:
        """The columns where members are known and nothing of them."""
        known = filters.members(sketches(batch[f"{self.of}.signature"], filters.configuration.permutations))
        nothing = {field.name: pa.nulls(batch.num_rows, field.type) for field in self.writes}
        return {**nothing, "matches": pa.array(known.astype(np.int64))}

    def _columns(self, batch: pa.RecordBatch, snapshot: Snapshot | None) -> Columns:
        rows = batch.num_rows
        nearest, corpus = np.full(rows, None, object), np.full(rows, None, object)
        jaccard, matches = np.zeros(rows), np.zeros(rows, np.int64)
        there = np.zeros(rows, bool)
        if snapshot is not None:
            found = snapshot.search(sketches(batch[f"{self.of}.signature"], snapshot.configuration.permutations))
            found = found.where(found.jaccard >= self.threshold)
            if self.own_corpus is not None:
                high, low = halves(batch["doc_id"])
                their_high, their_low = snapshot.ids(found.place)
                own = (high[found.asked] == their_high) & (low[found.asked] == their_low)
                found = found.where(~(own & (snapshot.corpora(found.place) == self.own_corpus)))
            matches = np.bincount(found.asked, minlength=rows).astype(np.int64)
            best = found.first(1)
            there[best.asked] = True
            jaccard[best.asked] = best.jaccard
            twins = snapshot.documents(best.place)
            nearest[best.asked], corpus[best.asked] = twins["doc_id"].to_pylist(), twins["corpus"].to_pylist()
        return {
            "jaccard": pa.array(jaccard, pa.float64(), mask=~there),
            "nearest": pa.array(nearest, pa.string()),
            "corpus": pa.array(corpus, pa.string()),
            "matches": pa.array(matches, pa.int64()),
        }


@runtime_checkable
class _Listing(Protocol):
    """Files that can be listed, for suggestions."""

    def list(self, prefix: str) -> Iterator[str]:
        """The paths below a folder."""


def _names(files: Files) -> set[str]:
    if not isinstance(files, _Listing):
        return set()
    first = manifest_path("", 1).removeprefix("indexes/")
    return {path.split("/")[1] for path in files.list("indexes") if path.endswith(first)}
