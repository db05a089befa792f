"""What texts share with the documents of a held-out panel: 13-word sequences, and sketches that are nearly the same.

A panel document is found where a text holds `ngram` of its words in a row, or the whole of it where it has fewer but at least
`min_words`; and where the MinHash sketches of both share a band (14 bands of 8 values, 5-word n-grams). Words are those of
`minhash`, so layout, case and punctuation hide nothing. Words are compared themselves, so that no n-gram is found by mistake.

Sources: 13-grams: Brown et al. 2020, arXiv:2005.14165, appendix C; sketches: Broder 1997. Memory: the panel, at about 60 bytes
a word and 600 bytes a document, and what one batch shares with it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.text.minhash import Minhash

if TYPE_CHECKING:
    from stages.kernels.passages import Passages

NGRAM, MIN_WORDS = 13, 8
#: Pairs that share a band and are estimated to be less alike than this are chance.
LEAST_JACCARD = 0.5
#: N-grams (or bands) of documents that are looked at together, or those of one text: what stands on every page of a site is
#: in many texts, and in many documents.
TOGETHER = 1 << 16
#: Also how words are read.
_SKETCH = Minhash()

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pairs:
    """K pairs of a text and a panel document that share something, by text and then by document.

    ngrams_K: of the document's distinct n-grams, those that the text holds; stretch_K: the lowest of their numbers, -1 for
    none; jaccard_K: of the two's 5-word n-grams, estimated with a standard error of 0.05 at most; NaN where no band is shared.
    """

    row_K: Ints
    document_K: Ints
    ngrams_K: Ints
    stretch_K: Ints
    jaccard_K: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Overlap:
    """What is looked for: D documents, their n-grams with the documents that hold each, their sketches by band.

    ngrams_D: distinct n-grams of each document; 0 for one of fewer than `min_words` words, which only its sketch can find.
    """

    sought: "Passages"
    ngrams_D: Ints
    owner_starts: Ints  # of each stretch in `owners`; one more than stretches
    owners: Ints
    signatures_DV: NDArray[np.uint32]
    band_keys: NDArray[np.uint64]  # sorted
    band_documents: Ints  # of each

    @classmethod
    def of(cls, texts: pa.Array, *, ngram: int = NGRAM, min_words: int = MIN_WORDS) -> "Overlap":
        """What to look for to find these documents."""
        from stages.kernels.passages import occurrences, passages  # noqa: PLC0415 - numba is slow to import

        sought = passages([[text] for text in texts.to_pylist()], ngram, min_words, _SKETCH)
        found, document, stretch = occurrences(texts, sought, _SKETCH)
        words = _words(sought)[stretch]
        longest = np.zeros(len(texts), np.int64)
        np.maximum.at(longest, document, words)
        # A short document is looked for whole; what else occurs in it are other ones that are shorter still.
        own = np.where(found.ngrams[document] > 0, words == ngram, words == longest[document])
        held = np.unique(np.stack([stretch[own], document[own]], axis=-1), axis=0)
        starts = np.searchsorted(held[:, 0], np.arange(len(sought.hashes) + 1))
        signatures, keys, rows = _banded(texts)
        order = np.argsort(keys, kind="stable")
        counts = np.bincount(held[:, 1], minlength=len(texts)).astype(np.int64)
        return cls(sought, counts, starts, held[:, 1], signatures, keys[order], rows[order])

    def pairs(self, texts: pa.Array) -> Pairs:
        """What each text shares with each document."""
        by_words = self._by_words(texts)
        row_K, document_K, jaccard_K = self._by_sketch(texts)
        documents = len(self.ngrams_D)
        codes = np.union1d(by_words[0] * documents + by_words[1], row_K * documents + document_K)
        ngrams, stretch = np.zeros(len(codes), np.int64), np.full(len(codes), -1, np.int64)
        jaccard = np.full(len(codes), np.nan)
        at = np.searchsorted(codes, by_words[0] * documents + by_words[1])
        ngrams[at], stretch[at] = by_words[2], by_words[3]
        jaccard[np.searchsorted(codes, row_K * documents + document_K)] = jaccard_K
        return Pairs(codes // documents, codes % documents, ngrams, stretch, jaccard)

    def _by_words(self, texts: pa.Array) -> tuple[Ints, Ints, Ints, Ints]:
        """Rows and documents that share n-grams, how many, and the lowest number of one."""
        from stages.kernels.passages import occurrences  # noqa: PLC0415 - numba is slow to import

        _, row, stretch = occurrences(texts, self.sought, _SKETCH)
        met = np.unique(np.stack([row, stretch], axis=-1), axis=0)
        holders = np.diff(self.owner_starts)[met[:, 1]]
        parts = [self._held(met[some]) for some in _blocks(met[:, 0], holders)] or [self._held(met)]
        row_K, document_K, ngrams_K, stretch_K = (np.concatenate(every) for every in zip(*parts, strict=True))
        return row_K, document_K, ngrams_K, stretch_K

    def _held(self, met: Ints) -> tuple[Ints, Ints, Ints, Ints]:
        """The same of rows and stretches that met, in order."""
        holders = np.diff(self.owner_starts)[met[:, 1]]
        which = np.repeat(np.arange(len(met)), holders)
        place = np.arange(len(which)) - np.repeat(np.cumsum(holders) - holders, holders)
        document = self.owners[self.owner_starts[:-1][met[which, 1]] + place]
        codes, first, counts = np.unique(
            met[which, 0] * len(self.ngrams_D) + document, return_index=True, return_counts=True
        )
        return codes // len(self.ngrams_D), codes % len(self.ngrams_D), counts, met[which[first], 1]

    def _by_sketch(self, texts: pa.Array) -> tuple[Ints, Ints, NDArray[np.float64]]:
        """Rows and documents whose sketches share a band and are alike, and how much."""
        signatures, keys, rows = _banded(texts)
        low = np.searchsorted(self.band_keys, keys, "left")
        several = np.searchsorted(self.band_keys, keys, "right") - low
        blocks = [*_blocks(rows, several)] or [slice(0)]
        parts = [self._alike(signatures, rows[some], low[some], several[some]) for some in blocks]
        row_K, document_K, jaccard_K = (np.concatenate(every) for every in zip(*parts, strict=True))
        return row_K, document_K, jaccard_K

    def _alike(
        self, signatures: NDArray[np.uint32], rows: Ints, low: Ints, several: Ints
    ) -> tuple[Ints, Ints, NDArray[np.float64]]:
        """The same of rows whose bands are those of `several` documents from place `low` on."""
        from stages.kernels.minhash import signature_jaccard  # noqa: PLC0415 - numba is slow to import

        which = np.repeat(np.arange(len(rows)), several)
        place = np.arange(len(which)) - np.repeat(np.cumsum(several) - several, several)
        codes = np.unique(rows[which] * len(self.ngrams_D) + self.band_documents[low[which] + place])
        row, document = codes // len(self.ngrams_D), codes % len(self.ngrams_D)
        jaccard = signature_jaccard(signatures[row], self.signatures_DV[document])
        alike = jaccard >= LEAST_JACCARD
        return row[alike], document[alike], jaccard[alike]


def _blocks(rows: Ints, pairs: Ints) -> Iterator[slice]:
    """Neighbouring entries with about `TOGETHER` pairs; those of one row (rows ascend) stay together."""
    ends = np.cumsum(pairs)
    begin = 0
    while begin < len(rows):
        before = ends[begin - 1] if begin else 0
        last = max(begin, int(np.searchsorted(ends, before + TOGETHER, "right")) - 1)
        stop = int(np.searchsorted(rows, rows[last], "right"))
        yield slice(begin, stop)
        begin = stop


def _words(sought: "Passages") -> Ints:
    """How many words each stretch has."""
    spaces = np.concatenate([[0], np.cumsum(sought.content == ord(" "))])
    counts: Ints = spaces[sought.offsets + sought.sizes] - spaces[sought.offsets] + 1
    return counts


def _banded(texts: pa.Array) -> tuple[NDArray[np.uint32], NDArray[np.uint64], Ints]:
    """The signature of each text; the key of each band of each text that has a token, and the text it is of."""
    from stages.kernels.minhash import band_keys, sign  # noqa: PLC0415 - numba is slow to import

    signatures, _, tokens = sign(texts, _SKETCH)
    there = np.flatnonzero(tokens > 0)
    keys = band_keys(signatures[there], _SKETCH.bands, _SKETCH.rows)
    return signatures, keys.reshape(-1), np.repeat(there, _SKETCH.bands)
