"""Where identifiers of people could be in texts: one pass over the bytes that finds little else.

Each find is a row of (text, begin, end, kind), `begin` and `end` in bytes of the text. What is found is looked at
again, by regular expressions that begin at `begin` and read a bounded number of bytes.
"""

# ruff: noqa: PLR0911, PLR0917, PLR1714, SIM110 - early returns keep branches flat; numba compares faster than it searches
# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

import functools
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.kernels.arrow import buffers
from stages.kernels.peek import copy, inner, kernel, u8

#: Kinds of finds. EMAIL: from the first byte of what may be the local part to the @; NUMBER: digits with separators,
#: seven digits or more; DOTTED: the same with three dots or more; COLONS: hexadecimal digits and colons; COUNTRY: two
#: capitals and two digits; PREFIX: a word that begins as API keys do.
EMAIL, NUMBER, DOTTED, COLONS, COUNTRY, PREFIX = range(6)
#: Beginnings of API keys, of up to four bytes, and of blocks of private keys.
PREFIXES = (
    b"AKIA", b"ASIA", b"AIza", b"ghp_", b"gho_", b"ghu_", b"ghs_", b"ghr_", b"gith", b"glpa", b"xoxa", b"xoxb", b"xoxe",
    b"xoxo", b"xoxp", b"xoxr", b"xoxs", b"sk_l", b"sk_t", b"rk_l", b"rk_t", b"sk-", b"eyJ", b"npm_", b"hf_", b"----",
)  # fmt: skip
#: Classes of bytes.
_DIGIT, _ALNUM, _LOCAL, _HEX, _UPPER, _MARK, _GAP, _START = 1, 2, 4, 8, 16, 32, 64, 128
#: Bytes of a local part at most.
_LONGEST = 130


@functools.cache
def _classes() -> NDArray[Any]:
    """The classes of every byte; `_MARK` are those at which something is looked for."""
    table = np.zeros(256, np.uint8)
    for b in range(256):
        c = chr(b)
        alnum = b < 128 and c.isalnum()
        table[b] |= _DIGIT | _MARK if c in "0123456789" else 0
        table[b] |= _ALNUM if alnum or c == "_" else 0
        table[b] |= _LOCAL if alnum or c in "._%+-" else 0
        table[b] |= _HEX if c in "0123456789abcdefABCDEF" else 0
        table[b] |= _UPPER | _MARK if "A" <= c <= "Z" else 0
        table[b] |= _MARK if c in "@:+(" else 0
        table[b] |= _GAP if c in " .-/()" else 0
        table[b] |= _START | _MARK if any(p[0] == b for p in PREFIXES) else 0
    return table


@functools.cache
def _pairs() -> NDArray[Any]:
    """For two bytes in a row, the first the lower half of the index, whether a prefix begins with them."""
    table = np.zeros(65_536, np.uint8)
    for prefix in PREFIXES:
        table[int.from_bytes(prefix[:2], "little")] = 1
    return table


@functools.cache
def _prefixes() -> NDArray[Any]:
    """Each prefix as a number and the mask of its bytes."""
    pairs = [(int.from_bytes(p, "little"), (1 << 8 * len(p)) - 1) for p in PREFIXES]
    return np.array(pairs, np.int64)


@inner()
def _run(data: int, i: int, hi: int, t: int) -> tuple[int, int, int]:
    """Where a run of digits with one or two separators between them ends, its digits and its dots."""
    digits, dots, end = np.int64(0), np.int64(0), i
    gap, seen = np.int64(0), np.int64(0)
    while i < hi:
        b = u8(data, i)
        kind = u8(t, b)
        if kind & _DIGIT:
            digits += 1
            dots += seen
            gap, seen, end = np.int64(0), np.int64(0), i + 1
        elif kind & _GAP and gap < 2:
            gap += 1
            seen += b == 46
        elif b == 0xC2 and gap < 2 and i + 1 < hi and u8(data, i + 1) == 0xA0:  # a space that does not break
            gap += 1
            i += 1
        else:
            break
        i += 1
    return end, digits, dots


@inner()
def _local(data: int, at: int, lo: int, t: int) -> int:
    """Where the local part before an @ begins; `at` where there is none or it is too long."""
    i = at
    while i > lo and at - i <= _LONGEST:
        b = u8(data, i - 1)
        if u8(t, b) & _LOCAL:
            if b == 46 and (i == at or u8(data, i) == 46):
                break
            i -= 1
        elif (b & 0xC0) == 0x80 and i - 1 > lo and 0xC3 <= u8(data, i - 2) <= 0xD4:  # Latin, Greek, Cyrillic
            i -= 2
        else:
            break
    if at - i > _LONGEST:
        return at
    while i < at and not (u8(t, u8(data, i)) & _ALNUM or u8(data, i) >= 0xC3):
        i += 1
    return i


