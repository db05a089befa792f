"""MinHash sketches, bit for bit those of datasketch 2.0's scheme `affine32`, and what is read off them."""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

import functools
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.kernels import sketch_sha1
from stages.kernels.arrow import buffers, frozen
from stages.kernels.peek import copy, inner, kernel
from stages.kernels.shingles import CHUNK, Shingling, compose, first_state, multipliers, read_tokens
from stages.kernels.sketch_folds import table

EMPTY = np.uint32(0xFFFFFFFF)
_F1, _F2 = np.uint32(0x85EBCA6B), np.uint32(0xC2B2AE35)
_13, _16 = np.uint32(13), np.uint32(16)
_33 = np.uint64(33)
_M1, _M2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_PAIR = np.uint64(0x9E3779B97F4A7C15)
_32 = np.uint64(32)


class Signing(Shingling, Protocol):
    """The fields of a sketch that decide its values; `Minhash` has them."""

    @property
    def permutations(self) -> int:
        """Values of a signature."""

    @property
    def seed(self) -> int:
        """What the permutations are drawn from."""


@functools.cache
def permutations(count: int, seed: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Multipliers, all odd, and addends of datasketch 2.0's `affine32` permutations."""
    draw = np.random.RandomState(seed)
    a = draw.randint(0, 1 << 31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return a, draw.randint(0, 1 << 32, count, dtype=np.uint32)


@inner()
def _premix(h: int) -> int:
    """The 32-bit finalizer of murmur3."""
    h = np.uint32(h ^ (h >> _16))
    h = np.uint32(h * _F1)
    h = np.uint32(h ^ (h >> _13))
    h = np.uint32(h * _F2)
    return np.uint32(h ^ (h >> _16))


@inner()
def _lower(minima: Any, a: Any, b: Any, hashes: Any, count: int) -> None:
    """Lower each permutation's minimum to the least value that it gives any of the mixed hashes."""
    last = count - 1
    for i in range(0, count, 4):
        h0, h1, h2, h3 = hashes[i], hashes[min(i + 1, last)], hashes[min(i + 2, last)], hashes[min(i + 3, last)]
        for k in range(minima.shape[0]):
            m = a[k]
            c = b[k]
            v0, v1 = np.uint32(np.uint32(m * h0) + c), np.uint32(np.uint32(m * h1) + c)
            v2, v3 = np.uint32(np.uint32(m * h2) + c), np.uint32(np.uint32(m * h3) + c)
            minima[k] = min(minima[k], v0, v1, v2, v3)


@kernel()
def _sign(data: Any, offsets: Any, block: Any, places: Any, first: int, a: Any, b: Any) -> tuple[Any, Any]:
    """Signatures and token counts."""
    address, t, size = data.ctypes.data, block.ctypes.data, places.shape[0]
    tokens, grams, hashes = np.empty(CHUNK + size, np.uint64), np.empty(CHUNK, np.uint64), np.empty(CHUNK, np.uint32)
    documents = offsets.shape[0] - 1
    minima, counts = np.empty((documents, a.shape[0]), np.uint32), np.zeros(documents, np.int64)
    minima[:] = EMPTY
    for d in range(documents):
        i, hi = np.int64(offsets[d]), np.int64(offsets[d + 1])
        have, total, state = np.int64(0), np.int64(0), first
        while i < hi:
            i, got, state = read_tokens(address, i, hi, data.shape[0], t, state, tokens.ctypes.data + 8 * have)
            total += got
            have += got
            length = total if i >= hi and total < size else size
            if length == 0 or have < length:
                continue
            count = have - length + 1
            compose(tokens, count, places, length, grams)
            for k in range(count):
                hashes[k] = _premix(np.uint32(grams[k]))
            _lower(minima[d], a, b, hashes, count)
            copy(tokens, 0, tokens, count, have - count)
            have -= count
        counts[d] = total
    tokens[0] = 0  # its last use is here: numba frees an array after that, whoever still holds the address
    return minima, counts


@kernel()
def sign_hashes(values: Any, begins: Any, a: Any, b: Any) -> Any:
    """Signatures of runs of n-gram hashes, of which the lower 32 bits count."""
    documents = begins.shape[0] - 1
    minima, hashes = np.empty((documents, a.shape[0]), np.uint32), np.empty(CHUNK, np.uint32)
    minima[:] = EMPTY
    for d in range(documents):
        lo = begins[d]
        while lo < begins[d + 1]:
            count = min(begins[d + 1] - lo, CHUNK)
            for k in range(count):
                hashes[k] = _premix(np.uint32(values[lo + k]))
            _lower(minima[d], a, b, hashes, count)
            lo += count
    return minima


def sign(texts: pa.Array, stage: Signing) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.int64]]:
    """Signatures (texts, permutations), n-grams of each text and tokens of each text.

    A text with fewer tokens than an n-gram is signed by its whole token sequence and has no n-grams; the signature
    of a text without tokens is all ones.
    """
    a, b = permutations(stage.permutations, stage.seed)
    if stage.hash == "sha1":
        values, begins = sketch_sha1.all_grams(texts, stage)
        signatures, tokens = sign_hashes(values, begins, a, b), sketch_sha1.count_tokens(texts, stage)
    else:
        data, offsets = buffers(texts)
        signatures, tokens = _sign(data, offsets, table(stage), multipliers(stage.ngram), first_state(stage), a, b)
    return signatures, np.maximum(tokens - (stage.ngram - 1), 0), tokens


