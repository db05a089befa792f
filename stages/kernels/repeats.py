"""Lines and paragraphs that repeat an earlier one."""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.kernels import unicode as u
from stages.kernels.peek import inner, kernel, u8
from stages.kernels.tables import seen_before, slots_for
from stages.kernels.utf8 import chars_in, span_hash, strip

#: What `count_repeats` counts, in the order of its columns.
REPEAT_COUNTS = ("chars", "lines", "line_repeats", "line_repeat_chars", "paragraphs", "paragraph_repeats", "paragraph_repeat_chars")  # fmt: skip
_SPACE = u.SPACE


@inner()
def _count_segments(data: int, lo: int, hi: int, feeds: int, table: NDArray[Any], row: NDArray[Any], at: int) -> None:
    """Segments between runs of at least `feeds` line feeds: how many, repeats and their characters, into `row[at:at + 3]`."""
    start, i = lo, lo
    segments, repeats, chars = 0, 0, 0
    mask = table.shape[0] - 1
    while True:
        while i < hi and u8(data, i) != 10:
            i += 1
        run = i
        while run < hi and u8(data, run) == 10:
            run += 1
        if i < hi and run - i < feeds:
            i = run
            continue
        segments += 1
        if seen_before(table, mask, span_hash(data, start, i)):
            repeats += 1
            chars += chars_in(data, start, i)
        if i >= hi:
            break
        start, i = run, run
    row[at], row[at + 1], row[at + 2] = segments, repeats, chars


@kernel()
def count_repeats(data: Any, offsets: Any, block: Any) -> NDArray[Any]:
    """Counts of `REPEAT_COUNTS` a document, repeats after the first alone: int64 of shape (documents, counts).

    Lines are split at runs of line feeds, paragraphs at runs of two or more in the stripped text.
    """
    address, t = data.ctypes.data, block.ctypes.data
    out = np.zeros((offsets.shape[0] - 1, 7), np.int64)
    table = np.empty(1024, np.uint64)
    for d in range(out.shape[0]):
        lo, hi, row = np.int64(offsets[d]), np.int64(offsets[d + 1]), out[d]
        row[0] = chars_in(address, lo, hi)
        feeds = 0
        for i in range(lo, hi):
            feeds += u8(address, i) == 10
        size = slots_for(feeds + 1)
        if size > table.shape[0]:
            table = np.empty(size, np.uint64)
        table[:size] = 0
        _count_segments(address, lo, hi, np.int64(1), table[:size], row, 1)
        table[:size] = 0
        a, b = strip(address, lo, hi, t, _SPACE)
        _count_segments(address, a, b, np.int64(2), table[:size], row, 4)
    return out
