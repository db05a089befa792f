"""Counting n-grams shard by shard, partition by partition: a partition is a range of last words."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.kernels.arrow import frozen

Array = NDArray[Any]

#: Numbers of `<unk>`, `<s>`, `</s>`, and the first of an ordinary word.
UNK, BOS, EOS, FIRST = 0, 1, 2, 3
SPECIAL = (b"<unk>", b"<s>", b"</s>")


class Vocabulary:
    """Numbers of all words in the order in which the corpus has them first, as lmplz numbers them.

    Words are told apart by 64-bit hashes. Adding the shards in the corpus' order makes the numbers independent of how
    the corpus is cut and of who counts.
    """

    def __init__(self) -> None:
        self._sorted: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._numbers: NDArray[np.int64] = np.empty(0, np.int64)
        self._counts: NDArray[np.int64] = np.zeros(FIRST, np.int64)
        self._hashes: list[Array] = []
        self._words: list[pa.Array] = [pa.array(SPECIAL, pa.binary())]

    def __len__(self) -> int:
        return FIRST + len(self._sorted)

    def add(self, words: pa.Table, sentences: int) -> None:
        """Add a shard's words (`hash`, `word`, `count`, in its order of first sight)."""
        hashes = words["hash"].to_numpy()
        place = np.minimum(np.searchsorted(self._sorted, hashes), max(len(self._sorted) - 1, 0))
        old = self._sorted[place] == hashes if len(self._sorted) else np.zeros(len(hashes), bool)
        new = hashes[~old]
        numbers = np.empty(len(hashes), np.int64)
        numbers[old] = self._numbers[place[old]] if len(self._sorted) else 0
        numbers[~old] = len(self) + np.arange(len(new))
        self._counts = np.concatenate([self._counts, np.zeros(len(new), np.int64)])
        self._counts[numbers] += words["count"].to_numpy()
        self._counts[EOS] += sentences
        self._hashes.append(new)
        self._words += words["word"].filter(pa.array(~old)).chunks
        merged = np.concatenate([self._sorted, new])
        order = np.argsort(merged)
        self._numbers = np.concatenate([self._numbers, numbers[~old]])[order]
        self._sorted = merged[order]

    def arrays(self, hash_of: Mapping[bytes, int], target: int) -> dict[str, Array]:
        """All that tasks need: look-up by hash, bytes of words, hashes by number, where partitions start."""
        words = pa.concat_arrays(self._words)
        offsets = np.frombuffer(words.buffers()[1], np.int32, len(words) + 1, words.offset * 4).astype(np.int64)
        data = words.buffers()[2]
        special = np.array([hash_of[w] for w in SPECIAL], np.uint64)
        return {
            "sorted": self._sorted,
            "numbers": self._numbers.astype(np.uint32),
            "data": np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8),
            "offsets": offsets,
            "hashes": np.concatenate([special, *self._hashes]),
            "starts": starts_of(self._counts, target),
        }


def starts_of(counts: Array, target: int) -> NDArray[np.int64]:
    """The first word of each partition, so that its words occur about `target` times; a frequent word may be alone."""
    starts, held = [0], 0
    for number, count in enumerate(counts.tolist()):
        if held and number >= FIRST and held + count > target:
            starts.append(number)
            held = 0
        held += count
    return np.array(starts, np.int64)


def numbered(tokens: Array, words: pa.Table, vocabulary: Mapping[str, Array]) -> NDArray[np.uint32]:
    """A shard's tokens with the numbers of the whole vocabulary, EOS where its own are the end mark."""
    own = words["hash"].to_numpy()
    numbers = np.append(vocabulary["numbers"][np.searchsorted(vocabulary["sorted"], own)], np.uint32(EOS))
    ends = tokens == np.uint32(0xFFFFFFFF)
    found: NDArray[np.uint32] = numbers[np.where(ends, len(own), tokens)].astype(np.uint32)
    return found


def scattered(ids: Array, order: int, starts: Array) -> dict[str, Array]:
    """The n-grams of a shard with their counts, partition after partition; `ends` is where each partition ends."""
    from stages.kernels.ngram_counts import count_ngrams  # noqa: PLC0415 - loads numba

    words, counts = count_ngrams(frozen(ids), order)
    part = part_of(words[:, -1], starts)
    rows = np.argsort(part, kind="stable")
    ends = np.cumsum(np.bincount(part, minlength=len(starts)))
    return {"words": words[rows], "counts": counts[rows], "ends": ends}


def part_of(words: Array, starts: Array) -> NDArray[np.uint16]:
    """The partition of each word."""
    return (np.searchsorted(starts, words, side="right") - 1).astype(np.uint16)


def merged(pieces: Sequence[tuple[Array, Array]], vocabulary: int) -> tuple[Array, Array]:
    """The different n-grams of a partition and their counts, by last word, then by the one before, and so on."""
    words = np.concatenate([w for w, _ in pieces])
    counts = np.concatenate([c for _, c in pieces])
    if not len(words):
        return words, counts
    keys = _packed(words, vocabulary)
    rows = np.lexsort(keys[::-1]) if len(keys) > 1 else np.argsort(keys[0])
    fresh = np.ones(len(rows), bool)
    fresh[1:] = False
    for one in keys:
        ordered = one[rows]
        fresh[1:] |= ordered[1:] != ordered[:-1]
    first = np.flatnonzero(fresh)
    return np.ascontiguousarray(words[rows[first]]), np.add.reduceat(counts[rows], first)


def _packed(words: Array, vocabulary: int) -> list[NDArray[np.uint64]]:
    """N-grams as few 64-bit numbers, most significant first, that order them by their last words."""
    bits = max(1, (vocabulary - 1).bit_length())
    columns = [words[:, j] for j in range(words.shape[1] - 1, -1, -1)]
    keys = []
    for i in range(0, len(columns), 64 // bits):
        packed = np.zeros(len(words), np.uint64)
        for one in columns[i : i + 64 // bits]:
            packed = (packed << np.uint64(bits)) | one.astype(np.uint64)
        keys.append(packed)
    return keys
