"""The best documents that fit a budget."""

from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from stages.base import Column, CorpusStage, column
from stages.chance import gumbel, mixed
from stages.flow import Flow, Site
from stages.selection.keys import (
    LAST,
    Mask,
    Real,
    Rows,
    amounts,
    before,
    falling,
    need_some,
    numbers,
    rows_of,
    values_of,
)
from stages.selection.threshold import first_left_out


class Budget(CorpusStage):
    """Whether a document is among the best whose `count` adds up to at most `amount`.

    A document's priority is `by` (negated with `order: lowest`) + `temperature` x g, where g is a standard Gumbel
    variate made of hash(seed, document). Temperature 0 takes the best; above it documents are sampled without
    replacement, each next one in proportion to exp(by / temperature) among those left (Gumbel top-k: Kool, van Hoof,
    Welling 2019, arXiv:1903.06059, section 2; as QuRating samples with temperature 1 or 2, arXiv:2402.09739).

    Documents are taken in order of priority, equal ones by `doc_id`, while their counts add up to at most `amount`. The
    first that does not fit ends it: smaller ones behind it are not looked for, since a choice by size would bias the
    sample. So up to one document's count of the amount can stay unused. When all fit, all are taken, and
    `short_of_budget` counts what is left of the amount.

    A document without a score (null or NaN) is not selected (null) with `on_null: drop`, the default; with `keep` it
    stands behind all that have one. Without a count it is never selected (null). Infinite scores are first or last.

    Bound: the documents of a 256th of the range of priorities in one process, at most a million (in further rounds).
    """

    kind: Literal["budget"] = "budget"
    writes: ClassVar = pa.schema(
        [
            column("selected", pa.bool_(), "boolean", doc="whether the document is within the budget"),
            column("priority", pa.float64(), "score", better="higher", doc="what documents are taken in order of"),
        ]
    )

    by: Column
    order: Literal["highest", "lowest"] = "highest"
    count: Column
    amount: int = Field(ge=0, le=1 << 62)
    temperature: float = Field(default=0.0, ge=0)
    seed: int
    on_null: Literal["keep", "drop"] = "drop"

    def parameters(self) -> dict[str, Any]:
        """The fields that change the numbers: without temperature the seed does not."""
        fields = super().parameters()
        if not self.temperature:
            del fields["seed"]
        return fields

    def reads(self) -> tuple[str, ...]:
        """The score and the count."""
        return tuple(dict.fromkeys([self.by, self.count]))

    def program(self, flow: Flow) -> None:
        """Find where the budget ends, and hold every document against it."""
        rows = flow.at("shards", "rows", self.offer, to="shards")
        lacking = {
            self.by: rows.counts.get("documents_without_score", 0),
            self.count: rows.counts.get("documents_without_count", 0),
        }
        need_some(self.kind, rows.rows, lacking)
        flow.settle(self.answer, rows, first_left_out(flow, rows, self.amount))

    def offer(self, site: Site) -> tuple[pa.Table, dict[str, int]]:
        """The shard's documents that can be selected, their keys best first, to itself; and counts of the others."""
        table = site.columns(*self.reads())
        score, scored = numbers(table, self.by, self.kind)
        amount, counted = amounts(table, self.count, self.kind)
        rows = rows_of(table, np.zeros(len(score), np.uint64), amount)
        key = falling(self._priority(score, scored, rows), scored)
        rows = Rows(rows.place, rows.group, key, rows.high, rows.low, amount)
        rows = rows.take(counted & scored if self.on_null == "drop" else counted)
        counts = {
            "documents_without_score": int(np.count_nonzero(~scored)),
            "documents_without_count": int(np.count_nonzero(~counted)),
        }
        return rows.to_shard(site.number), counts

    def _priority(self, score: Real, scored: Mask, rows: Rows) -> Real:
        value = np.where(scored, score if self.order == "highest" else -score, 0.0)
        if not self.temperature:
            return value
        with np.errstate(over="ignore"):  # beyond all numbers is first or last
            noisy: Real = value + self.temperature * gumbel(mixed(self.seed, self.kind, rows.high, rows.low))
        return noisy

    def answer(self, site: Site, offered: pa.Table, left_out: pa.Table) -> tuple[pa.Table, dict[str, int]]:
        """What stands before the first document that is left out."""
        del site
        rows = Rows.of(offered)
        selected = np.ones(len(rows.key), bool)
        if left_out.num_rows:
            selected = before(rows, *(left_out[c].to_numpy()[0] for c in ("key", "high", "low")))
        counts = {
            "selected_documents": int(np.count_nonzero(selected)),
            "selected_amount": int(rows.amount[selected].sum()),
        }
        priority = pa.array(values_of(rows.key), mask=rows.key == LAST)
        return pa.table({"row": rows.place, "selected": selected, "priority": priority}), counts
