"""Languages of lines by a fastText model with a hierarchical softmax, in single precision as the library has it."""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors
# ruff: noqa: PLR0917 - numba takes flat arguments by position

from typing import Any

import numpy as np

from stages.kernels.fasttext_lines import rows_of
from stages.kernels.peek import inner, kernel

_LEAST = np.float32(np.log(1e-5))


@kernel()
def languages(
    text: Any,
    offsets: Any,
    lines: tuple[Any, ...],
    input_: Any,
    output: Any,
    tree: Any,
    rows: Any,
    words: Any,
    chosen: int,
) -> tuple[Any, Any, Any, Any]:
    """The most likely label of each line, its probability, that of the label `chosen`, and whether it is more than white space.

    `tree` has the two children of every inner node; labels are the nodes before them. Branches below 1e-5 have 0.
    """
    documents = offsets.shape[0] - 1
    best, p_best = np.zeros(documents, np.int32), np.zeros(documents, np.float32)
    p_chosen, known = np.zeros(documents, np.float32), np.zeros(documents, np.bool_)
    labels, dim = tree.shape[0] + 1, input_.shape[1]
    hidden, scores = np.zeros(dim, np.float32), np.zeros(2 * labels, np.float32)
    spaces, prefix, sizes, data, begins, ends, table, hashes, bits, ranks = lines
    for d in range(documents):
        n, _, filled = rows_of(
            text.ctypes.data, np.int64(offsets[d]), np.int64(offsets[d + 1]),
            spaces, prefix, sizes, data, begins, ends, table, hashes, bits, ranks, rows, words,
        )  # fmt: skip
        if n == 0 or not filled:
            continue
        for k in range(dim):
            hidden[k] = 0
        for i in range(n):
            row = input_[rows[i]]
            for k in range(dim):
                hidden[k] += row[k]
        share = np.float32(1.0 / np.float64(n))
        for k in range(dim):
            hidden[k] *= share
        known[d] = True
        best[d], p_best[d], p_chosen[d] = _walk(hidden, output, tree, scores, chosen)
    return best, p_best, p_chosen, known


@inner()
def _walk(hidden: Any, output: Any, tree: Any, scores: Any, chosen: int) -> tuple[int, float, float]:
    """The best label, its probability, that of `chosen`. Children come before their parents, so one pass down is enough."""
    labels = tree.shape[0] + 1
    for k in range(2 * labels):
        scores[k] = -np.inf
    scores[2 * labels - 2] = 0
    for node in range(2 * labels - 2, labels - 1, -1):
        score = scores[node]
        if score < _LEAST:
            continue
        weights, d = output[node - labels], np.float32(0)
        for k in range(hidden.shape[0]):
            d += weights[k] * hidden[k]
        right = np.float32(1.0 / np.float64(np.float32(1) + np.exp(-d)))
        left = np.float32(1.0 - np.float64(right))
        scores[tree[node - labels, 0]] = score + np.float32(np.log(np.float64(left) + 1e-5))
        scores[tree[node - labels, 1]] = score + np.float32(np.log(np.float64(right) + 1e-5))
    best = 0
    for label in range(labels):
        if scores[label] > scores[best]:
            best = label
    there = scores[chosen] >= _LEAST
    return best, np.exp(scores[best]), np.exp(scores[chosen]) if there else np.float32(0)
