"""What Flesch's reading ease is made of: English words, their syllables, and sentences."""

# ruff: noqa: PLR1714 - numba compares faster than it searches
# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

import functools
import unicodedata
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.kernels.arrow import buffers
from stages.kernels.lexicon import lexicon
from stages.kernels.peek import inner, kernel, u8
from stages.kernels.sentences import count_sentences
from stages.kernels.unicode import ALPHA
from stages.kernels.utf8 import flags_at
from stages.kernels.words import SEGMENT

#: What `count_syllables` counts, in the order of its columns.
COUNTS = ("sentences", "words", "syllables", "latin_letters", "other_letters")
_ALPHA = ALPHA
#: The letters that fold to one of a-z lie below this code point.
_LATIN = 0x250


@functools.cache
def latin() -> NDArray[Any]:
    """For code points below U+0250 the letter a-z that each is without case and accents, 0 for others."""
    folded = np.zeros(_LATIN, np.uint8)
    for c in range(_LATIN):
        base = unicodedata.normalize("NFD", chr(c).lower())[:1]
        if base.isascii() and base.isalpha():
            folded[c] = ord(base)
    return folded


@inner()
def _letter(data: int, i: int, hi: int, folded: Any) -> tuple[int, int]:
    """The letter a-z at byte `i`, 0 where there is none, and the character's width."""
    b = u8(data, i)
    if b < 0x80:
        return np.int64(folded[b]), 1
    if 0xC2 <= b < 0xCA and i + 1 < hi:
        c = ((b & 0x1F) << 6) | (u8(data, i + 1) & 0x3F)
        return (np.int64(folded[c]) if c < folded.shape[0] else np.int64(0)), 2
    return np.int64(0), (2 if b < 0xE0 else 3 if b < 0xF0 else 4)


@inner()
def _apostrophe(data: int, i: int, hi: int) -> int:
    """Bytes of the apostrophe at byte `i`, 0 where there is none."""
    b = u8(data, i)
    if b == 39:
        return 1
    return 3 if b == 0xE2 and i + 2 < hi and u8(data, i + 1) == 0x80 and u8(data, i + 2) == 0x99 else 0


@inner()
def _is_vowel(c: int) -> bool:
    return c == 97 or c == 101 or c == 105 or c == 111 or c == 117 or c == 121


@inner()
def _word(data: int, i: int, hi: int, folded: Any) -> tuple[int, int, int]:
    """Where the word that begins at byte `i` ends, its letters and its syllables."""
    groups, letters = np.int64(0), np.int64(0)
    third, second, last = np.int64(0), np.int64(0), np.int64(0)  # the letters before the current place
    accents, accent = False, False  # of the last two of them
    while i < hi:
        c, width = _letter(data, i, hi, folded)
        if c == 0:
            width = _apostrophe(data, i, hi)
            if width == 0 or i + width >= hi:
                break
            after, _ = _letter(data, i + width, hi, folded)
            if after == 0:
                break
            i += width
            continue
        groups += _is_vowel(c) and not _is_vowel(last)
        third, second, last = second, last, c
        accents, accent = accent, width > 1
        letters += 1
        i += width
    silent = last == 101 and not accent and letters > 2 and not _is_vowel(second)
    if silent and second == 108 and not _is_vowel(third):  # as in table
        silent = False
    if (
        last == 100
        and second == 101
        and not accents
        and letters > 3
        and not _is_vowel(third)
        and third != 100
        and third != 116
    ):
        silent = True  # as in asked, not as in added or wanted
    return i, letters, max(groups - silent, np.int64(1))


@inner()
def _is_blank(data: int, i: int, hi: int) -> tuple[bool, int]:
    """Whether the line that begins at byte `i` has nothing but ASCII white space, and where the next begins."""
    blank = True
    while i < hi:
        b = u8(data, i)
        i += 1
        if b == 10:
            break
        if b > 32:
            blank = False
    return blank, i


@kernel()
def _count(data: Any, offsets: Any, block: Any, folded: Any) -> Any:
    address, t = data.ctypes.data, block.ctypes.data
    documents = offsets.shape[0] - 1
    out = np.zeros((documents, 5), np.int64)
    scratch = np.empty(2 * SEGMENT + 8, np.uint64)
    for d in range(documents):
        i, hi, row = np.int64(offsets[d]), np.int64(offsets[d + 1]), out[d]
        begin, place = i, i
        while place < hi:
            blank, after = _is_blank(address, place, hi)
            if blank and place > begin:
                row[0] += count_sentences(address, begin, place, t, scratch.ctypes.data)
            if blank:
                begin = after
            place = after
        if begin < hi:
            row[0] += count_sentences(address, begin, hi, t, scratch.ctypes.data)
        while i < hi:
            c, width = _letter(address, i, hi, folded)
            if c > 0:
                i, letters, syllables = _word(address, i, hi, folded)
                row[1] += 1
                row[2] += syllables
                row[3] += letters
                continue
            if u8(address, i) >= 0x80:
                flags, width = flags_at(address, i, hi, t)
                row[4] += flags & _ALPHA != 0
            i += width
    scratch[0] = 0  # its last use is here: numba frees an array after that, whoever still holds the address
    return out


def count_syllables(texts: pa.Array) -> NDArray[Any]:
    """Counts of `COUNTS` a text: int64 of shape (texts, counts).

    A word is a run of letters that are one of a-z without their accents, over an apostrophe between two of them. Its
    syllables are the groups of a, e, i, o, u and y, less a silent final e (not after a vowel, not in -le after a
    consonant) and a silent e in a final -ed (not after a vowel, d or t), neither with an accent; at least 1. Sentences are spaCy's, and a
    blank line ends one.
    """
    data, offsets = buffers(texts)
    counts: NDArray[Any] = _count(data, offsets, lexicon(), latin())
    return counts
