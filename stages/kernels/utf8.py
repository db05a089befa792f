"""Reading UTF-8 in place: classes of the next and previous character, hashes and searches over a span of bytes.

`data` is the address of the bytes, `t` that of the tables (see `lexicon`), spans are `lo` to `hi`.
"""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

import numpy as np

from stages.kernels.peek import inner, u8, u16, u32, u64
from stages.kernels.unicode import CLASSES

_MIX = np.uint64(0x9E3779B97F4A7C15)
_MIX_2 = np.uint64(0xD6E8FEB86659FD93)
_17, _29, _31, _32 = np.uint64(17), np.uint64(29), np.uint64(31), np.uint64(32)


@inner()
def wide_flags(data: int, i: int, hi: int, t: int) -> tuple[int, int]:
    """The class flags of a character that is not ASCII and its width in bytes, never past `hi`."""
    b = u8(data, i)
    c, width = b, 1
    if 0xC2 <= b < 0xE0 and i + 1 < hi:
        c, width = ((b & 0x1F) << 6) | (u8(data, i + 1) & 0x3F), 2
    elif 0xE0 <= b < 0xF0 and i + 2 < hi:
        c, width = ((b & 0x0F) << 12) | ((u8(data, i + 1) & 0x3F) << 6) | (u8(data, i + 2) & 0x3F), 3
    elif 0xF0 <= b < 0xF5 and i + 3 < hi:
        c = ((b & 0x07) << 18) | ((u8(data, i + 1) & 0x3F) << 12)
        c, width = min(c | ((u8(data, i + 2) & 0x3F) << 6) | (u8(data, i + 3) & 0x3F), 0x10FFFF), 4
    return u32(t + CLASSES, (u16(t, c >> 8) << 8) + (c & 255)), width


@inner()
def flags_at(data: int, i: int, hi: int, t: int) -> tuple[int, int]:
    """The class flags of the character that begins at byte `i` and its width in bytes, never past `hi`."""
    b = u8(data, i)
    if b < 0x80:
        return u32(t + CLASSES, b), 1
    return wide_flags(data, i, hi, t)


@inner()
def before(data: int, i: int, lo: int) -> int:
    """The byte where the character before byte `i` begins, not before `lo`."""
    i -= 1
    while i > lo and (u8(data, i) & 0xC0) == 0x80:
        i -= 1
    return i


@inner()
def chars_in(data: int, lo: int, hi: int) -> int:
    """Characters in a span: bytes that do not continue a character."""
    n = 0
    for i in range(lo, hi):
        n += (u8(data, i) & 0xC0) != 0x80
    return n


@inner()
def span_hash(data: int, lo: int, hi: int) -> int:
    """A 64-bit hash of a span of bytes, never 0; eight bytes a step."""
    h = np.uint64(hi - lo) * _MIX
    i = lo
    while i + 8 <= hi:
        h = (h ^ u64(data + i, 0)) * _MIX_2
        h ^= h >> _32
        i += 8
    rest = hi - i
    w = np.uint64(0)
    if (np.int64(data) + i) & 4095 <= 4088:  # eight bytes on one page can be read even past the end
        w = u64(data + i, 0) & ((np.uint64(1) << np.uint64(8 * rest)) - np.uint64(1))
    else:
        for k in range(rest):
            w |= np.uint64(u8(data, i + k)) << np.uint64(8 * k)
    h = (h ^ w) * _MIX_2
    h ^= h >> _29
    h *= _MIX
    h ^= h >> _32
    return h if h != np.uint64(0) else np.uint64(1)


@inner()
def pair_hash(a: int, b: int) -> int:
    """A 64-bit hash of an ordered pair of hashes, never 0."""
    h = (a * _MIX) ^ (b + (a >> _17))
    h ^= h >> _31
    h *= _MIX_2
    h ^= h >> _32
    return h if h != np.uint64(0) else np.uint64(1)


@inner()
def is_ellipsis(data: int, i: int, hi: int) -> bool:
    """Whether the one-character ellipsis begins at byte `i`."""
    return i + 2 < hi and u8(data, i) == 0xE2 and u8(data, i + 1) == 0x80 and u8(data, i + 2) == 0xA6


@inner()
def ends_with_ellipsis(data: int, lo: int, hi: int) -> bool:
    """Whether a span ends in `...` or in the one character for it."""
    if hi - lo < 3:
        return False
    if u8(data, hi - 1) == 46:
        return u8(data, hi - 2) == 46 and u8(data, hi - 3) == 46
    return is_ellipsis(data, hi - 3, hi)


@inner()
def next_break(data: int, i: int, hi: int) -> tuple[int, int]:
    """Where the line of byte `i` ends and where the next begins, as `str.splitlines` has it; both `hi` at the end."""
    while i < hi:
        b = u8(data, i)
        if b < 0x20:
            if b == 13:
                return i, (i + 2 if i + 1 < hi and u8(data, i + 1) == 10 else i + 1)
            if 10 <= b <= 12 or 28 <= b <= 30:
                return i, i + 1
        elif b == 0xC2:
            if i + 1 < hi and u8(data, i + 1) == 0x85:
                return i, i + 2
        elif b == 0xE2 and i + 2 < hi and u8(data, i + 1) == 0x80 and 0xA8 <= u8(data, i + 2) <= 0xA9:
            return i, i + 3
        i += 1
    return hi, hi


@inner()
def strip(data: int, lo: int, hi: int, t: int, space: int) -> tuple[int, int]:
    """The span without white space at both ends."""
    while lo < hi:
        flags, width = flags_at(data, lo, hi, t)
        if not flags & space:
            break
        lo += width
    while lo < hi:
        start = before(data, hi, lo)
        flags, width = flags_at(data, start, hi, t)
        if not flags & space:
            break
        hi = start
    return lo, hi
