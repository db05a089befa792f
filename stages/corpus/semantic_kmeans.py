"""Cells of vectors that point the same way: spherical k-means by faiss, trained on a sample that documents alone choose."""

import numpy as np
import xxhash
from numpy.typing import NDArray

from stages.corpus.semantic_vectors import LENGTH, Fixed, Real, cosines, fixed, inverse_lengths, squares

ITERATIONS = 25
#: Vectors that a cell is meant to hold, where the spec does not say how many cells there are.
CELL_VECTORS = 4096
#: The most cells that are chosen without being asked for, as in SemDeDup (arXiv:2303.09540).
MOST_CELLS = 50_000
#: Vectors of the sample for each cell, and the least and most that the sample holds.
SAMPLE_PER_CELL, LEAST_SAMPLE, MOST_SAMPLE = 256, 16_384, 1 << 18
#: Products that are held at once.
PRODUCTS = 1 << 22


def cells_for(vectors: int) -> int:
    """How many cells so many vectors are split into."""
    return min(max(1, round(vectors / CELL_VECTORS)), MOST_CELLS)


def sample_size(cells: int) -> int:
    """The most vectors that k-means is trained on: 2**18 vectors of 384 dimensions are 0.4 GB."""
    return min(max(cells * SAMPLE_PER_CELL, LEAST_SAMPLE), MOST_SAMPLE)


def chances(seed: int, kind: str, ids_N16: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """A uniform 64-bit number for each document: hash(seed, kind, doc_id)."""
    salt = xxhash.xxh3_64_intdigest(f"{seed}\0{kind}".encode())
    data = ids_N16.tobytes()
    starts = range(0, len(data), 16)
    return np.fromiter((xxhash.xxh3_64_intdigest(data[i : i + 16], salt) for i in starts), np.uint64, len(ids_N16))


def below(chances_N: NDArray[np.uint64], wanted: int, vectors: int) -> NDArray[np.bool_]:
    """The documents among which the `wanted` lowest of all surely are, however they are sharded.

    A bound on the number, so that a shard knows without asking; a tenth more than wanted are expected.
    """
    if wanted * 11 >= vectors * 10:
        return np.ones(len(chances_N), bool)
    return chances_N < np.uint64((wanted * 11 << 64) // (vectors * 10))


def train(points_ND: Fixed, cells: int, seed: int) -> Fixed:
    """Centroids of spherical k-means, at most as many as there are vectors; the rows' order matters, so sort them.

    One thread and a seed: the same rows give the same centroids.
    """
    import faiss  # noqa: PLC0415 - heavy
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # no stubs  # noqa: PLC0415 - sees faiss

    if not len(points_ND):
        return points_ND
    x_ND = points_ND.astype(np.float32) / np.float32(LENGTH)
    cells = min(cells, len(x_ND))
    clustering = faiss.Kmeans(
        x_ND.shape[1],
        cells,
        niter=ITERATIONS,
        spherical=True,
        seed=seed & 0x7FFFFFFF,
        min_points_per_centroid=1,
        max_points_per_centroid=-(-len(x_ND) // cells),
    )
    threads = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(1)
        with ThreadpoolController().limit(limits=1):
            clustering.train(x_ND)
    finally:
        faiss.omp_set_num_threads(threads)
    return fixed(np.asarray(clustering.centroids))


def assign(points_ND: Fixed, centroids_KD: Fixed) -> tuple[NDArray[np.int64], Real]:
    """The nearest centroid of each vector (the first of equal ones), and the cosine to it."""
    c_KD = centroids_KD.astype(np.float32)
    square_K = squares(centroids_KD)
    inverse_K = inverse_lengths(square_K)
    cell_N = np.zeros(len(points_ND), np.int64)
    dot_N = np.zeros(len(points_ND), np.float32)
    step = max(1, PRODUCTS // len(c_KD))
    for start in range(0, len(points_ND), step):
        rows = slice(start, start + step)
        dots = points_ND[rows].astype(np.float32) @ c_KD.T
        cell_N[rows] = np.argmax(dots * inverse_K, axis=1)
        dot_N[rows] = np.take_along_axis(dots, cell_N[rows, None], axis=1)[:, 0]
    return cell_N, cosines(dot_N, squares(points_ND), square_K[cell_N])
