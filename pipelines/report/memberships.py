"""Documents that the Bloom filters of an index know: how many, how many of them by chance, and some of them."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.duplicate_steps import DuplicateStep
from pipelines.report.cards import BEGINNING
from pipelines.report.matches import SHOWN
from pipelines.report.tally import FATES
from pipelines.sample import Lowest, Place
from stages.banding import candidate_probability

#: Similarities for which the report tells how probably a document is known.
SIMILARITIES = (0.5, 0.8, 0.9)
CONFIDENCE = 0.95


class Memberships:
    """Documents of one step that are known to filters, which name no twins. Bounded: a few counts and documents."""

    def __init__(self, step: DuplicateStep) -> None:
        assert step.bloom is not None
        self._bloom = step.bloom
        self._matches = step.column("matches")
        self._documents = self._asked = 0
        self._fates = np.zeros(len(FATES), np.int64)
        self._drawn = Lowest(SHOWN)

    @property
    def columns(self) -> list[str]:
        """Full names of the columns read, here and of the shown documents."""
        return [self._matches]

    def add(self, shard: int, table: pa.Table, fates_N: npt.NDArray[np.int64], drawn_N: npt.NDArray[np.uint64]) -> None:
        """Count the rows of a shard."""
        matches = table[self._matches]
        rows = np.flatnonzero(pc.fill_null(pc.greater(matches, 0), fill_value=False).to_numpy())
        self._documents += table.num_rows
        self._asked += table.num_rows - matches.null_count
        self._fates += np.bincount(fates_N[rows], minlength=len(FATES))
        self._drawn.offer(shard, drawn_N[rows], rows)

    def places(self) -> list[Place]:
        """Where the shown documents are."""
        return self._drawn.places()

    def json(self, cards: dict[Place, dict[str, Any]]) -> dict[str, Any]:
        """The summary; `cards` are the documents at `places()`.

        `expected_false` is how many of the documents that were looked up are expected to be known though no member has
        a band of theirs: by the rate that was asked for, by the measured one, and where that is 0, with 95 % confidence
        at most, because so few probes cannot tell a small rate from none.
        """
        rates, bands, rows = (self._bloom[name] for name in ("false_positive_rate", "bands", "rows"))
        measured, none_wrong = rates["measured"], rates["measured"] == 0
        expected = {
            "nominal": rates["nominal"] * self._asked,
            "measured": None if measured is None else measured * self._asked,
            "at_most": -math.log(1 - CONFIDENCE) / rates["probes"] * self._asked if none_wrong else None,
        }
        shown = [cards[place] for place in self.places()]
        return {
            "documents": self._documents,
            "asked": self._asked,
            "matched": int(self._fates.sum()),
            "fates": dict(zip(FATES, map(int, self._fates), strict=True)),
            "corpora": [],
            "expected_false": expected,
            "known_with_probability": {str(s): candidate_probability(s, bands, rows) for s in SIMILARITIES},
            "examples": [
                {**{k: v for k, v in card.items() if k not in {"values", "text"}}, "begins": card["text"][:BEGINNING]}
                for card in shown
            ],
        }
