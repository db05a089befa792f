"""N-grams of numbered words: counting them, ordering them by their ends, adjusting their counts, finding contexts."""

# ruff: noqa: SIM110 - numba compares faster in a loop
# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np

from stages.kernels.peek import inner, kernel

#: Numbers of the words that every model has, as lmplz has them.
UNK, BOS, EOS = 0, 1, 2
_M = np.uint64(0x9E3779B97F4A7C15)
_N = np.uint64(0xD6E8FEB86659FD93)
_32 = np.uint64(32)


@inner()
def _row_hash(words: Any, row: int, width: int) -> int:
    h = np.uint64(width) * _M
    for j in range(width):
        h = (h ^ np.uint64(words[row, j])) * _N
        h ^= h >> _32
    h *= _M
    return h ^ (h >> _32)


@inner()
def _same(a: Any, i: int, b: Any, j: int, width: int) -> bool:
    for x in range(width):
        if a[i, x] != b[j, x]:
            return False
    return True


@kernel()
def count_ngrams(ids: Any, order: int) -> Any:
    """Every n-gram of sentences that begin with as many `<s>` as it takes, and how often it occurs.

    Args:
        ids: numbers of words; EOS ends a sentence.
        order: words of an n-gram.

    """
    n = ids.shape[0]
    size = 16
    while size < 2 * n:
        size *= 2
    table = np.zeros(size, np.uint32)
    mask = np.uint64(size - 1)
    words = np.empty((n + 1, order), np.uint32)
    counts = np.empty(n + 1, np.int64)
    rows = 0
    for j in range(order):
        words[0, j] = BOS
    for i in range(n):
        words[rows, order - 1] = ids[i]
        slot = np.int64(_row_hash(words, rows, order) & mask)
        while table[slot] != 0 and not _same(words, table[slot] - 1, words, rows, order):
            slot = np.int64(np.uint64(slot + 1) & mask)
        current = rows
        if table[slot] == 0:
            table[slot] = rows + 1
            counts[rows] = 1
            rows += 1
        else:
            counts[table[slot] - 1] += 1
        if ids[i] == EOS:
            for j in range(order):
                words[rows, j] = BOS
        else:
            for j in range(order - 1):
                words[rows, j] = words[current, j + 1]
    return words[:rows].copy(), counts[:rows].copy()


@kernel()
def adjust(words: Any, counts: Any) -> Any:
    """The n-grams of every lower order that the n-grams of the highest end in, with adjusted and raw counts.

    The adjusted count is the number of different words before it, or the raw count where it begins with `<s>`.

    Args:
        words: different n-grams, ordered by their last word, then by the one before, and so on.
        counts: how often each occurs.

    Returns:
        For each lower order: entries, a row of `words` for each entry, adjusted counts, raw counts, the entry of the
        next lower order that each ends in. Then the same (row, entry) for n-grams of the highest order itself.

    """
    n, order = words.shape
    sizes = np.zeros(order, np.int64)
    row = np.empty((order, n), np.int32)
    adjusted = np.zeros((order, n), np.int64)
    raw = np.zeros((order, n), np.int64)
    parent = np.empty((order, n), np.int32)
    for i in range(n):
        same = 0
        if i:
            while same < order - 1 and words[i, order - 1 - same] == words[i - 1, order - 1 - same]:
                same += 1
        whole = True
        for k in range(1, order):  # lower orders
            if k > 1 and words[i, order - k + 1] == BOS:
                whole = False
                break
            e = sizes[k] - 1
            if k > same:
                e = sizes[k]
                sizes[k] += 1
                row[k, e] = i
                raw[k, e] = counts[i]
                adjusted[k, e] = counts[i] if words[i, order - k] == BOS else 1
                parent[k, e] = sizes[k - 1] - 1 if k > 1 else 0
            else:
                raw[k, e] += counts[i]
                if k == same and words[i, order - k] != BOS:
                    adjusted[k, e] += 1
        if whole and (order == 1 or words[i, 1] != BOS):
            e = sizes[0]
            sizes[0] += 1
            row[0, e] = i
            parent[0, e] = sizes[order - 1] - 1 if order > 1 else 0
    return sizes, row, adjusted, raw, parent


@kernel()
def find_rows(table_words: Any, words: Any) -> Any:
    """For each row of `words` the row of `table_words` that is equal to its first words; -1 where there is none."""
    n, width = table_words.shape
    size = 16
    while size < 2 * n:
        size *= 2
    table = np.zeros(size, np.uint32)
    mask = np.uint64(size - 1)
    for i in range(n):
        slot = np.int64(_row_hash(table_words, i, width) & mask)
        while table[slot] != 0:
            slot = np.int64(np.uint64(slot + 1) & mask)
        table[slot] = i + 1
    out = np.empty(words.shape[0], np.int64)
    for i in range(words.shape[0]):
        slot = np.int64(_row_hash(words, i, width) & mask)
        while table[slot] != 0 and not _same(table_words, table[slot] - 1, words, i, width):
            slot = np.int64(np.uint64(slot + 1) & mask)
        out[i] = np.int64(table[slot]) - 1
    return out
