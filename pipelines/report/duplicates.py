"""What a report says of duplicates: of every step its clusters, the largest side by side, and the pairs near its threshold.

The first pass counts and chooses; one more over narrow columns finds the members of the chosen clusters and the other
document of each chosen pair; text is read of these few alone.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.duplicate_steps import duplicate_steps, span_steps
from pipelines.report.cards import cards
from pipelines.report.duplicate_step import StepReport
from pipelines.report.repeats import Repeats
from pipelines.report.rules import RuleCounts
from pipelines.sample import Place
from pipelines.view import RunView
from stages.chance import draw

SEED = 0
#: Characters of a document with repeated spans that are read to find one.
_SEARCHED = 200_000


class Duplicates:
    """The duplicates of one run, gathered with the passes of `collect`. Bounded, as every part of it is."""

    def __init__(self, view: RunView, rules: RuleCounts) -> None:
        self._view = view
        self._repeats = [Repeats(view, name) for name in span_steps(view)]
        self._steps = [StepReport(view, step, rules) for step in duplicate_steps(view)]

    @property
    def columns(self) -> list[str]:
        """Full names of the columns that the first pass reads."""
        found = [c for step in self._steps for c in step.columns]
        return list(dict.fromkeys([*found, *(c for repeats in self._repeats for c in repeats.columns)]))

    @property
    def numeric(self) -> list[str]:
        """Columns that have a histogram."""
        found = [step.similarity for step in self._steps if step.similarity]
        return [*found, *(repeats.fraction for repeats in self._repeats)]

    def thresholds(self, column: str) -> list[float]:
        """Where a column's step links documents."""
        return [mark["resolved"][0]["value"] for mark in self.marks(column)]

    def marks(self, column: str) -> list[dict[str, Any]]:
        """The same as marks on a histogram."""
        return [step.mark for step in self._steps if step.mark and step.similarity == column]

    def add(self, shard: int, table: pa.Table, fates_N: npt.NDArray[np.int64], drawn_N: npt.NDArray[np.uint64]) -> None:
        """Count and consider the rows of a shard."""
        for step in self._steps:
            step.add(shard, table, fates_N, drawn_N)
        for repeats in self._repeats:
            repeats.add(shard, table, fates_N, drawn_N)

    def find(self) -> None:
        """Find the chosen clusters' members and the chosen pairs' other documents."""
        searches = [step.search() for step in self._steps if step.clusters]
        columns = list(dict.fromkeys(c for members in searches for c in members.columns))
        if not columns:
            return
        wanted = pa.array(sorted({pair.nearest for step in self._steps for pair in step.pairs()}), pa.string())
        places: dict[str, Place] = {}
        for index, shard in enumerate(self._view.shards):
            table = self._view.read(shard, columns)
            drawn_N = draw(SEED, "members", table["doc_id"])
            for members in searches:
                members.add(index, table, drawn_N)
            rows = pc.indices_nonzero(pc.is_in(table["doc_id"], wanted)).to_pylist()
            places |= {table["doc_id"][row].as_py(): Place(index, row) for row in rows}
        for step in self._steps:
            step.others = {pair.nearest: places[pair.nearest] for pair in step.pairs() if pair.nearest in places}

    def json(self, histogram: Callable[[str], dict[str, Any]], ledger: Mapping[str, Any]) -> dict[str, Any]:
        """`duplicates`: steps that make clusters; `repeats`: within texts; `matches`: with an index of other corpora."""

        def whole(row: dict[str, Any], column: str | None) -> dict[str, Any]:
            counts = dict((ledger.get("steps", {}).get(row["step"]) or {}).get("counts", {}))
            drawn = None if column is None else histogram(column)
            return {**row, "histogram": drawn, "counts": counts, "reasons": reasons_of(self._view, row["step"])}

        found = [(step, whole(step.json(), step.similarity)) for step in self._steps]
        return {
            "duplicates": [row for step, row in found if step.clusters],
            "repeats": [whole(self._repeated(r), r.fraction) for r in self._repeats],
            "matches": [row for step, row in found if not step.clusters],
        }

    def _repeated(self, repeats: Repeats) -> dict[str, Any]:
        found = cards(self._view, repeats.places(), repeats.text, repeats.shown_columns, _SEARCHED)
        return repeats.json(found)


def reasons_of(view: RunView, step: str) -> list[str]:
    """The reasons of the rules that read a column of the step, each once."""
    plain = [rule.reason for rule in view.policy.plain if rule.column.rpartition(".")[0] == step]
    chosen = [choice.reason for choice in view.policy.one_of if choice.cluster.rpartition(".")[0] == step]
    return list(dict.fromkeys([*plain, *chosen]))
