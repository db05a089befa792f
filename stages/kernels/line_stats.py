"""Counts over the characters and lines of each document."""

# ruff: noqa: PLR1714 - numba compares faster than it searches
# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.kernels import unicode as u
from stages.kernels.peek import inner, kernel, u8
from stages.kernels.tables import seen_before, slots_for
from stages.kernels.utf8 import (
    before,
    chars_in,
    ends_with_ellipsis,
    flags_at,
    is_ellipsis,
    next_break,
    span_hash,
    strip,
)

#: What `count_lines` counts, in the order of its columns.
LINE_COUNTS = (
    "bytes", "chars", "newlines", "hashes", "ellipses", "lines", "bullet_lines", "wide_bullet_lines",
    "unindented_bullet_lines", "ellipsis_lines", "ellipsis_char_lines", "filled_lines", "end_mark_lines", "short_lines",
    "repeated_line_chars", "quote_or_stop_lines", "short_or_empty_lines",
)  # fmt: skip
#: The longest short line, in characters (FineWeb, arXiv:2406.17557, appendix E.1).
SHORT_LINE = 30
_SPACE, _TERMINAL = u.SPACE, u.TERMINAL_MARK


@inner()
def _count_symbols(data: int, lo: int, hi: int, row: NDArray[Any]) -> None:
    """Length, line feeds, hashes and ellipses."""
    chars, newlines, hashes = 0, 0, 0
    for i in range(lo, hi):
        b = u8(data, i)
        chars += (b & 0xC0) != 0x80
        newlines += b == 10
        hashes += b == 35
    ellipses, dots = 0, 0
    for i in range(lo, hi):
        if u8(data, i) == 46:
            dots += 1
            if dots == 3:
                ellipses, dots = ellipses + 1, 0
        else:
            dots = 0
            if u8(data, i) == 0xE2 and i + 2 < hi:
                ellipses += u8(data, i + 1) == 0x80 and u8(data, i + 2) == 0xA6
    row[0], row[1], row[2], row[3], row[4] = hi - lo, chars, newlines, hashes, ellipses


@inner()
def _count_split_lines(data: int, lo: int, hi: int, t: int, row: NDArray[Any]) -> None:
    """Lines of `str.splitlines`, with bullets and ellipses."""
    while lo < hi:
        end, after = next_break(data, lo, hi)
        a, b = strip(data, lo, end, t, _SPACE)
        row[5] += 1
        if b > a:
            c = u8(data, a)
            dot = a + 2 < b and c == 0xE2 and u8(data, a + 1) == 0x80 and u8(data, a + 2) == 0xA2
            disc = a + 2 < b and c == 0xE2 and u8(data, a + 1) == 0x97 and u8(data, a + 2) == 0x8F
            row[6] += c == 45 or dot
            row[7] += c == 45 or c == 42 or dot or disc
            row[9] += ends_with_ellipsis(data, a, b)
        lo = after


@inner()
def _count_newline_lines(data: int, lo: int, hi: int, t: int, table: NDArray[Any], row: NDArray[Any]) -> None:
    """Lines between line feeds, with end marks, short ones and repeated ones."""
    mask = slots_for(row[2] + 1) - 1
    table[: mask + 1] = 0
    while lo <= hi:
        end = lo
        while end < hi and u8(data, end) != 10:
            end += 1
        a, _ = strip(data, lo, end, t, _SPACE)
        short = end - lo <= 120 and chars_in(data, lo, end) <= 30
        row[16] += short
        if end > lo:
            c = u8(data, lo)
            row[8] += c == 45 or c == 42
            row[10] += end - lo > 2 and is_ellipsis(data, end - 3, end)
            c = u8(data, end - 1)
            row[15] += c == 46 or c == 39 or c == 34 or c == 33 or c == 63
        if a < end:
            flags, _ = flags_at(data, before(data, end, lo), end, t)
            row[11] += 1
            row[12] += flags & _TERMINAL != 0
            row[13] += short
            if seen_before(table, mask, span_hash(data, lo, end)):
                row[14] += chars_in(data, lo, end)
        lo = end + 1


@kernel()
def count_lines(data: Any, offsets: Any, block: Any) -> NDArray[Any]:
    """Counts of `LINE_COUNTS` a document: int64 of shape (documents, counts)."""
    address, t = data.ctypes.data, block.ctypes.data
    out = np.empty((offsets.shape[0] - 1, 17), np.int64)
    out[:] = 0
    table = np.empty(1024, np.uint64)
    for d in range(out.shape[0]):
        lo, hi, row = np.int64(offsets[d]), np.int64(offsets[d + 1]), out[d]
        _count_symbols(address, lo, hi, row)
        _count_split_lines(address, lo, hi, t, row)
        if slots_for(row[2] + 1) > table.shape[0]:
            table = np.empty(slots_for(row[2] + 1), np.uint64)
        _count_newline_lines(address, lo, hi, t, table, row)
    return out
