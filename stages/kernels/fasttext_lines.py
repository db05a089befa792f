"""fastText's words of a line and the rows of its input matrix that they stand for, as in its `Dictionary::getLine`.

A line's rows are those of its words in their order, with the rows of their character n-grams after each, then those of
its word n-grams. A word `</s>` ends the line, and every line ends with one. Words that begin with `__label__` and are not
in the dictionary are no words. Bojanowski et al. 2017, arXiv:1607.04606; fastText 0.9.2 (MIT).
"""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors
# ruff: noqa: PLR0917 - numba takes flat arguments by position

from typing import Any

import numpy as np

from stages.kernels.peek import inner, kernel, u8

#: FNV-1a's offset and prime, and the multiplier of word n-grams.
_BASIS, _PRIME, _WORDS = 2166136261, 16777619, np.uint64(116049371)
_LOW = 0xFFFFFFFF
_BOW, _EOW = 60, 62  # < and >
#: Places of the numbers in `sizes`.
WORDS, ENTRIES, BUCKET, MINN, MAXN, NGRAMS, END, PRUNED, LINES = range(9)


@inner()
def _fed(h: int, b: int) -> int:
    """FNV-1a with one more byte, which fastText takes for a signed one."""
    return ((h ^ (b if b < 128 else b | 0xFFFFFF00)) * _PRIME) & _LOW


@kernel()
def entries(data: Any, at: int, count: int) -> tuple[Any, Any, Any, Any, int]:
    """Where each word of a dictionary begins and ends, how often it was counted, its type; the place after them."""
    begins, ends = np.empty(count, np.int64), np.empty(count, np.int64)
    counts, kinds = np.empty(count, np.int64), np.empty(count, np.int8)
    address, size = data.ctypes.data, data.shape[0]
    for k in range(count):
        begins[k] = at
        while at < size and u8(address, at) != 0:
            at += 1
        ends[k] = at
        if at + 10 > size:
            return begins, ends, counts, kinds, -1
        n = np.int64(0)
        for i in range(8):
            n |= u8(address, at + 1 + i) << (8 * i)
        counts[k], kinds[k] = n, u8(address, at + 9)
        at += 10
    return begins, ends, counts, kinds, at


@kernel()
def word_table(data: Any, begins: Any, ends: Any, slots: int) -> tuple[Any, Any]:
    """An open-addressing table of a dictionary's entries (-1: empty) by their hash, and the hashes."""
    table, hashes = np.full(slots, -1, np.int32), np.empty(begins.shape[0], np.uint32)
    address = data.ctypes.data
    for k in range(begins.shape[0]):
        h = _BASIS
        for i in range(begins[k], ends[k]):
            h = _fed(h, u8(address, i))
        slot = h & (slots - 1)
        while table[slot] >= 0:
            slot = (slot + 1) & (slots - 1)
        table[slot], hashes[k] = k, h
    return table, hashes


@inner()
def _same(a: int, i: int, b: int, j: int, size: int) -> bool:
    for k in range(size):  # noqa: SIM110 - numba compiles no generators
        if u8(a, i + k) != u8(b, j + k):
            return False
    return True


@inner()
def _entry(h: int, text: int, lo: int, hi: int, data: Any, begins: Any, ends: Any, table: Any, hashes: Any) -> int:
    """The entry of a word, -1 for none."""
    mask = table.shape[0] - 1
    slot, size = h & mask, hi - lo
    while table[slot] >= 0:
        k = table[slot]
        if hashes[k] == h and ends[k] - begins[k] == size and _same(data.ctypes.data, begins[k], text, lo, size):
            return k
        slot = (slot + 1) & mask
    return -1


@inner()
def _bucket_row(h: int, sizes: Any, bits: Any, ranks: Any) -> int:
    """The row of an n-gram's bucket; -1 where the model does not keep it."""
    if sizes[PRUNED] < 0:
        return sizes[WORDS] + h
    word = bits[h >> 6]
    place = np.uint64(h & 63)
    if not (word >> place) & np.uint64(1):
        return -1
    return ranks[h >> 6] + _ones(word & ((np.uint64(1) << place) - np.uint64(1)))


