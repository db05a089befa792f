"""Hashes of the tokens of a text, folded on the way: no folded text is ever written.

A token's hash takes its folded UTF-8, eight bytes a step; for tokens of up to eight bytes it is a bijection.
`data` is the address of the bytes, `t` that of the table (see `sketch_folds`), `out` that of the hashes.
"""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]  # it has no stubs
from numba import types
from numba.extending import intrinsic

from stages.kernels.peek import inner, put64, u8, u16, u64
from stages.kernels.sketch_folds import (
    ALONE,
    BLOCKS,
    ENTRIES,
    FLAGS,
    LETTER,
    LOWER,
    MARK,
    PLAIN_DIGITS,
    PLAIN_MARKS,
    SEPARATOR,
    SKIPPED,
    WORD,
    ZERO,
)

SEED = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_MIX_2 = np.uint64(0xFF51AFD7ED558CCD)
_8, _29, _32, _40 = np.uint64(8), np.uint64(29), np.uint64(32), np.uint64(40)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_1, _7, _0, _64 = np.uint64(1), np.uint64(7), np.uint64(0), np.uint64(64)
_FOUR = np.uint64(0xFFFFFFFF)
_LETTER = np.uint64(LETTER)


@intrinsic
def _trailing_zeros(_context: Any, _value: Any) -> Any:
    """Zero bits below the lowest one of an unsigned 64-bit number; 64 where there is none."""

    def generate(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


@intrinsic
def _masks(_typing: Any, _address: Any) -> Any:
    """Of the 64 bytes at an address, a bit each: ASCII letters, ASCII digits, above the space, not ASCII."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = ir.VectorType(ir.IntType(8), 64)

        def all_of(value: int) -> Any:
            return ir.Constant(wide, [value] * 64)

        x = builder.load(builder.inttoptr(arguments[0], wide.as_pointer()), align=1)
        lower = builder.or_(x, all_of(0x20))
        masks = (
            builder.icmp_unsigned("<", builder.sub(lower, all_of(ord("a"))), all_of(26)),
            builder.icmp_unsigned("<", builder.sub(x, all_of(ord("0"))), all_of(10)),
            builder.icmp_unsigned(">", x, all_of(ord(" "))),
            builder.icmp_unsigned(">=", x, all_of(0x80)),
        )
        return context.make_tuple(builder, signature.return_type, [builder.bitcast(m, ir.IntType(64)) for m in masks])

    return types.UniTuple(types.uint64, 4)(types.int64), generate


@inner()
def step(h: int, w: int) -> int:
    """A hash after eight more bytes; `SEED` is where hashes begin."""
    h = (h ^ w) * _MIX
    return h ^ (h >> _32)


@inner()
def finish(h: int) -> int:
    """A hash after its last bytes."""
    h *= _MIX_2
    return h ^ (h >> _29)


@inner()
def fold_at(data: int, i: int, hi: int, t: int) -> tuple[int, int]:
    """The entry of the character at byte `i` and its width in bytes, never past `hi`."""
    b = u8(data, i)
    if b < 0x80:
        return u64(t + ENTRIES, b), 1
    if b < 0xE0:
        if i + 1 < hi:
            return u64(t + ENTRIES, (u16(t + BLOCKS, b & 0x1F) << 6) + (u8(data, i + 1) & 0x3F)), 2
    elif b < 0xF0:
        if i + 2 < hi:
            block = u16(t + BLOCKS, ((b & 0x0F) << 6) | (u8(data, i + 1) & 0x3F))
            return u64(t + ENTRIES, (block << 6) + (u8(data, i + 2) & 0x3F)), 3
    elif i + 3 < hi:
        place = ((b & 0x07) << 12) | ((u8(data, i + 1) & 0x3F) << 6) | (u8(data, i + 2) & 0x3F)
        return u64(t + ENTRIES, (u16(t + BLOCKS, min(place, (0x110000 >> 6) - 1)) << 6) + (u8(data, i + 3) & 0x3F)), 4
    return np.uint64(0), 1


@inner()
def _slow_word(data: int, i: int, hi: int, t: int) -> tuple[int, int, bool]:
    """The next token character by character: where to go on, its hash, and whether there was one."""
    h, w, filled, state = SEED, _0, _0, SEPARATOR
    while i < hi:
        entry, width = fold_at(data, i, hi, t)
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
        elif kind != SKIPPED:  # a word's character or a digit that is read as 0
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
                h = step(h, w)
                filled -= _8
                w = raw >> (_8 * (size - filled))
    if filled > _0:
        h = step(h, w)
    return i, finish(h), state != SEPARATOR


@inner()
def _next_slow(data: int, i: int, hi: int, t: int, out: int, n: int) -> tuple[int, int]:
    """Write the hash of the next token, if there is one before a separator, at place `n`."""
    i, h, there = _slow_word(data, i, hi, t)
    if there:
        put64(out, n, h)
        n += 1
    return i, n


@inner()
def _plain_words(data: int, i: int, hi: int, t: int, out: int, n: int) -> tuple[int, int]:
    """Write hashes of the words of the 64 bytes from `i` on that are plain ASCII and end there, from place `n` on.

    Gives where to go on, which is `i` itself where the first token is not such a word, and how many there are.
    """
    lower, flags = u64(t, LOWER), u64(t, FLAGS)
    letters, digits, printed, wide = _masks(data + i)
    inside, stops = letters, wide
    if flags & np.uint64(PLAIN_DIGITS):
        inside |= digits
    else:
        stops |= digits
    if not flags & np.uint64(PLAIN_MARKS):
        stops |= printed & ~(letters | digits)
    limit = min(_trailing_zeros(stops), np.uint64(hi - i))
    done = hi - i <= 64 and limit == np.uint64(hi - i)
    if limit < _64:
        inside &= (_1 << limit) - _1
    at = _0
    while inside != _0:
        start = _trailing_zeros(inside)
        stop = start + _trailing_zeros(~(inside >> start))
        if stop >= limit and not done:
            return i + np.int64(start), n
        place, size = data + i + np.int64(start), stop - start
        h = SEED
        while size > _8:
            h = step(h, u64(place, 0) | lower)
            place += 8
            size -= _8
        h = step(h, (u64(place, 0) | lower) & (_ALL >> (_64 - _8 * size)))
        put64(out, n, finish(h))
        n += 1
        at = stop
        if stop >= _64:
            break
        inside &= _ALL << stop
    return i + np.int64(min(limit, _64) if at < limit else at), n


@inner()
def scan_words(data: int, i: int, hi: int, end: int, t: int, out: int, room: int) -> tuple[int, int]:
    """Write hashes of nearly `room` words, which is at least 32, from byte `i` on; gives where to go on and how many they are.

    `end` is where the buffer ends.
    """
    n = np.int64(0)
    while i < hi and n + 32 <= room:  # 64 bytes hold no more
        begin = i
        if i + 72 <= end and u8(data, i) < 0x80:
            i, n = _plain_words(data, i, hi, t, out, n)
        if i == begin:
            i, n = _next_slow(data, i, hi, t, out, n)
    return i, n


@inner()
def has_lettered_words(data: int, i: int, hi: int, t: int, least: int) -> bool:
    """Whether a span has at least `least` words, one or more, with a letter in them; reads no further than these."""
    found, state, counted = np.int64(0), np.int64(SEPARATOR), False
    while i < hi:
        entry, width = fold_at(data, i, hi, t)
        kind = np.int64(entry >> _40)
        i += width
        if kind in (MARK, SKIPPED):
            continue
        if kind in (SEPARATOR, ALONE) or state == ALONE:
            counted = False
        state = kind
        if not counted and entry & _LETTER != _0:
            found, counted = found + 1, True
            if found == least:
                return True
    return False


#: What the first state says a token is; the states of `scan_characters` are nothing yet, after a character, after a
#: digit read as 0, after separators.
WORDS = -1
CHARACTERS = _START = 0
_AFTER, _AFTER_ZERO, _GAP = 1, 2, 3


@inner()
def scan_characters(data: int, i: int, hi: int, t: int, state: int, out: int, room: int) -> tuple[int, int, int]:
    """Write hashes of nearly `room` characters from byte `i` on; gives where to go on, how many, and the state."""
    n = np.int64(0)
    while i < hi and n + 1 < room:
        entry, width = fold_at(data, i, hi, t)
        kind = np.int64(entry >> _40)
        i += width
        takes = kind <= ALONE
        after = _AFTER
        if kind == SEPARATOR:
            takes, state = False, _START if state == _START else _GAP
        elif kind == MARK:
            takes = _START < state < _GAP
        elif kind == ZERO:
            takes, after = state != _AFTER_ZERO, _AFTER_ZERO
        if takes:
            if state == _GAP:
                put64(out, n, finish(step(SEED, np.uint64(32))))
                n += 1
            put64(out, n, finish(step(SEED, entry & _FOUR)))
            n += 1
            state = after
    return i, n, state
