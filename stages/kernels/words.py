"""Words as spaCy's blank English pipeline counts them, found in the bytes.

A text is split at white space; each piece is peeled from both ends (prefixes, suffixes), known words stop the
peeling, a URL, host or address is kept whole, and what is left is cut at infixes. The rules are those of
filters.md, section 11, checked against spaCy 3.8.18; adjacent parts that form an emoticon are joined again.
Deviations: a piece of more than 65,536 bytes is cut there; emoticons are joined from the left, longest first.

Words wait as 64-bit numbers at the address `out`: whether the word is of the letters a-z and A-Z alone in the
highest bit, then its first byte in 31 bits, then the byte after it in 32.
"""

# ruff: noqa: PLR0911, PLR1714 - early returns keep branches flat; numba compares faster than it searches
# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

import numpy as np

from stages.kernels import unicode as u
from stages.kernels.hosts import is_url
from stages.kernels.lexicon import LONGEST, UNIT, known
from stages.kernels.peek import inner, put64, u8, u32, u64
from stages.kernels.unicode import CLASSES
from stages.kernels.utf8 import before, flags_at, is_ellipsis, wide_flags

#: Bytes of text split at a time; also the longest piece. `out` needs room for as many words.
SEGMENT = 65_536
#: What a word is: spaCy's rules, what stands between white space, or runs of letters and digits.
SPACY, WHITESPACE, ALPHANUMERIC = 0, 1, 2
_32, _PLAIN, _PLACE, _END = np.uint64(32), np.uint64(1 << 63), np.uint64(0x7FFFFFFF), np.uint64(0xFFFFFFFF)

_SPACE, _LETTER, _ALPHA, _DIGIT = u.SPACE, u.LETTER, u.W_ALPHA, u.W_DIGIT
_LOWER, _UPPER, _QUOTE = u.W_LOWER, u.W_UPPER, u.W_QUOTE
_PREFIX, _SUFFIX, _BEFORE_DOT = u.W_PREFIX, u.W_SUFFIX, u.W_BEFORE_DOT
_INFIX, _ICON, _CURRENCY = u.W_INFIX, u.W_ICON, u.W_CURRENCY
_ALNUM, _PUNCT, _SIGN = u.ALNUM, u.PUNCT, u.SIGN


@inner()
def _put(out: int, n: int, lo: int, hi: int) -> int:
    """Write a word at place `n`; gives the place after it."""
    put64(out, n, np.uint64(lo) << _32 | np.uint64(hi))
    return n + 1


@inner()
def start_of(word: int) -> int:
    """The first byte of a word."""
    return np.int64((word >> _32) & _PLACE)


@inner()
def end_of(word: int) -> int:
    """The byte after a word."""
    return np.int64(word & _END)


@inner()
def is_plain(word: int) -> bool:
    """Whether a word is of the letters a-z and A-Z alone."""
    return word & _PLAIN != np.uint64(0)


@inner()
def _prefix(data: int, lo: int, hi: int, t: int) -> int:
    """Bytes of the prefix that a piece begins with, 0 for none."""
    b = u8(data, lo)
    if b == 46:  # a dot
        n = lo
        while n < hi and u8(data, n) == 46:
            n += 1
        return n - lo if n - lo > 1 else 0
    if b == 43:  # a plus
        return 0 if lo + 1 < hi and 48 <= u8(data, lo + 1) <= 57 else 1
    flags, width = flags_at(data, lo, hi, t)
    if flags & _PREFIX:
        return width
    if b == 85 and lo + 2 < hi and u8(data, lo + 1) == 83 and u8(data, lo + 2) == 36:  # US$
        return 3
    if (b == 65 or b == 67) and lo + 1 < hi and u8(data, lo + 1) == 36:  # A$ and C$
        return 2
    return 0


@inner()
def _dot_suffix(data: int, lo: int, hi: int, t: int) -> int:
    """Bytes of the suffix of a piece that ends in a dot."""
    n = hi
    while n > lo and u8(data, n - 1) == 46:
        n -= 1
    if hi - n > 1:
        return hi - n
    if n == lo:
        return 0
    p = before(data, n, lo)
    flags, _ = flags_at(data, p, n, t)
    if flags & _BEFORE_DOT:
        return 1
    if flags & _UPPER and p > lo:
        flags, _ = flags_at(data, before(data, p, lo), p, t)
        if p - 2 >= lo and u8(data, p - 2) == 0xC2 and u8(data, p - 1) == 0xB0:  # degrees
            b = u8(data, p)
            return 1 if b == 67 or b == 70 or b == 75 else 0
        return 1 if flags & _UPPER else 0
    return 0


