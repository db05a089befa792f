"""Words as spaCy's blank English pipeline counts them, found in the bytes.

A text is split at white space; each piece is peeled from both ends (prefixes, suffixes), known words stop the
peeling, a URL, host or address is kept whole, and what is left is cut at infixes. The rules are those of
filters.md, section 11, checked against spaCy 3.8.18; adjacent parts that form an emoticon are joined again.
Deviations: a piece of more than 65,536 bytes is cut there; emoticons are joined from the left, longest first.
"""

import functools

import numpy as np
from numba import njit

from stages.kernels import unicode as u
from stages.kernels.contractions import special_words
from stages.kernels.hosts import is_url
from stages.kernels.utf8 import before, flags_at, span_hash

#: Bytes of text split at a time; also the longest piece.
SEGMENT = 65_536
_SLOTS = 8192
_LONGEST = 32
_UNIT = -1
UNITS = [
    "km",
    "km²",
    "km³",
    "m",
    "m²",
    "m³",
    "dm",
    "dm²",
    "dm³",
    "cm",
    "cm²",
    "cm³",
    "mm",
    "mm²",
    "mm³",
    "ha",
    "µm",
    "nm",
    "yd",
    "in",
    "ft",
    "kg",
    "g",
    "mg",
    "µg",
    "t",
    "lb",
    "oz",
    "m/s",
    "km/h",
    "kmh",
    "mph",
    "hPa",
    "Pa",
    "mbar",
    "mb",
    "MB",
    "kb",
    "KB",
    "gb",
    "GB",
    "tb",
    "TB",
    "T",
    "G",
    "M",
    "K",
    "%",
    "км",
    "км²",
    "км³",
    "м",
    "м²",
    "м³",
    "дм",
    "дм²",
    "дм³",
    "см",
    "см²",
    "см³",
    "мм",
    "мм²",
    "мм³",
    "нм",
    "кг",
    "г",
    "мг",
    "м/с",
    "км/ч",
    "кПа",
    "Па",
    "мбар",
    "Кб",
    "КБ",
    "кб",
    "Мб",
    "МБ",
    "мб",
    "Гб",
    "ГБ",
    "гб",
    "Тб",
    "ТБ",
    "тбكم",
    "كم²",
    "كم³",
    "م",
    "م²",
    "م³",
    "سم",
    "سم²",
    "سم³",
    "مم",
    "مم²",
    "مم³",
    "كم",
    "غرام",
    "جرام",
    "جم",
    "كغ",
    "ملغ",
    "كوب",
    "اكواب",
    "US$",
    "C$",
    "A$",
]

_SPACE, _LETTER, _ALPHA, _DIGIT = u.SPACE, u.LETTER, u.W_ALPHA, u.W_DIGIT
_LOWER, _UPPER, _QUOTE = u.W_LOWER, u.W_UPPER, u.W_QUOTE
_PREFIX, _SUFFIX, _BEFORE_DOT, _INFIX, _ICON, _CURRENCY = (
    u.W_PREFIX, u.W_SUFFIX, u.W_BEFORE_DOT, u.W_INFIX, u.W_ICON, u.W_CURRENCY,
)  # fmt: skip


@functools.cache
def lexicon():
    """Known words by hash, how they are cut, and a filter that rules most others out: (keys, cuts, filter)."""
    keys, cuts = np.zeros(_SLOTS, np.uint64), np.zeros(_SLOTS, np.int32)
    seen = np.zeros(4096, np.uint8)
    entries = [(word.encode(), _cut([len(p.encode()) for p in parts])) for word, parts in special_words().items()]
    entries += [(word.encode(), _UNIT) for word in UNITS]
    for word, cut in entries:
        data = np.frombuffer(word, np.uint8)
        assert len(word) <= _LONGEST, word
        key = np.uint64(span_hash(data, 0, len(word)))
        slot = int(key) & (_SLOTS - 1)
        while keys[slot] and keys[slot] != key:
            slot = (slot + 1) & (_SLOTS - 1)
        keys[slot], cuts[slot] = key, cut
        seen[(len(word) * 131 + int(word[0]) * 31 + int(word[-1]) * 7) & 4095] = 1
    for table in (keys, cuts, seen):
        table.setflags(write=False)
    return keys, cuts, seen


def _cut(lengths: list[int]) -> int:
    """Part lengths in one number: how many, then the first two in a byte each."""
    return len(lengths) | lengths[0] << 8 | (lengths[1] << 16 if len(lengths) > 1 else 0)


@njit(nogil=True, cache=True)
def _known(data, lo, hi, keys, cuts, seen):
    """The cut of a known word, `_UNIT` for a unit, 0 for others."""
    if hi - lo > 32 or hi <= lo:
        return 0
    if not seen[((hi - lo) * 131 + np.int64(data[lo]) * 31 + np.int64(data[hi - 1]) * 7) & 4095]:
        return 0
    key = span_hash(data, lo, hi)
    slot = np.int64(key & np.uint64(8191))
    while keys[slot] != np.uint64(0):
        if keys[slot] == key:
            return np.int64(cuts[slot])
        slot = (slot + 1) & 8191
    return 0


