"""Hashes of the tokens of a text, folded on the way: no folded text is ever written.

A token's hash takes its folded UTF-8, eight bytes a step; for tokens of up to eight bytes it is a bijection.
`data` is the address of the bytes, `t` that of the table (see `sketch_folds`), `out` that of the hashes.
"""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from stages.kernels.peek import inner, put64, u8, u16, u64
from stages.kernels.sketch_folds import ALONE, ENTRIES, MARK, SEPARATOR, WORD, ZERO

_SEED = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_MIX_2 = np.uint64(0xFF51AFD7ED558CCD)
_3, _8, _29, _32, _40 = np.uint64(3), np.uint64(8), np.uint64(29), np.uint64(32), np.uint64(40)
_1, _7, _0, _64 = np.uint64(1), np.uint64(7), np.uint64(0), np.uint64(64)
_HIGH = np.uint64(0x8080808080808080)
_LOW = np.uint64(0x7F7F7F7F7F7F7F7F)
_SPACES = np.uint64(0x2020202020202020)
_FROM_A = np.uint64(0x1F1F1F1F1F1F1F1F)  # 0x80 - "a" in every byte
_PAST_Z = np.uint64(0x0505050505050505)
_FROM_0 = np.uint64(0x5050505050505050)
_PAST_9 = np.uint64(0x4646464646464646)
_FOUR = np.uint64(0xFFFFFFFF)


@intrinsic
def _trailing_zeros(_context: Any, _value: Any) -> Any:
    """Zero bits below the lowest one of an unsigned 64-bit number, which is not 0."""

    def generate(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], _target.get_constant(types.boolean, 1))

    return types.uint64(types.uint64), generate


@inner()
def _step(h: int, w: int) -> int:
    h = (h ^ w) * _MIX
    return h ^ (h >> _32)


@inner()
def _finish(h: int) -> int:
    h *= _MIX_2
    return h ^ (h >> _29)


@inner()
def _letters(x: int, digits: int) -> int:
    """The high bit of each of eight bytes that is an ASCII letter, or a digit where `digits` has that bit."""
    z = x & _LOW
    y = z | _SPACES
    letter = (y + _FROM_A) & ~(y + _PAST_Z)
    digit = (z + _FROM_0) & ~(z + _PAST_9)
    return ((letter & _HIGH) | (digit & digits)) & ~x


@inner()
def _fold_at(data: int, i: int, hi: int, t: int) -> tuple[int, int]:
    """The entry of the character at byte `i` and its width in bytes, never past `hi`."""
    b = u8(data, i)
    if b < 0x80:
        return u64(t + ENTRIES, b), 1
    if b < 0xE0:
        if i + 1 < hi:
            return u64(t + ENTRIES, (u16(t, b & 0x1F) << 6) + (u8(data, i + 1) & 0x3F)), 2
    elif b < 0xF0:
        if i + 2 < hi:
            block = u16(t, ((b & 0x0F) << 6) | (u8(data, i + 1) & 0x3F))
            return u64(t + ENTRIES, (block << 6) + (u8(data, i + 2) & 0x3F)), 3
    elif i + 3 < hi:
        place = ((b & 0x07) << 12) | ((u8(data, i + 1) & 0x3F) << 6) | (u8(data, i + 2) & 0x3F)
        return u64(t + ENTRIES, (u16(t, min(place, (0x110000 >> 6) - 1)) << 6) + (u8(data, i + 3) & 0x3F)), 4
    return np.uint64(0), 1


@inner()
def _slow_word(data: int, i: int, hi: int, t: int) -> tuple[int, int, bool]:
    """The next token character by character: where to go on, its hash, and whether there was one."""
    h, w, filled, state = _SEED, _0, _0, SEPARATOR
    while i < hi:
        entry, width = _fold_at(data, i, hi, t)
        kind = np.int64(entry >> _40)
        if kind == SEPARATOR:
            i += width
            break
        takes = False
        if kind == MARK:
            takes = state != SEPARATOR
            state = WORD if state == ZERO else state
        elif kind == ALONE:
            if state != SEPARATOR:
                break
            state, takes = ALONE, True
        elif kind == WORD or kind == ZERO:
            if state == ALONE:
                break
            takes = kind == WORD or state != ZERO
            state = kind
        i += width
        if takes:
            raw, size = entry & _FOUR, (entry >> _32) & _7
            w |= raw << (_8 * filled)
            filled += size
            if filled >= _8:
                h = _step(h, w)
                filled -= _8
                w = raw >> (_8 * (size - filled))
    if filled > _0:
        h = _step(h, w)
    return i, _finish(h), state != SEPARATOR


@inner()
def scan_words(
    data: int, i: int, hi: int, end: int, t: int, lower: int, digits: int, out: int, room: int
) -> tuple[int, int]:
    """Write hashes of up to `room` words from byte `i` on; gives where to go on and how many they are.

    `end` is where the buffer ends, `lower` is or-ed into ASCII letters, `digits` marks digits that are letters alike.
    """
    n = np.int64(0)
    while i < hi and n < room:
        i, h, there = _slow_word(data, i, hi, t)
        if there:
            put64(out, n, h)
            n += 1
    return i, n


#: States of `scan_characters`: nothing yet, after a character, after a digit read as 0, after separators.
_START, _AFTER, _AFTER_ZERO, _GAP = range(4)


@inner()
def scan_characters(data: int, i: int, hi: int, t: int, state: int, out: int, room: int) -> tuple[int, int, int]:
    """Write hashes of nearly `room` characters from byte `i` on; gives where to go on, how many, and the state."""
    n = np.int64(0)
    while i < hi and n + 1 < room:
        entry, width = _fold_at(data, i, hi, t)
        kind = np.int64(entry >> _40)
        i += width
        takes = kind == WORD or kind == ALONE
        after = _AFTER
        if kind == SEPARATOR:
            state = _START if state == _START else _GAP
        elif kind == MARK:
            takes = state == _AFTER or state == _AFTER_ZERO
        elif kind == ZERO:
            takes, after = state != _AFTER_ZERO, _AFTER_ZERO
        if takes:
            if state == _GAP:
                put64(out, n, _finish(_step(_SEED, np.uint64(32))))
                n += 1
            put64(out, n, _finish(_step(_SEED, entry & _FOUR)))
            n += 1
            state = after
    return i, n, state
