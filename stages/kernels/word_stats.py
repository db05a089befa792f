"""Counts over the words of each document, in one pass over the bytes."""

import numpy as np
from numba import njit

from stages.kernels import unicode as u
from stages.kernels.utf8 import flags_at
from stages.kernels.words import next_cut, split_words

#: What `count_words` counts, in the order of its columns.
WORD_COUNTS = (
    "words", "word_chars", "non_symbol_words", "non_symbol_chars", "non_punctuation_words", "non_punctuation_chars",
    "alpha_words", "stop_words", "stop_word_tokens", "lower_stop_word_tokens", "symbol_words", "longest", "median_twice",
)  # fmt: skip
#: Gopher's stop words (arXiv:2112.11446, appendix A1.1).
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
_STOP = np.array([int.from_bytes(w.encode(), "little") for w in STOP_WORDS], np.int64)
_SEGMENT = 65_536
_LENGTHS = 1024
_ALPHA, _SYMBOL, _MARK = u.ALPHA, u.SYMBOL, u.PUNCTUATION_MARK


@njit(nogil=True, cache=True)
def _stop_word(data, lo, hi, lower):
    """The number of a stop word, from 0, or -1."""
    w = np.int64(0)
    for i in range(lo, hi):
        b = np.int64(data[i])
        if lower and 65 <= b <= 90:
            b += 32
        w |= b << (8 * (i - lo))
    for k in range(_STOP.shape[0]):
        if _STOP[k] == w:
            return k
    return -1


@njit(nogil=True, cache=True)
def _is_symbol_word(data, lo, hi):
    for i in range(lo, hi):
        if data[i] == 35 or (i + 2 < hi and data[i] == 0xE2 and data[i + 1] == 0x80 and data[i + 2] == 0xA6):
            return True
        if i + 2 < hi and data[i] == 46 and data[i + 1] == 46 and data[i + 2] == 46:
            return True
    return False


@njit(nogil=True, cache=True)
def _median_twice(lengths, words):
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


@njit(nogil=True, cache=True)
def count_words(data, offsets, cls, index, keys, cuts, seen, rule):
    """Counts of `WORD_COUNTS` a document: int64 of shape (documents, counts). Words of 1,023 characters or more count as 1,023 in the median."""
    out = np.zeros((offsets.shape[0] - 1, 13), np.int64)
    starts, ends = np.empty(_SEGMENT + 8, np.int32), np.empty(_SEGMENT + 8, np.int32)
    plain = np.empty(_SEGMENT + 8, np.bool_)
    lengths = np.zeros(_LENGTHS, np.int64)
    for d in range(out.shape[0]):
        lo, stop = np.int64(offsets[d]), np.int64(offsets[d + 1])
        words, chars, longest, stops = 0, 0, 0, 0
        symbols, symbol_chars, marks, mark_chars, alphas, tokens, lower_tokens, hashed = 0, 0, 0, 0, 0, 0, 0, 0
        while lo < stop:
            hi = next_cut(data, lo, stop)
            n = split_words(data, lo, hi, cls, index, keys, cuts, seen, rule, starts, ends, plain)
            words += n
            for w in range(n):
                a, b = np.int64(starts[w]), np.int64(ends[w])
                if plain[w]:
                    size, any_of, all_of = b - a, np.uint32(_ALPHA), np.uint32(0)
                    if size <= 4:
                        k = _stop_word(data, a, b, False)
                        if k >= 0:
                            stops |= 1 << k
                            tokens += 1
                        lower_tokens += _stop_word(data, a, b, True) >= 0
                else:
                    size, any_of, all_of, i = 0, np.uint32(0), np.uint32(0xFFFFFFFF), a
                    while i < b:
                        if data[i] < 0x80:
                            flags, width = cls[data[i]], 1
                        else:
                            flags, width = flags_at(data, i, b, cls, index)
                        any_of |= flags
                        all_of &= flags
                        size += 1
                        i += width
                    hashed += any_of & _MARK != 0 and _is_symbol_word(data, a, b)
                if not all_of & _SYMBOL:
                    symbols += 1
                    symbol_chars += size
                if not all_of & _MARK:
                    marks += 1
                    mark_chars += size
                alphas += any_of & _ALPHA != 0
                chars += size
                longest = max(longest, size)
                lengths[min(size, _LENGTHS - 1)] += 1
            lo = hi
        distinct = 0
        while stops:
            distinct += stops & 1
            stops >>= 1
        row = out[d]
        row[0], row[1], row[2], row[3], row[4], row[5] = words, chars, symbols, symbol_chars, marks, mark_chars
        row[6], row[7], row[8], row[9], row[10], row[11] = alphas, distinct, tokens, lower_tokens, hashed, longest
        row[12] = _median_twice(lengths, words) if words else 0
    return out
