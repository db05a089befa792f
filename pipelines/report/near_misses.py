"""Pairs of documents whose similarity is just below or just above the threshold of a step.

Which pairs are shown is a function of the corpus alone: of all documents, the nearest to the threshold from either
side, ties in the order of their hash; each document is in one pair at most.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.duplicate_steps import DuplicateStep
from pipelines.sample import Place

#: Pairs shown on either side; candidates that are remembered to choose them from.
PAIRS = 4
_CANDIDATES = 64
#: What is further from the threshold than this is no near miss.
WITHIN = 0.2
SIDES = ("below", "above")


@dataclass(frozen=True, slots=True)
class Pair:
    """A document, the one that it is nearest to, and how alike they are."""

    doc_id: str
    nearest: str
    similarity: float
    place: Place


@dataclass(frozen=True, slots=True)
class _Candidate:
    distance: float
    drawn: int
    pair: Pair


class NearMisses:
    """The pairs around the threshold of one step. Bounded by a number of candidates."""

    def __init__(self, step: DuplicateStep, threshold: float) -> None:
        assert step.similarity is not None
        self.threshold = threshold
        self._strict = step.strict
        self._column, self._nearest = step.column(step.similarity), step.column("nearest")
        self._candidates: dict[str, list[_Candidate]] = {side: [] for side in SIDES}

    @property
    def columns(self) -> tuple[str, str]:
        """Full names of the columns read."""
        return self._column, self._nearest

    def above(self, similarity: float) -> bool:
        """Whether a similarity is on the side where documents are linked."""
        return similarity > self.threshold if self._strict else similarity >= self.threshold

    def add(self, shard: int, table: pa.Table, drawn_N: npt.NDArray[np.uint64]) -> None:
        """Consider the rows of a shard."""
        there = pc.and_(pc.is_valid(table[self._column]), pc.is_valid(table[self._nearest]))
        rows = np.flatnonzero(there.to_numpy())
        value_N = table[self._column].to_numpy()[rows]
        distance_N = np.abs(value_N - self.threshold)
        above_N = value_N > self.threshold if self._strict else value_N >= self.threshold
        for side, mine_N in zip(SIDES, (~above_N, above_N), strict=True):
            near = np.flatnonzero(mine_N & (distance_N <= WITHIN))
            best = near[np.lexsort((drawn_N[rows[near]], distance_N[near]))[:_CANDIDATES]]
            found = [self._candidate(shard, table, int(rows[i]), float(distance_N[i]), drawn_N) for i in best]
            merged = sorted([*self._candidates[side], *found], key=lambda c: (c.distance, c.drawn))
            self._candidates[side] = merged[:_CANDIDATES]

    def pairs(self) -> list[Pair]:
        """The chosen pairs, from the least alike to the most."""
        chosen = [pair for side in SIDES for pair in _apart([c.pair for c in self._candidates[side]])]
        return sorted(chosen, key=lambda p: (p.similarity, p.doc_id))

    def _candidate(
        self, shard: int, table: pa.Table, row: int, distance: float, drawn_N: npt.NDArray[np.uint64]
    ) -> _Candidate:
        similarity = table[self._column][row].as_py()
        pair = Pair(table["doc_id"][row].as_py(), table[self._nearest][row].as_py(), similarity, Place(shard, row))
        return _Candidate(distance, int(drawn_N[row]), pair)


def _apart(pairs: list[Pair]) -> list[Pair]:
    """The first pairs that have no document in common."""
    used: set[str] = set()
    chosen: list[Pair] = []
    for pair in pairs:
        if len(chosen) < PAIRS and not used & {pair.doc_id, pair.nearest}:
            used |= {pair.doc_id, pair.nearest}
            chosen.append(pair)
    return chosen
