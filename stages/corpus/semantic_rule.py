"""SemDeDup's rule within one cell: how near each vector is to those that come before it."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.corpus.semantic_vectors import Fixed, Real, cosines, inverse_lengths, squares

#: Vectors a side of a block of products: 16 MB of float32.
BLOCK = 2048


def nearest_earlier(points_MD: Fixed, block: int = BLOCK) -> tuple[NDArray[np.int64], Real]:
    """For each vector the position of the most similar earlier one (the first of equal ones; -1 for none), and its cosine.

    Memory is that of two blocks of vectors and their products. Equal vectors are compared once: a later one is nearest
    to the first, with cosine 1; so a cell of copies takes the time of one vector.
    """
    first_M = _first_of_equals(points_MD)
    own_R = np.flatnonzero(first_M == np.arange(len(first_M)))
    near_R, dot_R = _nearest_distinct(points_MD[own_R], block)
    square_R = squares(points_MD[own_R])
    nearest_M, cosine_M = first_M.copy(), np.ones(len(first_M))
    known_R = near_R >= 0
    nearest_M[own_R] = np.where(known_R, own_R[near_R], -1) if len(own_R) else own_R
    cosine_M[own_R] = np.where(known_R, cosines(dot_R, square_R, square_R[near_R]), np.nan) if len(own_R) else 1.0
    return nearest_M, cosine_M


def groups(nearest_M: NDArray[np.int64], linked_M: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The first position of each position's group: those connected by links to the nearest earlier one."""
    root_M = np.where(linked_M, nearest_M, np.arange(len(nearest_M)))
    while True:
        further_M = root_M[root_M]
        if np.array_equal(further_M, root_M):
            return root_M
        root_M = further_M


def _first_of_equals(points_MD: Fixed) -> NDArray[np.int64]:
    width = points_MD.shape[1] * points_MD.itemsize
    data = pa.py_buffer(np.ascontiguousarray(points_MD))
    codes = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(points_MD), [None, data]).dictionary_encode()
    code_M = codes.indices.to_numpy()
    # codes count up in order of first appearance, so a code is new where the running maximum grows
    first_K = np.flatnonzero(np.diff(np.maximum.accumulate(code_M), prepend=-1)) if len(code_M) else code_M
    return np.asarray(first_K[code_M], np.int64)


def _nearest_distinct(points_RD: Fixed, block: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Position and dot product of the most similar earlier vector; -1 and 0 for the first."""
    inverse_R = inverse_lengths(squares(points_RD))
    near_R, dot_R = np.full(len(points_RD), -1, np.int64), np.zeros(len(points_RD), np.float32)
    for a in range(0, len(points_RD), block):
        here = points_RD[a : a + block].astype(np.float32)
        best = np.full(len(here), -np.inf, np.float32)
        for b in range(0, a + 1, block):
            dots = here @ points_RD[b : b + block].astype(np.float32).T
            scaled = dots * inverse_R[b : b + block]
            if a == b:
                scaled[np.triu_indices(len(here))] = -np.inf
            column = np.argmax(scaled, axis=1)
            top = np.take_along_axis(scaled, column[:, None], axis=1)[:, 0]
            better = top > best
            best[better] = top[better]
            near_R[a : a + block][better] = b + column[better]
            dot_R[a : a + block][better] = np.take_along_axis(dots, column[:, None], axis=1)[better, 0]
    return near_R, dot_R
