r"""What becomes of every character when a text is put in lower case and split by `\w+|[^\w\s]+`, as Python does it.

The table is laid out as that of `sketch_folds` (no switches are used), so that `fold_at` reads it. An entry holds the
character's lower case, up to four bytes of UTF-8 and their number (from bit 32); a number of 0 says that the character
stays as it is. Then come the class (from bit 40) and what the final sigma needs to know (from bit 48).

Two characters are not their own: the Greek capital sigma, whose lower case depends on what is around it, and the
capital I with a dot, which becomes an i and a combining dot, and a dot is no word character.
"""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.kernels import cache

SPACE, WORD, PUNCT, SIGMA, DOTTED_I = range(5)
#: Flags above the class, as Unicode's Final_Sigma condition names them: cased and not ignorable; ignorable.
CASED, IGNORABLE = 1 << 48, 1 << 49
#: The bytes of a small sigma within a word and at its end, and of the combining dot, first byte lowest.
SMALL_SIGMA, FINAL_SIGMA, COMBINING_DOT = 0x83CF, 0x82CF, 0x87CC

_CAPITAL_SIGMA, _CAPITAL_DOTTED_I = "Σ", "İ"
_SURROGATES = range(0xD800, 0xE000)
_LAST = 0x110000


@functools.cache
def classes() -> NDArray[Any]:
    """The table, as bytes. Building one takes a second, so it is kept beside the compiled kernels."""
    path = cache.folder() / "wordpunct.npy"
    try:
        block = np.load(path, allow_pickle=False)
    except (OSError, ValueError):  # absent, or left half-written by another version of this code
        block = build()
        cache.keep(path, block)
    block.setflags(write=False)
    return block  # type: ignore[no-any-return]  # numpy's load promises nothing


def build() -> NDArray[Any]:
    """The table, made anew from Python's own `lower`, `isalnum` and `isspace`."""
    entries = np.fromiter(map(_entry, range(_LAST)), np.uint64, _LAST)
    blocks, index = np.unique(entries.reshape(-1, 64), axis=0, return_inverse=True)
    index = index.reshape(-1)
    first = [index[0], index[1]]  # ASCII comes first, so that its entries need no index
    order = np.concatenate([first, np.delete(np.arange(len(blocks)), first)])
    place = np.argsort(order).astype(np.uint16)
    parts = (np.zeros(2, np.uint64), place[index], blocks[order].reshape(-1))
    return np.concatenate([part.view(np.uint8) for part in parts])


def _entry(c: int) -> int:
    if c in _SURROGATES:
        return 0
    char = chr(c)
    context = 0
    if f"aΣ{char}".lower()[1] == "σ":
        context = CASED
    elif f"aΣ{char}a".lower()[1] == "σ":
        context = IGNORABLE
    if char == _CAPITAL_SIGMA:
        return context | SIGMA << 40
    if char == _CAPITAL_DOTTED_I:
        return context | DOTTED_I << 40 | 1 << 32 | ord("i")
    small = char.lower()
    assert len(small) == 1, "no other character becomes two"
    kind = SPACE if small.isspace() else WORD if small.isalnum() or small == "_" else PUNCT
    if small == char and c >= 0x80:
        return context | kind << 40
    raw = small.encode()
    return context | kind << 40 | len(raw) << 32 | int.from_bytes(raw, "little")
