"""The words of one text as text, to look at and to test with."""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.kernels.lexicon import lexicon
from stages.kernels.peek import kernel, u64
from stages.kernels.words import SEGMENT, end_of, next_cut, split_words, start_of


@kernel()
def find_spans(data: Any, block: Any, rule: int) -> NDArray[Any]:
    """The first byte of each word and the byte after it: int64 of shape (words, 2)."""
    address, t = data.ctypes.data, block.ctypes.data
    out = np.empty((data.shape[0], 2), np.int64)
    scratch = np.empty(2 * SEGMENT + 8, np.uint64)
    lo, n = np.int64(0), 0
    while lo < data.shape[0]:
        hi = next_cut(address, lo, np.int64(data.shape[0]))
        for w in range(split_words(address, lo, hi, t, rule, scratch.ctypes.data)):
            word = u64(scratch.ctypes.data, w)
            out[n, 0], out[n, 1] = start_of(word), end_of(word)
            n += 1
        lo = hi
    return out[:n]


def words_in(text: str, rule: int) -> list[str]:
    """The words of a text."""
    raw = text.encode()
    found = find_spans(np.frombuffer(raw, np.uint8), lexicon(), rule)
    return [raw[a:b].decode() for a, b in found.tolist()]
