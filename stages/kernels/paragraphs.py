"""Paragraphs and lines of texts: where they are, and a hash of what their words are."""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.kernels.arrow import buffers
from stages.kernels.peek import copy, inner, kernel, u8
from stages.kernels.shingles import CHUNK, read_tokens
from stages.kernels.sketch_folds import Folding, table
from stages.kernels.sketch_tokens import WORDS, has_lettered_words

_M = np.uint64(0xD6E8FEB86659FD93)
_SEED = np.uint64(0x9E3779B97F4A7C15)
_29, _32 = np.uint64(29), np.uint64(32)


@inner()
def _is_space(b: int) -> bool:
    """Whether a byte is ASCII white space."""
    return b == 32 or 9 <= b <= 13


@inner()
def _space_bytes(data: int, i: int, hi: int) -> int:
    """How many bytes the white space at a byte takes, 0 where there is none; zero-width space and byte order mark too."""
    b = u8(data, i)
    if b < 0x80:
        return 1 if _is_space(b) else 0
    if b == 0xC2 and i + 1 < hi:
        return 2 if u8(data, i + 1) in (0x85, 0xA0) else 0
    if b not in (0xE1, 0xE2, 0xE3, 0xEF) or i + 2 >= hi:
        return 0
    c = (b << 16) | (u8(data, i + 1) << 8) | u8(data, i + 2)
    wide = 0xE28080 <= c <= 0xE2808B or c in (0xE19A80, 0xE280A8, 0xE280A9, 0xE280AF, 0xE2819F, 0xE38080, 0xEFBBBF)
    return 3 if wide else 0


@inner()
def _line_end(data: int, i: int, hi: int) -> int:
    """The byte after the line that begins at `i`, its newline included."""
    while i < hi and u8(data, i) != 10:
        i += 1
    return min(i + 1, hi)


@inner()
def _is_blank(data: int, lo: int, hi: int) -> bool:
    """Whether there is nothing but white space, of any script."""
    while lo < hi:
        step = _space_bytes(data, lo, hi)
        if step == 0:
            return False
        lo += step
    return True


@inner()
def _words_hash(data: int, lo: int, hi: int, end: int, t: int, out: Any) -> int:
    """A 64-bit hash of the words of a span in order, never 0."""
    h, total, i, state = _SEED, np.int64(0), lo, np.int64(WORDS)
    while i < hi:
        i, got, state = read_tokens(data, i, hi, end, t, state, np.int64(out.ctypes.data))
        for k in range(got):
            h = (h ^ out[k]) * _M
            h ^= h >> _32
        total += got
    h = (h ^ np.uint64(total)) * _M
    h ^= h >> _29
    return h | np.uint64(h == 0)


@kernel()
def _units(data: Any, offsets: Any, block: Any, paragraphs: bool, least: int) -> tuple[Any, Any, Any, Any]:  # noqa: FBT001 - numba takes no keywords
    """Hashes, and begin and end in the text, of the units that are compared; where each text's are; how many in all.

    Compared are those with at least `least` words that have a letter.
    """
    address, t, end = data.ctypes.data, block.ctypes.data, data.shape[0]
    tokens = np.empty(CHUNK, np.uint64)
    documents = offsets.shape[0] - 1
    firsts, counts = np.zeros(documents + 1, np.int64), np.zeros(documents, np.int64)
    room = np.int64(1024)
    hashes, bounds = np.empty(room, np.uint64), np.empty((room, 2), np.int32)
    n = np.int64(0)
    for d in range(documents):
        lo, hi = np.int64(offsets[d]), np.int64(offsets[d + 1])
        i, open_ended = lo, False
        while i < hi:
            begin, stop = i, i
            while i < hi:
                i = _line_end(address, i, hi)
                if _is_blank(address, stop, i):
                    break
                stop = i
                if not paragraphs:
                    break
            if stop == begin:  # a blank line before the first unit, or between two
                continue
            if open_ended:
                bounds[n - 1, 1] = begin - lo
            counts[d] += 1
            open_ended = has_lettered_words(address, begin, stop, t, least)
            if not open_ended:
                continue
            if n == room:
                room *= 2
                more_hashes, more_bounds = np.empty(room, np.uint64), np.empty((room, 2), np.int32)
                copy(more_hashes, 0, hashes, 0, n)
                copy(more_bounds, 0, bounds, 0, 2 * n)
                hashes, bounds = more_hashes, more_bounds
            hashes[n], bounds[n, 0] = _words_hash(address, begin, stop, end, t, tokens), begin - lo
            n += 1
        if open_ended:
            bounds[n - 1, 1] = hi - lo
        firsts[d + 1] = n
    tokens[0] = 0  # its last use is here: numba frees an array after that, whoever still holds the address
    return hashes[:n], bounds[:n], firsts, counts


def units(texts: pa.Array, stage: Folding, unit: str, least: int) -> tuple[NDArray[Any], ...]:
    """Of each text's units that are compared: hashes (uint64), and begins and ends in bytes (int32, (n, 2)).

    Then where each text's begin among them (int64, one more than texts), and how many units each text has in all.
    Compared are those with at least `least` words that have a letter: rows of figures, read as zeros, are all alike.
    """
    data, offsets = buffers(texts)
    return _units(data, offsets, table(stage), unit == "paragraph", least)
