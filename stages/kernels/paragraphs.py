"""Paragraphs and lines of texts: where they begin, and a hash of what their words are; and cutting spans out of texts."""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.kernels.arrow import buffers
from stages.kernels.peek import inner, kernel, u8
from stages.kernels.shingles import CHUNK, read_tokens
from stages.kernels.sketch_folds import Folding, table
from stages.kernels.sketch_tokens import WORDS

SPANS = pa.list_(pa.struct([("begin", pa.int64()), ("end", pa.int64())]))
_M = np.uint64(0xD6E8FEB86659FD93)
_SEED = np.uint64(0x9E3779B97F4A7C15)
_29, _32 = np.uint64(29), np.uint64(32)


@inner()
def _is_space(b: int) -> bool:
    """Whether a byte is ASCII white space."""
    return b == 32 or 9 <= b <= 13


@inner()
def _line_end(data: int, i: int, hi: int) -> int:
    """The byte after the line that begins at `i`, its newline included."""
    while i < hi and u8(data, i) != 10:
        i += 1
    return min(i + 1, hi)


@inner()
def _is_blank(data: int, lo: int, hi: int) -> bool:
    for i in range(lo, hi):  # noqa: SIM110 - numba compiles no generators
        if not _is_space(u8(data, i)):
            return False
    return True


@inner()
def _words_hash(data: int, lo: int, hi: int, end: int, t: int, out: Any, least: int) -> int:
    """A 64-bit hash of the words of a span in order, 0 if they are fewer than `least`; never 0 otherwise."""
    h, total, i, state = _SEED, np.int64(0), lo, np.int64(WORDS)
    while i < hi:
        i, got, state = read_tokens(data, i, hi, end, t, state, out.ctypes.data)
        for k in range(got):
            h = (h ^ out[k]) * _M
            h ^= h >> _32
        total += got
    if total < least:
        return np.uint64(0)
    h = (h ^ np.uint64(total)) * _M
    h ^= h >> _29
    return h | np.uint64(h == 0)


@kernel()
def _units(data: Any, offsets: Any, block: Any, paragraphs: bool, least: int) -> tuple[Any, Any, Any]:  # noqa: FBT001 - numba takes no keywords
    """Hashes of all units, where each begins in its text, and where each text's units begin (one place more)."""
    address, t, end = data.ctypes.data, block.ctypes.data, data.shape[0]
    tokens = np.empty(CHUNK, np.uint64)
    documents = offsets.shape[0] - 1
    firsts = np.zeros(documents + 1, np.int64)
    room = np.int64(1024)
    hashes, begins = np.empty(room, np.uint64), np.empty(room, np.int64)
    n = np.int64(0)
    for d in range(documents):
        lo, hi = np.int64(offsets[d]), np.int64(offsets[d + 1])
        i = lo
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
            if n == room:
                hashes = np.concatenate((hashes, np.empty(room, np.uint64)))
                begins = np.concatenate((begins, np.empty(room, np.int64)))
                room *= 2
            hashes[n] = _words_hash(address, begin, stop, end, t, tokens, least)
            begins[n] = begin - lo
            n += 1
        firsts[d + 1] = n
    tokens[0] = 0  # its last use is here: numba frees an array after that, whoever still holds the address
    return hashes[:n], begins[:n], firsts


def units(texts: pa.Array, stage: Folding, unit: str, least: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The units of each text: hashes (0 below `least` words), first bytes, and where each text's begin (one more)."""
    data, offsets = buffers(texts)
    return _units(data, offsets, table(stage), unit == "paragraph", least)


@inner()
def _whole(data: Any, begin: int, end: int, hi: int) -> tuple[int, int]:
    """A span shrunk to whole characters and to the text."""
    begin, end = min(begin, hi), min(end, hi)
    while begin < hi and (data[begin] & 0xC0) == 0x80:
        begin += 1
    while end > begin and end < hi and (data[end] & 0xC0) == 0x80:
        end -= 1
    return begin, end


@inner()
def _copy(data: Any, lo: int, hi: int, out: Any, n: int) -> int:
    for i in range(lo, hi):
        out[n] = data[i]
        n += 1
    return n


@kernel()
def _without(data: Any, offsets: Any, begins: Any, ends: Any, firsts: Any) -> tuple[Any, Any]:
    """Texts without their spans: bytes and offsets."""
    documents = offsets.shape[0] - 1
    total = np.int64(offsets[documents]) - np.int64(offsets[0])
    out, places = np.empty(total + begins.shape[0], np.uint8), np.zeros(documents + 1, np.int64)
    n = np.int64(0)
    for d in range(documents):
        lo, hi, first = np.int64(offsets[d]), np.int64(offsets[d + 1]), n
        i = lo
        last = i
        for s in range(firsts[d], firsts[d + 1]):
            begin, end = _whole(data, max(lo + begins[s], i), lo + ends[s], hi)
            if begin >= end:
                continue
            n = _copy(data, i, begin, out, n)
            i = last = end
            if n == first:
                while i < hi and _is_space(data[i]):
                    i += 1
            elif i < hi:
                before, after = _is_space(out[n - 1]), _is_space(data[i])
                if not before and not after:
                    out[n] = 32
                    n += 1
                elif before:
                    while i < hi and (data[i] == 32 or data[i] == 9):
                        i += 1
        n = _copy(data, i, hi, out, n)
        if last == hi and last > lo:
            while n > first and _is_space(out[n - 1]):
                n -= 1
        places[d + 1] = n
    return out[:n], places


def without(texts: pa.Array, spans: pa.Array) -> pa.Array:
    """The texts without their spans (lists of begin and end, in bytes of the text; sorted, shrunk to whole characters)."""
    data, offsets = buffers(texts)
    flat = spans.cast(SPANS).flatten()
    begins, ends = (np.ascontiguousarray(flat.field(k).to_numpy(zero_copy_only=False)) for k in (0, 1))
    firsts = np.concatenate(([0], np.cumsum(spans.value_lengths().to_numpy(zero_copy_only=False)))).astype(np.int64)
    out, places = _without(data, offsets, begins, ends, firsts)
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(places.astype(np.int32)), pa.py_buffer(out))
