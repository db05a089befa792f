"""Byte-pair merges of plain ASCII words, cut as GPT-2 cuts them: what the library gives, without its strings.

GPT-2's pattern (Radford et al. 2019), of which ASCII needs

    's|'t|'re|'ve|'m|'ll|'d| ?letters| ?digits| ?signs|white space but its last before a word|white space
"""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.kernels.peek import inner, kernel, u8

#: What a byte is.
ODD, LETTER, DIGIT, SIGN, SPACE = 0, 1, 2, 3, 4
#: Longer words are the library's: merging takes the square of their length here.
LONGEST = 128
_PLAIN = b"\t\n\r" + bytes(range(32, 127))
_MIX = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Merges as a hash table: for each pair of ids its rank and what it becomes; the id and the kind of each byte."""

    keys: NDArray[np.uint64]
    values: NDArray[np.int64]  # rank and id
    bytes: NDArray[np.int64]
    kinds: NDArray[np.uint8]


def pairs_of(vocabulary: Mapping[str, int], merges: Sequence[Any]) -> Pairs | None:
    """The tables of a byte-level BPE; None where it lacks an ASCII byte or names what it does not have."""
    letters = {b: chr(b if b > 32 else 256 + b) for b in _PLAIN}  # as GPT-2 writes bytes
    split = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in merges]
    named = {*letters.values(), *(part for m in split for part in (*m, "".join(m)))}
    if not named <= vocabulary.keys() or any(len(m) != 2 for m in split):
        return None
    ids = np.array([(vocabulary[a], vocabulary[b], vocabulary[a + b]) for a, b in split], np.int64).reshape(-1, 3)
    slots = 1 << (2 * len(ids) + 1).bit_length()
    pairs = Pairs(
        np.zeros(slots, np.uint64), np.zeros((slots, 2), np.int64), np.zeros(256, np.int64), np.zeros(256, np.uint8)
    )
    for b, letter in letters.items():
        pairs.bytes[b] = vocabulary[letter]
        kind = SPACE if b <= 32 else SIGN
        pairs.kinds[b] = LETTER if letter.isalpha() and b > 32 else DIGIT if letter.isdigit() else kind
    _fill(pairs.keys, pairs.values, ids)
    return pairs


@kernel()
def _fill(keys: Any, values: Any, ids: Any) -> None:
    for rank in range(ids.shape[0]):
        slot = _slot(keys, _key(ids[rank, 0], ids[rank, 1]))
        if keys[slot] == np.uint64(0):  # the first of equal merges holds
            keys[slot] = _key(ids[rank, 0], ids[rank, 1])
            values[slot, 0], values[slot, 1] = rank, ids[rank, 2]


@inner()
def _key(a: int, b: int) -> int:
    return ((np.uint64(a) << np.uint64(32)) | np.uint64(b)) + np.uint64(1)


@inner()
def _slot(keys: Any, key: int) -> int:
    """Where a pair is, or would be."""
    mask = np.uint64(keys.shape[0] - 1)
    slot = ((key * _MIX) >> np.uint64(32)) & mask
    while keys[slot] != np.uint64(0) and keys[slot] != key:
        slot = (slot + np.uint64(1)) & mask
    return np.int64(slot)


@inner()
def _contraction(address: int, i: int, end: int) -> int:
    """The end of the contraction that begins at byte `i`, or `i`."""
    if u8(address, i) != 39 or i + 1 >= end:
        return i
    b = u8(address, i + 1)
    if b == 115 or b == 116 or b == 109 or b == 100:  # noqa: PLR1714 - s t m d; numba compiles a set of numbers badly
        return i + 2
    if i + 2 < end:
        c = u8(address, i + 2)
        if (b == 114 and c == 101) or (b == 118 and c == 101) or (b == 108 and c == 108):  # re ve ll
            return i + 3
    return i


@inner()
def _word_end(address: int, kinds: Any, i: int, end: int) -> int:
    """The end of the word that begins at byte `i`."""
    stop = _contraction(address, i, end)
    if stop > i:
        return stop
    j = i
    if u8(address, j) == 32 and j + 1 < end:
        j += 1
    kind = kinds[u8(address, j)]
    if kind != SPACE:
        while j < end and kinds[u8(address, j)] == kind:
            j += 1
        return j
    j = i
    while j < end and kinds[u8(address, j)] == SPACE:
        j += 1
    return j - 1 if j < end and j - i > 1 else j


@inner()
def _merge(ids: Any, at: int, n: int, keys: Any, values: Any) -> int:
    """Merge the `n` ids from `at` on, the lowest rank first, the leftmost of equal ones; gives how many are left."""
    while n > 1:
        best, place, new = np.int64(1) << 62, -1, 0
        for k in range(at, at + n - 1):
            slot = _slot(keys, _key(ids[k], ids[k + 1]))
            if keys[slot] != np.uint64(0) and values[slot, 0] < best:
                best, place, new = values[slot, 0], k, values[slot, 1]
        if place < 0:
            break
        ids[place] = new
        n -= 1
        for k in range(place + 1, at + n):
            ids[k] = ids[k + 1]
    return n


@kernel()
def plain(data: Any, begins: Any, ends: Any, keys: Any, values: Any, byte_ids: Any, kinds: Any) -> tuple[Any, Any, Any]:
    """How many tokens each piece has, the ids of all of them, and which pieces are not plain (they have none here)."""
    address = data.ctypes.data
    room = 0
    for k in range(begins.shape[0]):
        room += ends[k] - begins[k]
    ids, lengths = np.empty(room, np.int64), np.zeros(begins.shape[0], np.int64)
    odd = np.zeros(begins.shape[0], np.bool_)
    at = 0
    for k in range(begins.shape[0]):
        i, end = begins[k], ends[k]
        for j in range(i, end):
            odd[k] |= kinds[u8(address, j)] == ODD
        start = at
        while i < end and not odd[k]:
            stop = _word_end(address, kinds, i, end)
            if stop - i > LONGEST:
                odd[k] = True
                break
            for j in range(i, stop):
                ids[at + j - i] = byte_ids[u8(address, j)]
            at += _merge(ids, at, stop - i, keys, values)
            i = stop
        if odd[k]:
            at = start
        lengths[k] = at - start
    flat = np.empty(at, np.uint32)
    for k in range(at):
        flat[k] = ids[k]
    return lengths, flat, odd


@kernel()
def gathered(data: Any, begins: Any, ends: Any) -> Any:
    """The bytes of all pieces, one after the other."""
    address = data.ctypes.data
    room = 0
    for k in range(begins.shape[0]):
        room += ends[k] - begins[k]
    found = np.empty(room, np.uint8)
    at = 0
    for k in range(begins.shape[0]):
        for j in range(begins[k], ends[k]):
            found[at] = u8(address, j)
            at += 1
    return found