@inner()
def _ones(x: int) -> int:
    x = x - ((x >> np.uint64(1)) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


@inner()
def _characters(
    text: int, lo: int, hi: int, sizes: Any, inverse: float, bits: Any, ranks: Any, out: Any, n: int
) -> int:
    """Append the rows of the character n-grams of <word>; the number of rows after them."""
    size, bucket, minn, maxn = hi - lo + 2, sizes[BUCKET], sizes[MINN], sizes[MAXN]
    start = lo - 1
    for i in range(size):
        b = _BOW if i == 0 else (_EOW if i == size - 1 else u8(text, start + i))
        if (b & 0xC0) == 0x80:
            continue
        h, j, length = _BASIS, i, 1
        while True:
            h = _fed(h, b)
            j += 1
            b = _EOW if j >= size - 1 else u8(text, start + j)
            while j < size - 1 and (b & 0xC0) == 0x80:
                h = _fed(h, b)
                j += 1
                b = _EOW if j >= size - 1 else u8(text, start + j)
            if length >= minn and not (length == 1 and (i == 0 or j == size)):
                rest = h - np.int64(np.float64(h) * inverse) * bucket
                rest = rest + bucket if rest < 0 else (rest - bucket if rest >= bucket else rest)
                row = _bucket_row(rest, sizes, bits, ranks)
                if row >= 0:
                    out[n] = row
                    n += 1
            length += 1
            if j >= size or length > maxn:
                break
    return n


@inner()
def _break_width(text: int, i: int, hi: int) -> int:
    """Bytes of a line break that is not ASCII (U+0085, U+2028, U+2029) at a place; 0 for none."""
    b = u8(text, i)
    if b == 0xC2 and i + 1 < hi and u8(text, i + 1) == 0x85:
        return 2
    if b == 0xE2 and i + 2 < hi and u8(text, i + 1) == 0x80 and (u8(text, i + 2) & 0xFE) == 0xA8:
        return 3
    return 0


@inner()
def _is_label(text: int, lo: int, hi: int, prefix: Any) -> bool:
    return hi - lo >= prefix.shape[0] and _same(text, lo, prefix.ctypes.data, 0, prefix.shape[0])


@inner()
def rows_of(
    text: int,
    lo: int,
    hi: int,
    spaces: Any,
    prefix: Any,
    sizes: Any,
    data: Any,
    begins: Any,
    ends: Any,
    table: Any,
    hashes: Any,
    bits: Any,
    ranks: Any,
    out: Any,
    seen: Any,
) -> tuple[int, int, bool]:
    """Write the rows of a line to `out`; how many rows and words those are, and whether there is more than white space.

    The line's end is a word. `out` has room for every row, `seen` for the hash of every word and one more.
    """
    n, words, i, ended, filled = 0, 0, lo, False, False
    inverse = 1.0 / np.float64(max(sizes[BUCKET], 1))
    while not ended:
        while i < hi:
            if spaces[u8(text, i)]:
                i += 1
            elif sizes[LINES] and _break_width(text, i, hi):
                i += _break_width(text, i, hi)
            else:
                break
        begin, h = i, _BASIS
        while i < hi:
            b = u8(text, i)
            if spaces[b] or (sizes[LINES] and b >= 0xC2 and _break_width(text, i, hi)):
                break
            h = _fed(h, b)
            i += 1
        if i == begin:
            entry, h, ended = sizes[END], hashes[sizes[END]] if sizes[END] >= 0 else _end_hash(), True
        else:
            filled = True
            entry = _entry(h, text, begin, i, data, begins, ends, table, hashes)
            ended = i - begin == 4 and _is_end(text, begin)
        if entry >= sizes[WORDS] or (entry < 0 and not ended and _is_label(text, begin, i, prefix)):
            continue
        if entry >= 0:
            out[n] = entry
            n += 1
        if sizes[MAXN] > 0 and not ended:
            n = _characters(text, begin, i, sizes, inverse, bits, ranks, out, n)
        seen[words] = h
        words += 1
    if sizes[NGRAMS] > 1:
        n = _word_ngrams(seen, words, sizes, bits, ranks, out, n)
    return n, words, filled


@inner()
def _is_end(text: int, i: int) -> bool:
    return u8(text, i) == 60 and u8(text, i + 1) == 47 and u8(text, i + 2) == 115 and u8(text, i + 3) == 62


@inner()
def _end_hash() -> int:
    return _fed(_fed(_fed(_fed(_BASIS, 60), 47), 115), 62)


@inner()
def _word_ngrams(seen: Any, words: int, sizes: Any, bits: Any, ranks: Any, out: Any, n: int) -> int:
    bucket = np.uint64(sizes[BUCKET])
    for i in range(words):
        h = np.uint64(np.int64(seen[i]))
        for j in range(i + 1, min(words, i + sizes[NGRAMS])):
            h = h * _WORDS + np.uint64(np.int64(seen[j]))
            row = _bucket_row(np.int64(h % bucket), sizes, bits, ranks)
            if row >= 0:
                out[n] = row
                n += 1
    return n
