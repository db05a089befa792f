"""Documents that say the same in other words."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from stages.base import CorpusStage, Stage, Step, column
from stages.corpus.semantic_cells import Cells, checked_embedding, rows16, runs, whole
from stages.corpus.semantic_rule import groups, nearest_earlier
from stages.corpus.semantic_vectors import Fixed, fixed
from stages.document import unpacked
from stages.embeddings.encoding import vectors_of
from stages.flow import TO, Flow, Site, arrived, row_of, shard_of


class SemanticDuplicates(CorpusStage):
    """Cosine similarity of each document to the most similar one before it in its cell, by SemDeDup's rule.

    Vectors of the embedding step `of` are split by spherical k-means into `clusters` cells (by default one for every
    4,096 vectors), trained on a sample of at most 256 vectors a cell. Within a cell documents are ordered by their
    distance to the centroid, farthest first, because what is far from the centroid is rarer and worth keeping; equal
    distances by `doc_id`. A document is a duplicate if its largest cosine to any earlier document, be that one a
    duplicate or not, is above 1 - epsilon. **A larger epsilon removes more** (the authors' README has it the other way
    round). The paper tunes epsilon to the share to be kept; NeMo Curator takes 0.01, in its documentation 0.07. Static
    embeddings lie closer together than a transformer's, so that the same epsilon removes more of them.

    `duplicate` is `cosine > 1 - epsilon`. A rule of the policy can hold `cosine` against another bound at no cost:
    `{column: semantic.cosine, le: 0.95, on_null: keep}` is epsilon 0.05. `cluster` names the documents that are
    connected by the links of duplicates to their nearest earlier one, by their smallest `doc_id`.

    Vectors are compared in fixed point, exactly (a cosine is off by about 1e-4), so that the answer depends neither on
    shards, partitions nor blocks. Duplicates in different cells are not found: fewer cells find more and take longer,
    the time being that of vectors x vectors of a cell. Null where there is no vector; `nearest` and `cosine` are also
    null for the first of a cell.

    Source: Abbas et al. 2023, SemDeDup, arXiv:2303.09540, section 3.

    Bound: the sample (2**18 vectors) in one process, a partition's cells in each other; a cell of any size is compared
    in blocks of 2,048, and equal vectors once.
    """

    kind: Literal["semantic_duplicates"] = "semantic_duplicates"
    requires: ClassVar = ("faiss", "threadpoolctl")
    writes: ClassVar = pa.schema(
        [
            column("cluster", pa.string(), "doc_id", doc="smallest doc_id of the documents that mean the same"),
            column("cluster_size", pa.int64(), "documents", better="lower", doc="documents of the cluster"),
            column("nearest", pa.string(), "doc_id", doc="the most similar of the earlier documents of the cell"),
            column("cosine", pa.float64(), "1", better="lower", doc="cosine similarity to the nearest"),
            column(
                "centroid_cosine", pa.float64(), "1", better="lower", doc="cosine similarity to the cell's centroid"
            ),
            column("cell", pa.int32(), "cell", doc="number of the k-means cell"),
            column("duplicate", pa.bool_(), "boolean", doc="cosine > 1 - epsilon"),
        ]
    )

    of: Step
    clusters: int | None = Field(default=None, ge=1, le=1_000_000)
    epsilon: float = Field(default=0.01, ge=0, lt=1)
    seed: int

    def resolve(self, steps: Mapping[str, Stage]) -> Self:
        """The same, once the step that it is of is known to be an embedding."""
        checked_embedding(self.kind, self.of, steps)
        return self

    def reads(self) -> tuple[str, ...]:
        """The vectors, and the narrow column that tells where there are any."""
        return (f"{self.of}.vector", f"{self.of}.tokens")

    def program(self, flow: Flow) -> None:
        """Count, sample, train, assign to cells, decide within cells, bring home."""
        cells = Cells(self.of, self.kind, self.seed, self.clusters)
        members = cells.members(flow, cells.counted(flow))
        answers = flow.at("partitions", "compare", self.compare, members, to="shards")
        flow.settle(arrived, answers)

    def compare(self, site: Site, members: pa.Table) -> tuple[pa.Table, Mapping[str, int]]:
        """The rule in every cell of a partition."""
        del site
        by = [("cell", "ascending"), ("centroid_cosine", "ascending"), ("doc_id", "ascending")]
        members = members.sort_by(by)
        place = members["place"].to_numpy()
        cell, ids = members["cell"].to_numpy(), rows16(whole(members["doc_id"]))
        vectors = vectors_of(whole(members["vector"]))
        parts = [self._cell(fixed(vectors[a:b]), ids[a:b], a) for a, b in runs(cell)]
        nearest, cosine, first, size = (
            np.concatenate([p[i] for p in parts] or [np.zeros(0, kind)])
            for i, kind in enumerate((np.int64, np.float64, np.int64, np.int64))
        )
        alone = nearest < 0
        duplicate = cosine > 1 - self.epsilon
        answer = pa.table(
            {
                TO: shard_of(place),
                "row": row_of(place),
                "cluster": unpacked(ids[first]),
                "cluster_size": size,
                "nearest": unpacked(ids).take(pa.array(nearest, mask=alone)),
                "cosine": pa.array(cosine, mask=alone),
                "centroid_cosine": members["centroid_cosine"],
                "cell": cell,
                "duplicate": duplicate,
            }
        )
        return answer, {"duplicates": int(np.count_nonzero(duplicate))}

    def _cell(self, points: Fixed, ids: NDArray[np.uint8], start: int) -> tuple[NDArray[Any], ...]:
        """Nearest and cosine; position of the smallest `doc_id` and size of each one's cluster. All positions from `start`."""
        nearest, cosine = nearest_earlier(points)
        root = groups(nearest, cosine > 1 - self.epsilon)
        halves = ids.view(">u8").astype(np.uint64)
        order = np.lexsort((halves[:, 1], halves[:, 0]))
        first = np.empty(len(root), np.int64)
        first[root[order[::-1]]] = order[::-1]  # the last that is written is the smallest
        size = np.bincount(root, minlength=len(root))[root]
        return np.where(nearest < 0, -1, nearest + start), cosine, first[root] + start, size
