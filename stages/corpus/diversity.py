"""An order in which documents are to be taken so that a few stand for all."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from stages.base import CorpusStage, OptionalColumn, Stage, Step, column
from stages.corpus.diversity_rule import farthest_first
from stages.corpus.semantic_cells import Cells, checked_embedding, rows16, runs, whole
from stages.corpus.semantic_kmeans import chances
from stages.corpus.semantic_vectors import fixed
from stages.embeddings.encoding import vectors_of
from stages.errors import DataError
from stages.flow import TO, Flow, Site, arrived, row_of, shard_of
from stages.measured import number_named


class Diversity(CorpusStage):
    """Two orders of documents by the vectors of the embedding step `of`: clusters by turns, and farthest first.

    Vectors are split by spherical k-means into `clusters` cells, as `semantic_duplicates` does.

    `round`: documents of a cell by `score`, highest first (nulls last), or without one by hash(seed, doc_id), numbered from 1.
    Taking documents by `round`, lowest first, takes one of every cell, then a second one of every cell that has two: as
    evenly as the cells allow (cluster-balanced sampling; Shao et al. 2024, arXiv:2402.14526, find it better than uniform sampling).

    `distance`: greedy k-center (Gonzalez 1985; for selection Sener and Savarese 2018, arXiv:1708.00489) within each
    cell. The cell's first by hash has 2, the largest; then always the document farthest from those chosen, whose Euclidean
    distance to the nearest of them, between vectors of length 1, is its `distance`. For each r, in each cell, the
    documents with `distance` >= r are at least r apart, and all others are nearer than r to one of them: taking the
    largest first covers best. It is exact within cells and blind between them; one cell (`clusters: 1`) is the whole
    greedy k-center.

    Vectors are compared in fixed point, exactly (a cosine is off by about 1e-4, so that copies differ by less than 0.02), so
    that the answer depends neither on shards nor partitions. Null where there is no vector.

    Bound: the sample of k-means (2**18 vectors) in one process, a partition's cells in each other. In a cell of more than
    4,096 documents the first 4,096 are chosen one by one, and the others have their distances to those: the time is
    that of 4,096 times the cell's documents.

    Raises:
        DataError: no document has a vector.
    """

    kind: Literal["diversity"] = "diversity"
    requires: ClassVar = ("faiss", "threadpoolctl")
    writes: ClassVar = pa.schema(
        [
            column("cluster", pa.int32(), "cell", doc="number of the k-means cell"),
            column("cluster_size", pa.int64(), "documents", doc="documents of the cell"),
            column("round", pa.int64(), "rank", better="lower", doc="place of the document in its cell, from 1"),
            column("distance", pa.float64(), "1", better="higher", doc="to the nearest document chosen before it"),
        ]
    )

    of: Step
    clusters: int | None = Field(default=None, ge=1, le=1_000_000)
    #: A column of numbers by which a cell's documents are ranked.
    score: OptionalColumn = None
    seed: int

    def resolve(self, steps: Mapping[str, Stage]) -> Self:
        """The same, once the step that it is of is known to be an embedding, and the score a number."""
        checked_embedding(self.kind, self.of, steps)
        if self.score is not None:
            number_named(self.kind, self.score, steps)
        return self

    def reads(self) -> tuple[str, ...]:
        """The vectors, the narrow column that tells where there are any, and the score."""
        own = (f"{self.of}.vector", f"{self.of}.tokens")
        return own if self.score is None else tuple(dict.fromkeys((*own, self.score)))

    def program(self, flow: Flow) -> None:
        """Count, sample, train, assign to cells, order within cells, bring home.

        Raises:
            DataError: no document has a vector.
        """
        cells = Cells(self.of, self.kind, self.seed, self.clusters, () if self.score is None else (self.score,))
        vectors = cells.counted(flow)
        if not vectors and flow.documents:
            raise DataError(
                f"none of {flow.documents} documents has a vector of step {self.of!r}, so there is nothing to tell apart; "
                "look at the text that it reads",
                step=self.of,
            )
        members = cells.members(flow, vectors)
        answers = flow.at("partitions", "order", self.order, members, to="shards")
        flow.settle(arrived, answers)

    def order(self, site: Site, members: pa.Table) -> pa.Table:
        """Both orders in every cell of a partition."""
        del site
        ids = rows16(whole(members["doc_id"]))
        members = members.append_column("chance", pa.array(chances(self.seed, self.kind, ids)))
        members = members.sort_by([(name, "ascending") for name in ("cell", "chance", "doc_id")])
        cell, place = members["cell"].to_numpy(), members["place"].to_numpy()
        vectors = vectors_of(whole(members["vector"]))
        score = self._scores(members)
        size, rank = np.zeros(len(cell), np.int64), np.zeros(len(cell), np.int64)
        distance = np.zeros(len(cell))
        for a, b in runs(cell):
            size[a:b] = b - a
            rank[a + np.argsort(-score[a:b], kind="stable")] = np.arange(1, b - a + 1)
            distance[a:b] = farthest_first(fixed(vectors[a:b]))
        return pa.table(
            {
                TO: shard_of(place),
                "row": row_of(place),
                "cluster": members["cell"],
                "cluster_size": size,
                "round": rank,
                "distance": distance,
            }
        )

    def _scores(self, members: pa.Table) -> NDArray[np.float64]:
        """The scores, -inf where there is none; all alike where documents are ranked by hash."""
        if self.score is None:
            return np.zeros(members.num_rows)
        values: Any = whole(members[self.score]).cast(pa.float64()).fill_null(-np.inf)
        found: NDArray[np.float64] = values.to_numpy(zero_copy_only=False)
        return found
