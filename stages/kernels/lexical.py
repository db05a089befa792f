"""Of each text: how many words it has, how varied they are (MTLD), and how rare.

Words are those of `sketch_tokens`, lower case, known by their hashes. A word's number is the place of its first
occurrence among the distinct words of its text.
"""

# ruff: noqa: FBT001, FBT003 - numba takes positions
# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.kernels.arrow import buffers
from stages.kernels.peek import copy, inner, kernel
from stages.kernels.sketch_folds import table
from stages.kernels.sketch_tokens import scan_words
from stages.kernels.tables import slots_for

#: McCarthy and Jarvis's factor size, 0.72 = 18 / 25, as a fraction so that comparing with it is exact.
TOP, BOTTOM = 18, 25
#: Words hashed at a time.
_ROOM = 4096


class Words:
    """The switches of `sketch_folds` for words as people read them: lower case, with their digits and accents."""

    lowercase, punctuation, digits, accents = True, False, True, True


@inner()
def _numbered(
    hashes: NDArray[Any], words: int, keys: NDArray[Any], numbers: NDArray[Any], mask: int, ids: NDArray[Any]
) -> int:
    """Write the number of every word into `ids` and the hash of every distinct one to the front of `hashes`."""
    distinct = np.int64(0)
    for w in range(words):
        h = hashes[w]
        slot = np.int64(h & np.uint64(mask))
        while numbers[slot] != 0 and keys[slot] != h:
            slot = (slot + 1) & mask
        if numbers[slot] == 0:
            keys[slot], numbers[slot] = h, distinct + 1
            hashes[distinct] = h
            distinct += 1
        ids[w] = numbers[slot] - 1
    return distinct


@inner()
def _factors(ids: NDArray[Any], words: int, backward: bool, last: NDArray[Any], distinct: int) -> float:
    """MTLD's factors of the words in one direction, the one that is not full counted in part."""
    for i in range(distinct):
        last[i] = -1
    full, types, tokens = np.int64(0), np.int64(0), np.int64(0)
    for w in range(words):
        word = ids[words - 1 - w] if backward else ids[w]
        tokens += 1
        if last[word] != full:
            last[word] = full
            types += 1
        if BOTTOM * types < TOP * tokens:
            full += 1
            types, tokens = np.int64(0), np.int64(0)
    part = 0.0
    if tokens > 0:
        part = (1.0 - types / tokens) / (1.0 - TOP / BOTTOM)
    return full + part


@inner()
def _rarity(
    hashes: NDArray[Any], distinct: int, uses: NDArray[Any], keys: NDArray[Any], values: NDArray[Any], unseen: float
) -> float:
    """The sum of the rarities of a text's words; an empty `keys` slot has a NaN for its value."""
    mask, total = keys.shape[0] - 1, 0.0
    for i in range(distinct):
        h = hashes[i]
        slot = np.int64(h & np.uint64(mask))
        while values[slot] == values[slot] and keys[slot] != h:
            slot = (slot + 1) & mask
        total += uses[i] * (values[slot] if values[slot] == values[slot] else unseen)
    return total


@kernel()
def _measure(data: Any, offsets: Any, folds: Any, known: Any, rarities: Any, unseen: float) -> tuple[Any, Any]:
    address, t = data.ctypes.data, folds.ctypes.data
    end = np.int64(data.shape[0])
    documents = offsets.shape[0] - 1
    counts, sums = np.zeros((documents, 2), np.int64), np.zeros((documents, 3))
    hashes, ids = np.empty(4 * _ROOM, np.uint64), np.empty(4 * _ROOM, np.int64)
    keys, numbers = np.empty(0, np.uint64), np.empty(0, np.int64)
    for d in range(documents):
        i, hi, n = np.int64(offsets[d]), np.int64(offsets[d + 1]), np.int64(0)
        while i < hi:
            if hashes.shape[0] - n < _ROOM:
                more_hashes = np.empty(2 * hashes.shape[0], np.uint64)
                copy(more_hashes, 0, hashes, 0, n)
                hashes = more_hashes
            i, more = scan_words(address, i, hi, end, t, hashes[n:].ctypes.data, np.int64(_ROOM))
            n += more
        if ids.shape[0] < n:
            ids = np.empty(hashes.shape[0], np.int64)
        slots = slots_for(n)
        if keys.shape[0] < slots:
            keys, numbers = np.empty(slots, np.uint64), np.empty(slots, np.int64)
        for k in range(slots):
            numbers[k] = 0
        distinct = _numbered(hashes, n, keys, numbers, slots - 1, ids)
        counts[d, 0], counts[d, 1] = n, distinct
        sums[d, 0] = _factors(ids, n, False, numbers, distinct)
        sums[d, 1] = _factors(ids, n, True, numbers, distinct)
        if known.shape[0] > 0:
            for k in range(distinct):
                numbers[k] = 0
            for w in range(n):
                numbers[ids[w]] += 1
            sums[d, 2] = _rarity(hashes, distinct, numbers, known, rarities, unseen)
    return counts, sums


@kernel()
def _inserted(words: Any, values: Any) -> tuple[Any, Any]:
    slots = slots_for(words.shape[0])
    keys, kept = np.zeros(slots, np.uint64), np.full(slots, np.nan)
    for i in range(words.shape[0]):
        slot = np.int64(words[i] & np.uint64(slots - 1))
        while kept[slot] == kept[slot]:
            slot = (slot + 1) & (slots - 1)
        keys[slot], kept[slot] = words[i], values[i]
    return keys, kept


class Rarities:
    """How rare each known word is, in nats, by its hash; `unseen` is how rare all others are."""

    def __init__(self, words: NDArray[np.uint64], nats: NDArray[np.float64], unseen: float) -> None:
        self.unseen = unseen
        self.keys, self.nats = _inserted(words, nats)


def measure_words(texts: pa.Array, rarities: Rarities | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Counts (words, distinct words) and sums (MTLD's factors forward and backward, nats of rarity) of each text."""
    data, offsets = buffers(texts)
    nothing = np.empty(0, np.uint64), np.empty(0), 0.0
    known, nats, unseen = nothing if rarities is None else (rarities.keys, rarities.nats, rarities.unseen)
    counts, sums = _measure(data, offsets, table(Words()), known, nats, unseen)
    return counts, sums


@kernel()
def _hashes(data: Any, offsets: Any, folds: Any) -> tuple[Any, Any]:
    address, t = data.ctypes.data, folds.ctypes.data
    end, documents = np.int64(data.shape[0]), offsets.shape[0] - 1
    out, begins, n = np.empty(4 * _ROOM, np.uint64), np.zeros(documents + 1, np.int64), np.int64(0)
    for d in range(documents):
        i, hi = np.int64(offsets[d]), np.int64(offsets[d + 1])
        while i < hi:
            if out.shape[0] - n < _ROOM:
                more_out = np.empty(2 * out.shape[0], np.uint64)
                copy(more_out, 0, out, 0, n)
                out = more_out
            i, more = scan_words(address, i, hi, end, t, out[n:].ctypes.data, np.int64(_ROOM))
            n += more
        begins[d + 1] = n
    return out[:n], begins


def word_hashes(texts: pa.Array) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The hash of every word, in order, and where each text's begin (one place more)."""
    data, offsets = buffers(texts)
    hashes, begins = _hashes(data, offsets, table(Words()))
    return hashes, begins


def word_counts(texts: pa.Array) -> NDArray[np.int64]:
    """The words of each text."""
    return np.diff(word_hashes(texts)[1])
