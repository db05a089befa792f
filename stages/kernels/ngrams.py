"""Repeated sequences of words: the most common n-gram for n = 2 to 4, duplicated n-grams for n = 5 to 10.

A sequence of n words can repeat only where its first n - 1 words do, so each length looks only at the places where
the length before found a repeat; on ordinary text nearly all the work is one table of pairs. Words are hashed once;
an n-gram's hash is that of its first n - 1 words and its last word, so n-grams are equal when all their words are.
"""

# ruff: noqa: FBT001, PLR0917 - numba takes positions; numba takes flat arguments
# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.kernels.peek import inner, kernel
from stages.kernels.tables import slots_for
from stages.kernels.utf8 import pair_hash

#: What `count_ngrams` counts, in the order of its columns.
NGRAM_COUNTS = (
    "words", "word_chars",
    *(f"top_{n}" for n in (2, 3, 4)),
    *(f"slid_{n}" for n in range(5, 11)),
    *(f"covered_{n}" for n in range(5, 11)),
    *(f"counted_{n}" for n in range(5, 11)),
    *(f"all_{n}" for n in range(5, 11)),
    *(f"covering_top_{n}" for n in (2, 3, 4)),
    *(f"common_{n}" for n in (2, 3, 4)),
)  # fmt: skip
_Array = NDArray[Any]


@inner()
def _count_level(
    length: int,
    places: _Array,
    count: int,
    grams: _Array,
    hashes: _Array,
    table: _Array,
    first: _Array,
    times: _Array,
    mask: int,
    repeated: _Array,
) -> tuple[int, int]:
    """Enter every candidate n-gram; mark all places of those that occur twice. Returns the most common one's count and place."""
    best, best_at = np.int64(1), np.int64(0)
    for c in range(count):
        at = np.int64(places[c])
        key = pair_hash(grams[at], hashes[at + length - 1])
        grams[at] = key
        slot = np.int64(key & np.uint64(mask))
        while table[slot] != np.uint64(0) and table[slot] != key:
            slot = (slot + 1) & mask
        if table[slot] == np.uint64(0):
            table[slot], first[slot], times[slot] = key, at, 1
            continue
        times[slot] += 1
        repeated[at] = length
        repeated[first[slot]] = length
        if np.int64(times[slot]) > best or (times[slot] == best and first[slot] < best_at):
            best, best_at = np.int64(times[slot]), np.int64(first[slot])
    return best, best_at


@inner()
def _find(table: _Array, mask: int, key: int) -> int:
    slot = np.int64(key & np.uint64(mask))
    while table[slot] != key:
        slot = (slot + 1) & mask
    return slot


@inner()
def _slide(
    length: int, places: _Array, count: int, grams: _Array, chars: _Array, table: _Array, times: _Array, mask: int
) -> int:
    """Characters of duplicates as datatrove slides: a duplicate is skipped whole, anything else by one word."""
    total, free = np.int64(0), np.int64(0)
    for c in range(count):
        at = np.int64(places[c])
        if at < free:
            continue
        slot = _find(table, mask, grams[at])
        if times[slot] < 0:
            total += chars[at + length] - chars[at]
            free = at + length
        else:
            times[slot] = -times[slot]
    return total


@inner()
def _cover(length: int, places: _Array, count: int, chars: _Array) -> tuple[int, int]:
    """Characters of the words that any repeated n-gram covers, and characters of all occurrences of repeated n-grams."""
    covered, counted, done = np.int64(0), np.int64(0), np.int64(0)
    for c in range(count):
        at = np.int64(places[c])
        covered += chars[at + length] - chars[max(at, done)]
        counted += chars[at + length] - chars[at]
        done = at + length
    return covered, counted


@inner()
def _all_chars(length: int, n: int, chars: _Array) -> int:
    """Characters of all n-grams of a document, overlaps and all."""
    total = np.int64(0)
    for i in range(n - length + 1):
        total += chars[i + length] - chars[i]
    return total


