"""The kernels' one block of tables: character classes, and known words with how they are cut."""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.kernels import cache
from stages.kernels.contractions import special_words, units
from stages.kernels.peek import inner, kernel, u8, u32, u64
from stages.kernels.unicode import CLASSES, CUTS, FILTER, HASHES, tables
from stages.kernels.utf8 import span_hash

#: The cut of a unit of measure, which is peeled after a digit but is no known word.
UNIT = 255
_SLOTS = 8192
#: The longest known word in bytes.
LONGEST = 32


@functools.cache
def lexicon() -> NDArray[Any]:
    """The block, as bytes: the index of classes, a filter that rules most words out, cuts, hashes, classes.

    Building it takes most of a second, so it is kept beside the compiled kernels, whose folder is named by the
    sources and by Python's version.
    """
    path = cache.folder() / "lexicon.npy"
    try:
        block = np.load(path, allow_pickle=False)
    except (OSError, ValueError):  # absent, or left half-written by another version of this code
        block = build()
        cache.keep(path, block)
    block.setflags(write=False)
    return block


def build() -> NDArray[Any]:
    """The block, made anew."""
    classes, index = tables()
    block = np.zeros(CLASSES + classes.nbytes, np.uint8)
    block[: index.nbytes] = index.view(np.uint8)
    block[CLASSES:] = classes.view(np.uint8)
    cuts, hashes = block[CUTS:HASHES].view(np.uint32), block[HASHES:CLASSES].view(np.uint64)
    entries = [(word.encode(), _cut([len(p.encode()) for p in parts])) for word, parts in special_words().items()]
    entries += [(word.encode(), UNIT) for word in units()]
    for word, cut in entries:
        assert len(word) <= LONGEST, word
        data = np.frombuffer(word, np.uint8)
        key = np.uint64(_hash(data))
        slot = int(key) & (_SLOTS - 1)
        while hashes[slot] and hashes[slot] != key:
            slot = (slot + 1) & (_SLOTS - 1)
        hashes[slot], cuts[slot] = key, cut
        second = word[1] if len(word) > 1 else 0
        block[FILTER + _filter_slot(len(word), word[0], second, word[-1])] = 1
    return block


@kernel()
def _hash(word: Any) -> int:
    return span_hash(word.ctypes.data, np.int64(0), word.shape[0])


def _cut(lengths: list[int]) -> int:
    """Part lengths in one number: how many, then the first two in a byte each."""
    return len(lengths) | lengths[0] << 8 | (lengths[1] << 16 if len(lengths) > 1 else 0)


def _filter_slot(length: int, first: int, second: int, last: int) -> int:
    return ((first | second << 8 | last << 16 | length << 24) * 0x9E3779B1 >> 18) & 16383


_slot = inner()(_filter_slot)


@inner()
def known(data: int, lo: int, hi: int, t: int) -> int:
    """The cut of a known word, `UNIT` for a unit, 0 for others."""
    length = hi - lo
    if length > LONGEST or length <= 0:
        return 0
    second = u8(data, lo + 1) if length > 1 else 0
    if not u8(t + FILTER, _slot(length, u8(data, lo), second, u8(data, hi - 1))):
        return 0
    key = span_hash(data, lo, hi)
    slot = np.int64(key & np.uint64(_SLOTS - 1))
    while True:
        found = u64(t + HASHES, slot)
        if found == key:
            return u32(t + CUTS, slot)
        if found == np.uint64(0):
            return 0
        slot = (slot + 1) & (_SLOTS - 1)
