"""Counts over the words of each document."""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.kernels.peek import inner, kernel
from stages.kernels.tokens import EXACT, HAS_ALPHA, HAS_SIGN, NOT_MARKS, NOT_SYMBOLS

#: What `count_words` counts, in the order of its columns.
WORD_COUNTS = (
    "words", "word_chars", "non_symbol_words", "non_symbol_chars", "non_punctuation_words", "non_punctuation_chars",
    "alpha_words", "stop_words", "stop_word_tokens", "lower_stop_word_tokens", "symbol_words", "longest", "median_twice",
)  # fmt: skip
_LENGTHS = 1024


@inner()
def _median_twice(lengths: NDArray[Any], words: int) -> int:
    """Twice the median of a histogram, so that it is whole; clears the histogram."""
    low, high, seen = -1, -1, 0
    for length in range(_LENGTHS):
        seen += lengths[length]
        lengths[length] = 0
        if low < 0 and 2 * seen >= words:
            low = length
        if high < 0 and 2 * seen > words:
            high = length
    return low + high


@kernel()
def count_words(sizes: Any, kinds: Any, begins: Any) -> NDArray[Any]:
    """Counts of `WORD_COUNTS` a document: int64 of shape (documents, counts).

    Words of 1,023 characters or more count as 1,023 in the median.
    """
    out = np.empty((begins.shape[0] - 1, 13), np.int64)
    out[:] = 0
    lengths = np.zeros(_LENGTHS, np.int64)
    for d in range(out.shape[0]):
        lo, hi, row = begins[d], begins[d + 1], out[d]
        stops = np.int64(0)
        for w in range(lo, hi):
            size, kind = np.int64(sizes[w]), np.int64(kinds[w])
            row[1] += size
            if kind & NOT_SYMBOLS:
                row[2] += 1
                row[3] += size
            if kind & NOT_MARKS:
                row[4] += 1
                row[5] += size
            row[6] += kind & HAS_ALPHA != 0
            if kind & 15:
                row[9] += 1
                if kind & EXACT:
                    row[8] += 1
                    stops |= np.int64(1) << (kind & 15)
            row[10] += kind & HAS_SIGN != 0
            row[11] = max(row[11], size)
            lengths[min(size, _LENGTHS - 1)] += 1
        while stops:
            row[7] += stops & 1
            stops >>= 1
        row[0] = hi - lo
        row[12] = _median_twice(lengths, hi - lo) if hi > lo else 0
    return out
