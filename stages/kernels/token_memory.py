"""Texts in pieces that begin with white space, and the ids of tokens of pieces that were seen before.

A byte-level tokenizer cuts texts by GPT-2's pattern, in which white space goes before the word: between a character that
is no white space and ASCII white space there is always a cut, and what comes after it does not look back. So a text's
tokens are those of its pieces. Where no white space comes for long (Chinese, base64) a piece ends between two characters
of different kinds, of those that are surely letters, digits or signs.
"""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np

from stages.kernels.byte_pairs import DIGIT, LETTER, ODD, SIGN
from stages.kernels.peek import copy, inner, kernel, u8
from stages.kernels.utf8 import span_hash


@inner()
def _is_space(b: int) -> bool:
    return b == 32 or b == 10 or b == 13 or b == 9  # noqa: PLR1714 - numba compiles a set of numbers badly


@inner()
def _ends_word(data: int, begin: int, i: int) -> bool:
    """Whether the character that ends before byte `i` is surely no white space, of Unicode either; False if in doubt."""
    b = u8(data, i - 1)
    if b < 0x80:
        return 0x20 < b < 0x7F
    second = u8(data, i - 2) if i - begin >= 2 else 0
    first = u8(data, i - 3) if i - begin >= 3 else 0
    doubt = second == 0xC2 and (b == 0x85 or b == 0xA0)  # noqa: PLR1714 - numba compiles a set of numbers badly
    doubt |= first == 0xE1 and (second == 0x9A or second == 0xA0)  # noqa: PLR1714 - the same
    doubt |= first == 0xE2 and ((second == 0x80 and (b <= 0x8A or b >= 0xA8)) or second == 0x81)
    doubt |= first == 0xE3 and second == 0x80 and b == 0x80
    return not doubt


@inner()
def _ascii_kind(b: int) -> int:
    if b <= 0x20 or b >= 0x7F:
        return ODD
    if 0x30 <= b <= 0x39:
        return DIGIT
    return LETTER if 0x41 <= (b & 0xDF) <= 0x5A else SIGN


@inner()
def _between_words(data: int, begin: int, i: int, stop: int) -> bool:
    """Whether a word surely ends before byte `i` and another begins there; False if in doubt."""
    a, b = u8(data, i - 1), u8(data, i)
    left, right = _ascii_kind(a), _ascii_kind(b)
    if a >= 0x80 and i - begin >= 3:  # 、 。 ，
        first, second = u8(data, i - 3), u8(data, i - 2)
        if (first == 0xE3 and second == 0x80 and (a == 0x81 or a == 0x82)) or (  # noqa: PLR1714 - as above
            first == 0xEF and second == 0xBC and a == 0x8C
        ):
            left = SIGN
    ideograph = 0xE5 <= b <= 0xE8  # of U+5000 to U+8FFF
    hiragana = b == 0xE3 and i + 2 < stop and u8(data, i + 1) == 0x81 and u8(data, i + 2) > 0x80
    if ideograph or hiragana:
        right = LETTER
    contraction = a == 39 and right == LETTER  # 's and its like are words
    return min(left, right) > ODD and left != right and not contraction


@kernel()
def pieces(
    data: Any, offsets: Any, document: int, at: int, most: int, long: int
) -> tuple[Any, Any, Any, Any, int, int]:
    """Up to `most` pieces from byte `at` of a document on: hash, begin, end and document of each; where the next begins.

    A piece of more than `long` bytes ends between words as soon as it surely can.
    """
    address = data.ctypes.data
    documents = offsets.shape[0] - 1
    hashes, begins = np.empty(most, np.uint64), np.empty(most, np.int64)
    ends, owners = np.empty(most, np.int64), np.empty(most, np.int64)
    n = 0
    while document < documents and n < most:
        stop = np.int64(offsets[document + 1])
        i = at
        while i < stop and n < most:
            begin = i
            i += 1
            while i < stop and not (
                (_is_space(u8(address, i)) and _ends_word(address, begin, i))
                or (i - begin > long and _between_words(address, begin, i, stop))
            ):
                i += 1
            hashes[n], begins[n], ends[n], owners[n] = span_hash(address, begin, i), begin, i, document
            n += 1
        at = i
        if i == stop:
            document += 1
    return hashes[:n], begins[:n], ends[:n], owners[:n], document, at


@kernel()
def find(table: Any, known: Any, held: Any, data: Any, hashes: Any, begins: Any, ends: Any) -> Any:
    """The entry of each piece in an open-addressing table, -1 where it has none.

    `table` has a row of hash and entry for each slot; the bytes of entry e are `known` from `held[e]` to `held[e + 1]`.
    """
    mask = table.shape[0] - 1
    address, other = data.ctypes.data, known.ctypes.data
    found = np.empty(hashes.shape[0], np.int32)
    for k in range(hashes.shape[0]):
        slot = np.int64(hashes[k] & np.uint64(mask))
        entry = -1
        while table[slot, 0] != np.uint64(0):
            if table[slot, 0] == hashes[k]:
                e = np.int64(table[slot, 1])
                size, at = ends[k] - begins[k], held[e]
                if held[e + 1] - at == size:
                    i = 0
                    while i < size and u8(address, begins[k] + i) == u8(other, at + i):
                        i += 1
                    if i == size:
                        entry = e
                        break
            slot = (slot + 1) & mask
        found[k] = entry
    return found


@kernel()
def insert(table: Any, hashes: Any, first: int) -> None:
    """Add pieces that the table does not hold, as the entries from `first` on."""
    mask = table.shape[0] - 1
    for k in range(hashes.shape[0]):
        slot = np.int64(hashes[k] & np.uint64(mask))
        while table[slot, 0] != np.uint64(0):
            slot = (slot + 1) & mask
        table[slot, 0] = hashes[k]
        table[slot, 1] = np.uint64(first + k)


@kernel()
def joined(found: Any, owners: Any, starts: Any, ids: Any, lengths: Any) -> Any:
    """The ids of all pieces, one after the other; their number is added to the `lengths` of their documents."""
    total = 0
    for c in range(found.shape[0]):
        n = starts[found[c] + 1] - starts[found[c]]
        lengths[owners[c]] += n
        total += n
    flat = np.empty(total, np.uint32)
    at = 0
    for c in range(found.shape[0]):
        begin = starts[found[c]]
        n = starts[found[c] + 1] - begin
        copy(flat, at, ids, begin, n)
        at += n
    return flat
