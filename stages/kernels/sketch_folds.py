"""What becomes of every character before n-grams are made of a text: its class and its folded form in UTF-8.

A table begins with two 64-bit switches (see `LOWER` and `FLAGS`). Then come the numbers of blocks of 64 code points and
the blocks, of 64-bit entries, so that the last byte of a character's UTF-8 is its place in a block and the bytes before
are the block's. An entry holds up to four bytes of UTF-8, their number (from bit 32), whether it is a letter (bit 39)
and the class (from bit 40). An entry of 0 separates tokens.
"""

import functools
import unicodedata
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stages.kernels import cache
from stages.kernels.unicode import blocks_of

#: Classes. WORD extends a word, ALONE is a token of its own, MARK extends whatever it follows and begins nothing,
#: SKIPPED is read as absent, ZERO is a digit that is read as 0, once for a run.
SEPARATOR, WORD, ALONE, MARK, SKIPPED, ZERO = range(6)
#: The bit of an entry that says that the character is a letter (Unicode's category L), and no number or mark.
LETTER = 1 << 39
#: Places of the switches in a table: what is or-ed into eight ASCII letters, and whether digits are letters alike and
#: whether all other ASCII characters separate (a flag each).
LOWER, FLAGS = 0, 1
PLAIN_DIGITS, PLAIN_MARKS = 1, 2
#: Where the numbers of the blocks begin in the table, in bytes, and where the entries.
BLOCKS = 16
ENTRIES = BLOCKS + (0x110000 >> 6) * 2

#: Scripts written without spaces between words: blocks of South-East Asian scripts (line breaking class SA of
#: Unicode's annex 14), kana, bopomofo, Yi, Tangut, Nushu, Khitan and the ideographs.
_UNSPACED = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x1950, 0x19FF), (0x1A20, 0x1AAF), (0x3005, 0x3007),
    (0x3021, 0x3029), (0x3031, 0x312F), (0x31A0, 0x31BF), (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF),
    (0xA000, 0xA4CF), (0xA9E0, 0xA9FF), (0xAA60, 0xAADF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x11700, 0x1174F),
    (0x16FE0, 0x18D8F), (0x1AFF0, 0x1B2FF), (0x20000, 0x3FFFF),
)  # fmt: skip
#: The planes that have characters in them; the others hold private use at most, which separates.
_ASSIGNED = ((0, 0x40000), (0xE0000, 0xF0000))
_ZERO_WIDTH_SPACE = 0x200B


class Folding(Protocol):
    """The switches of a sketch that decide what becomes of a character."""

    @property
    def lowercase(self) -> bool:
        """Whether letters are read in lower case."""

    @property
    def punctuation(self) -> bool:
        """Whether punctuation and symbols are kept."""

    @property
    def digits(self) -> bool:
        """Whether digits are kept as they are."""

    @property
    def accents(self) -> bool:
        """Whether non-spacing marks are kept."""


def switches_of(folding: Folding) -> tuple[bool, ...]:
    """The switches in the order of `Folding`."""
    return folding.lowercase, folding.punctuation, folding.digits, folding.accents


def table(folding: Folding) -> NDArray[Any]:
    """The table for some switches, as bytes.

    Building one takes half a second, so it is kept beside the compiled kernels.
    """
    return _table(*switches_of(folding))


@functools.cache
def _table(*switches: bool) -> NDArray[Any]:
    path = cache.folder() / f"folds-{''.join('01'[s] for s in switches)}.npy"
    try:
        block = np.load(path, allow_pickle=False)
    except (OSError, ValueError):  # absent, or left half-written by another version of this code
        block = build(*switches)
        cache.keep(path, block)
    block.setflags(write=False)
    return block  # type: ignore[no-any-return]  # numpy's load promises nothing


def build(*switches: bool) -> NDArray[Any]:
    """The table, made anew; the switches in the order of `Folding`."""
    entries = np.zeros(0x110000, np.uint64)
    for low, high in _ASSIGNED:
        for c in range(low, high):
            if unicodedata.category(chr(c)) != "Cn":  # what is not assigned separates
                entries[c] = _entry(c, switches)
    blocks, index = blocks_of(entries, 64)  # ASCII comes first, so that its entries need no index
    lowercase, punctuation, digits, _ = switches
    flags = (PLAIN_DIGITS if digits else 0) | (0 if punctuation else PLAIN_MARKS)
    header = np.array([0x2020202020202020 if lowercase else 0, flags], np.uint64)
    parts = (header, index, blocks)
    return np.concatenate([part.view(np.uint8) for part in parts])


@functools.cache
def _unspaced() -> frozenset[int]:
    """The code points in blocks of scripts that are written without spaces."""
    return frozenset(c for low, high in _UNSPACED for c in range(low, high + 1))


def _entry(c: int, switches: tuple[bool, ...]) -> int:
    kind, folded = fold(c, switches)
    if kind in (SEPARATOR, SKIPPED):
        return kind << 40
    raw = folded.encode()
    return int.from_bytes(raw, "little") | len(raw) << 32 | (LETTER if folded.isalpha() else 0) | kind << 40


def fold(c: int, switches: tuple[bool, ...]) -> tuple[int, str]:
    """The class and the folded form of a code point; the switches in the order of `Folding`."""
    lowercase, punctuation, digits, accents = switches
    char = chr(c)
    category = unicodedata.category(char)
    if (category == "Cf" and c != _ZERO_WIDTH_SPACE) or 0xFE00 <= c <= 0xFE0F or 0xE0100 <= c <= 0xE01EF:
        return SKIPPED, ""
    if category[0] not in ("LNMPS" if punctuation else "LNM"):
        return SEPARATOR, ""
    if category[0] in "PS":
        return ALONE, char
    if lowercase:
        char = char.lower()[0]
    if not accents:
        base = "".join(d for d in unicodedata.normalize("NFD", char) if unicodedata.category(d) != "Mn")
        if not base:
            return SKIPPED, ""
        char = base if len(base) == 1 else char
    if category == "Nd" and not digits:
        return ZERO, "0"
    alone = c in _unspaced() and category not in ("Nd", "No")
    return (MARK if category[0] == "M" else ALONE if alone else WORD), char