@inner()
def _suffix(data: int, lo: int, hi: int, t: int) -> int:
    """Bytes of the suffix that a piece ends with, 0 for none."""
    if hi <= lo:
        return 0
    b = u8(data, hi - 1)
    if b == 46:
        return _dot_suffix(data, lo, hi, t)
    p = before(data, hi, lo)
    flags, _ = flags_at(data, p, hi, t)
    if not flags & _SUFFIX:
        d = hi  # a unit, currency or plus sign after a digit
        floor = max(lo, hi - 24)
        while d > floor and not (48 <= u8(data, d - 1) <= 57):
            d -= 1
        if d > floor and d < hi:
            if (flags & _CURRENCY or b == 43) and d == p:
                return hi - p
            if known(data, d, hi, t) == UNIT:
                return hi - d
    if (b == 115 or b == 83) and p > lo:  # 's
        if u8(data, p - 1) == 39:
            return 2
        if p - 3 >= lo and u8(data, p - 3) == 0xE2 and u8(data, p - 2) == 0x80 and u8(data, p - 1) == 0x99:
            return 4
    return hi - p if flags & _SUFFIX else 0


@inner()
def _infix(data: int, i: int, hi: int, flags: int, width: int, last: int, t: int) -> int:
    """Bytes of the infix at `i` (`flags` and `width` of its character, `last` of the one before), 0 for none."""
    b = u8(data, i)
    if b == 46 and i + 1 < hi and u8(data, i + 1) == 46:
        n = i
        while n < hi and u8(data, n) == 46:
            n += 1
        return n - i
    if flags & _ICON or is_ellipsis(data, i, hi):
        return width
    j = i + width
    if j >= hi:
        return 0
    after, _ = flags_at(data, j, hi, t)
    if b == 46:
        return 1 if last & (_LOWER | _QUOTE) and after & (_UPPER | _QUOTE) else 0
    if last & _DIGIT and (after & _DIGIT or u8(data, j) == 45) and (b == 43 or b == 45 or b == 42 or b == 94):
        return width
    if b == 44:
        return width if last & _ALPHA and after & _ALPHA else 0
    if b == 43 or b == 42 or b == 94 or not last & (_ALPHA | _DIGIT):
        return 0
    return width if after & _ALPHA else _long_dash(data, i, j, hi, t)


@inner()
def _is_dash(data: int, i: int) -> bool:
    """Whether the three bytes from `i` on are an em dash."""
    return u8(data, i) == 0xE2 and u8(data, i + 1) == 0x80 and u8(data, i + 2) == 0x94


@inner()
def _long_dash(data: int, i: int, j: int, hi: int, t: int) -> int:
    """Bytes of two or three hyphens, or of two dashes, from `i` on, where a letter follows; 0 for none."""
    n = j
    if u8(data, i) == 45:
        while n < hi and n < i + 3 and u8(data, n) == 45:
            n += 1
    elif j + 3 <= hi and _is_dash(data, i) and _is_dash(data, j):
        n = j + 3
    if n == j or n >= hi:
        return 0
    after, _ = flags_at(data, n, hi, t)
    return n - i if after & _ALPHA else 0


@inner()
def _middle(data: int, lo: int, hi: int, t: int, out: int, n: int) -> int:
    """Cut what peeling left at its infixes."""
    start, i, last = lo, lo, np.int64(0)
    while i < hi:
        flags, width = flags_at(data, i, hi, t)
        size = np.int64(0)
        if flags & _INFIX:
            size = _infix(data, i, hi, flags, width, last, t)
        if size > 0 and i != lo:
            if i != start:
                n = _put(out, n, start, i)
            n = _put(out, n, i, i + size)
            start = i + size
        last = flags
        i += size if size > 0 else width
    return _put(out, n, start, hi) if start < hi else n


@inner()
def _join(data: int, first: int, n: int, t: int, out: int) -> int:
    """Join adjacent parts of one piece that form a known word."""
    kept, i = first, first
    while i < n:
        start, last = start_of(u64(out, i)), i
        j = i + 1
        while j < n and end_of(u64(out, j)) - start <= LONGEST:
            j += 1
        j -= 1
        while j > i:
            cut = known(data, start, end_of(u64(out, j)), t)
            if cut != UNIT and (cut & 255) == 1:
                last = j
                break
            j -= 1
        kept = _put(out, kept, start, end_of(u64(out, last)))
        i = last + 1
    return kept


