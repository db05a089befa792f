"""The rounds that bring vectors of an embedding step to their k-means cells, each cell's whole in one partition.

Counting and sampling at shards, training in one process, assigning at shards. What a document is assigned to depends on
the documents alone, not on how they are sharded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.base import Stage
from stages.corpus.semantic_kmeans import assign, below, cells_for, chances, sample_size, train
from stages.corpus.semantic_vectors import fixed
from stages.document import packed
from stages.embeddings.encoding import vectors_of
from stages.errors import SpecError
from stages.flow import TO, Exchange, Flow, Site, partitions_for, place_of
from stages.text.embedding import Embedding

#: Vectors of one partition: 200,000 of 384 dimensions are 150 MB.
PARTITION_VECTORS = 200_000


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells of the vectors of step `of`, for a stage of some kind; `clusters` of them, or one for every 4,096 vectors.

    Members carry the columns `beside` with them.
    """

    of: str
    kind: str
    seed: int
    clusters: int | None = None
    beside: tuple[str, ...] = ()

    def counted(self, flow: Flow) -> int:
        """How many documents have a vector."""
        return flow.at("shards", "count", self.count, to="one").counts.get("vectors", 0)

    def members(self, flow: Flow, vectors: int) -> Exchange:
        """The vectors, sent to where their cells are; see `assign`."""
        cells = self.clusters or cells_for(vectors)
        flow.split(partitions_for(vectors, PARTITION_VECTORS))
        sample = flow.at("shards", "sample", partial(self.sample, cells, vectors), to="one")
        centroids = flow.at("one", "train", partial(self.train, cells), sample, to="shards")
        return flow.at("shards", "assign", self.assign, centroids, to="partitions")

    # -- rounds -----------------------------------------------------------------------------------------------------

    def count(self, site: Site) -> tuple[pa.Table, Mapping[str, int]]:
        """How many documents have a vector; sends nothing."""
        tokens = site.columns(f"{self.of}.tokens")[f"{self.of}.tokens"].fill_null(0).to_numpy()
        vectors = int(np.count_nonzero(tokens))
        nothing = pa.table({TO: pa.array([], pa.int64())})
        return nothing, {"vectors": vectors, "documents_without_vector": len(tokens) - vectors}

    def sample(self, cells: int, vectors: int, site: Site) -> pa.Table:
        """The vectors that k-means may be trained on."""
        _, ids, column, _ = self._present(site)
        chance = chances(self.seed, self.kind, ids)
        mine = np.flatnonzero(below(chance, sample_size(cells), vectors))
        return pa.table(
            {
                TO: np.zeros(len(mine), np.int64),
                "chance": chance[mine],
                "doc_id": _binary(ids[mine]),
                "vector": column.take(pa.array(mine)),
            }
        )

    def train(self, cells: int, site: Site, sample: pa.Table) -> tuple[pa.Table, Mapping[str, int]]:
        """The centroids, sent to every shard."""
        order = sample.sort_by([("chance", "ascending"), ("doc_id", "ascending")]).slice(0, sample_size(cells))
        points = fixed(vectors_of(whole(order["vector"])))
        centroids = train(points, cells, self.seed)
        shards = site.sites["shards"]
        # one value behind all rows, so that memory does not grow with the shards
        once = pa.DictionaryArray.from_arrays(
            pa.array(np.zeros(shards, np.int32)), pa.array([centroids.tobytes()], pa.large_binary())
        )
        counts = {"sample": len(points), "cells": len(centroids)}
        return pa.table({TO: np.arange(shards), "centroids": once}), counts

    def assign(self, site: Site, centroids: pa.Table) -> pa.Table:
        """Every vector, with its cell, its place, the columns beside it; sent to where its cell is."""
        rows, ids, column, beside = self._present(site)
        points = fixed(vectors_of(column))
        centers = np.frombuffer(centroids["centroids"][0].as_py(), np.int16).reshape(-1, points.shape[1])
        cell, cosine = assign(points, centers) if len(points) else (np.zeros(0, np.int64), np.zeros(0))
        return pa.table(
            {
                TO: cell * site.sites["partitions"] // max(1, len(centers)),
                "cell": cell.astype(np.int32),
                "place": place_of(site.number, rows),
                "doc_id": _binary(ids),
                "centroid_cosine": cosine,
                "vector": column,
                **beside,
            }
        )

    def _present(
        self, site: Site
    ) -> tuple[NDArray[np.int64], NDArray[np.uint8], pa.Array, Mapping[str, pa.ChunkedArray]]:
        """Row, packed `doc_id`, vector and columns beside it of the documents that have one."""
        table = site.columns(f"{self.of}.vector", *self.beside)
        vectors = whole(table[f"{self.of}.vector"])
        rows = np.flatnonzero(vectors.is_valid().to_numpy(zero_copy_only=False))
        taken = pa.array(rows)
        beside = {name: table[name].take(taken) for name in self.beside}
        return rows, packed(table["doc_id"])[rows], vectors.take(taken), beside


def checked_embedding(kind: str, of: str, steps: Mapping[str, Stage]) -> None:
    """Refuse a step that gives no vectors.

    Raises:
        SpecError: it is no embedding.
    """
    named = steps[of]
    if not isinstance(named, Embedding):
        raise SpecError(f"{kind} is of {of!r}, a step of kind {named.kind!r}; name an embedding step")


def runs(values: NDArray[np.int32]) -> Iterator[tuple[int, int]]:
    """Beginning and end of each run of equal values."""
    edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    return ((a, b) for a, b in pairwise(edges) if b > a)


def whole(values: pa.ChunkedArray) -> pa.Array:
    """A column as one array."""
    return values.chunk(0) if values.num_chunks == 1 else pa.concat_arrays(values.chunks or [pa.array([], values.type)])


def rows16(ids: pa.Array) -> NDArray[np.uint8]:
    """The packed ids of a column: uint8 of shape (rows, 16)."""
    data = ids.buffers()[1]
    flat = np.frombuffer(data, np.uint8, 16 * len(ids), 16 * ids.offset) if len(ids) else np.zeros(0, np.uint8)
    return flat.reshape(len(ids), 16)


def _binary(ids: NDArray[np.uint8]) -> pa.Array:
    data = pa.py_buffer(np.ascontiguousarray(ids))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(ids), [None, data])
