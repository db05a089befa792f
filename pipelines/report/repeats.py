"""What is repeated within texts: how much, in how many documents, and some of them with the repeated spans marked."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.duplicate_steps import text_of
from pipelines.report import shared_spans
from pipelines.report.tally import FATES
from pipelines.sample import Lowest, Place
from pipelines.view import RunView

#: Documents shown: those whose spans are repeated most, and some chosen by hash.
MOST = 4
DRAWN = 2
_SPANS = 400
_BEFORE = 200  # characters shown before the first span


class Repeats:
    """Repeated spans of one step. Bounded: sums, and a few documents."""

    def __init__(self, view: RunView, step: str) -> None:
        self.step = step
        self.kind = view.plan.step(step).stage.kind
        self.text = text_of(view, step)
        self._often = f"{step}.max_occurrences"
        self._has_often = self._often in view.fields
        sizes = [f"{s.name}.bytes" for s in view.plan.steps if s.companion_of == step]
        self._size = next((c for c in sizes if c in view.fields), None)
        self._documents = np.zeros((2, len(FATES)), np.int64)  # all, with spans
        self._bytes = np.zeros(2, np.int64)  # of all texts, in spans
        self._most: dict[int, tuple[int, Place]] = {}
        self._drawn = Lowest(MOST + DRAWN)

    @property
    def columns(self) -> list[str]:
        """Full names of the columns read."""
        own = [f"{self.step}.duplicate_bytes"]
        return own + ([self._often] if self._has_often else []) + ([self._size] if self._size else [])

    @property
    def fraction(self) -> str:
        """The column of which there is a histogram."""
        return f"{self.step}.duplicate_fraction"

    def add(self, shard: int, table: pa.Table, fates_N: npt.NDArray[np.int64], drawn_N: npt.NDArray[np.uint64]) -> None:
        """Count the rows of a shard."""
        measured = table[f"{self.step}.duplicate_bytes"]
        bytes_N = pc.fill_null(measured, 0).to_numpy().astype(np.int64)
        repeated = np.flatnonzero(bytes_N)
        self._documents[0] += np.bincount(fates_N[pc.is_valid(measured).to_numpy()], minlength=len(FATES))
        self._documents[1] += np.bincount(fates_N[repeated], minlength=len(FATES))
        whole = 0 if self._size is None else pc.sum(table[self._size]).as_py() or 0
        self._bytes += [whole, int(bytes_N.sum())]
        self._drawn.offer(shard, drawn_N[repeated], repeated)
        often_N = pc.fill_null(table[self._often], 0).to_numpy() if self._has_often else bytes_N
        self._consider(shard, repeated, often_N.astype(np.int64), drawn_N)

    def _consider(
        self, shard: int, rows: npt.NDArray[np.int64], often_N: npt.NDArray[np.int64], drawn_N: npt.NDArray[np.uint64]
    ) -> None:
        """One document for each of the largest numbers: those with the same number mostly repeat the same span."""
        for number in np.unique(often_N[rows])[::-1][:MOST].tolist():
            same = rows[often_N[rows] == number]
            row = int(same[np.argmin(drawn_N[same])])
            entry = (int(drawn_N[row]), Place(shard, row))
            self._most[number] = min(self._most.get(number, entry), entry, key=lambda e: e[0])
        self._most = dict(sorted(self._most.items(), reverse=True)[:MOST])

    def places(self) -> list[Place]:
        """Where the shown documents are, the most repeated first."""
        most = [place for _, place in self._most.values()]
        return list(dict.fromkeys([*most, *self._drawn.places()]))[: MOST + DRAWN]

    @property
    def shown_columns(self) -> list[str]:
        """What is read of the shown documents beside what a card needs."""
        more = [self._often] if self._has_often else []
        return [f"{self.step}.spans", self.fraction, f"{self.step}.duplicate_bytes", *more]

    def json(self, cards: dict[Place, dict[str, Any]]) -> dict[str, Any]:
        """The summary; `cards` are the documents at `places()`, with the step's columns under `values`."""
        everything, with_spans = self._documents
        return {
            "step": self.step,
            "kind": self.kind,
            "text": self.text,
            "threshold": None,
            "documents": int(everything.sum()),
            "repeating": {fate: int(n) for fate, n in zip(FATES, with_spans, strict=True)},
            "bytes": int(self._bytes[0]) if self._size else None,
            "duplicate_bytes": int(self._bytes[1]),
            "examples": [self._example(cards[place]) for place in self.places()],
        }

    def _example(self, card: dict[str, Any]) -> dict[str, Any]:
        values = dict(card["values"])
        spans = values.pop(f"{self.step}.spans") or []
        shown = {
            "fraction": values[self.fraction],
            "duplicate_bytes": values[f"{self.step}.duplicate_bytes"],
            "max_occurrences": values.get(self._often),
            "spans": len(spans),
        }
        beyond = card["text_characters"] - len(card["text"])
        own = {k: v for k, v in card.items() if k not in {"values", "text"}}
        return {**own, **shown, "pieces": marked(card["text"], spans, beyond)}


def marked(text: str, spans: list[dict[str, int]], beyond: int = 0) -> list[dict[str, Any]]:
    """The text as pieces, from a little before its first span; spans are of UTF-8 bytes and become characters.

    `beyond` counts the document's characters after `text`.
    """
    data = text.encode()
    edges, at, place = [], 0, 0
    for span in spans[:_SPANS]:
        if span["begin"] >= len(data):
            break
        pair = []
        for edge in (span["begin"], span["end"]):
            place += len(data[at:edge].decode("utf-8", "ignore"))
            at = edge
            pair.append(place)
        edges.append((pair[0], pair[1]))
    start = edges[0][0] - _BEFORE if edges and edges[0][0] > 2 * _BEFORE else 0
    shown = text[start : start + shared_spans.COMPARED]
    inside = [(a - start, min(b - start, len(shown))) for a, b in edges if a - start < len(shown)]
    runs = shared_spans.runs_of(len(shown), inside)
    before = [{"shared": False, "characters": start}] if start else []
    return [*before, *shared_spans.pieces(shown, runs, len(text) - start - len(shown) + beyond)]
