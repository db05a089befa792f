"""WordPiece of plain ASCII words: the longest piece that the vocabulary knows, then the longest that goes on, as in BERT."""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors
# ruff: noqa: FBT001, PLR0917 - numba takes flat arguments by position

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.kernels.peek import inner, kernel, u8
from stages.kernels.tables import slots_for
from stages.kernels.utf8 import span_hash

#: What a byte is: part of a word, a word of its own, or a sign that the chunk is not plain.
LETTER, MARK, ODD = 0, 1, 2
_PUNCTUATION = b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
#: Told apart from the hash of the same bytes at the beginning of a word.
_GOES_ON = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True, slots=True)
class Pieces:
    """A vocabulary as a hash table, and what its tokenizer makes of bytes."""

    keys: NDArray[np.uint64]
    ids: NDArray[np.int32]
    kinds: NDArray[np.uint8]
    lower: NDArray[np.uint8]
    limits: NDArray[np.int64]  # bytes of the longest piece, characters of the longest word, the unknown token


def pieces_of(
    vocabulary: dict[str, int], added: list[str], prefix: str, limits: tuple[int, int], *, fold: bool
) -> Pieces:
    """Tables for a WordPiece model; `limits` are the characters of the longest word and the unknown token."""
    plain = {word.encode(): i for word, i in vocabulary.items() if word.isascii() and word}
    mark = prefix.encode()
    slots = int(slots_for.py_func(2 * len(plain)))
    keys, ids = np.zeros(slots, np.uint64), np.zeros(slots, np.int32)
    data = np.frombuffer(b"".join(plain) + bytes(8), np.uint8)
    ends = np.cumsum([0, *map(len, plain)])
    goes_on = np.array([word.startswith(mark) and len(word) > len(mark) for word in plain], bool)
    _fill(keys, ids, data, ends[:-1] + goes_on * len(mark), ends[1:], goes_on, np.array([*plain.values()], np.int32))
    kinds = np.full(256, ODD, np.uint8)
    kinds[33:127] = LETTER
    kinds[list(_PUNCTUATION)] = MARK
    kinds[[token.encode()[0] for token in added if token]] = ODD  # an added token is found in any place
    lower = np.frombuffer(bytes(range(256)).lower() if fold else bytes(range(256)), np.uint8)
    longest = max(map(len, plain), default=1)
    return Pieces(keys, ids, kinds, lower, np.array([longest, *limits], np.int64))


@kernel()
def _fill(keys: Any, ids: Any, data: Any, begins: Any, ends: Any, goes_on: Any, values: Any) -> None:
    mask = keys.shape[0] - 1
    for k in range(begins.shape[0]):
        h = _key(span_hash(data.ctypes.data, begins[k], ends[k]), goes_on[k])
        slot = np.int64(h & np.uint64(mask))
        while keys[slot] != np.uint64(0):
            slot = (slot + 1) & mask
        keys[slot], ids[slot] = h, values[k]


@inner()
def _key(h: int, goes_on: bool) -> int:
    h = h ^ _GOES_ON if goes_on else h
    return h if h != np.uint64(0) else np.uint64(1)


@inner()
def _piece(keys: Any, ids: Any, word: int, lo: int, hi: int) -> int:
    """The token of a span of a word, -1 for none."""
    mask = keys.shape[0] - 1
    h = _key(span_hash(word, lo, hi), lo > 0)
    slot = np.int64(h & np.uint64(mask))
    while keys[slot] != np.uint64(0):
        if keys[slot] == h:
            return ids[slot]
        slot = (slot + 1) & mask
    return -1


@inner()
def _split(keys: Any, ids: Any, word: int, size: int, longest: int, unknown: int, out: Any, n: int) -> int:
    """Write a word's tokens from place `n` on; the place after them. A word with a part that is no piece is unknown."""
    begin, lo = n, np.int64(0)
    while lo < size:
        hi = min(size, lo + longest)
        token = -1
        while hi > lo:
            token = _piece(keys, ids, word, lo, hi)
            if token >= 0:
                break
            hi -= 1
        if token < 0:
            out[begin] = unknown
            return begin + 1
        out[n] = token
        n += 1
        lo = hi
    return n


@kernel()
def split_chunks(
    data: Any, begins: Any, ends: Any, keys: Any, ids: Any, kinds: Any, lower: Any, limits: Any
) -> tuple[Any, Any, Any]:
    """Where each chunk's tokens begin (one place more), the tokens, and which chunks are not plain and have none here."""
    address, n, total = data.ctypes.data, np.int64(0), 0
    for c in range(begins.shape[0]):
        total += ends[c] - begins[c]
    out, starts = np.empty(total, np.int32), np.zeros(begins.shape[0] + 1, np.int64)
    odd = np.empty(begins.shape[0], np.bool_)
    odd[:] = False
    longest, most, unknown = limits[0], limits[1], limits[2]
    scratch = np.empty(most + 16, np.uint8)
    scratch[:] = 0
    word = scratch.ctypes.data
    for c in range(begins.shape[0]):
        for i in range(begins[c], ends[c]):
            if kinds[u8(address, i)] == ODD:
                odd[c] = True
                break
        i = begins[c]
        while i < ends[c] and not odd[c]:
            size = 0
            if kinds[u8(address, i)] == MARK:
                scratch[0], size, i = u8(address, i), 1, i + 1
            else:
                while i < ends[c] and kinds[u8(address, i)] == LETTER:
                    if size < most:
                        scratch[size] = lower[u8(address, i)]
                    size += 1
                    i += 1
            if size > most:
                out[n] = unknown
                n += 1
            else:
                n = _split(keys, ids, word, size, longest, unknown, out, n)
        starts[c + 1] = n
    return starts, out[:n], odd
