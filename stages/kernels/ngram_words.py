"""Words of lines, as lmplz reads them: whatever stands between spaces, tabs, carriage returns and NULs; a line is a sentence.

A word is known by the 64-bit hash of its bytes. `<s>`, `</s>` and `<unk>` in a text count as white space.
"""

# ruff: noqa: PLR1714, SIM109 - numba compares faster than it searches
# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.kernels.arrow import buffers, frozen
from stages.kernels.peek import inner, kernel, u8
from stages.kernels.utf8 import span_hash

_MASK = 2**64 - 1
NEWLINE = 10


def word_hash(word: bytes) -> int:
    """The hash of a word, in plain Python: what `span_hash` gives for its bytes."""
    mix, mix_2 = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93
    h = len(word) * mix & _MASK
    whole = len(word) // 8 * 8
    for i in range(0, whole, 8):
        h = (h ^ int.from_bytes(word[i : i + 8], "little")) * mix_2 & _MASK
        h ^= h >> 32
    h = (h ^ int.from_bytes(word[whole:], "little")) * mix_2 & _MASK
    h ^= h >> 29
    h = h * mix & _MASK
    h ^= h >> 32
    return h or 1


#: The hashes of the words that every model has: unknown, begin of sentence, end of sentence.
UNK, BOS, EOS = (np.uint64(word_hash(w)) for w in (b"<unk>", b"<s>", b"</s>"))


@inner()
def is_gap(b: int) -> bool:
    """Whether a byte parts words."""
    return b <= 32 and (b == 32 or b == 10 or b == 9 or b == 13 or b == 0)


@inner()
def next_word(data: int, i: int, hi: int) -> tuple[int, int]:
    """The span of the next word of the line that byte `i` is in; an empty one at the line's end."""
    while i < hi:
        b = u8(data, i)
        if b > 32 or not is_gap(b):
            break
        if b == NEWLINE:
            return i, i
        i += 1
    end = i
    while end < hi:
        b = u8(data, end)
        if b <= 32 and is_gap(b):
            break
        end += 1
    return i, end


@kernel()
def _split(data: Any, offsets: Any) -> Any:
    """Hash, start and end of every word, and EOS at the end of every line; how many reserved words were left out."""
    address = data.ctypes.data
    room = np.int64(offsets[-1]) - np.int64(offsets[0]) + offsets.shape[0]
    hashes = np.empty(room, np.uint64)
    spans = np.empty((room, 2), np.int32)
    n, reserved = 0, 0
    for d in range(offsets.shape[0] - 1):
        i, hi = np.int64(offsets[d]), np.int64(offsets[d + 1])
        while i < hi:
            lo, i = next_word(address, i, hi)
            if lo == i:
                hashes[n] = EOS
                spans[n, 0] = spans[n, 1] = lo
                n += 1
                i += 1
                continue
            h = span_hash(address, lo, i)
            if h == BOS or h == EOS or h == UNK:
                reserved += 1
            else:
                hashes[n] = h
                spans[n, 0], spans[n, 1] = lo, i
                n += 1
            if i == hi:
                hashes[n] = EOS
                spans[n, 0] = spans[n, 1] = lo
                n += 1
    return hashes[:n].copy(), spans[:n].copy(), reserved


@kernel()
def _number(hashes: Any, keys: Any, numbers: Any, known: int) -> Any:
    """A number for every word, new ones from `known` on, and where new ones stand; EOS has the highest number."""
    mask = keys.shape[0] - 1
    out = np.empty(hashes.shape[0], np.uint32)
    first = np.empty(hashes.shape[0], np.int64)
    new = 0
    for i in range(hashes.shape[0]):
        h = hashes[i]
        if h == EOS:
            out[i] = np.uint32(0xFFFFFFFF)
            continue
        slot = np.int64(h & np.uint64(mask))
        while keys[slot] != np.uint64(0) and keys[slot] != h:
            slot = (slot + 1) & mask
        if keys[slot] == np.uint64(0):
            keys[slot] = h
            numbers[slot] = known + new
            first[new] = i
            new += 1
        out[i] = numbers[slot]
    return out, first[:new].copy()


@kernel()
def _insert(keys: Any, numbers: Any, new_keys: Any, new_numbers: Any) -> None:
    mask = new_keys.shape[0] - 1
    for i in range(keys.shape[0]):
        if keys[i] != np.uint64(0):
            slot = np.int64(keys[i] & np.uint64(mask))
            while new_keys[slot] != np.uint64(0):
                slot = (slot + 1) & mask
            new_keys[slot] = keys[i]
            new_numbers[slot] = numbers[i]


#: The number of the mark that ends a sentence, among the numbers of words.
END = 0xFFFFFFFF


class Numbering:
    """Numbers words in the order in which they are first seen: the first is 0."""

    def __init__(self) -> None:
        self._keys: NDArray[np.uint64] = np.zeros(1 << 12, np.uint64)
        self._numbers: NDArray[np.uint32] = np.zeros(1 << 12, np.uint32)
        self.known = 0
        #: Words of the text that are reserved, and were left out.
        self.reserved = 0
        self._hashes: list[NDArray[np.uint64]] = []
        self._words: list[pa.Array] = []

    def number(self, texts: pa.StringArray) -> NDArray[np.uint32]:
        """The numbers of the texts' words, and END after each line."""
        data, offsets = buffers(texts)
        hashes, spans, reserved = _split(data, offsets)
        self.reserved += reserved
        self._make_room(len(hashes))
        numbers, first = _number(frozen(hashes), self._keys, self._numbers, self.known)
        self.known += len(first)
        self._hashes.append(hashes[first])
        self._words.append(_taken(data, spans[first]))
        return numbers

    def words(self) -> pa.Table:
        """`hash` and `word` (binary) by number."""
        words = pa.chunked_array(self._words, pa.binary()) if self._words else pa.chunked_array([], pa.binary())
        hashes = np.concatenate(self._hashes) if self._hashes else np.empty(0, np.uint64)
        return pa.table({"hash": hashes, "word": words})

    def _make_room(self, more: int) -> None:
        size = len(self._keys)
        while size < 2 * (self.known + more):
            size *= 2
        if size > len(self._keys):
            keys, numbers = np.zeros(size, np.uint64), np.zeros(size, np.uint32)
            _insert(frozen(self._keys), frozen(self._numbers), keys, numbers)
            self._keys, self._numbers = keys, numbers


def _taken(data: NDArray[np.uint8], spans: NDArray[np.int32]) -> pa.Array:
    """The bytes of the spans as an Arrow array of their own."""
    lengths = (spans[:, 1] - spans[:, 0]).astype(np.int64)
    ends = np.cumsum(lengths)
    places = np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - lengths, lengths)
    content = data[np.repeat(spans[:, 0].astype(np.int64), lengths) + places]
    offsets = np.concatenate([[0], ends]).astype(np.int32)
    return pa.Array.from_buffers(
        pa.binary(), len(spans), [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(content))]
    )
