"""Spans of bytes of texts, as rows of (row, begin, end): joined where they touch, shrunk to whole characters."""

# numba infers the types of its integers, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.kernels.arrow import buffers
from stages.kernels.peek import kernel


@kernel()
def _merged(spans: Any, by_place: Any) -> Any:
    found, n = np.empty((spans.shape[0], 3), np.int64), np.int64(0)
    for i in by_place:
        row, begin, end = spans[i, 0], spans[i, 1], spans[i, 2]
        if n and found[n - 1, 0] == row and begin <= found[n - 1, 2]:
            found[n - 1, 2] = max(end, found[n - 1, 2])
        else:
            found[n, 0], found[n, 1], found[n, 2] = row, begin, end
            n += 1
    return found[:n].copy()


def merged(spans: NDArray[np.int64]) -> NDArray[np.int64]:
    """(row, begin, end) sorted, where they touch joined."""
    by_place = np.lexsort((spans[:, 1], spans[:, 0]))
    found: NDArray[np.int64] = _merged(np.ascontiguousarray(spans), by_place)
    return found


@kernel()
def _snap(data: Any, offsets: Any, text: Any, spans: Any) -> None:
    for i in range(spans.shape[0]):
        lo, hi = np.int64(offsets[text[i]]), np.int64(offsets[text[i] + 1])
        begin, end = spans[i, 1], spans[i, 2]
        while begin < end and (data[lo + begin] & 0xC0) == 0x80:
            begin += 1
        while end > begin and lo + end < hi and (data[lo + end] & 0xC0) == 0x80:
            end -= 1
        spans[i, 1], spans[i, 2] = begin, end


def snap(texts: pa.Array, text: NDArray[np.int64], spans: NDArray[np.int64]) -> None:
    """Shrink spans, each of the text numbered in `text`, to whole characters, in place."""
    data, offsets = buffers(texts)
    _snap(data, offsets, text, spans)