@inner()
def _mix(h: int) -> int:
    """The 64-bit finalizer of murmur3."""
    h = (h ^ (h >> _33)) * _M1
    h = (h ^ (h >> _33)) * _M2
    return h ^ (h >> _33)


@kernel()
def _band_keys(signatures: Any, bands: int, rows: int) -> Any:
    n = signatures.shape[0]
    keys = np.empty((n, bands), np.uint64)
    for d in range(n):
        for band in range(bands):
            h = _mix(np.uint64(band + 1) * _PAIR)
            for k in range(band * rows, (band + 1) * rows):
                h = (h ^ np.uint64(signatures[d, k])) * _M1
                h ^= h >> _32
            keys[d, band] = _mix(h)
    return keys


def band_keys(signatures: NDArray[np.uint32], bands: int, rows: int) -> NDArray[np.uint64]:
    """A 64-bit hash of the values of each band and of its number: (texts, bands).

    Raises:
        ValueError: the bands need more values than the signatures have.

    """
    if bands * rows > signatures.shape[1]:
        message = f"{bands} bands of {rows} rows need more than the {signatures.shape[1]} values of a signature"
        raise ValueError(message)
    return _band_keys(frozen(np.ascontiguousarray(signatures)), bands, rows)


@kernel()
def _equal_fraction(a: Any, b: Any) -> Any:
    pairs, size = a.shape
    fraction = np.empty(pairs, np.float64)
    for p in range(pairs):
        equal = np.int64(0)
        for k in range(size):
            equal += a[p, k] == b[p, k]
        fraction[p] = equal / size
    return fraction


def signature_jaccard(a: NDArray[np.uint32], b: NDArray[np.uint32]) -> NDArray[np.float64]:
    """The share of equal positions of each pair of signatures: an unbiased estimate of their texts' Jaccard.

    Source: Broder (1997), On the resemblance and containment of documents.
    """
    return _equal_fraction(frozen(np.ascontiguousarray(a)), frozen(np.ascontiguousarray(b)))


@kernel()
def set_jaccard(a_values: Any, a_offsets: Any, b_values: Any, b_offsets: Any, ia: Any, ib: Any) -> Any:
    """The Jaccard index of the sorted distinct sets `a[ia[k]]` and `b[ib[k]]`, in [0, 1]; 0 where both are empty."""
    pairs = ia.shape[0]
    jaccard = np.empty(pairs, np.float64)
    for p in range(pairs):
        i, i_end = a_offsets[ia[p]], a_offsets[ia[p] + 1]
        j, j_end = b_offsets[ib[p]], b_offsets[ib[p] + 1]
        sizes, common = (i_end - i) + (j_end - j), np.int64(0)
        while i < i_end and j < j_end:
            x, y = a_values[i], b_values[j]
            common += x == y
            i += x <= y
            j += y <= x
        jaccard[p] = common / (sizes - common) if sizes > 0 else 0.0
    return jaccard
