"""Repeated sequences of words: the most common n-gram for n = 2 to 4, duplicated n-grams for n = 5 to 10.

A sequence of n words can repeat only where its first n - 1 words do, so each length looks only at the places where
the length before found a repeat; on ordinary text nearly all the work is one table of pairs. Words are hashed once;
an n-gram's hash is that of its first n - 1 words and its last word, so n-grams are equal when all their words are.
"""

import numpy as np
from numba import njit

from stages.kernels.tables import slots_for
from stages.kernels.utf8 import chars_in, pair_hash, span_hash
from stages.kernels.words import next_cut, split_words

#: What `count_ngrams` counts, in the order of its columns.
NGRAM_COUNTS = (
    "words", "word_chars",
    *(f"top_{n}" for n in (2, 3, 4)),
    *(f"slid_{n}" for n in range(5, 11)),
    *(f"covered_{n}" for n in range(5, 11)),
    *(f"counted_{n}" for n in range(5, 11)),
    *(f"all_{n}" for n in range(5, 11)),
    *(f"covering_top_{n}" for n in (2, 3, 4)),
)  # fmt: skip
_SEGMENT = 65_536


@njit(nogil=True, cache=True)
def _hash_words(data, lo, stop, cls, index, keys, cuts, seen, rule, starts, ends, plain, hashes, chars):
    """Hash every word of a document; `chars[i]` is the characters of the words before the i-th. Grows its arrays."""
    n, total = 0, 0
    while lo < stop:
        hi = next_cut(data, lo, stop)
        count = split_words(data, lo, hi, cls, index, keys, cuts, seen, rule, starts, ends, plain)
        if n + count + 1 > hashes.shape[0]:
            room = 2 * (n + count + 1)
            if hi - lo < stop - lo:  # by the words a byte so far, with a tenth to spare
                room = max(room // 2, min(room, np.int64((n + count) * 1.1)) + 65536)
            hashes, chars = np.append(hashes, np.empty(room, np.uint64)), np.append(chars, np.empty(room, np.int32))
        for w in range(count):
            a, b = np.int64(starts[w]), np.int64(ends[w])
            hashes[n] = span_hash(data, a, b)
            chars[n] = total
            total += b - a if plain[w] else chars_in(data, a, b)
            n += 1
        lo = hi
    if n + 1 > hashes.shape[0]:
        hashes, chars = np.append(hashes, np.empty(16, np.uint64)), np.append(chars, np.empty(16, np.int32))
    chars[n] = total
    return n, hashes, chars


@njit(nogil=True, cache=True)
def _count_level(length, places, count, grams, hashes, table, first, times, mask, repeated):
    """Enter every candidate n-gram; mark all places of those that occur twice. Returns the most common one's count and place."""
    best, best_at = 1, 0
    for c in range(count):
        at = places[c]
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
        if times[slot] > best or (times[slot] == best and first[slot] < best_at):
            best, best_at = times[slot], first[slot]
    return best, best_at


@njit(nogil=True, cache=True)
def _find(table, mask, key):
    slot = np.int64(key & np.uint64(mask))
    while table[slot] != key:
        slot = (slot + 1) & mask
    return slot


@njit(nogil=True, cache=True)
def _slide(length, places, count, grams, chars, table, times, mask):
    """Characters of duplicates as datatrove slides: a duplicate is skipped whole, anything else by one word."""
    total, free = 0, 0
    for c in range(count):
        at = places[c]
        if at < free:
            continue
        slot = _find(table, mask, grams[at])
        if times[slot] < 0:
            total += chars[at + length] - chars[at]
            free = at + length
        else:
            times[slot] = -times[slot]
    return total


@njit(nogil=True, cache=True)
def _cover(length, places, count, chars):
    """Characters of the words that any repeated n-gram covers, and characters of all occurrences of repeated n-grams."""
    covered, counted, done = 0, 0, 0
    for c in range(count):
        at = places[c]
        covered += chars[at + length] - chars[max(at, done)]
        counted += chars[at + length] - chars[at]
        done = at + length
    return covered, counted


@njit(nogil=True, cache=True)
def _all_chars(length, n, chars):
    """Characters of all n-grams of a document, overlaps and all."""
    total = np.int64(0)
    for i in range(n - length + 1):
        total += chars[i + length] - chars[i]
    return total


@njit(nogil=True, cache=True)
def _longest_top(length, best, places, count, grams, chars, table, times, mask):
    """Characters of the longest among the most common n-grams."""
    longest = 0
    for c in range(count):
        at = places[c]
        if chars[at + length] - chars[at] > longest and times[_find(table, mask, grams[at])] == best:
            longest = chars[at + length] - chars[at]
    return longest


@njit(nogil=True, cache=True)
def _measure(n, hashes, chars, grams, places, repeated, table, first, times, row, exhaustive):
    """Fill one document's row; the work arrays have at least `n` places and a table for `n` items."""
    for i in range(n):
        grams[i], places[i], repeated[i] = hashes[i], i, 0
    count = n
    for length in range(2, 11):
        kept = 0
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
        kept = 0
        for c in range(count):
            if repeated[places[c]] == length:
                places[kept] = places[c]
                kept += 1
        count = kept
        if length <= 4:
            row[length] = best * (chars[best_at + length] - chars[best_at] + length - 1)
            if best > 1:
                row[27 + length] = best * _longest_top(length, best, places, count, grams, chars, table, times, mask)
        else:
            covered, counted = _cover(length, places, count, chars)
            row[length], row[6 + length], row[12 + length] = 0, covered, counted
            row[length] = _slide(length, places, count, grams, chars, table, times, mask)
            if exhaustive:
                row[18 + length] = _all_chars(length, n, chars)


@njit(nogil=True, cache=True)
def count_ngrams(data, offsets, cls, index, keys, cuts, seen, rule, exhaustive):
    """Counts of `NGRAM_COUNTS` a document: int64 of shape (documents, counts).

    `top_n`: characters of the most common n-gram joined by spaces, times its count (the first seen among ties; a count
    of 1 counts). `slid_n`: characters of duplicates met when sliding. `covered_n`: of words in any repeated n-gram.
    `counted_n`: of all occurrences of repeated n-grams; `all_n`: of all n-grams (0 unless `exhaustive`).
    `covering_top_n`: the longest of the most common n-grams, its words' characters times its count, 0 if all are unique.
    """
    out = np.zeros((offsets.shape[0] - 1, 32), np.int64)
    starts, ends = np.empty(_SEGMENT + 8, np.int32), np.empty(_SEGMENT + 8, np.int32)
    plain = np.empty(_SEGMENT + 8, np.bool_)
    hashes, chars = np.empty(4096, np.uint64), np.empty(4096, np.int32)
    room = 4096
    grams, places, repeated = np.empty(room, np.uint64), np.empty(room, np.int32), np.empty(room, np.int8)
    table = np.empty(2 * room, np.uint64)
    first, times = np.empty(2 * room, np.int32), np.empty(2 * room, np.int32)
    for d in range(out.shape[0]):
        n, hashes, chars = _hash_words(
            data, np.int64(offsets[d]), np.int64(offsets[d + 1]), cls, index, keys, cuts, seen, rule,
            starts, ends, plain, hashes, chars,
        )  # fmt: skip
        if n > room:
            room = slots_for(n) // 2
            grams, places, repeated = np.empty(room, np.uint64), np.empty(room, np.int32), np.empty(room, np.int8)
            table = np.empty(2 * room, np.uint64)
            first, times = np.empty(2 * room, np.int32), np.empty(2 * room, np.int32)
        out[d, 0], out[d, 1] = n, chars[n]
        _measure(n, hashes, chars, grams, places, repeated, table, first, times, out[d], exhaustive)
    return out
