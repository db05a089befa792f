"""Hashes of the n-grams of texts, and the sets of them."""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

import functools
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.kernels import sketch_sha1
from stages.kernels.arrow import buffers
from stages.kernels.peek import copy, inner, kernel
from stages.kernels.sketch_folds import Folding, table
from stages.kernels.sketch_tokens import CHARACTERS, WORDS, scan_characters, scan_words

#: Tokens that are hashed at a time; with what is made of them they stay in the first-level cache.
CHUNK = 1024
#: Below this many values a bucket is sorted by insertion.
_FEW = 24

_M1, _M2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_33 = np.uint64(33)


class Shingling(Folding, Protocol):
    """The fields of a sketch that decide what its n-grams are; `Minhash` has them."""

    @property
    def ngram(self) -> int:
        """Tokens of an n-gram."""

    @property
    def unit(self) -> str:
        """What a token is: `word` or `character`."""

    @property
    def hash(self) -> str:
        """`fast` or `sha1`."""


def first_state(stage: Shingling) -> np.int64:
    """What `read_tokens` is told at the beginning of a text."""
    return np.int64(CHARACTERS if stage.unit == "character" else WORDS)


@functools.cache
def multipliers(ngram: int) -> NDArray[Any]:
    """An odd 64-bit number for each place of an n-gram (splitmix64, Steele et al. 2014)."""
    values = []
    for k in range(1, ngram + 1):
        z = (k * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        values.append(z ^ z >> 31 | 1)
    return np.array(values, np.uint64)


@inner()
def read_tokens(data: int, i: int, hi: int, end: int, t: int, state: int, out: int) -> tuple[int, int, int]:
    """Write hashes of at most `CHUNK` tokens from byte `i` on; gives where to go on, how many, and the state.

    The first state says what a token is: `WORDS` or `CHARACTERS`.
    """
    if state != WORDS:
        return scan_characters(data, i, hi, t, state, out, CHUNK)
    i, n = scan_words(data, i, hi, end, t, out, CHUNK)
    return i, n, state


@inner()
def mixed(h: int) -> int:
    """The 64-bit finalizer of murmur3."""
    h = (h ^ (h >> _33)) * _M1
    h = (h ^ (h >> _33)) * _M2
    return h ^ (h >> _33)


@inner()
def compose(tokens: Any, count: int, places: Any, size: int, grams: Any) -> None:
    """The hashes of `count` n-grams of `size` tokens: a sum of products, so that order counts, then mixed.

    Multilinear hashing (Carter and Wegman 1979) and the 64-bit finalizer of murmur3.
    """
    for i in range(count):
        grams[i] = tokens[i] * places[0]
    for k in range(1, size):
        m = places[k]
        for i in range(count):
            grams[i] += tokens[i + k] * m
    for i in range(count):
        grams[i] = mixed(grams[i])


@inner()
def _sort_few(values: Any, lo: int, hi: int) -> None:
    for i in range(lo + 1, hi):
        v, j = values[i], i - 1
        while j >= lo and values[j] > v:
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = v


@inner()
def _sink(values: Any, lo: int, i: int, n: int) -> None:
    """Let the i-th of `n` values from `lo` on sink to its place in the heap."""
    v = values[lo + i]
    child = 2 * i + 1
    while child < n:
        if child + 1 < n and values[lo + child + 1] > values[lo + child]:
            child += 1
        if values[lo + child] <= v:
            break
        values[lo + i] = values[lo + child]
        i, child = child, 2 * child + 1
    values[lo + i] = v


@inner()
def _sort_many(values: Any, lo: int, n: int) -> None:
    """Heapsort: linear for equal values, which is what nearly all large buckets hold. numba's own takes seconds to compile."""
    for i in range(n // 2, 0, -1):
        _sink(values, lo, i - 1, n)
    for end in range(n - 1, 0, -1):
        v = values[lo + end]
        values[lo + end] = values[lo]
        values[lo] = v
        _sink(values, lo, np.int64(0), end)


@inner()
def _sort(values: Any, out: Any, n: int) -> None:
    """Sort the first `n` of uniformly distributed values into `out`: by their highest bits, then each bucket."""
    bits = np.uint64(1)
    while (np.int64(1) << np.int64(bits)) * 4 < n:
        bits += np.uint64(1)
    shift, buckets = np.uint64(64) - bits, np.int64(1) << np.int64(bits)
    begins = np.empty(buckets + 1, np.int64)
    begins[:] = 0
    for i in range(n):
        begins[np.int64(values[i] >> shift) + 1] += 1
    for k in range(buckets):
        begins[k + 1] += begins[k]
    for i in range(n):
        k = np.int64(values[i] >> shift)
        out[begins[k]] = values[i]
        begins[k] += 1
    lo = np.int64(0)
    for k in range(buckets):
        hi = begins[k]
        if hi - lo <= _FEW:
            _sort_few(out, lo, hi)
        else:
            _sort_many(out, lo, hi - lo)
        lo = hi


@inner()
def _grown(values: Any, used: int, room: int) -> Any:
    larger = np.empty(room, np.uint64)
    copy(larger, 0, values, 0, used)
    return larger


@kernel()
def _distinct(values: Any, begins: Any) -> tuple[Any, Any]:
    """The sorted distinct values of each run of values, and where they begin."""
    runs = begins.shape[0] - 1
    offsets = np.zeros(runs + 1, np.int64)
    kept, n = np.empty(values.shape[0], np.uint64), np.int64(0)
    for d in range(runs):
        lo, size = begins[d], begins[d + 1] - begins[d]
        part = np.empty(size, np.uint64)
        _sort(values[lo : lo + size], part, size)
        for i in range(size):
            if i == 0 or part[i] != part[i - 1]:
                kept[n] = part[i]
                n += 1
        offsets[d + 1] = n
    return kept[:n].copy(), offsets


@kernel()
def _all_grams(data: Any, offsets: Any, block: Any, places: Any, first: int) -> tuple[Any, Any]:
    """The hashes of all n-grams of each text in order, the whole token sequence where it is shorter than one."""
    address, t, size = data.ctypes.data, block.ctypes.data, places.shape[0]
    tokens, grams = np.empty(CHUNK + size, np.uint64), np.empty(CHUNK, np.uint64)
    documents = offsets.shape[0] - 1
    begins = np.zeros(documents + 1, np.int64)
    found, n = np.empty(4 * CHUNK, np.uint64), np.int64(0)
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
            if n + count > found.shape[0]:
                found = _grown(found, n, 2 * found.shape[0])
            copy(found, n, grams, 0, count)
            n += count
            copy(tokens, 0, tokens, count, have - count)
            have -= count
        begins[d + 1] = n
    tokens[0] = 0  # its last use is here: numba frees an array after that, whoever still holds the address
    return found[:n], begins


def shingle_hashes(texts: pa.Array, stage: Shingling) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The sorted distinct 64-bit hashes of each text's n-grams, and where each text's begin (one place more).

    A text with fewer tokens than an n-gram has one: its whole token sequence; a text without tokens has none.
    The lower 32 bits are the hash that is signed. Memory: 16 bytes for every n-gram of all texts.
    """
    if stage.hash == "sha1":
        values, begins = sketch_sha1.all_grams(texts, stage)
    else:
        data, offsets = buffers(texts)
        values, begins = _all_grams(data, offsets, table(stage), multipliers(stage.ngram), first_state(stage))
    return _distinct(values, begins)
