"""Cosines that are exact: vectors in fixed point, so that no order of summation changes a bit.

Components become integers, scaled so that a vector's Euclidean length is at most 4096. By Cauchy and Schwarz every
partial sum of a dot product is then at most 2**24, which float32 holds exactly: a matrix product gives the same bits
in every blocking, on every number of threads and on every processor. The rounding moves a cosine by about 1e-4.
"""

import numpy as np
from numpy.typing import NDArray

LENGTH = 4096
#: Vectors that are converted at once, so that wide copies stay small.
AT_ONCE = 4096
Real = NDArray[np.float64]
Fixed = NDArray[np.int16]


def fixed(vectors_ND: NDArray[np.floating]) -> Fixed:
    """The directions of vectors as integer components, of length at most 4096; a vector of zeros stays one.

    The squares of float16 numbers of a unit vector add up exactly in float64, so this too is independent of order.
    """
    fixed_ND = np.empty(vectors_ND.shape, np.int16)
    for start in range(0, len(vectors_ND), AT_ONCE):
        x_ND = vectors_ND[start : start + AT_ONCE].astype(np.float64)
        length_N = np.sqrt(np.add.reduce(x_ND * x_ND, axis=1))
        scale_N = (LENGTH - np.sqrt(x_ND.shape[1]) / 2) / np.where(length_N > 0, length_N, 1.0)
        fixed_ND[start : start + AT_ONCE] = np.rint(x_ND * scale_N[:, None])
    return fixed_ND


def squares(points_ND: Fixed) -> Real:
    """The squared length of each vector, an integer up to 2**24."""
    square_N = np.empty(len(points_ND), np.float64)
    for start in range(0, len(points_ND), AT_ONCE):
        x_ND = points_ND[start : start + AT_ONCE].astype(np.float32)
        square_N[start : start + AT_ONCE] = np.add.reduce(x_ND * x_ND, axis=1)
    return square_N


def inverse_lengths(squares_N: Real) -> NDArray[np.float32]:
    """One over the length of each vector, 0 for a vector of zeros."""
    return np.where(squares_N > 0, 1 / np.sqrt(np.maximum(squares_N, 1)), 0).astype(np.float32)


def cosines(dots_N: NDArray[np.floating], squares_N: Real, others_N: Real) -> Real:
    """Cosines from dot products and squared lengths; 0 where a vector has no length, 1 for equal vectors."""
    product_N = squares_N * others_N
    cosine_N: Real = dots_N.astype(np.float64) / np.sqrt(np.maximum(product_N, 1))
    return cosine_N
