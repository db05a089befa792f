"""Cutting spans out of texts, so that no hole is seen."""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np
import pyarrow as pa

from stages.kernels.arrow import buffers
from stages.kernels.peek import copy, inner, kernel

SPANS = pa.list_(pa.struct([("begin", pa.int64()), ("end", pa.int64())]))


@inner()
def _is_space(b: int) -> bool:
    """Whether a byte is ASCII white space."""
    return b == 32 or 9 <= b <= 13


@inner()
def _is_unspaced(data: Any, i: int) -> bool:
    """Whether the character at a byte is of a script without spaces between words, or one of its marks."""
    b, c = data[i], data[i + 1] if i + 1 < data.shape[0] else 0
    if b == 0xE0:  # Thai, Lao
        return 0xB8 <= c <= 0xBB
    if b == 0xE1:  # Burmese, Khmer
        return c in (0x80, 0x81, 0x82, 0x9E, 0x9F)
    if b == 0xEF:  # compatibility ideographs, full-width forms
        return 0xA4 <= c <= 0xAB or 0xBC <= c <= 0xBE
    # kana, ideographs and their punctuation; Yi; ideographs beyond the first plane
    return 0xE3 <= b <= 0xE9 or (b == 0xEA and c <= 0x93) or (b == 0xF0 and c >= 0xA0)


@inner()
def _hole(data: Any, bounds: Any, s: int, last: int, i: int, lo: int, hi: int) -> tuple[int, int, int]:
    """The next hole at or after byte `i`: spans with only white space between; begin, end, and the span after it.

    A span is shrunk to whole characters, and to what is left of the text. Without one, begin and end are `hi`.
    """
    begin, end = hi, hi
    while s < last:
        a, b = max(min(lo + bounds[s, 0], hi), i), min(lo + bounds[s, 1], hi)
        while a < hi and (data[a] & 0xC0) == 0x80:
            a += 1
        while b > a and b < hi and (data[b] & 0xC0) == 0x80:
            b -= 1
        if a < b:
            if begin < hi:
                k = end
                while k < a and _is_space(data[k]):
                    k += 1
                if k < a:
                    break
            else:
                begin = a
            i = end = b
        s += 1
    return begin, end, s


@inner()
def _join(data: Any, end: int, i: int, hi: int, out: Any, n: int, first: int) -> tuple[int, int]:
    """Close a hole that ends at `end`, white space after it at `i`: where to write and to read on.

    Of the white space on its two sides that with more newlines stays. A line that is whole keeps its indentation.
    """
    k, after, above, below = n, n, 0, 0
    while k > first and _is_space(out[k - 1]):
        k -= 1
        if out[k] == 10:
            after = k + 1 if above == 0 else after
            above += 1
    if k == first:
        return first, i
    if i == hi:
        return k, hi
    line = end if data[end - 1] == 10 else hi  # where the line that is left begins, if it is whole
    for j in range(end, i):
        if data[j] == 10:
            below += 1
            line = j + 1
    if above == 0 and below == 0:
        if k == n and i == end:
            start = n - 1
            while start > first and (out[start] & 0xC0) == 0x80:
                start -= 1
            if not _is_unspaced(out, start) and not _is_unspaced(data, i):
                out[n] = 32
                n += 1
        return (n, i) if k < n else (n, end)
    if above < below:
        return k, end
    return (n, i) if line == hi else (after, line)


@kernel()
def _without(data: Any, offsets: Any, bounds: Any, firsts: Any) -> tuple[Any, Any]:
    """Texts without their spans: bytes and offsets."""
    documents = offsets.shape[0] - 1
    total = np.int64(offsets[documents]) - np.int64(offsets[0])
    out, places = np.empty(total + bounds.shape[0], np.uint8), np.zeros(documents + 1, np.int64)
    n = np.int64(0)
    for d in range(documents):
        lo, hi, first = np.int64(offsets[d]), np.int64(offsets[d + 1]), n
        i, s, last = lo, np.int64(firsts[d]), np.int64(firsts[d + 1])
        while i < hi:
            begin, end, s = _hole(data, bounds, s, last, i, lo, hi)
            copy(out, n, data, i, begin - i)
            n += begin - i
            i = end
            if begin < end:
                while i < hi and _is_space(data[i]):
                    i += 1
                n, i = _join(data, end, i, hi, out, n, first)
        places[d + 1] = n
    return out[:n], places


def without(texts: pa.Array, spans: pa.Array) -> pa.Array:
    """The texts without their spans: lists of begin and end, in bytes of the text, sorted."""
    data, offsets = buffers(texts)
    flat = spans.cast(SPANS).flatten()
    bounds = np.stack([flat.field(k).to_numpy(zero_copy_only=False) for k in (0, 1)], axis=1)
    firsts = np.concatenate(([0], np.cumsum(spans.value_lengths().to_numpy(zero_copy_only=False)))).astype(np.int64)
    out, places = _without(data, offsets, bounds, firsts)
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(places.astype(np.int32)), pa.py_buffer(out))