@njit(nogil=True, cache=True)
def _prefix(data, lo, hi, cls, index):
    """Bytes of the prefix that a piece begins with, 0 for none."""
    b = data[lo]
    if b == 46:  # a dot
        n = lo
        while n < hi and data[n] == 46:
            n += 1
        return n - lo if n - lo > 1 else 0
    if b == 43:  # a plus
        return 0 if lo + 1 < hi and 48 <= data[lo + 1] <= 57 else 1
    flags, width = flags_at(data, lo, hi, cls, index)
    if flags & _PREFIX:
        return width
    if b == 85 and lo + 2 < hi and data[lo + 1] == 83 and data[lo + 2] == 36:  # US$
        return 3
    if (b == 65 or b == 67) and lo + 1 < hi and data[lo + 1] == 36:  # A$ and C$
        return 2
    return 0


@njit(nogil=True, cache=True)
def _dot_suffix(data, lo, hi, cls, index):
    """Bytes of the suffix of a piece that ends in a dot."""
    n = hi
    while n > lo and data[n - 1] == 46:
        n -= 1
    if hi - n > 1:
        return hi - n
    if n == lo:
        return 0
    p = before(data, n, lo)
    flags, _ = flags_at(data, p, n, cls, index)
    if flags & _BEFORE_DOT:
        return 1
    if flags & _UPPER and p > lo:
        flags, _ = flags_at(data, before(data, p, lo), p, cls, index)
        return 1 if flags & _UPPER else 0
    return 0


@njit(nogil=True, cache=True)
def _suffix(data, lo, hi, cls, index, keys, cuts, seen):
    """Bytes of the suffix that a piece ends with, 0 for none."""
    if hi <= lo:
        return 0
    b = data[hi - 1]
    if b == 46:
        return _dot_suffix(data, lo, hi, cls, index)
    p = before(data, hi, lo)
    flags, _ = flags_at(data, p, hi, cls, index)
    if not flags & _SUFFIX or b == 36:
        d = hi  # a unit, currency or plus sign after a digit
        floor = max(lo, hi - 24)
        while d > floor and not (48 <= data[d - 1] <= 57):
            d -= 1
        if d > floor and d < hi:
            if (flags & _CURRENCY or b == 43) and d == p:
                return hi - p
            if _known(data, d, hi, keys, cuts, seen) == _UNIT:
                return hi - d
    if (b == 115 or b == 83) and p > lo:  # 's
        if data[p - 1] == 39:
            return 2
        if p - 3 >= lo and data[p - 3] == 0xE2 and data[p - 2] == 0x80 and data[p - 1] == 0x99:
            return 4
    return hi - p if flags & _SUFFIX else 0


@njit(nogil=True, cache=True)
def _infix(data, i, hi, flags, width, last, cls, index):
    """Bytes of the infix at `i` (flags and width are those of its character, `last` of the one before), 0 for none."""
    b = data[i]
    if b == 46:
        n = i
        while n < hi and data[n] == 46:
            n += 1
        if n - i > 1:
            return n - i
    if flags & _ICON or (b == 0xE2 and width == 3 and data[i + 1] == 0x80 and data[i + 2] == 0xA6):
        return width
    j = i + width
    if j >= hi:
        return 0
    after, after_width = flags_at(data, j, hi, cls, index)
    if b == 46:
        return 1 if last & (_LOWER | _QUOTE) and after & (_UPPER | _QUOTE) else 0
    if last & _DIGIT and (after & _DIGIT or data[j] == 45) and (b == 43 or b == 45 or b == 42 or b == 94):
        return width
    if b == 44:
        return width if last & _ALPHA and after & _ALPHA else 0
    if b == 43 or b == 42 or b == 94 or not last & (_ALPHA | _DIGIT):
        return 0
    if after & _ALPHA:
        return width
    if b == 45:  # two or three hyphens
        n = j
        while n < hi and n < i + 3 and data[n] == 45:
            n += 1
        if n > j and n < hi:
            after, _ = flags_at(data, n, hi, cls, index)
            return n - i if after & _ALPHA else 0
    if b == 0xE2 and data[i + 2] == 0x94 and after_width == 3 and j + 3 < hi and data[j] == 0xE2:  # two dashes
        if data[j + 1] == 0x80 and data[j + 2] == 0x94:
            after, _ = flags_at(data, j + 3, hi, cls, index)
            return 6 if after & _ALPHA else 0
    return 0


