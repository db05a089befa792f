"""Word n-grams of texts that occur in a given set of texts, told exactly: hashes find, bytes decide.

A text's words (as `sketch_folds` makes them) are written one after the other, folded and joined by one space, so that an
n-gram is one stretch of bytes and two n-grams are the same words where their bytes are equal.
"""

# ruff: noqa: PLR0917, SIM110 - numba takes flat arguments, and a loop compiles faster than a generator
# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.kernels.arrow import buffers
from stages.kernels.peek import copy, inner, kernel
from stages.kernels.shingles import compose, mixed, multipliers
from stages.kernels.sketch_folds import ALONE, MARK, SEPARATOR, SKIPPED, Folding, table
from stages.kernels.sketch_tokens import fold_at
from stages.kernels.tables import slots_for
from stages.kernels.utf8 import span_hash

#: Words of a document that are held at a time, beside those of one n-gram, and bytes of them; more for longer words.
CHUNK = 1024
CHUNK_BYTES = 1 << 14
#: Bits of the filter for each stretch: one in sixteen n-grams that are not there is looked up in the table.
BITS = 16
_SPACE = np.uint8(32)
_1, _8, _32, _38, _40, _63 = np.uint64(1), np.uint64(8), np.uint64(32), np.uint64(38), np.uint64(40), np.uint64(63)
_7, _BYTE = np.uint64(7), np.uint64(255)


@dataclass(frozen=True, slots=True)
class Passages:
    """What is looked for: E distinct stretches of words, and a hash table of them.

    `content` holds the folded words of all items; stretch e is the `sizes[e]` bytes from `offsets[e]` on, of set
    `sets[e]`. `lengths` are the numbers of words that stretches have, longest first. Before the table a filter is asked, of
    which each length has a part: a power of two of 64-bit words from `parts[l]` to `parts[l + 1]`.
    """

    content: NDArray[np.uint8]
    hashes: NDArray[np.uint64]  # E
    offsets: NDArray[np.int64]  # E
    sizes: NDArray[np.int64]  # E
    sets: NDArray[np.int32]  # E
    slots: NDArray[np.int64]  # number of the stretch plus one, 0 where free
    lengths: NDArray[np.int64]  # L
    bits: NDArray[np.uint64]
    parts: NDArray[np.int64]  # L + 1
    multiples: NDArray[np.uint64]  # longest length

    def text(self, stretch: int) -> str:
        """The words of a stretch, joined by one space."""
        begin = int(self.offsets[stretch])
        return self.content[begin : begin + int(self.sizes[stretch])].tobytes().decode()


@dataclass(frozen=True, slots=True)
class Found:
    """For each of N texts: its n-grams, how many of them occur, all occurrences, and the first of these."""

    ngrams: NDArray[np.int64]  # n-grams of the text, by place
    shared: NDArray[np.int64]  # of these, those that occur in a set
    hits: NDArray[np.int64]  # with occurrences of whole short items
    first: NDArray[np.int64]  # number of the stretch, -1 for none
    place: NDArray[np.int64]  # byte of the text where it begins


@inner()
def _grown(values: Any, used: int, larger: Any) -> Any:
    copy(larger, 0, values, 0, used)
    return larger


@inner()
def _fold_words(
    data: int, i: int, hi: int, t: int, state: int, content: Any, used: int, starts: Any, places: Any, have: int
) -> tuple[int, int, int, int]:
    """Write words from byte `i` on, each with a space after it, until the text ends or a buffer is nearly full.

    Gives where to go on, the bytes used, the whole words there are, and the class of the word that has begun.
    """
    while i < hi and used + 8 <= content.shape[0] and have + 3 <= starts.shape[0]:
        entry, width = fold_at(data, i, hi, t)
        kind = np.int64(entry >> _40)
        ends = state != SEPARATOR and (kind in (SEPARATOR, ALONE) or (state == ALONE and kind not in (MARK, SKIPPED)))
        if ends:
            content[used] = _SPACE
            used += 1
            have += 1
            state = np.int64(SEPARATOR)
        if kind not in (SEPARATOR, SKIPPED) and (kind != MARK or state != SEPARATOR):
            if state == SEPARATOR:
                starts[have] = used
                places[have] = i
            for k in range(np.int64((entry >> _32) & _7)):
                content[used] = np.uint8((entry >> (_8 * np.uint64(k))) & _BYTE)
                used += 1
            state = state if kind == MARK else kind
        i += width
    return i, used, have, state


@inner()
def _end_word(state: int, content: Any, used: int, starts: Any, have: int) -> tuple[int, int]:
    """Finish the word that has begun, if one has, and note where the next would begin."""
    if state != SEPARATOR:
        content[used] = _SPACE
        used += 1
        have += 1
    starts[have] = used
    return used, have