@inner()
def _longest_top(
    length: int,
    best: int,
    places: _Array,
    count: int,
    grams: _Array,
    chars: _Array,
    table: _Array,
    times: _Array,
    mask: int,
) -> int:
    """Characters of the longest among the most common n-grams."""
    longest = np.int64(0)
    for c in range(count):
        at = np.int64(places[c])
        if chars[at + length] - chars[at] > longest and times[_find(table, mask, grams[at])] == best:
            longest = chars[at + length] - chars[at]
    return longest


@inner()
def _measure(
    n: int,
    hashes: _Array,
    chars: _Array,
    grams: _Array,
    places: _Array,
    repeated: _Array,
    table: _Array,
    first: _Array,
    times: _Array,
    row: _Array,
    exhaustive: bool,
) -> None:
    """Fill one document's row; the work arrays have at least `n` places and a table for `n` items."""
    for i in range(n):
        grams[i], places[i], repeated[i] = hashes[i], i, 0
    count = n
    for length in range(2, 11):
        kept = np.int64(0)
        for c in range(count):
            if places[c] + length <= n:
                places[kept] = places[c]
                kept += 1
        count = kept
        if n < length:
            break
        mask = slots_for(count) - 1
        table[: mask + 1] = 0
        best, best_at = _count_level(length, places, count, grams, hashes, table, first, times, mask, repeated)
        kept = np.int64(0)
        for c in range(count):
            if repeated[places[c]] == length:
                places[kept] = places[c]
                kept += 1
        count = kept
        if length <= 4:
            size = np.int64(chars[best_at + length]) - chars[best_at]
            row[length], row[30 + length] = best * (size + length - 1), best * size
            if exhaustive and best > 1:
                row[27 + length] = best * _longest_top(length, best, places, count, grams, chars, table, times, mask)
        else:
            covered, counted = _cover(length, places, count, chars)
            row[length], row[6 + length], row[12 + length] = 0, covered, counted
            row[length] = _slide(length, places, count, grams, chars, table, times, mask)
            if exhaustive:
                row[18 + length] = _all_chars(length, n, chars)


@kernel()
def count_ngrams(hashes: Any, sizes: Any, begins: Any, exhaustive: bool) -> NDArray[Any]:
    """Counts of `NGRAM_COUNTS` a document: int64 of shape (documents, counts).

    `top_n`: characters of the most common n-gram joined by spaces, times its count (the first seen among ties; a count
    of 1 counts). `slid_n`: characters of duplicates met when sliding. `covered_n`: of words in any repeated n-gram.
    `counted_n`: of all occurrences of repeated n-grams; `all_n`: of all n-grams.
    `common_n`: the same as `top_n` without the spaces. `covering_top_n`: the longest of the most common n-grams, its
    words' characters times its count, 0 if all are unique. `all_n` and `covering_top_n` are 0 unless `exhaustive`.
    """
    out = np.empty((begins.shape[0] - 1, 35), np.int64)
    out[:] = 0
    room = np.int64(4096)
    for d in range(out.shape[0]):
        room = max(room, begins[d + 1] - begins[d])
    grams, places, repeated = np.empty(room, np.uint64), np.empty(room, np.int32), np.empty(room, np.int8)
    slots = slots_for(room)
    table, first, times = np.empty(slots, np.uint64), np.empty(slots, np.int32), np.empty(slots, np.int32)
    chars = np.empty(room + 1, np.int32)
    for d in range(out.shape[0]):
        lo, n = begins[d], begins[d + 1] - begins[d]
        total = np.int64(0)
        for i in range(n):
            chars[i] = total
            total += np.int64(sizes[lo + i])
        chars[n] = total
        out[d, 0], out[d, 1] = n, total
        _measure(n, hashes[lo:], chars, grams, places, repeated, table, first, times, out[d], exhaustive)
    return out
