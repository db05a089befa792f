"""Where every token of every epoch is: the order of a view's documents, and where each of them ends.

The stream of an epoch is its documents in order, each as the end-of-text token and its own tokens. Every epoch has the same
documents, so epoch and place of a position are a division. Documents of a view without an order are sorted by
hash(seed, epoch, doc_id): an arm's order does not depend on what else is in the arm, so arms with the same documents see
them in the same relative order here (`trainer/sequences.py` mixes the sequences that are cut from it). The second copy of a
document has a place of its own, drawn like those of documents.

Memory: an epoch's order and ends are 12 bytes a document of the view (16 from 2^32 documents on); two epochs are kept, so
24 bytes a document, and 8 more where documents are repeated. While an epoch is laid out, 16 more pass: its hashes and what
they are compared with, then the lengths.
"""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stages.chance import mixed
from trainer.token_pack import TokenPack
from trainer.view import View

Numbers = NDArray[np.int64]
Hashes = NDArray[np.uint64]
Places = NDArray[np.unsignedinteger[Any]]
#: Some of a view's places.
Chosen = slice | Places
#: Documents whose ids are mixed at once: their numbers stay in the processor's cache.
_CHUNK = 1 << 16
_KEPT = 2


class Layout(NamedTuple):
    """An epoch: which place of the view comes i-th, None for all in turn, and where it ends in the epoch's tokens."""

    places: Places | None
    ends: Numbers


class Pieces(NamedTuple):
    """Parts of documents, [P] each: of which range, the pack's row, first token in the document, tokens, epoch."""

    ranges: Numbers
    rows: Numbers
    offsets: Numbers
    lengths: Numbers
    epochs: Numbers


class Epochs:
    """The documents of a view, epoch after epoch. May be used by several threads.

    tokens: of one epoch, an end-of-text token for each document among them.

    Raises:
        DataError: the view is empty or of another pack.
    """

    def __init__(self, pack: TokenPack, view: View, *, seed: int) -> None:
        view.check(pack)
        parts = range(0, len(view.rows), _CHUNK)
        self.tokens = sum(int(pack.lengths_of(view.rows[i : i + _CHUNK]).sum()) for i in parts) + len(view.rows)
        self._pack, self._view, self._seed = pack, view, seed
        self._copies = None if view.ordered else _copies(view.rows)
        self._lock = Lock()
        self._kept: dict[int, Future[Layout]] = {}

    def prepare(self, epoch: int) -> None:
        """Lay out an epoch before it is needed."""
        self._layout(epoch)

    def pieces(self, begins_R: Numbers, length: int) -> Pieces:
        """What is at the positions of ranges of a length, range after range; 0 is the first epoch's first token."""
        ends_R = begins_R + length
        first_R = begins_R // self.tokens
        parts_R = (ends_R - 1) // self.tokens - first_R + 1
        ranges_P = np.repeat(np.arange(len(begins_R)), parts_R)
        epochs_P = first_R[ranges_P] + _counted(parts_R)
        low_P = np.maximum(begins_R[ranges_P] - epochs_P * self.tokens, 0)
        high_P = np.minimum(ends_R[ranges_P] - epochs_P * self.tokens, self.tokens)
        found = []
        for epoch in np.unique(epochs_P):
            of_P = epochs_P == epoch
            found.append(self._in_epoch(int(epoch), ranges_P[of_P], low_P[of_P], high_P[of_P]))
        if len(found) == 1:
            return found[0]
        pieces = Pieces(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
        inward = np.argsort(pieces.ranges, kind="stable")  # within a range an earlier epoch comes first
        return Pieces(*(column[inward] for column in pieces))

    def _in_epoch(self, epoch: int, ranges_P: Numbers, low_P: Numbers, high_P: Numbers) -> Pieces:
        """The documents of ranges that lie in one epoch, their positions counted from its first token."""
        places, ends = self._layout(epoch)
        first_P = np.searchsorted(ends, low_P, side="right")
        counts_P = np.searchsorted(ends, high_P, side="left") + 1 - first_P
        of_D = np.repeat(np.arange(len(low_P)), counts_P)
        places_D = first_P[of_D] + _counted(counts_P)
        starts = np.where(places_D > 0, ends[places_D - 1], 0)
        begins = np.maximum(starts, low_P[of_D])
        lengths = np.minimum(ends[places_D], high_P[of_D]) - begins
        rows = self._view.rows[places_D if places is None else places[places_D]]
        return Pieces(ranges_P[of_D], rows, begins - starts, lengths, np.full(len(rows), epoch))

    def _layout(self, epoch: int) -> Layout:
        number = 0 if self._view.ordered else epoch  # a given order is the same in every epoch
        with self._lock:
            known = self._kept.get(number)
            if known is None:
                laid: Future[Layout] = Future()
                self._kept[number] = laid
                for old in list(self._kept)[:-_KEPT]:
                    del self._kept[old]
        if known is not None:
            return known.result()
        try:
            laid.set_result(self._lay_out(epoch))
        except BaseException as error:
            laid.set_exception(error)
            with self._lock:
                self._kept.pop(number, None)
            raise
        return laid.result()

    def _lay_out(self, epoch: int) -> Layout:
        rows = self._view.rows
        if self._view.ordered:
            return Layout(None, np.cumsum(self._pack.lengths_of(rows) + 1))
        places = ascending(lambda chosen: self._hashes(epoch, chosen), len(rows))
        ends = self._pack.lengths_of(rows)[places]
        ends += 1
        return Layout(places, np.cumsum(ends, out=ends))

    def _hashes(self, epoch: int, chosen: Chosen) -> Hashes:
        halves_N2 = self._pack.doc_ids_of(self._view.rows[chosen]).view(">u8").astype(np.uint64)
        low = halves_N2[:, 1] if self._copies is None else halves_N2[:, 1] + self._copies[chosen]
        return mixed(self._seed, f"order/{epoch}", halves_N2[:, 0], low)


def ascending(hashes_of: Callable[[Chosen], Hashes], count: int) -> Places:
    """The places 0 to count - 1 by their hashes, and by place where hashes agree.

    numpy sorts numbers ten times as fast as it argsorts them, so the lower bits of a hash make room for the place; where
    the upper bits agree, which is rare, whole hashes decide.
    """
    low = (1 << (count - 1).bit_length()) - 1
    mixed_N = np.empty(count, np.uint64)
    for begin in range(0, count, _CHUNK):
        part = slice(begin, min(begin + _CHUNK, count))
        mixed_N[part] = hashes_of(part) & ~np.uint64(low) | np.arange(part.start, part.stop, dtype=np.uint64)
    mixed_N.sort()
    alike = np.flatnonzero((mixed_N[1:] ^ mixed_N[:-1]) <= low)
    mixed_N &= np.uint64(low)
    places: Places = mixed_N.astype(np.uint32) if count <= 1 << 32 else mixed_N
    if len(alike):
        at = np.union1d(alike, alike + 1)
        those = places[at]
        places[at] = those[np.lexsort((those, hashes_of(those)))]
    return places


def _counted(counts: Numbers) -> Numbers:
    """0 to count - 1 for each count, one after the other."""
    numbers: Numbers = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return numbers


def _copies(rows: Numbers) -> NDArray[np.uint64] | None:
    """For every one of ascending rows, how many of the same come before it; None if all are different."""
    again = np.concatenate([[False], rows[1:] == rows[:-1]])
    if not again.any():
        return None
    numbers = np.arange(len(rows))
    return (numbers - np.maximum.accumulate(np.where(again, 0, numbers))).astype(np.uint64)
