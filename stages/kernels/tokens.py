"""Every word of a batch, once: its hash, its length and what it is made of."""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

import threading
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.kernels import unicode as u
from stages.kernels.arrow import buffers
from stages.kernels.lexicon import lexicon
from stages.kernels.peek import copy, inner, kernel, u8, u64
from stages.kernels.utf8 import flags_at, is_ellipsis, span_hash
from stages.kernels.words import SEGMENT, end_of, is_plain, next_cut, split_words, start_of

#: Gopher's stop words (arXiv:2112.11446, appendix A1.1).
STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
_PACKED = tuple(int.from_bytes(w.encode(), "little") for w in STOP_WORDS)
#: Flags of a word; the lowest four bits are the number of the stop word that it is in any case, from 1.
EXACT, HAS_ALPHA, NOT_SYMBOLS, NOT_MARKS, HAS_SIGN = 16, 32, 64, 128, 256
_ALPHA, _SYMBOL, _MARK = u.ALPHA, u.SYMBOL, u.PUNCTUATION_MARK

Words = tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]


@inner()
def _stop_word(data: int, lo: int, hi: int) -> int:
    """The flags of a stop word of two to four letters, 0 for others."""
    exact, lower = np.int64(0), np.int64(0)
    for i in range(hi - lo):
        b = u8(data, lo + i)
        exact |= b << (8 * i)
        lower |= (b | 32) << (8 * i)
    for k in range(len(_PACKED)):
        if _PACKED[k] == lower:
            return (k + 1) | (EXACT if lower == exact else 0)
    return 0


@inner()
def _describe(data: int, lo: int, hi: int, t: int) -> tuple[int, int]:
    """Characters and flags of a word that is not plain."""
    size, any_of, all_of, sign, i = 0, np.int64(0), np.int64(0xFFFFFFFF), False, lo
    while i < hi:
        flags, width = flags_at(data, i, hi, t)
        any_of |= flags
        all_of &= flags
        b = u8(data, i)
        if b == 35 or (b == 0xE2 and is_ellipsis(data, i, hi)):
            sign = True
        size += 1
        i += width
    kind = HAS_ALPHA if any_of & _ALPHA else 0
    kind |= (0 if all_of & _SYMBOL else NOT_SYMBOLS) | (0 if all_of & _MARK else NOT_MARKS)
    return size, kind | (HAS_SIGN if sign else 0)


@kernel()
def find_words(data: Any, offsets: Any, block: Any, rule: int) -> Words:
    """Hashes, lengths in characters and flags of all words, and where each document's words begin (one place more)."""
    address, t = data.ctypes.data, block.ctypes.data
    scratch = np.empty(2 * SEGMENT + 8, np.uint64)
    out = scratch.ctypes.data
    documents = offsets.shape[0] - 1
    begins = np.zeros(documents + 1, np.int64)
    room = (np.int64(offsets[documents]) - np.int64(offsets[0])) // 4 + 1024
    hashes, sizes, kinds = np.empty(room, np.uint64), np.empty(room, np.uint16), np.empty(room, np.uint16)
    n = 0
    for d in range(documents):
        lo, stop = np.int64(offsets[d]), np.int64(offsets[d + 1])
        while lo < stop:
            hi = next_cut(address, lo, stop)
            count = split_words(address, lo, hi, t, rule, out)
            if n + count > room:
                room += max(count, room // 2)
                more_hashes, more_sizes, more_kinds = (
                    np.empty(room, np.uint64),
                    np.empty(room, np.uint16),
                    np.empty(room, np.uint16),
                )
                copy(more_hashes, 0, hashes, 0, n)
                copy(more_sizes, 0, sizes, 0, n)
                copy(more_kinds, 0, kinds, 0, n)
                hashes, sizes, kinds = more_hashes, more_sizes, more_kinds
            for w in range(count):
                word = u64(out, w)
                a, b = start_of(word), end_of(word)
                size, kind = b - a, np.int64(HAS_ALPHA | NOT_SYMBOLS | NOT_MARKS)
                if not is_plain(word):
                    size, kind = _describe(address, a, b, t)
                if b - a <= 4 and kind & HAS_ALPHA:
                    kind |= _stop_word(address, a, b)
                hashes[n], sizes[n], kinds[n] = span_hash(address, a, b), min(size, 65535), kind
                n += 1
            lo = hi
        begins[d + 1] = n
    scratch[0] = 0  # its last use is here: numba frees an array after that, whoever still holds the address
    return hashes[:n], sizes[:n], kinds[:n], begins


_latest = threading.local()


def words_of(texts: pa.Array, rule: int) -> Words:
    """`find_words` of a string array; steps that read one batch in turn share the answer.

    Arrow buffers do not change, so the answer belongs to the addresses for as long as the buffers live. The latest
    batch of each thread is kept alive with its answer (12 bytes a word, about two and a half times its text) until the next one.
    """
    data, offsets = buffers(texts)
    place = (data.ctypes.data, offsets.ctypes.data, len(offsets), rule)
    kept = getattr(_latest, "words", None)
    if kept is None or kept[0] != place:
        _latest.words = kept = None  # the old answer goes before the new one comes
        _latest.words = kept = (place, texts, find_words(data, offsets, lexicon(), rule))
    words: Words = kept[2]
    return words