@kernel()
def _write_all(data: Any, offsets: Any, block: Any) -> tuple[Any, Any, Any]:
    """The words of all texts, where each begins, and the number of each text's first (one more than texts)."""
    address, t = data.ctypes.data, block.ctypes.data
    content, starts = np.empty(CHUNK_BYTES, np.uint8), np.empty(CHUNK, np.int64)
    places = np.empty(CHUNK, np.int64)
    used, have = np.int64(0), np.int64(0)
    begins = np.zeros(offsets.shape[0], np.int64)
    for d in range(offsets.shape[0] - 1):
        i, hi, state = np.int64(offsets[d]), np.int64(offsets[d + 1]), np.int64(SEPARATOR)
        while True:
            i, used, have, state = _fold_words(address, i, hi, t, state, content, used, starts, places, have)
            if used + 8 > content.shape[0]:
                content = _grown(content, used, np.empty(2 * content.shape[0], np.uint8))
            if have + 3 > starts.shape[0]:
                starts = _grown(starts, have + 1, np.empty(2 * starts.shape[0], np.int64))
                places = np.empty(starts.shape[0], np.int64)
            if i >= hi:
                break
        used, have = _end_word(state, content, used, starts, have)
        begins[d + 1] = have
    return content[:used], starts[: have + 1], begins


@inner()
def _compose_all(tokens: Any, have: int, multiples: Any, lengths: Any, sums: Any, grams: Any) -> None:
    """What `compose` gives for all lengths (longest first) at each place, from one running sum."""
    j = lengths.shape[0] - 1
    for i in range(have):
        sums[i] = 0
    for k in range(min(multiples.shape[0], have)):
        m = multiples[k]
        for i in range(have - k):
            sums[i] += tokens[i + k] * m
        if lengths[j] == k + 1:
            for i in range(have - k):
                grams[j, i] = mixed(sums[i])
            j -= 1


@inner()
def _equal(a: Any, i: int, b: Any, j: int, size: int) -> bool:
    for k in range(size):
        if a[i + k] != b[j + k]:
            return False
    return True


@inner()
def _look_up(
    slots: Any, hashes: Any, offsets: Any, sizes: Any, content: Any, h: int, words: Any, begin: int, size: int
) -> tuple[int, int]:
    """The number of the stretch with this hash and these bytes, or -1, and the slot where the search ended."""
    mask = slots.shape[0] - 1
    slot = np.int64(h & np.uint64(mask))
    while slots[slot] != 0:
        e = slots[slot] - 1
        if hashes[e] == h and sizes[e] == size and _equal(content, offsets[e], words, begin, size):
            return e, slot
        slot = (slot + 1) & mask
    return np.int64(-1), slot


@kernel()
def _index(content: Any, starts: Any, begins: Any, owners: Any, ngram: int, least: int, multiples: Any) -> Any:
    """The distinct stretches of all items, first come first, and the hash table."""
    most = np.int64(0)
    for d in range(owners.shape[0]):
        words = begins[d + 1] - begins[d]
        most += words - ngram + 1 if words >= ngram else np.int64(words >= least)
    hashes, sets = np.empty(most, np.uint64), np.empty(most, np.int32)
    offsets, sizes, counts = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    slots = np.zeros(slots_for(most), np.int64)
    tokens, gram = np.empty(ngram, np.uint64), np.empty(1, np.uint64)
    n = np.int64(0)
    for d in range(owners.shape[0]):
        words = begins[d + 1] - begins[d]
        length = min(words, ngram)
        if length < least:
            continue
        for first in range(begins[d], begins[d + 1] - length + 1):
            for k in range(length):
                tokens[k] = span_hash(content.ctypes.data, starts[first + k], starts[first + k + 1] - 1)
            compose(tokens, 1, multiples, length, gram)
            begin, size = starts[first], starts[first + length] - 1 - starts[first]
            e, slot = _look_up(slots, hashes, offsets, sizes, content, gram[0], content, begin, size)
            if e < 0:
                hashes[n], offsets[n], sizes[n], sets[n], counts[n] = gram[0], begin, size, owners[d], length
                n += 1
                slots[slot] = n
    return hashes[:n], offsets[:n], sizes[:n], sets[:n], counts[:n], slots


