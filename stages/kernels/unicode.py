"""Character classes for the kernels: one 32-bit word of flags for every code point, in a two-level table.

Made from Python's `unicodedata` on first use (a few tenths of a second), so the kernels agree with `str.isspace`,
`str.isalpha` and `str.splitlines` of the same Python. A kernel looks a code point `c` up with
`classes[(index[c >> 8] << 8) + (c & 255)]`; code points below 256 are simply `classes[c]`.

The W_* flags are the classes of spaCy 3.8's English tokenizer (MIT), restated by rule: letters are the cased
letters of the Latin, Greek and Cyrillic blocks it names plus whole blocks of scripts without case; icons are the
category So. Deviations: letters and icons that joined Unicode after spaCy's lists were written count as such.
"""

import functools
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPACE = 1 << 0  # str.isspace
BREAK = 1 << 1  # ends a line for str.splitlines
ALPHA = 1 << 2  # str.isalpha
SYMBOL = 1 << 3  # datatrove 0.10: PUNCTUATION or TERMINAL
PUNCTUATION_MARK = 1 << 4  # datatrove 0.2: PUNCTUATION alone
TERMINAL_MARK = 1 << 5  # ends a sentence in some script
W_ALPHA = 1 << 6
W_LOWER = 1 << 7  # lower case, or of a script without case
W_UPPER = 1 << 8  # upper case, or of a script without case
W_PREFIX = 1 << 9  # one character that is peeled from a word's beginning
W_SUFFIX = 1 << 10  # the same for its end
W_QUOTE = 1 << 11
W_ICON = 1 << 12
W_CURRENCY = 1 << 13
W_DIGIT = 1 << 14  # 0-9
W_BEFORE_DOT = 1 << 15  # a final dot after it is peeled
W_INFIX = 1 << 16  # may cut a word in its middle
W_HOST = 1 << 17  # may begin and end a label of a host name
SENTENCE_END = 1 << 18  # a word that is this one character ends a sentence
PUNCT = 1 << 19  # general category P*
UPPER = 1 << 20  # general category Lu
LOWER = 1 << 21  # general category Ll
DIGIT = 1 << 22  # general category Nd
ALNUM = 1 << 23  # str.isalnum
LETTER = 1 << 24  # a-z and A-Z
SIGN = 1 << 25  # general category S*
PHRASE = 1 << 26  # may begin one of C4's phrases, or is a curly bracket

#: Where the parts of the kernels' one block of tables begin, in bytes: the index, then known words, then the classes.
FILTER, CUTS, HASHES, CLASSES = 8_704, 25_088, 57_856, 123_392

#: datatrove's PUNCTUATION, both releases (filters.md, section 1).
PUNCTUATION = frozenset(
    "!/—”:％１〈&(、━\\【#%「」，】；+^]~“《„';’{|∶´[=-`*．（–？！：$～«〉,><》)?）。…@_.\"}►»"
    + "".join(chr(c) for a, b in ((0, 9), (11, 13), (13, 32), (127, 160)) for c in range(a, b))
)
_QUOTES = "'\"”“`‘´’‚,„»«「」『』（）〔〕【】《》〈〉\u2329\u232a⟦⟧"
_MARKS = "…,:;!?¿؟¡()[]{}<>_#*&。？！，、；：～·।،۔؛٪"
_CURRENCY = "$£€¥฿₽﷼" + "".join(map(chr, range(0x20A0, 0x20C0)))
_UNCASED = (
    (0x1200, 0x137F), (0x0980, 0x09FF), (0x0591, 0x05F4), (0xFB1D, 0xFB4F), (0x0620, 0x064A), (0x066E, 0x06D5),
    (0x06E5, 0x06FF), (0x0750, 0x077F), (0x08A0, 0x08BD), (0xFB50, 0xFBB1), (0xFBD3, 0xFD3D), (0xFD50, 0xFDC7),
    (0xFDF0, 0xFDFB), (0xFE70, 0xFEFC), (0x1EE00, 0x1EEBB), (0x0D80, 0x0DFF), (0x0900, 0x097F), (0x0C80, 0x0CFF),
    (0x0B80, 0x0BFF), (0x0C00, 0x0C7F), (0xAC00, 0xD7AF), (0x1100, 0x11FF), (0x3040, 0x30FF), (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2EBEF), (0x2E80, 0x2FDF), (0x2FF0, 0x303F), (0x31C0, 0x31EF),
    (0x3200, 0x33FF), (0xF900, 0xFAFF), (0xFE30, 0xFE4F), (0x1F200, 0x1F2FF), (0x2F800, 0x2FA1F),
)  # fmt: skip
_CASED = (
    (0x41, 0x5A), (0x61, 0x7A), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x24F), (0x250, 0x2AF), (0x386, 0x38F),
    (0x391, 0x3A9), (0x3AC, 0x3AF), (0x3B1, 0x3C9), (0x3CC, 0x3CE), (0x400, 0x401), (0x403, 0x40A), (0x40C, 0x40D),
    (0x410, 0x451), (0x453, 0x45A), (0x45C, 0x45D), (0x490, 0x491), (0x496, 0x497), (0x4A2, 0x4A3), (0x4AE, 0x4AF),
    (0x4BA, 0x4BB), (0x4D8, 0x4D9), (0x4E8, 0x4E9), (0x1D00, 0x1D9A), (0x1E00, 0x1EFF), (0x2C60, 0x2C7F),
    (0xA722, 0xA7FA), (0xAB30, 0xAB64), (0xFF21, 0xFF3A), (0xFF41, 0xFF5A),
)  # fmt: skip
#: Ranges whose code points are all alike, so that building the table stays fast.
_UNIFORM = ((0x3401, 0x4DBF), (0x4E01, 0x9FFF), (0xAC01, 0xD7A3), (0xD800, 0xF8FF), (0x17001, 0x187F7))
_PLANES = ((0x20000, 0x2A6DF), (0x30000, 0x3134A))  # whole ranges of ideographs
_LAST = 0x2FFFF  # above are ideographs, tags and private use

