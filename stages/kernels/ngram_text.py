"""Lines of an ARPA file: written from numbered words, and read into hashes."""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np

from stages.kernels.ngram_words import is_gap
from stages.kernels.peek import inner, kernel, u8
from stages.kernels.utf8 import pair_hash, span_hash

_DECIMALS = 7
_SCALE = 10**_DECIMALS
#: Bytes of a number at most: sign, three digits, dot, decimals.
_NUMBER = 12


@inner()
def _put_number(out: Any, n: int, value: float) -> int:
    """Write a number with at most seven decimals; gives the place after it."""
    scaled = np.int64(np.rint(np.float64(value) * _SCALE))
    if scaled < 0:
        out[n] = 45
        n += 1
        scaled = -scaled
    whole, rest = scaled // _SCALE, scaled % _SCALE
    if whole >= 100:
        out[n] = 48 + whole // 100 % 10
        n += 1
    if whole >= 10:
        out[n] = 48 + whole // 10 % 10
        n += 1
    out[n] = 48 + whole % 10
    n += 1
    if rest:
        out[n] = 46
        n += 1
        unit = _SCALE // 10
        while rest:
            out[n] = 48 + rest // unit
            n += 1
            rest %= unit
            unit //= 10
    return n


@kernel()
def lines_of(words: Any, logs: Any, backoffs: Any, data: Any, offsets: Any) -> Any:
    """The bytes of a line for each n-gram: probability, words, and the backoff where there are any.

    Args:
        words: numbers of words, a row for each n-gram.
        logs: base-10 logarithms of probabilities.
        backoffs: base-10 logarithms of backoffs; of length 0 for the highest order.
        data: bytes of all words.
        offsets: where each begins in them.

    """
    rows, order = words.shape
    room = rows * (2 * _NUMBER + 3 + order)
    for i in range(rows):
        for j in range(order):
            room += offsets[words[i, j] + 1] - offsets[words[i, j]]
    out = np.empty(room, np.uint8)
    n = 0
    for i in range(rows):
        n = _put_number(out, n, logs[i])
        for j in range(order):
            out[n] = 9 if j == 0 else 32
            n += 1
            for p in range(offsets[words[i, j]], offsets[words[i, j] + 1]):
                out[n] = data[p]
                n += 1
        if backoffs.shape[0]:
            out[n] = 9
            n = _put_number(out, n + 1, backoffs[i])
        out[n] = 10
        n += 1
    return out[:n].copy()


@kernel()
def keys_of(words: Any, hashes: Any) -> Any:
    """The key of each n-gram in a table: its words' hashes, folded from the last to the first."""
    out = np.empty(words.shape[0], np.uint64)
    for i in range(words.shape[0]):
        h = hashes[words[i, words.shape[1] - 1]]
        for j in range(words.shape[1] - 2, -1, -1):
            h = pair_hash(h, hashes[words[i, j]])
        out[i] = h
    return out


@inner()
def _number_at(data: int, lo: int, hi: int) -> float:
    """The decimal number in a span; NaN where it is none."""
    sign, i = 1.0, lo
    if i < hi and (u8(data, i) == 45 or u8(data, i) == 43):
        sign = -1.0 if u8(data, i) == 45 else 1.0
        i += 1
    if hi - i == 3 and u8(data, i) == 105 and u8(data, i + 1) == 110 and u8(data, i + 2) == 102:  # inf
        return sign * 99.0
    value, digits, power = 0.0, 0, 0
    point = False
    while i < hi:
        b = u8(data, i)
        if b == 46 and not point:
            point = True
        elif 48 <= b <= 57:
            value = value * 10 + (b - 48)
            digits += 1
            power -= point
        else:
            break
        i += 1
    if digits == 0:
        return np.nan
    if i < hi and (u8(data, i) == 101 or u8(data, i) == 69):
        i += 1
        minus = False
        if i < hi and (u8(data, i) == 45 or u8(data, i) == 43):
            minus = u8(data, i) == 45
            i += 1
        exponent = 0
        while i < hi and 48 <= u8(data, i) <= 57:
            exponent = min(exponent * 10 + u8(data, i) - 48, 400)
            i += 1
        power += -exponent if minus else exponent
    return sign * value * 10.0**power if i == hi else np.nan


@kernel()
def read_lines(data: Any, start: int, end: int, order: int, rows: int) -> Any:
    """The n-grams of a section of an ARPA file that begins at byte `start`.

    Returns:
        Keys, base-10 logarithms of probabilities and backoffs (0 where there is none), the keys of the n-grams without
        their first words, how many rows there were, and the byte after them; a row that cannot be read ends the
        reading.

    """
    address = data.ctypes.data
    keys, ends = np.zeros(rows, np.uint64), np.zeros(rows, np.uint64)
    logs, backoffs = np.zeros(rows, np.float32), np.zeros(rows, np.float32)
    hashes = np.zeros(order, np.uint64)
    i, n = start, 0
    while n < rows:
        stop = i
        while stop < end and data[stop] != 10:
            stop += 1
        if stop == end:
            break
        field, p = 0, i
        good = True
        while True:
            while p < stop and is_gap(data[p]):
                p += 1
            if p == stop:
                break
            lo = p
            while p < stop and not is_gap(data[p]):
                p += 1
            if field == 0:
                logs[n] = _number_at(address, lo, p)
                good = not np.isnan(logs[n])
            elif field <= order:
                hashes[field - 1] = span_hash(address, lo, p)
            elif field == order + 1:
                backoffs[n] = _number_at(address, lo, p)
                good = good and not np.isnan(backoffs[n])
            field += 1
        if not good or field <= order or field > order + 2:
            break
        h = hashes[order - 1]
        for j in range(order - 2, -1, -1):
            ends[n] = h
            h = pair_hash(h, hashes[j])
        keys[n] = h
        n += 1
        i = stop + 1
    return keys, logs, backoffs, ends, n, i
