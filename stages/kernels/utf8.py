"""Reading UTF-8 in place: classes of the next and previous character, hashes and searches over a span of bytes."""

import numpy as np
from numba import njit

_MIX = np.uint64(0x9E3779B97F4A7C15)
_MIX_2 = np.uint64(0xD6E8FEB86659FD93)


@njit(nogil=True, cache=True)
def flags_at(data, i, hi, cls, index):
    """The class flags of the character that begins at byte `i` and its width in bytes, never past `hi`."""
    b = np.int64(data[i])
    if b < 0x80:
        return cls[b], 1
    c, width = b, 1
    if 0xC2 <= b < 0xE0 and i + 1 < hi:
        c, width = ((b & 0x1F) << 6) | (np.int64(data[i + 1]) & 0x3F), 2
    elif 0xE0 <= b < 0xF0 and i + 2 < hi:
        c = ((b & 0x0F) << 12) | ((np.int64(data[i + 1]) & 0x3F) << 6) | (np.int64(data[i + 2]) & 0x3F)
        width = 3
    elif 0xF0 <= b < 0xF5 and i + 3 < hi:
        c = ((b & 0x07) << 18) | ((np.int64(data[i + 1]) & 0x3F) << 12)
        c |= ((np.int64(data[i + 2]) & 0x3F) << 6) | (np.int64(data[i + 3]) & 0x3F)
        c, width = min(c, 0x10FFFF), 4
    return cls[(np.int64(index[c >> 8]) << 8) + (c & 255)], width


@njit(nogil=True, cache=True)
def before(data, i, lo):
    """The byte where the character before byte `i` begins, not before `lo`."""
    i -= 1
    while i > lo and (data[i] & 0xC0) == 0x80:
        i -= 1
    return i


@njit(nogil=True, cache=True)
def chars_in(data, lo, hi):
    """Characters in a span: bytes that do not continue a character."""
    n = 0
    for i in range(lo, hi):
        n += (data[i] & 0xC0) != 0x80
    return n


@njit(nogil=True, cache=True)
def span_hash(data, lo, hi):
    """A 64-bit hash of a span of bytes, never 0; eight bytes a step."""
    h = np.uint64(hi - lo) * _MIX
    i = lo
    while i + 8 <= hi:
        w = np.uint64(0)
        for k in range(8):
            w |= np.uint64(data[i + k]) << np.uint64(8 * k)
        h = (h ^ w) * _MIX_2
        h ^= h >> np.uint64(32)
        i += 8
    w = np.uint64(0)
    for k in range(hi - i):
        w |= np.uint64(data[i + k]) << np.uint64(8 * k)
    h = (h ^ w) * _MIX_2
    h ^= h >> np.uint64(29)
    h *= _MIX
    h ^= h >> np.uint64(32)
    return h if h != np.uint64(0) else np.uint64(1)


@njit(nogil=True, cache=True)
def pair_hash(a, b):
    """A 64-bit hash of an ordered pair of hashes, never 0."""
    h = (a * _MIX) ^ (b + (a >> np.uint64(17)))
    h ^= h >> np.uint64(31)
    h *= _MIX_2
    h ^= h >> np.uint64(32)
    return h if h != np.uint64(0) else np.uint64(1)


@njit(nogil=True, cache=True)
def ends_with_ellipsis(data, lo, hi):
    """Whether a span ends in `...` or in the one character for it."""
    if hi - lo < 3:
        return False
    a, b, c = data[hi - 3], data[hi - 2], data[hi - 1]
    return (a == 46 and b == 46 and c == 46) or (a == 0xE2 and b == 0x80 and c == 0xA6)


@njit(nogil=True, cache=True)
def next_break(data, i, hi):
    """Where the line that holds byte `i` ends and where the next begins, as `str.splitlines` has it; both `hi` at the end."""
    while i < hi:
        b = data[i]
        if b < 0x20:
            if b == 13:
                return i, (i + 2 if i + 1 < hi and data[i + 1] == 10 else i + 1)
            if 10 <= b <= 12 or 28 <= b <= 30:
                return i, i + 1
        elif b == 0xC2:
            if i + 1 < hi and data[i + 1] == 0x85:
                return i, i + 2
        elif b == 0xE2 and i + 2 < hi and data[i + 1] == 0x80 and 0xA8 <= data[i + 2] <= 0xA9:
            return i, i + 3
        i += 1
    return hi, hi


@njit(nogil=True, cache=True)
def strip(data, lo, hi, cls, index, space):
    """The span without white space at both ends."""
    while lo < hi:
        flags, width = flags_at(data, lo, hi, cls, index)
        if not flags & space:
            break
        lo += width
    while lo < hi:
        start = before(data, hi, lo)
        flags, _ = flags_at(data, start, hi, cls, index)
        if not flags & space:
            break
        hi = start
    return lo, hi
