"""Lines and paragraphs that repeat an earlier one."""

# ruff: noqa: FBT001, PLR0917, PLR1714 - numba takes flat arguments by position and compares faster than it searches
# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.kernels import unicode as u
from stages.kernels.peek import inner, kernel, u8
from stages.kernels.tables import seen_before, slots_for
from stages.kernels.utf8 import chars_in, next_break, span_hash, strip

_ONE = ("segments", "later", "later_chars", "every", "every_chars", "chars")
#: What `count_repeats` counts, in the order of its columns: for lines, then for paragraphs. `later` are occurrences
#: after the first, `every` all occurrences of what occurs twice, each with its characters.
REPEAT_COUNTS = ("text_chars", *(f"line_{c}" for c in _ONE), *(f"paragraph_{c}" for c in _ONE))
#: How a text is split: as `str.splitlines`, at runs of one or of two line feeds and more, at each line feed.
SPLITLINES, RUNS, RUNS_OF_TWO, FEEDS = 0, 1, 2, 3
_SPACE = u.SPACE


@inner()
def _next_segment(data: int, i: int, hi: int, how: int) -> tuple[int, int]:
    """Where the segment that begins at `i` ends and where the next begins; -1 where none does."""
    if how == SPLITLINES:
        end, after = next_break(data, i, hi)
        return end, (after if after < hi else -1)
    while True:
        while i < hi and u8(data, i) != 10:
            i += 1
        if i >= hi:
            return hi, -1
        run = i + 1
        while how != FEEDS and run < hi and u8(data, run) == 10:
            run += 1
        if how != RUNS_OF_TWO or run - i > 1:
            return i, run
        i = run


@inner()
def _count_segments(
    data: int,
    lo: int,
    hi: int,
    t: int,
    how: int,
    filled: bool,
    seen: NDArray[Any],
    twice: NDArray[Any],
    row: NDArray[Any],
) -> None:
    """Count the segments of a text into a row; with `filled` they are stripped and empty ones left out."""
    mask = seen.shape[0] - 1
    seen[:], twice[:] = 0, 0
    start = lo if lo < hi or how != SPLITLINES else -1
    while start >= 0:
        end, after = _next_segment(data, start, hi, how)
        a, b = start, end
        if filled:
            a, b = strip(data, start, end, t, _SPACE)
        start = after
        if filled and a == b:
            continue
        chars = chars_in(data, a, b)
        row[0] += 1
        row[5] += chars
        key = span_hash(data, a, b)
        if seen_before(seen, mask, key):
            row[1] += 1
            row[2] += chars
            times = 1 if seen_before(twice, mask, key) else 2
            row[3] += times
            row[4] += times * chars


@kernel()
def count_repeats(
    data: Any, offsets: Any, block: Any, lines: int, paragraphs: int, stripped: bool, filled: bool
) -> NDArray[Any]:
    """Counts of `REPEAT_COUNTS` a document: int64 of shape (documents, counts).

    Args:
        data: the UTF-8 bytes.
        offsets: where each document begins, one place more.
        block: the kernels' tables.
        lines: how lines are split.
        paragraphs: how paragraphs are split.
        stripped: whether the text is stripped before it is split into paragraphs.
        filled: whether segments are stripped and empty ones left out.
    """
    address, t = data.ctypes.data, block.ctypes.data
    out = np.empty((offsets.shape[0] - 1, 13), np.int64)
    out[:] = 0
    seen, twice = np.empty(1024, np.uint64), np.empty(1024, np.uint64)
    for d in range(out.shape[0]):
        lo, hi, row = np.int64(offsets[d]), np.int64(offsets[d + 1]), out[d]
        row[0] = chars_in(address, lo, hi)
        feeds = np.int64(1)
        for i in range(lo, hi):
            b = u8(address, i)
            feeds += b == 10 or (lines == SPLITLINES and (b < 32 or b == 0xC2 or b == 0xE2))
        size = slots_for(feeds)
        if size > seen.shape[0]:
            seen, twice = np.empty(size, np.uint64), np.empty(size, np.uint64)
        _count_segments(address, lo, hi, t, lines, filled, seen[:size], twice[:size], row[1:7])
        if stripped:
            lo, hi = strip(address, lo, hi, t, _SPACE)
        _count_segments(address, lo, hi, t, paragraphs, filled, seen[:size], twice[:size], row[7:13])
    return out
