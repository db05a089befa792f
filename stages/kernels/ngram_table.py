"""A hash table of n-grams with their probabilities and backoffs, and the scoring of texts with it.

A slot is two 64-bit words: the n-gram's key (0: empty), and two float32, the base-10 logarithms of probability and backoff.
The key of an n-gram folds the hashes of its words from the last to the first, so the keys of all n-grams that end at a word
follow from each other. Texts are scored a block of words at a time and an order at a time: the look-ups of one order
do not wait for each other, and their slots are fetched ahead.
"""

# ruff: noqa: PLR0917, PLR1714 - numba takes positions, and compares faster than it searches
# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from stages.kernels.ngram_words import BOS, EOS, UNK, next_word
from stages.kernels.peek import inner, kernel
from stages.kernels.utf8 import pair_hash, span_hash

_32 = np.uint64(32)
#: Words scored at a time, and room before them for the end of the block before.
BLOCK, BEFORE = 1024, 8
WORD, BEGIN, END = 0, 1, 2
#: What kenlm gives an unknown word where the model has no `<unk>`.
MISSING = -100.0


@intrinsic
def _fetch(_context: Any, _address: Any) -> Any:
    """Ask for the cache line at an address; nothing waits for it."""

    def generate(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        i32 = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, i32, i32, i32])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
        builder.call(function, [pointer, i32(0), i32(3), i32(1)])
        return _target.get_dummy_value()

    return types.void(types.int64), generate


@inner()
def _slot(key: int, capacity: int) -> int:
    """Where a key's search begins: its high half, scaled to the table."""
    return np.int64(((key >> _32) * np.uint64(capacity)) >> _32)


@kernel()
def insert(slots: Any, values: Any, keys: Any, logs: Any, backoffs: Any) -> int:
    """Put n-grams into a table; gives the first that is there already, or -1.

    Args:
        slots: the table as uint64, two a slot.
        values: the same memory as float32, four a slot.
        keys: one for each n-gram.
        logs: base-10 logarithms of probabilities.
        backoffs: base-10 logarithms of backoffs.

    """
    capacity = slots.shape[0] // 2
    for i in range(keys.shape[0]):
        if i + 16 < keys.shape[0]:
            _fetch(slots.ctypes.data + 16 * _slot(keys[i + 16], capacity))
        s = _slot(keys[i], capacity)
        while slots[2 * s] != np.uint64(0):
            if slots[2 * s] == keys[i]:
                return i
            s = s + 1 if s + 1 < capacity else 0
        slots[2 * s] = keys[i]
        values[4 * s + 2] = logs[i]
        values[4 * s + 3] = backoffs[i]
    return -1


@inner()
def _find(slots: Any, key: int, capacity: int) -> int:
    """The slot of a key, or -1."""
    s = _slot(key, capacity)
    while slots[2 * s] != np.uint64(0):
        if slots[2 * s] == key:
            return s
        s = s + 1 if s + 1 < capacity else 0
    return -1


@kernel()
def holds(slots: Any, keys: Any) -> bool:
    """Whether a table has all the keys."""
    capacity = slots.shape[0] // 2
    for i in range(keys.shape[0]):
        if i + 16 < keys.shape[0]:
            _fetch(slots.ctypes.data + 16 * _slot(keys[i + 16], capacity))
        if _find(slots, keys[i], capacity) < 0:
            return False
    return True


@inner()
def _unigrams(slots: Any, values: Any, end: int, state: Any) -> None:
    """Look up the words of a block; an unknown one becomes `<unk>`."""
    hashes, keys, _, longest, logs, rest, _ = state
    capacity = slots.shape[0] // 2
    for i in range(BEFORE, end):
        s = _find(slots, hashes[i], capacity)
        if s < 0:
            hashes[i] = UNK
            s = _find(slots, UNK, capacity)
        logs[i] = values[4 * s + 2] if s >= 0 else MISSING
        rest[1, i] = values[4 * s + 3] if s >= 0 else 0.0
        keys[i] = hashes[i]
        longest[i] = 1


@inner()
def _block(slots: Any, values: Any, order: int, end: int, state: Any, docs: Any, sums: Any, unknown: Any) -> None:
    """Score the words of a block, and move its end to where the next block looks for it."""
    hashes, keys, kinds, longest, logs, rest, active = state
    capacity = slots.shape[0] // 2
    address = slots.ctypes.data
    _unigrams(slots, values, end, state)
    for i in range(BEFORE, end):
        if kinds[i] == WORD and hashes[i] == UNK:
            unknown[docs[i]] += 1
    for k in range(2, order + 1):
        n = 0
        for i in range(BEFORE, end):
            if longest[i] == k - 1 and longest[i - 1] >= k - 1 and kinds[i] != BEGIN:
                keys[i] = pair_hash(keys[i], hashes[i - k + 1])
                _fetch(address + 16 * _slot(keys[i], capacity))
                active[n] = i
                n += 1
        for a in range(n):
            i = active[a]
            s = _find(slots, keys[i], capacity)
            if s >= 0:
                longest[i] = k
                logs[i] = values[4 * s + 2]
                rest[k, i] = values[4 * s + 3]
    for i in range(BEFORE, end):
        if kinds[i] != BEGIN:
            total = logs[i]
            for k in range(longest[i], min(longest[i - 1], order - 1) + 1):
                total += rest[k, i - 1]
            sums[docs[i]] += total
    for j in range(BEFORE):
        i = end - BEFORE + j
        hashes[j], kinds[j], longest[j] = hashes[i], kinds[i], longest[i]
        for k in range(1, order + 1):
            rest[k, j] = rest[k, i]


@kernel()
def score(data: Any, offsets: Any, slots: Any, values: Any, order: int) -> Any:
    """Score every text: its lines are sentences.

    Returns:
        For each text: the sum of base-10 logarithms of probabilities of its words and of the ends of its sentences,
        words, sentences, unknown words.

    """
    address = data.ctypes.data
    fetch, capacity = slots.ctypes.data, slots.shape[0] // 2
    texts = offsets.shape[0] - 1
    sums = np.zeros(texts, np.float64)
    words, sentences, unknown = np.zeros(texts, np.int64), np.zeros(texts, np.int64), np.zeros(texts, np.int64)
    size = BLOCK + BEFORE + 4
    hashes, keys = np.zeros(size, np.uint64), np.zeros(size, np.uint64)
    kinds, longest, active = np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size, np.int64)
    docs = np.zeros(size, np.int64)
    logs, rest = np.zeros(size, np.float32), np.zeros((order + 1, size), np.float32)
    state = (hashes, keys, kinds, longest, logs, rest, active)
    end = BEFORE
    for d in range(texts):
        i, hi = np.int64(offsets[d]), np.int64(offsets[d + 1])
        fresh = True
        while i < hi:
            if fresh:
                hashes[end], kinds[end], docs[end] = BOS, BEGIN, d
                end += 1
                fresh = False
            lo, i = next_word(address, i, hi)
            if i > lo:
                h = span_hash(address, lo, i)
                if h != BOS and h != EOS and h != UNK:
                    hashes[end], kinds[end], docs[end] = h, WORD, d
                    _fetch(fetch + 16 * _slot(h, capacity))
                    end += 1
                    words[d] += 1
            if lo == i or i == hi:
                hashes[end], kinds[end], docs[end] = EOS, END, d
                end += 1
                sentences[d] += 1
                fresh = True
                i += lo == i
            if end >= BLOCK + BEFORE:
                _block(slots, values, order, end, state, docs, sums, unknown)
                end = BEFORE
    _block(slots, values, order, end, state, docs, sums, unknown)
    return sums, words, sentences, unknown
