"""Winnowing: anchors of a text, chosen by content alone, so that equal passages have equal anchors.

Every window of N bytes chooses the k-gram with the smallest hash of the w = N - k + 1 that begin in it, the rightmost
of equals (Schleimer, Wilkerson and Aiken 2003, Winnowing, definition 1). So two equal windows choose equal k-grams
at equal places, and neighbouring windows mostly choose the same one: of random text, 2 / (w + 1) of all k-grams.
"""

# numba infers the types of its integers, which mypy takes for Python's
# mypy: ignore-errors
# ruff: noqa: PLR0917 - numba takes flat arguments by position

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.kernels.arrow import buffers
from stages.kernels.peek import copy, inner, kernel, u8

#: Windows of a text that are looked at together, at least.
_CHUNK = 4096
_BASE = np.uint64(0x9E3779B97F4A7C15)
_M1, _M2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_29, _32, _33 = np.uint64(29), np.uint64(32), np.uint64(33)
_1 = np.uint64(1)


def anchor_bytes(min_bytes: int) -> int:
    """k: shorter anchors are fewer to keep, longer ones are less often equal by chance."""
    return min(max(min_bytes // 2, 8), 64)


@inner()
def chunk_of(width: int) -> int:
    """Windows to look at together, so that what neighbouring chunks both hash is little."""
    return max(_CHUNK, 8 * width)


@inner()
def power_of(k: int) -> int:
    """What the byte that leaves a k-gram is multiplied by."""
    power = _1
    for _ in range(k - 1):
        power *= _BASE
    return power


@inner()
def _hash_grams(data: int, at: int, count: int, k: int, power: int, grams: Any) -> None:
    """Hashes of the `count` k-grams that begin at byte `at` and after: polynomials modulo 2^64, mixed."""
    h = np.uint64(0)
    for j in range(k):
        h = h * _BASE + np.uint64(u8(data, at + j))
    for j in range(count):
        g = (h ^ (h >> _32)) * _M1
        grams[j] = g ^ (g >> _29)
        if j + 1 < count:
            h = (h - np.uint64(u8(data, at + j)) * power) * _BASE + np.uint64(u8(data, at + j + k))


@inner()
def _rightmost(grams: Any, lo: int, hi: int) -> int:
    """The rightmost place of the smallest hash."""
    best = lo
    for j in range(lo + 1, hi):
        if grams[j] <= grams[best]:
            best = j
    return best


@inner()
def _key(gram: int) -> int:
    """A chosen hash, mixed so that it is spread evenly again (the smallest of many are small); never 0."""
    h = (gram ^ (gram >> _33)) * _M2
    h = (h ^ (h >> _33)) * _M1
    h ^= h >> _33
    return h if h != np.uint64(0) else _1


@inner()
def choose(
    data: int, text: int, first: int, windows: int, k: int, width: int, power: int, grams: Any, chosen: Any, keys: Any,
    have: int,
) -> int:  # fmt: skip
    """Add the anchors of `windows` windows of a text, from the window `first`; gives how many there are then.

    `chosen[i]` is (place of the anchor, first window that chose it), both counted from the text's first byte. The last
    of the `have` anchors that are there is that of the window before.
    """
    _hash_grams(data, text + first, windows + width - 1, k, power, grams)
    here = _rightmost(grams, np.int64(0), width)
    if have == 0 or chosen[have - 1, 0] != first + here:
        chosen[have, 0], chosen[have, 1], keys[have] = first + here, first, _key(grams[here])
        have += 1
    least = grams[here]
    for i in range(1, windows):
        gram = grams[i + width - 1]
        if gram <= least:
            here = i + width - 1
        elif here < i:
            here = _rightmost(grams, i, i + width)
        else:
            continue
        least = grams[here]
        chosen[have, 0], chosen[have, 1], keys[have] = first + here, first + i, _key(least)
        have += 1
    return have


@kernel()
def _fingerprints(data: Any, offsets: Any, size: int, k: int) -> tuple[Any, Any]:
    t, width, power = data.ctypes.data, size - k + 1, power_of(k)
    chunk = chunk_of(width)
    grams, keys = np.empty(chunk + width, np.uint64), np.empty(chunk + 1, np.uint64)
    chosen = np.empty((chunk + 1, 2), np.int64)
    texts = offsets.shape[0] - 1
    ends = np.zeros(texts + 1, np.int64)
    found = np.empty(1024, np.uint64)
    n = np.int64(0)
    for d in range(texts):
        lo, windows = np.int64(offsets[d]), np.int64(offsets[d + 1]) - np.int64(offsets[d]) - size + 1
        have, last, told = np.int64(0), np.uint64(0), np.int64(0)
        for first in range(0, windows, chunk):
            count = choose(t, lo, first, min(chunk, windows - first), k, width, power, grams, chosen, keys, have)
            if n + count > found.shape[0]:
                larger = np.empty(2 * (n + count), np.uint64)
                copy(larger, 0, found, 0, n)
                found = larger
            for c in range(have, count):
                told = told + 1 if keys[c] == last else 1
                last = keys[c]
                if told <= 2:  # that it occurs twice is all that is asked of a run of equal anchors
                    found[n] = last
                    n += 1
            chosen[0, 0], chosen[0, 1], keys[0] = chosen[count - 1, 0], chosen[count - 1, 1], keys[count - 1]
            have = 1
        ends[d + 1] = n
    grams[0] = data[0] if data.shape[0] else 0  # numba frees an array after its last use, whoever holds its address
    return found[:n].copy(), ends


def fingerprints(texts: pa.Array, min_bytes: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The hashes of each text's anchors, in order, and the `n + 1` places where each text's begin.

    Of a run of equal anchors that follow each other only two are given.
    """
    data, offsets = buffers(texts)
    values, ends = _fingerprints(data, offsets, min_bytes, anchor_bytes(min_bytes))
    return values, ends
