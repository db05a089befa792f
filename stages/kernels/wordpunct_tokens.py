r"""Hashes of the tokens `\w+|[^\w\s]+` of a text in lower case, folded on the way: no folded text is ever written.

A token's hash takes its UTF-8 in lower case, eight bytes a step. `data` is the address of the bytes, `t` that of the
table (see `wordpunct_classes`), `out` that of the hashes.
"""

# ruff: noqa: PLR0917 - numba takes flat arguments
# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

import numpy as np

from stages.kernels.peek import inner, put64, u8
from stages.kernels.sketch_tokens import SEED, finish, fold_at, step
from stages.kernels.utf8 import before
from stages.kernels.wordpunct_classes import (
    CASED,
    COMBINING_DOT,
    DOTTED_I,
    FINAL_SIGMA,
    IGNORABLE,
    PUNCT,
    SIGMA,
    SMALL_SIGMA,
    SPACE,
    WORD,
)

_0, _2, _7, _8 = np.uint64(0), np.uint64(2), np.uint64(7), np.uint64(8)
_32, _40, _64 = np.uint64(32), np.uint64(40), np.uint64(64)
_FOUR, _BYTE = np.uint64(0xFFFFFFFF), np.uint64(0xFF)
_CASED, _IGNORABLE = np.uint64(CASED), np.uint64(IGNORABLE)
_SMALL, _FINAL, _DOT = np.uint64(SMALL_SIGMA), np.uint64(FINAL_SIGMA), np.uint64(COMBINING_DOT)
#: Between tokens.
GAP = SPACE


@inner()
def _is_final(data: int, i: int, lo: int, hi: int, t: int) -> bool:
    """Whether the capital sigma at byte `i` becomes a final one: after a cased character and before none.

    Ignorable characters on both sides are passed over. A sigma ends every such walk, so that all walks are linear.
    """
    found = False
    k = i
    while k > lo:
        k = before(data, k, lo)
        entry, _ = fold_at(data, k, hi, t)
        if not entry & _IGNORABLE:
            found = entry & _CASED != _0
            break
    if not found:
        return False
    k = i + 2
    while k < hi:
        entry, width = fold_at(data, k, hi, t)
        if not entry & _IGNORABLE:
            return entry & _CASED == _0
        k += width
    return True


@inner()
def _raw(data: int, i: int, width: int) -> int:
    """The bytes of a character as they are, the first lowest."""
    raw = _0
    for k in range(width):
        raw |= np.uint64(u8(data, i + k)) << (_8 * np.uint64(k))
    return raw


@inner()
def _take(h: int, w: int, filled: int, raw: int, size: int) -> tuple[int, int, int]:
    """A token's hash, its bytes that wait and their number, after one more character."""
    w |= raw << (_8 * filled)
    filled += size
    if filled >= _8:
        h = step(h, w)
        filled -= _8
        w = raw >> (_8 * (size - filled)) if filled else _0
    return h, w, filled


@inner()
def end_token(h: int, w: int, filled: int) -> int:
    """The hash of a whole token."""
    if filled > _0:
        h = step(h, w)
    return finish(h)


@inner()
def scan_tokens(
    data: int, i: int, lo: int, hi: int, t: int, token: tuple[int, int, int, int], out: int, n: int, room: int
) -> tuple[int, int, tuple[int, int, int, int]]:
    """Write hashes of the tokens that end between byte `i` and `hi`, from place `n` on, nearly up to `room`.

    Gives where to go on, how many places are used, and the token that has begun: its hash, the bytes that wait, their
    number and its class, which is `GAP` where none has. `lo` is where the text begins.
    """
    h, w, filled, state = token
    while i < hi and n + 1 < room:
        entry, width = fold_at(data, i, hi, t)
        kind = np.int64((entry >> _40) & _BYTE)
        own = WORD if kind > PUNCT else kind
        if own != state:
            if state != GAP:
                put64(out, n, end_token(h, w, filled))
                n += 1
            h, w, filled, state = SEED, _0, _0, own
        if own != SPACE:
            raw, size = entry & _FOUR, (entry >> _32) & _7
            if kind == SIGMA:
                raw, size = _FINAL if _is_final(data, i, lo, hi, t) else _SMALL, _2
            elif size == _0:
                raw, size = _raw(data, i, width), np.uint64(width)
            h, w, filled = _take(h, w, filled, raw, size)
            if kind == DOTTED_I:
                put64(out, n, end_token(h, w, filled))
                n += 1
                h, w, filled = _take(SEED, _0, _0, _DOT, _2)
                state = np.int64(PUNCT)
        i += width
    return i, n, (h, w, filled, state)
