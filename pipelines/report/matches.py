"""Documents that an index of earlier corpora knows: which corpora they are in, and some of them."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.duplicate_steps import DuplicateStep
from pipelines.report.cards import BEGINNING
from pipelines.report.tally import ByGroup
from pipelines.sample import Lowest, Place

SHOWN = 6


class Matches:
    """Matches of one step by corpus. Bounded by the number of corpora that `ByGroup` tells apart."""

    def __init__(self, step: DuplicateStep) -> None:
        assert step.similarity is not None
        self._similarity, self._nearest, self._corpus = (
            step.column(leaf) for leaf in (step.similarity, "nearest", "corpus")
        )
        self._corpora = ByGroup()
        self._documents = 0
        self._drawn = Lowest(SHOWN)

    @property
    def columns(self) -> list[str]:
        """Full names of the columns read, here and of the shown documents."""
        return [self._similarity, self._nearest, self._corpus]

    def add(self, shard: int, table: pa.Table, fates_N: npt.NDArray[np.int64], drawn_N: npt.NDArray[np.uint64]) -> None:
        """Count the rows of a shard."""
        rows = np.flatnonzero(pc.is_valid(table[self._nearest]).to_numpy())
        self._documents += table.num_rows
        corpora = table[self._corpus].take(pa.array(rows))
        self._corpora.add(corpora, fates_N[rows], np.zeros(len(rows), np.int64))
        self._drawn.offer(shard, drawn_N[rows], rows)

    def places(self) -> list[Place]:
        """Where the shown documents are."""
        return self._drawn.places()

    def json(self, cards: dict[Place, dict[str, Any]]) -> dict[str, Any]:
        """The summary; `cards` are the documents at `places()`, with the step's columns under `values`."""
        keys = ("name", "documents", "kept", "rejected", "quarantined")
        rows = [{key: row[key] for key in keys} for row in self._corpora.json()]
        return {
            "documents": self._documents,
            "matched": sum(row["documents"] for row in rows),
            "corpora": rows,
            "examples": [self._example(cards[place]) for place in self.places()],
        }

    def _example(self, card: dict[str, Any]) -> dict[str, Any]:
        values = card["values"]
        return {
            **{k: v for k, v in card.items() if k not in {"values", "text"}},
            "begins": card["text"][:BEGINNING],
            "nearest": values[self._nearest],
            "corpus": values[self._corpus],
            "similarity": values[self._similarity],
        }
