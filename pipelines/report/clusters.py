"""Clusters of copies: how many there are of which size, and the largest ones."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

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
        self._largest: dict[Any, int] = {}

    @property
    def columns(self) -> tuple[str, str]:
        """Full names of the columns read."""
        return f"{self.step}.cluster", f"{self.step}.cluster_size"

    def add(self, table: pa.Table, kept_N: npt.NDArray[np.bool_]) -> None:
        """Count the rows of a shard."""
        name, size_name = self.columns
        rows = np.flatnonzero(pc.is_valid(table[size_name]).to_numpy())
        size_N = table[size_name].to_numpy()[rows].astype(np.int64)
        bin_N = np.frexp(size_N.astype(np.float64))[1] - 1
        self._documents += np.bincount(bin_N, minlength=_SIZE_BINS)
        self._clusters += np.bincount(bin_N, weights=1 / size_N, minlength=_SIZE_BINS)
        self._kept += np.bincount(bin_N[kept_N[rows]], minlength=_SIZE_BINS)
        self._grow(table[name], rows, size_N)

    def _grow(self, names: pa.ChunkedArray, rows: npt.NDArray[np.int64], size_N: npt.NDArray[np.int64]) -> None:
        """Take the largest clusters of a shard into the list; of equally large ones those named first."""
        full = len(self._largest) == LARGEST
        floor = max(2, min(self._largest.values(), default=2) if full else 2)
        big = np.flatnonzero(size_N >= floor)
        if not len(big):
            return
        seen = pa.table({"name": names.take(pa.array(rows[big])), "size": size_N[big]}).group_by(["name", "size"])
        found = seen.aggregate([]).sort_by([("size", "descending"), ("name", "ascending")]).slice(0, LARGEST)
        self._largest |= dict(zip(found["name"].to_pylist(), found["size"].to_pylist(), strict=True))
        order = sorted(self._largest.items(), key=lambda item: (-item[1], str(item[0])))
        self._largest = dict(order[:LARGEST])

    def largest(self) -> dict[Any, int]:
        """The largest clusters with their sizes, the largest first."""
        return self._largest

    def json(self) -> dict[str, Any]:
        """How many clusters of which size there are."""
        sizes = [
            {
                "from": 2 ** int(i),
                "to": 2 ** (int(i) + 1) - 1,
                "clusters": round(float(self._clusters[i])),
                "documents": int(self._documents[i]),
                "kept": int(self._kept[i]),
            }
            for i in np.flatnonzero(self._documents)
        ]
        return {
            "documents": int(self._documents.sum()),
            "alone": int(self._documents[0]),
            "clusters": round(math.fsum(self._clusters[1:])),
            "in_clusters": int(self._documents[1:].sum()),
            "sizes": sizes,
        }