Table = NDArray[Any]


@functools.cache
def tables() -> tuple[Table, Table]:
    """The flags in blocks of 256 (uint32) and the block number of every 256 code points (uint16)."""
    flags = np.zeros(0x110000, np.uint32)
    for c in _irregular():
        flags[c] = _flags(chr(c))
    for low, high in _UNIFORM:
        flags[low : high + 1] = _flags(chr(low))
    for low, high in _PLANES:
        flags[low : high + 1] = ALPHA | ALNUM
    _add(flags, (0xA1, 0xFFFF), W_HOST)
    for low, high in _UNCASED:
        _add(flags, (low, high), W_ALPHA | W_LOWER | W_UPPER | W_BEFORE_DOT)
    blocks, index = blocks_of(flags, 256)
    blocks.setflags(write=False)
    index.setflags(write=False)
    return blocks, index


def blocks_of(entries: NDArray[Any], size: int) -> tuple[NDArray[Any], Table]:
    """The distinct blocks of `size` entries in the order in which they first come, flat, and the number of each (uint16).

    So the first block's entries are found without an index. `np.unique` sorts the blocks, which takes much longer.
    """
    rows = entries.reshape(-1, size)
    numbers: dict[bytes, int] = {}
    index = np.array([numbers.setdefault(row.tobytes(), len(numbers)) for row in rows], np.uint16)
    first = np.unique(index, return_index=True)[1]
    return rows[first].reshape(-1), index


def _irregular() -> list[int]:
    skipped = np.zeros(_LAST + 1, bool)
    for low, high in (*_UNIFORM, _PLANES[0]):
        skipped[low : high + 1] = True
    return [int(c) for c in np.flatnonzero(~skipped)]


def _add(flags: Table, span: tuple[int, int], bits: int) -> None:
    flags[span[0] : span[1] + 1] |= np.uint32(bits)


@functools.cache
def terminal_marks() -> frozenset[str]:
    """The characters that end a sentence: `terminal.txt`, one code point in hexadecimal a line."""
    lines = Path(__file__).with_name("terminal.txt").read_text("ascii").split()
    return frozenset(chr(int(line, 16)) for line in lines)


@functools.cache
def sentence_ends() -> frozenset[str]:
    """The words at which spaCy's sentencizer ends a sentence: `sentence_ends.txt`, in the same form."""
    lines = Path(__file__).with_name("sentence_ends.txt").read_text("ascii").split()
    return frozenset(chr(int(line, 16)) for line in lines)


def _flags(c: str) -> int:
    category = unicodedata.category(c)
    if category == "Cn":
        return _marks(c)
    bits = (SPACE if c.isspace() else 0) | (BREAK if len(f"a{c}b".splitlines()) > 1 else 0)
    bits |= (ALPHA if c.isalpha() else 0) | (ALNUM if c.isalnum() else 0)
    bits |= {"Lu": UPPER, "Ll": LOWER, "Nd": DIGIT}.get(category, 0)
    bits |= {"P": PUNCT, "S": SIGN}.get(category[0], 0)
    bits |= W_ICON | W_PREFIX | W_SUFFIX | W_INFIX if category == "So" else 0
    if any(low <= ord(c) <= high for low, high in _CASED) and category in ("Lu", "Ll"):
        bits |= W_ALPHA | (W_UPPER if category == "Lu" else W_LOWER | W_BEFORE_DOT)
    return bits | _marks(c)


def _marks(c: str) -> int:
    bits = SYMBOL | PUNCTUATION_MARK if c in PUNCTUATION else 0
    bits |= SYMBOL | TERMINAL_MARK if c in terminal_marks() else 0
    bits |= SENTENCE_END if c in sentence_ends() else 0
    bits |= W_PREFIX if c in "§%=—–+" else 0
    bits |= W_SUFFIX if c in "—–" else 0
    bits |= W_PREFIX | W_SUFFIX if c in _MARKS + _QUOTES else 0
    bits |= W_QUOTE if c in _QUOTES else 0
    bits |= W_PREFIX | W_CURRENCY if c in _CURRENCY else 0
    bits |= W_BEFORE_DOT if c in _MARKS + _QUOTES + "%²-+|" else 0
    bits |= W_INFIX if c in ".…+-*^,–—~:<>=/" else 0
    if c.isascii():
        bits |= W_DIGIT | W_BEFORE_DOT if c.isdigit() else 0
        bits |= W_HOST if c.isalnum() else 0
        bits |= LETTER if c.isalpha() else 0
        bits |= PHRASE if c.lower() in "ljtpcu{" else 0
    return bits
