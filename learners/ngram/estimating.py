"""Modified Kneser-Ney estimates of one partition: adjusted counts, discounts, backoffs, interpolated probabilities.

In single precision and in lmplz's order of operations. Source: Chen and Goodman 1998 (TR-10-98), equation 26 for the
discounts; Heafield, Pouzyrevsky, Clark and Koehn 2013, "Scalable Modified Kneser-Ney Language Model Estimation", for the
treatment of `<s>`, `<unk>` and pruning.

Arrays of a partition, for each order k: `words{k}` (n, k) ordered by their ends, `adjusted{k}`, `kept{k}`, and
`parent{k}`, the (k-1)-gram that each ends in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learners.ngram.counting import BOS, EOS, FIRST, part_of
from learners.ngram.settings import FALLBACK, Settings
from stages.kernels.arrow import frozen

Array = NDArray[Any]
Floats = NDArray[np.float32]
_COUNTED = 5


def adjusted(words: Array, counts: Array, settings: Settings, *, first: bool, last: bool) -> dict[str, Array]:
    """The n-grams of all orders of a partition with adjusted counts, and what of them the pruning keeps.

    `first` is the partition with `<unk>` and `<s>`, which are added with a count of 0. `last` has the n-grams that come
    last of all: of those lmplz counts the raw count into the statistics for the discounts, and so does this.
    """
    from stages.kernels.ngram_counts import adjust  # noqa: PLC0415 - loads numba

    order = settings.order
    sizes, row, adjusted_counts, raw, parent = adjust(frozen(np.ascontiguousarray(words)), frozen(counts))
    found: dict[str, Array] = {}
    for k in range(1, order + 1):
        at = k % order  # the highest order comes first
        rows = row[at, : sizes[at]]
        found[f"words{k}"] = words[rows, order - k :]
        found[f"parent{k}"] = parent[at, : sizes[at]]
        full = k == order
        found[f"adjusted{k}"] = counts[rows] if full else adjusted_counts[at, : sizes[at]]
        seen = counts[rows] if full else raw[at, : sizes[at]]
        found[f"kept{k}"] = (seen > settings.prune[k - 1]) | (found[f"words{k}"][:, 0] < FIRST if k == 1 else False)
        numbers = found[f"adjusted{k}"].copy()
        if last and not full and len(words) and not (words[-1, order - k + 1 :] == BOS).any():
            numbers[-1] = seen[-1]
        found[f"statistics{k}"] = _statistics(numbers, found[f"adjusted{k}"], found[f"kept{k}"])
    return _with_specials(found, order) if first else found


def _statistics(numbers: Array, adjusted_counts: Array, kept: Array) -> NDArray[np.int64]:
    """N-grams; how many are kept; how many have the counts 1 to 4; the sums that the empty context needs."""
    left = adjusted_counts[kept]
    return np.array(
        [
            len(kept),
            kept.sum(),
            *np.bincount(np.minimum(numbers, _COUNTED), minlength=_COUNTED)[1:_COUNTED],
            adjusted_counts.sum(),
            adjusted_counts[~kept].sum(),
            (left == 1).sum(),
            (left == 2).sum(),  # noqa: PLR2004 - a count of two
            (left > 2).sum(),  # noqa: PLR2004 - more than two
        ],
        np.int64,
    )


def _with_specials(found: dict[str, Array], order: int) -> dict[str, Array]:
    """With `<unk>` and `<s>` before the other words."""
    found["words1"] = np.concatenate([np.array([[0], [BOS]], np.uint32), found["words1"]])
    found["adjusted1"] = np.concatenate([[0, 0], found["adjusted1"]])
    found["kept1"] = np.concatenate([[True, True], found["kept1"]])
    found["parent1"] = np.zeros(len(found["words1"]), np.int32)
    found["statistics1"] = found["statistics1"] + np.array([2, 2, *[0] * 9])
    if order > 1:
        found["parent2"] = found["parent2"] + np.int32(2)
    return found


def routes(found: Mapping[str, Array], settings: Settings, starts: Array) -> dict[str, Array]:
    """For each order above 1: its n-grams by the partition of the last word of their context, and where each ends."""
    made: dict[str, Array] = {}
    for k in range(2, settings.order + 1):
        part = part_of(found[f"words{k}"][:, k - 2], starts)
        made[f"route{k}"] = np.argsort(part, kind="stable").astype(np.uint32)
        made[f"ends{k}"] = np.cumsum(np.bincount(part, minlength=len(starts)))
    return made


@dataclass(frozen=True, slots=True)
class Totals:
    """What all partitions together tell: discounts (order, 4), n-grams counted and kept, of which orders fell back."""

    discounts: Floats
    counted: tuple[int, ...]
    kept: tuple[int, ...]
    fallback: tuple[int, ...]
    empty: NDArray[np.int64]

    @classmethod
    def of(cls, statistics: Sequence[Mapping[str, Array]], settings: Settings) -> "Totals":
        """Sum what the partitions counted and estimate the discounts."""
        total = [np.sum([s[f"statistics{k}"] for s in statistics], axis=0) for k in range(1, settings.order + 1)]
        found = [discounts_of(t[2:6]) for t in total]
        return cls(
            np.array([FALLBACK_4 if d is None else d for d in found], np.float32),
            tuple(int(t[0]) for t in total),
            tuple(int(t[1]) for t in total),
            tuple(k for k, d in enumerate(found, 1) if d is None),
            total[0][6:],
        )


FALLBACK_4 = (0.0, *FALLBACK)


def discounts_of(counts: Array) -> tuple[float, float, float, float] | None:
    """Discounts for adjusted counts of 0, 1, 2, and 3 or more, of how many n-grams have the counts 1 to 4.

    None where the data has too few of them (Chen and Goodman 1998, equation 26).
    """
    f = np.float32
    n = [0, *map(int, counts)]
    if 0 in n[1:4]:
        return None
    y = f(n[1]) / f(n[1] + 2.0 * n[2])
    found = [f(0)] + [f(j) - f(j + 1) * y * f(n[j + 1]) / f(n[j]) for j in (1, 2, 3)]
    if any(d < 0 or d > j for j, d in enumerate(found)):
        return None
    return (0.0, float(found[1]), float(found[2]), float(found[3]))


def backoff(numbers: Sequence[Array], discounts: Floats) -> Floats:
    """The mass that a context leaves to shorter ones.

    Args:
        numbers: for each context the sum of its counts, the sum of the pruned ones, and how many kept ones are 1, 2, and
            3 or more.
        discounts: for counts of 0, 1, 2, and 3 or more.

    """
    whole, pruned, *kept = numbers
    gamma = np.zeros(np.shape(whole), np.float32)
    for j, n in enumerate(kept, 1):
        gamma += discounts[j] * np.asarray(n).astype(np.float32)
    gamma += np.asarray(pruned).astype(np.float32)
    return np.asarray(gamma / np.asarray(whole).astype(np.float32), np.float32)


def discounted(counts: Array, whole: Array, discounts: Floats) -> Floats:
    """Each count less its discount, as a share of its context's counts."""
    less = counts.astype(np.float32) - discounts[np.minimum(counts, 3)]
    return np.asarray(less / whole.astype(np.float32), np.float32)