@njit(nogil=True, cache=True)
def _middle(data, lo, hi, cls, index, starts, ends, n):
    """Cut what peeling left at its infixes."""
    start, i, last = lo, lo, np.uint32(0)
    while i < hi:
        flags, width = flags_at(data, i, hi, cls, index)
        size = 0
        if flags & _INFIX:
            size = _infix(data, i, hi, flags, width, last, cls, index)
        if size == 0:
            last = flags
            i += width
            continue
        if i != lo:
            if i != start:
                starts[n], ends[n] = start, i
                n += 1
            starts[n], ends[n] = i, i + size
            n += 1
            start = i + size
        i += size
        last = flags
    if start < hi:
        starts[n], ends[n] = start, hi
        n += 1
    return n


@njit(nogil=True, cache=True)
def _join(data, first, n, keys, cuts, seen, starts, ends):
    """Join adjacent parts of one piece that form a known word."""
    out, i = first, first
    while i < n:
        last = i
        j = min(n - 1, i + 8)
        while j > i:
            if ends[j] - starts[i] <= 32:
                cut = _known(data, starts[i], ends[j], keys, cuts, seen)
                if cut > 0 and (cut & 255) == 1:
                    last = j
                    break
            j -= 1
        starts[out], ends[out] = starts[i], ends[last]
        out += 1
        i = last + 1
    return out


@njit(nogil=True, cache=True)
def _emit(data, lo, hi, cut, starts, ends, n):
    """Write the parts of a known word."""
    count = cut & 255
    for k in range(count):
        size = (cut >> (8 * (k + 1))) & 255
        end = hi if k == count - 1 else lo + size
        starts[n], ends[n] = lo, end
        n += 1
        lo = end
    return n


@njit(nogil=True, cache=True)
def split_piece(data, lo, hi, cls, index, keys, cuts, seen, starts, ends, n):
    """The words of one piece without white space, from position `n` on; returns the position after them."""
    first, top = n, starts.shape[0]
    k = top  # suffixes wait at the far end, already in order
    cut = 0
    while lo < hi:
        cut = _known(data, lo, hi, keys, cuts, seen)
        if cut > 0:
            break
        pre = _prefix(data, lo, hi, cls, index)
        if pre and _known(data, lo + pre, hi, keys, cuts, seen) > 0:
            starts[n], ends[n] = lo, lo + pre
            n += 1
            lo += pre
            continue
        suf = _suffix(data, lo + pre, hi, cls, index, keys, cuts, seen)
        if suf and _known(data, lo, hi - suf, keys, cuts, seen) > 0:
            pre = 0
        if pre:
            starts[n], ends[n] = lo, lo + pre
            n += 1
            lo += pre
        if suf:
            k -= 1
            starts[k], ends[k] = hi - suf, hi
            hi -= suf
        if not pre and not suf:
            break
    if lo < hi:
        if cut > 0:
            n = _emit(data, lo, hi, cut, starts, ends, n)
        elif is_url(data, lo, hi, cls, index):
            starts[n], ends[n] = lo, hi
            n += 1
        else:
            n = _middle(data, lo, hi, cls, index, starts, ends, n)
    for i in range(k, top):
        starts[n], ends[n] = starts[i], ends[i]
        n += 1
    return _join(data, first, n, keys, cuts, seen, starts, ends) if n - first > 1 else n


@njit(nogil=True, cache=True)
def split_words(data, lo, hi, cls, index, keys, cuts, seen, rule, starts, ends, plain):
    """Words of a segment: where each starts and ends, and whether it is of the letters a-z and A-Z alone.

    `rule` is 0 for spaCy's words and 1 for what stands between white space.
    """
    i, n = lo, 0
    while i < hi:
        j, all_of = i, np.uint32(0xFFFFFFFF)
        while j < hi:
            b = data[j]
            if b < 0x80:
                flags, width = cls[b], 1
            else:
                flags, width = flags_at(data, j, hi, cls, index)
            if flags & _SPACE:
                break
            all_of &= flags
            j += width
        if j == i:
            i += width
            continue
        letters = all_of & _LETTER
        if rule == 1 or (letters and not _known(data, i, j, keys, cuts, seen)):
            starts[n], ends[n] = i, j
            plain[n] = letters != 0
            n += 1
        else:
            stop = split_piece(data, i, j, cls, index, keys, cuts, seen, starts, ends, n)
            for k in range(n, stop):
                plain[k] = False
            n = stop
        i = j
    return n


@njit(nogil=True, cache=True)
def next_cut(data, lo, hi):
    """Where the segment that begins at `lo` ends: after white space, unless there is none."""
    if hi - lo <= 65536:
        return hi
    i = lo + 65536
    while i > lo:
        if data[i - 1] <= 32:
            return i
        i -= 1
    i = lo + 65536
    while i > lo + 1 and (data[i] & 0xC0) == 0x80:
        i -= 1
    return i
