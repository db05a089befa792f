"""Training of fastText classifiers in one thread: words counted, lines as rows, and stochastic gradient descent.

As in fastText 0.9.2's `Dictionary::readFromFile`, `FastText::trainThread` and `Model::update` with a softmax (Joulin et al.
2016, arXiv:1607.01759). Of fasttext-numpy2 0.10.4 a few of the
first weights lie outside the range that they are drawn from, and on long texts most trainings in one thread end with
"Encountered NaN" whatever the learning rate; its many threads race, so that no two models are equal.
"""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors
# ruff: noqa: PLR0917 - numba takes flat arguments by position

from typing import Any

import numpy as np

from stages.kernels.fasttext_lines import _break_width, _is_end, _is_label, rows_of
from stages.kernels.line_logits import _stripped
from stages.kernels.peek import copy, inner, kernel, u8
from stages.kernels.utf8 import span_hash


@kernel()
def count_words(text: Any, offsets: Any, spaces: Any, prefix: Any) -> tuple[Any, Any, Any, int]:
    """Every different word of all lines (where one begins and ends, how often it is there), and words and line ends in all."""
    address, slots, used, total = text.ctypes.data, 1 << 12, 0, 0
    keys, counts = np.zeros(slots, np.uint64), np.zeros(slots, np.int64)
    begins, ends = np.zeros(slots, np.int64), np.zeros(slots, np.int64)
    for d in range(offsets.shape[0] - 1):
        i, hi = _stripped(address, np.int64(offsets[d]), np.int64(offsets[d + 1]))
        while i < hi:
            if spaces[u8(address, i)]:
                i += 1
                continue
            wide = _break_width(address, i, hi)
            if wide:
                i += wide
                continue
            begin = i
            while i < hi and not spaces[u8(address, i)] and not _break_width(address, i, hi):
                i += 1
            if i - begin == 4 and _is_end(address, begin):
                break
            if _is_label(address, begin, i, prefix):
                continue
            total += 1
            h = span_hash(address, begin, i)
            slot = np.int64(h & np.uint64(slots - 1))
            while keys[slot] != np.uint64(0) and keys[slot] != h:
                slot = (slot + 1) & (slots - 1)
            if keys[slot] == np.uint64(0):
                keys[slot], begins[slot], ends[slot] = h, begin, i
                used += 1
            counts[slot] += 1
            if 2 * used > slots:
                keys, begins, ends, counts = _grown(keys, begins, ends, counts)
                slots = keys.shape[0]
        total += 1
    there = keys != np.uint64(0)
    return begins[there], ends[there], counts[there], total


@inner()
def _grown(keys: Any, begins: Any, ends: Any, counts: Any) -> tuple[Any, Any, Any, Any]:
    slots = 2 * keys.shape[0]
    new_keys, new_counts = np.zeros(slots, np.uint64), np.zeros(slots, np.int64)
    new_begins, new_ends = np.zeros(slots, np.int64), np.zeros(slots, np.int64)
    for k in range(keys.shape[0]):
        if keys[k] != np.uint64(0):
            slot = np.int64(keys[k] & np.uint64(slots - 1))
            while new_keys[slot] != np.uint64(0):
                slot = (slot + 1) & (slots - 1)
            new_keys[slot], new_counts[slot] = keys[k], counts[k]
            new_begins[slot], new_ends[slot] = begins[k], ends[k]
    return new_keys, new_begins, new_ends, new_counts


@kernel()
def line_rows(text: Any, offsets: Any, lines: tuple[Any, ...], rows: Any, words: Any) -> tuple[Any, Any, Any]:
    """The rows of every line, one after the other; where each line's begin (one place more); the words of each line."""
    documents = offsets.shape[0] - 1
    starts, every = np.zeros(documents + 1, np.int64), np.empty(1 << 12, np.int32)
    spaces, prefix, sizes, data, begins, ends, table, hashes, bits, ranks = lines
    read, total = np.zeros(documents, np.int64), 0
    for d in range(documents):
        lo, hi = _stripped(text.ctypes.data, np.int64(offsets[d]), np.int64(offsets[d + 1]))
        n, read[d], _ = rows_of(
            text.ctypes.data, lo, hi,
            spaces, prefix, sizes, data, begins, ends, table, hashes, bits, ranks, rows, words,
        )  # fmt: skip
        if total + n > every.shape[0]:
            more = np.empty(max(2 * every.shape[0], total + n), np.int32)
            copy(more, 0, every, 0, total)
            every = more
        copy(every, total, rows, 0, n)
        total += n
        starts[d + 1] = total
    return every[:total].copy(), starts, read


@kernel()
def descend(
    rows: Any,
    starts: Any,
    targets: Any,
    tokens: Any,
    input_: Any,
    output: Any,
    rate: float,
    epochs: int,
    update_rate: int,
) -> bool:
    """Train both matrices in place over the lines in their order, `epochs` times; whether all stayed finite.

    The learning rate falls to zero in a straight line with the words read, whose count is taken up after every
    `update_rate` of them, as in the library.
    """
    dim, labels = input_.shape[1], output.shape[0]
    hidden, gradient = np.zeros(dim, np.float32), np.zeros(dim, np.float32)
    p = np.zeros(labels, np.float32)
    total = np.int64(0)
    for d in range(targets.shape[0]):
        total += tokens[d]
    read, waiting = np.int64(0), np.int64(0)
    for _ in range(epochs):
        for d in range(targets.shape[0]):
            now = np.float32(rate * (1.0 - read / (epochs * total)))
            waiting += tokens[d]
            n = starts[d + 1] - starts[d]
            if n:
                _forward(rows, starts[d], starts[d + 1], input_, output, hidden, p)
                for k in range(dim):
                    gradient[k] = 0
                for c in range(labels):
                    step = now * ((np.float32(1) if c == targets[d] else np.float32(0)) - p[c])
                    for k in range(dim):
                        gradient[k] += step * output[c, k]
                    for k in range(dim):
                        output[c, k] += step * hidden[k]
                share = np.float32(1.0 / n)
                for k in range(dim):
                    gradient[k] *= share
                for i in range(starts[d], starts[d + 1]):
                    row = input_[rows[i]]
                    for k in range(dim):
                        row[k] += gradient[k]
            if waiting > update_rate:
                read, waiting = read + waiting, np.int64(0)
    return bool(np.isfinite(output).all())


@inner()
def _forward(rows: Any, first: int, last: int, input_: Any, output: Any, hidden: Any, p: Any) -> None:
    """The mean of a line's rows, and the softmax of what the output makes of it."""
    dim, labels = input_.shape[1], output.shape[0]
    for k in range(dim):
        hidden[k] = 0
    for i in range(first, last):
        row = input_[rows[i]]
        for k in range(dim):
            hidden[k] += row[k]
    share = np.float32(1.0 / (last - first))
    for k in range(dim):
        hidden[k] *= share
    most = np.float32(-np.inf)
    for c in range(labels):
        d = np.float32(0)
        for k in range(dim):
            d += output[c, k] * hidden[k]
        p[c] = d
        most = max(most, d)
    total = np.float32(0)
    for c in range(labels):
        p[c] = np.exp(p[c] - most)
        total += p[c]
    for c in range(labels):
        p[c] /= total
