"""Clusters of copies: how many there are of which size, and the largest ones."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.report.twins import Members, side_by_side
from pipelines.sample import Place

LARGEST = 10
_SIZE_BINS = 48  # powers of two: more than any corpus has


class Clusters:
    """Sizes of the clusters of one step. Bounded: counts by power of two, and the ten largest clusters.

    A cluster of size s is seen s times, so each sighting counts 1/s of a cluster.
    """

    def __init__(self, step: str) -> None:
        self.step = step
        self._documents = np.zeros(_SIZE_BINS, np.int64)
        self._clusters = np.zeros(_SIZE_BINS)
        self._kept = np.zeros(_SIZE_BINS, np.int64)
        self._largest: dict[Any, tuple[int, Place]] = {}

    @property
    def columns(self) -> tuple[str, str]:
        """Full names of the columns read."""
        return f"{self.step}.cluster", f"{self.step}.cluster_size"

    def add(self, shard: int, table: pa.Table, kept_N: npt.NDArray[np.bool_]) -> None:
        """Count the rows of a shard."""
        name, size_name = self.columns
        rows = np.flatnonzero(pc.is_valid(table[size_name]).to_numpy())
        size_N = table[size_name].to_numpy()[rows].astype(np.int64)
        bin_N = np.frexp(size_N.astype(np.float64))[1] - 1
        self._documents += np.bincount(bin_N, minlength=_SIZE_BINS)
        self._clusters += np.bincount(bin_N, weights=1 / size_N, minlength=_SIZE_BINS)
        self._kept += np.bincount(bin_N[kept_N[rows]], minlength=_SIZE_BINS)
        self._grow(shard, table[name], rows, size_N)

    def _grow(
        self, shard: int, names: pa.ChunkedArray, rows: npt.NDArray[np.int64], size_N: npt.NDArray[np.int64]
    ) -> None:
        """Take the largest clusters of a shard into the list: size by size, until the list could not change."""
        floor = min((s for s, _ in self._largest.values()), default=0) if len(self._largest) == LARGEST else 1
        sizes = np.unique(size_N[size_N > max(1, floor)])[::-1][:LARGEST]
        if not len(sizes):
            return
        chosen = rows[size_N >= sizes[-1]]
        big = names.take(pa.array(chosen)).to_pylist()
        for row, cluster, size in zip(chosen.tolist(), big, size_N[size_N >= sizes[-1]].tolist(), strict=True):
            self._largest.setdefault(cluster, (size, Place(shard, row)))
        order = sorted(self._largest.items(), key=lambda item: (-item[1][0], str(item[0])))
        self._largest = dict(order[:LARGEST])

    def places(self) -> list[Place]:
        """The first member of each of the largest clusters."""
        return [place for _, place in self._largest.values()]

    def names(self) -> list[Any]:
        """The largest clusters."""
        return list(self._largest)

    def json(self, members: dict[Place, dict[str, Any]], chosen: Members | None = None) -> dict[str, Any]:
        """The summary; `members` holds the documents at `places()` and at those of the chosen members."""
        sizes = []
        for i in np.flatnonzero(self._documents):
            low, high = 2 ** int(i), 2 ** (int(i) + 1) - 1
            documents, kept = int(self._documents[i]), int(self._kept[i])
            sizes.append(
                {
                    "from": low,
                    "to": high,
                    "clusters": round(float(self._clusters[i])),
                    "documents": documents,
                    "kept": kept,
                }
            )
        alone = int(self._documents[0])
        clusters = math.fsum(self._clusters[1:])
        largest = [
            {
                "cluster": str(c),
                "size": s,
                "member": members[p],
                "members": side_by_side([members[q] for q in chosen.places(c)]) if chosen else [],
            }
            for c, (s, p) in self._largest.items()
        ]
        return {
            "step": self.step,
            "documents": int(self._documents.sum()),
            "alone": alone,
            "clusters": round(clusters),
            "in_clusters": int(self._documents[1:].sum()),
            "sizes": sizes,
            "largest": largest,
        }