@inner()
def _colons(data: int, i: int, lo: int, hi: int, t: int) -> tuple[int, int]:
    """The run of hexadecimal digits, colons and dots around the first of its colons; empty where it is no address."""
    begin, end = i, i
    while begin > lo and i - begin <= 4 and u8(t, u8(data, begin - 1)) & _HEX:
        begin -= 1
    if begin < i and begin > lo and u8(data, begin - 1) == 58:  # not the first colon
        return i, i
    colons, double = np.int64(0), False
    while end < hi and end - begin <= 45:
        b = u8(data, end)
        if b == 58:
            colons += 1
            double = double or (end > i and u8(data, end - 1) == 58)
        elif not (u8(t, b) & _HEX or b == 46):
            break
        end += 1
    return (begin, end) if double or colons >= 6 else (i, i)


@inner()
def _has_prefix(data: int, i: int, hi: int, pairs: int, prefixes: Any) -> bool:
    """Whether a key's beginning is at byte `i`."""
    if i + 3 >= hi or not u8(pairs, u8(data, i) | (u8(data, i + 1) << 8)):
        return False
    word = np.int64(0)
    for k in range(4):
        word |= np.int64(u8(data, i + k)) << (8 * k)
    for p in range(prefixes.shape[0]):
        if word & prefixes[p, 1] == prefixes[p, 0]:
            return True
    return False


@inner()
def _look(data: int, i: int, lo: int, hi: int, t: int, pairs: int, prefixes: Any, found: Any) -> tuple[int, int]:
    """What the byte at `i` finds: writes at most two finds (begin, end, kind); gives how many, and where to go on."""
    b, n = u8(data, i), 0
    kind = u8(t, b)
    if b == 64:
        begin = _local(data, i, lo, t)
        if begin < i and i + 1 < hi and (u8(t, u8(data, i + 1)) & _ALNUM or u8(data, i + 1) >= 0xC3):
            found[0, 0], found[0, 1], found[0, 2] = begin, i, EMAIL
            return 1, i + 1
        return 0, i + 1
    if b == 58:
        if i > lo and u8(data, i - 1) == 58:
            return 0, i + 1
        begin, end = _colons(data, i, lo, hi, t)
        if begin < end:
            found[0, 0], found[0, 1], found[0, 2] = begin, end, COLONS
            return 1, i + 1
        return 0, i + 1
    if i > lo and u8(t, u8(data, i - 1)) & _ALNUM:
        return 0, i + 1
    if kind & _DIGIT or b == 43 or b == 40:
        first = i if kind & _DIGIT else i + 1
        if first < hi and u8(t, u8(data, first)) & _DIGIT:
            end, digits, dots = _run(data, first, hi, t)
            if dots >= 3:
                found[n, 0], found[n, 1], found[n, 2] = first, end, DOTTED
                n += 1
            if digits >= 7:
                found[n, 0], found[n, 1], found[n, 2] = i, end, NUMBER
                n += 1
            return n, end
        return 0, i + 1
    two = kind & _UPPER and i + 4 < hi and u8(t, u8(data, i + 1)) & _UPPER
    if two and u8(t, u8(data, i + 2)) & _DIGIT and u8(t, u8(data, i + 3)) & _DIGIT:
        found[0, 0], found[0, 1], found[0, 2] = i, i + 4, COUNTRY
        n = 1
    within = i > lo and u8(data, i - 1) == 45 and (b == 45 or b == 101 or b == 115)  # eyJ and sk- have hyphens in them
    if kind & _START and not within and _has_prefix(data, i, hi, pairs, prefixes):
        found[n, 0], found[n, 1], found[n, 2] = i, i + 4, PREFIX
        n += 1
    return n, i + 1


@kernel()
def _find(data: Any, offsets: Any, classes: Any, pairs: Any, prefixes: Any) -> Any:
    address, t = data.ctypes.data, classes.ctypes.data
    out, n = np.empty((1024, 4), np.int64), np.int64(0)
    found = np.empty((2, 3), np.int64)
    for d in range(offsets.shape[0] - 1):
        lo, hi = np.int64(offsets[d]), np.int64(offsets[d + 1])
        i, last = lo, np.int64(0)
        while i < hi:
            kind = u8(t, u8(address, i))
            if not kind & _MARK or (kind & _ALNUM and last & _ALNUM):  # nothing begins within a word
                last = kind
                i += 1
                continue
            finds, i = _look(address, i, lo, hi, t, pairs.ctypes.data, prefixes, found)
            last = u8(t, u8(address, i - 1))
            for k in range(finds):
                if n == out.shape[0]:
                    more = np.empty((2 * n, 4), np.int64)
                    copy(more, 0, out, 0, 4 * n)
                    out = more
                out[n, 0], out[n, 1], out[n, 2], out[n, 3] = d, found[k, 0] - lo, found[k, 1] - lo, found[k, 2]
                n += 1
    return out[:n]


def anchors(texts: pa.Array) -> NDArray[np.int64]:
    """Finds as rows of (text, begin, end, kind), in the order of the texts."""
    data, offsets = buffers(texts)
    found: NDArray[np.int64] = _find(data, offsets, _classes(), _pairs(), _prefixes())
    return found