@inner()
def _emit(lo: int, hi: int, cut: int, out: int, n: int) -> int:
    """Write the parts of a known word."""
    count = cut & 255
    for k in range(count):
        end = hi if k == count - 1 else lo + ((cut >> (8 * (k + 1))) & 255)
        n = _put(out, n, lo, end)
        lo = end
    return n


@inner()
def split_piece(data: int, lo: int, hi: int, t: int, out: int, n: int) -> int:
    """The words of one piece without white space, from place `n` on; gives the place after them."""
    first, top = n, SEGMENT + n  # no piece has more bytes than a segment
    k, cut = top, np.int64(0)  # suffixes wait at the far end, already in order
    while lo < hi:
        cut = known(data, lo, hi, t)
        if cut > 0 and cut != UNIT:
            break
        cut = np.int64(0)
        pre = _prefix(data, lo, hi, t)
        after = known(data, lo + pre, hi, t) if pre > 0 else np.int64(0)
        suf = np.int64(0)
        if after == 0 or after == UNIT:
            suf = _suffix(data, lo + pre, hi, t)
            if suf > 0 and pre > 0:
                after = known(data, lo, hi - suf, t)
                pre = pre if after == 0 or after == UNIT else np.int64(0)
        if pre == 0 and suf == 0:
            break
        if pre > 0:
            n = _put(out, n, lo, lo + pre)
            lo += pre
        if suf > 0:
            k -= 1
            _put(out, k, hi - suf, hi)
            hi -= suf
    if lo < hi:
        if cut > 0:
            n = _emit(lo, hi, cut, out, n)
        elif is_url(data, lo, hi, t):
            n = _put(out, n, lo, hi)
        else:
            n = _middle(data, lo, hi, t, out, n)
    while k < top:
        put64(out, n, u64(out, k))
        n, k = n + 1, k + 1
    return _join(data, first, n, t, out) if n - first > 1 else n


@inner()
def _split_runs(data: int, lo: int, hi: int, t: int, out: int, n: int) -> int:
    """Runs of letters, marks and digits in a piece, over an apostrophe, dot or underscore between two of them.

    Near to the words of Unicode's annex 29 in scripts with spaces; others are not segmented.
    """
    start, i = hi, lo
    while i < hi:
        flags, width = flags_at(data, i, hi, t)
        inside = flags & _ALNUM != 0 or (i > start and not flags & (_PUNCT | _SIGN) and u8(data, i) >= 0x80)
        if not inside and start < i and i + width < hi:
            b = u8(data, i)
            after, _ = flags_at(data, i + width, hi, t)
            joins = b == 39 or b == 46 or b == 95 or (width == 3 and b == 0xE2 and u8(data, i + 2) == 0x99)
            inside = joins and after & _ALNUM != 0
        if inside and start == hi:
            start = i
        elif not inside and start < hi:
            n = _put(out, n, start, i)
            start = hi
        i += width
    return _put(out, n, start, hi) if start < hi else n


@inner()
def split_words(data: int, lo: int, hi: int, t: int, rule: int, out: int) -> int:
    """Write the words of a segment at `out`, which has room for two segments; gives how many they are."""
    i, n = lo, np.int64(0)
    while i < hi:
        j, all_of = i, np.int64(0xFFFFFFFF)
        while j < hi:
            b = u8(data, j)
            if b < 0x80:
                flags, width = u32(t + CLASSES, b), 1
            else:
                flags, width = wide_flags(data, j, hi, t)
            if flags & _SPACE:
                break
            all_of &= flags
            j += width
        if j == i:
            i += width
            continue
        if rule == ALPHANUMERIC and not all_of & _LETTER:
            n = _split_runs(data, i, j, t, out, n)
        elif rule != SPACY or (all_of & _LETTER and known(data, i, j, t) == 0):
            plain = _PLAIN if all_of & _LETTER else np.uint64(0)
            put64(out, n, plain | np.uint64(i) << _32 | np.uint64(j))
            n += 1
        else:
            n = split_piece(data, i, j, t, out, n)
        i = j
    return n


@inner()
def next_cut(data: int, lo: int, hi: int) -> int:
    """Where the segment that begins at `lo` ends: after white space, unless there is none."""
    if hi - lo <= SEGMENT:
        return hi
    i = lo + SEGMENT
    while i > lo:
        if u8(data, i - 1) <= 32:
            return i
        i -= 1
    i = lo + SEGMENT
    while i > lo + 1 and (u8(data, i) & 0xC0) == 0x80:
        i -= 1
    return i