def passages(sets: list[list[str]], ngram: int, least: int, folding: Folding) -> Passages:
    """What to look for: the n-grams of each set's items, and whole the items of `least` to `ngram - 1` words."""
    least = min(least, ngram)
    texts = pa.array([text for items in sets for text in items], pa.string())
    owners = np.repeat(np.arange(len(sets), dtype=np.int32), [len(items) for items in sets])
    content, starts, begins = _write_all(*buffers(texts), table(folding))
    multiples = multipliers(ngram)
    hashes, offsets, sizes, owner, counts, slots = _index(content, starts, begins, owners, ngram, least, multiples)
    lengths = np.array([ngram, *(n for n in range(ngram - 1, least - 1, -1) if (counts == n).any())], np.int64)
    room = [1 << max(int(np.count_nonzero(counts == n)) * BITS // 64, 1).bit_length() for n in lengths]
    parts = np.cumsum([0, *room])
    bits = np.zeros(parts[-1], np.uint64)
    for n, begin, words in zip(lengths, parts, room, strict=False):
        mine = hashes[counts == n]
        np.bitwise_or.at(
            bits,
            begin + (mine >> np.uint64(38) & np.uint64(words - 1)).astype(np.int64),
            np.uint64(1) << (mine >> np.uint64(32) & np.uint64(63)),
        )
    return Passages(content, hashes, offsets, sizes, owner, slots, lengths, bits, parts, multiples)


@kernel()
def _find_all(
    data: Any, texts: Any, block: Any, content: Any, hashes: Any, offsets: Any, sizes: Any, slots: Any, lengths: Any,
    bits: Any, parts: Any, multiples: Any, all_of_them: Any,
) -> Any:  # fmt: skip
    address, t, ngram = data.ctypes.data, block.ctypes.data, lengths[0]
    room = CHUNK + ngram + 2
    words, starts, places = np.empty(CHUNK_BYTES, np.uint8), np.empty(room, np.int64), np.empty(room, np.int64)
    tokens, sums = np.empty(room, np.uint64), np.empty(room, np.uint64)
    grams = np.empty((lengths.shape[0], room), np.uint64)
    documents = texts.shape[0] - 1
    out = np.zeros((5, documents), np.int64)
    owners, met, n = np.empty(CHUNK, np.int64), np.empty(CHUNK, np.int64), np.int64(0)
    for d in range(documents):
        i, hi, state = np.int64(texts[d]), np.int64(texts[d + 1]), np.int64(SEPARATOR)
        used, have, hashed, total, going = np.int64(0), np.int64(0), np.int64(0), np.int64(0), True
        out[3, d] = -1
        while going:
            i, used, have, state = _fold_words(address, i, hi, t, state, words, used, starts, places, have)
            going = i < hi
            if not going:
                used, have = _end_word(state, words, used, starts, have)
            elif state == SEPARATOR:
                starts[have] = used
            total += have - hashed
            for k in range(hashed, have):
                tokens[k] = span_hash(words.ctypes.data, starts[k], starts[k + 1] - 1)
            count = max(have - ngram + 1, 0) if going else have
            _compose_all(tokens, have, multiples, lengths, sums, grams)
            for k in range(count):
                for j in range(lengths.shape[0]):
                    if k + lengths[j] > have:
                        continue
                    h = grams[j, k]
                    word = bits[parts[j] + (np.int64(h >> _38) & (parts[j + 1] - parts[j] - 1))]
                    if not (word >> ((h >> _32) & _63)) & _1:
                        continue
                    begin, size = starts[k], starts[k + lengths[j]] - 1 - starts[k]
                    e, _ = _look_up(slots, hashes, offsets, sizes, content, h, words, begin, size)
                    if e >= 0:
                        out[1, d] += j == 0
                        out[2, d] += 1
                        if out[3, d] < 0:
                            out[3, d], out[4, d] = e, places[k] - texts[d]
                        if all_of_them:
                            if n == met.shape[0]:
                                owners = _grown(owners, n, np.empty(2 * n, np.int64))
                                met = _grown(met, n, np.empty(2 * n, np.int64))
                            owners[n], met[n] = d, e
                            n += 1
            base = starts[count]
            for k in range(count, have + 1):
                starts[k - count], places[k - count], tokens[k - count] = starts[k] - base, places[k], tokens[k]
            copy(words, 0, words, base, used - base)
            used, have = used - base, have - count
            hashed = have
            if 2 * used > words.shape[0]:  # else what is kept would be moved for every few bytes that are read
                words = _grown(words, used, np.empty(2 * words.shape[0], np.uint8))
        out[0, d] = max(total - ngram + 1, 0)
    return out, owners[:n], met[:n]


def find(texts: pa.Array, sought: Passages, folding: Folding) -> Found:
    """Where the texts hold what is sought. Memory: a constant, and an n-gram of the longest words."""
    return Found(*_run(texts, sought, folding, all_of_them=False)[0])


def occurrences(
    texts: pa.Array, sought: Passages, folding: Folding
) -> tuple[Found, NDArray[np.int64], NDArray[np.int64]]:
    """As `find`, with every occurrence in order: the text (K) and the number of the stretch (K). Memory: 16 bytes each."""
    counts, owners, met = _run(texts, sought, folding, all_of_them=True)
    return Found(*counts), owners, met


def _run(texts: pa.Array, sought: Passages, folding: Folding, *, all_of_them: bool) -> Any:
    data, offsets = buffers(texts)
    s = sought
    return _find_all(
        data,
        offsets,
        table(folding),
        s.content,
        s.hashes,
        s.offsets,
        s.sizes,
        s.slots,
        s.lengths,
        s.bits,
        s.parts,
        s.multiples,
        all_of_them,
    )
