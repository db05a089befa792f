"""How often each word occurs: counts of parts of a corpus, joined and cut to what occurs often enough."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stages.frequencies import Frequencies

Counts = tuple[NDArray[np.uint64], NDArray[np.int64]]


def counted(words: NDArray[np.uint64]) -> Counts:
    """Distinct hashes, sorted, and how often each occurs."""
    hashes, counts = np.unique(words, return_counts=True)
    return hashes, counts.astype(np.int64)


def joined(one: Counts, other: Counts) -> Counts:
    """The counts of two parts together; the order of parts changes nothing."""
    hashes, inverse = np.unique(np.concatenate([one[0], other[0]]), return_inverse=True)
    counts = np.zeros(len(hashes), np.int64)
    np.add.at(counts, inverse, np.concatenate([one[1], other[1]]))
    return hashes, counts


def fitted(counts: Counts, *, min_count: int) -> Frequencies:
    """The table of the words that occur at least `min_count` times; the others stay in its totals."""
    hashes, occurrences = counts
    often = occurrences >= min_count
    return Frequencies(hashes[often], occurrences[often], int(occurrences.sum()), len(hashes))


def coverage(found: Frequencies, ranks: Sequence[int]) -> list[float]:
    """The share of all words, in [0, 1], that the most frequent ones are, for numbers of them."""
    summed = np.cumsum(np.sort(found.counts)[::-1])
    return [float(summed[min(rank, len(summed)) - 1] / found.words) if len(summed) else 0.0 for rank in ranks]


def entropy(found: Frequencies) -> float:
    """Nats a word of the counted texts by the table itself: the mean rarity of their words."""
    rest = found.words - int(found.counts.sum())
    return float((found.counts @ found.rarity() + rest * found.unseen()) / found.words) if found.words else 0.0
