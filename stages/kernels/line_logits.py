"""Logits of lines by a fastText model without a hidden layer's bend: the mean of what each row alone gives."""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np

from stages.kernels.fasttext_lines import rows_of
from stages.kernels.peek import inner, kernel, u8


@kernel()
def products(rows_ND: Any, weights_CD: Any) -> Any:
    """The dot product of every row with every row of the weights, summed in order in double precision: (N, C)."""
    answer_NC = np.zeros((rows_ND.shape[0], weights_CD.shape[0]), np.float64)
    for n in range(rows_ND.shape[0]):
        for c in range(weights_CD.shape[0]):
            total = 0.0
            for d in range(rows_ND.shape[1]):
                total += np.float64(rows_ND[n, d]) * weights_CD[c, d]
            answer_NC[n, c] = total
    return answer_NC


@inner()
def _is_space(c: int) -> bool:
    """Whether a code point is white space for `str.strip`."""
    if c < 0x1680:
        return 9 <= c <= 13 or 28 <= c <= 32 or c == 0x85 or c == 0xA0  # noqa: PLR1714  # numba compiles this to compares - sets compile badly
    if 0x2000 <= c <= 0x200A:
        return True
    return c == 0x1680 or c == 0x2028 or c == 0x2029 or c == 0x202F or c == 0x205F or c == 0x3000  # noqa: PLR1714


@inner()
def _space_at(text: int, i: int, hi: int) -> int:
    """Bytes of the white space at a place, 0 for none."""
    b = u8(text, i)
    if b < 0x80:
        return 1 if _is_space(b) else 0
    if b == 0xC2 and i + 1 < hi:
        return 2 if _is_space(u8(text, i + 1)) else 0
    if 0xE1 <= b <= 0xE3 and i + 2 < hi:
        c = ((b & 15) << 12) | ((u8(text, i + 1) & 63) << 6) | (u8(text, i + 2) & 63)
        return 3 if _is_space(c) else 0
    return 0


@inner()
def _stripped(text: int, lo: int, hi: int) -> tuple[int, int]:
    """The span without white space at its ends."""
    while lo < hi and _space_at(text, lo, hi):
        lo += _space_at(text, lo, hi)
    while hi > lo:
        i = hi - 1
        while i > lo and (u8(text, i) & 0xC0) == 0x80:
            i -= 1
        if not _space_at(text, i, hi):
            break
        hi = i
    return lo, hi


@kernel()
def line_logits(
    text: Any, offsets: Any, lines: tuple[Any, ...], table_VC: Any, rows: Any, words: Any
) -> tuple[Any, Any]:
    """The mean of the rows of `table_VC` that a line's words stand for: (N, C), and whether it is more than white space.

    White space at the ends of a text (`str.strip`) is left out.
    """
    documents, labels = offsets.shape[0] - 1, table_VC.shape[1]
    logits_NC, known = np.zeros((documents, labels), np.float64), np.zeros(documents, np.bool_)
    spaces, prefix, sizes, data, begins, ends, table, hashes, bits, ranks = lines
    for d in range(documents):
        lo, hi = _stripped(text.ctypes.data, np.int64(offsets[d]), np.int64(offsets[d + 1]))
        n, _, filled = rows_of(
            text.ctypes.data, lo, hi,
            spaces, prefix, sizes, data, begins, ends, table, hashes, bits, ranks, rows, words,
        )  # fmt: skip
        known[d] = filled and n > 0
        if not known[d]:
            continue
        sums = logits_NC[d]
        for i in range(n):
            for c in range(labels):
                sums[c] += table_VC[rows[i], c]
        for c in range(labels):
            sums[c] /= n
    return logits_NC, known