@dataclass(frozen=True, slots=True)
class Contexts:
    """Of the n-grams of one order whose contexts are in one partition: shares, and their contexts' backoffs."""

    share: Floats
    gamma: Floats
    backoffs: Floats


def contexts(own: Mapping[str, Array], order: int, pieces: Sequence[tuple[Array, Array, Array]], d: Floats) -> Contexts:
    """Sum the n-grams of an order by context.

    Args:
        own: the arrays of the partition in which the contexts are.
        order: of the n-grams.
        pieces: words, adjusted counts, and what is kept, of each partition's n-grams with a context here.
        d: discounts of that order.

    """
    from stages.kernels.ngram_counts import find_rows  # noqa: PLC0415 - loads numba

    words = np.concatenate([w for w, _, _ in pieces])
    counts = np.concatenate([c for _, c, _ in pieces])
    kept = np.concatenate([k for _, _, k in pieces])
    table = own[f"words{order - 1}"]
    place = words[:, 0].astype(np.int64) - int(table[0, 0]) if order == 2 and len(table) else None  # noqa: PLR2004 - a bigram
    if place is None:
        place = find_rows(frozen(np.ascontiguousarray(table)), frozen(words))
    assert not len(place) or place.min() >= 0, "every context is an n-gram of the order below"
    size = len(table)

    def sums(weights: Array) -> NDArray[np.int64]:
        return np.bincount(place, weights, size).astype(np.int64)

    many = np.minimum(counts, 3) * kept
    whole = sums(counts)
    there = whole > 0
    numbers = [whole, sums(counts * ~kept), *(sums(many == j) for j in (1, 2, 3))]
    backoffs = np.ones(size, np.float32)
    backoffs[there] = backoff([n[there] for n in numbers], d)
    return Contexts(discounted(counts, whole[place], d), backoffs[place], backoffs)


@dataclass(frozen=True, slots=True)
class Estimates:
    """The kept n-grams of one order: words, base-10 logarithms of probabilities, and of backoffs (none at the top)."""

    words: Array
    logs: Floats
    backoffs: Floats


def unigram_shares(own: Mapping[str, Array], totals: Totals) -> tuple[Floats, Floats]:
    """Shares and backoffs of the words of a partition: `<unk>` gets the backoff's mass alone, `<s>` all (it is given)."""
    words, counts = own["words1"][:, 0], own["adjusted1"]
    gamma = np.full(len(words), backoff(list(totals.empty), totals.discounts[0]), np.float32)
    share = discounted(counts, np.full(len(words), totals.empty[0]), totals.discounts[0])
    share[words == 0] = 0
    share[words == BOS], gamma[words == BOS] = 1, 0
    return share, gamma


def interpolated(
    own: Mapping[str, Array], shares: Sequence[tuple[Floats, Floats]], backoffs: Sequence[Floats], totals: Totals
) -> list[Estimates]:
    """Probabilities of a partition's n-grams, from the lowest order up, and what of them is kept.

    Args:
        own: the partition's arrays.
        shares: for each order the share of every n-gram and the backoff of its context.
        backoffs: of the n-grams of each order but the highest.
        totals: of all partitions.

    """
    uniform = np.float32(1.0) / np.float32(totals.kept[0] - 1)  # with <unk>, without <s>
    below = np.array([uniform], np.float32)
    found = []
    for k, (share, gamma) in enumerate(shares, 1):
        p = share + gamma * below[own[f"parent{k}"]]
        kept = own[f"kept{k}"]
        words = own[f"words{k}"][kept]
        rest = np.empty(0, np.float32)
        if k < len(shares):
            rest = _logs(np.where(words[:, -1] == EOS, np.float32(1), backoffs[k - 1][kept]))
        found.append(Estimates(np.ascontiguousarray(words), np.minimum(np.float32(0), _logs(p[kept])), rest))
        below = p
    return found


def _logs(values: Floats) -> Floats:
    """Base-10 logarithms; what has none is what ARPA files write for never."""
    with np.errstate(divide="ignore"):
        return np.maximum(np.log10(values), np.float32(-99))
