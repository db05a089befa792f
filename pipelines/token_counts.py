"""How many tokens a run exports: those of the step that reads the text that leaves, over every kept document."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow.compute as pc

from pipelines.execute import Execution, failed
from pipelines.judge_run import VERDICT
from pipelines.plan import Plan
from pipelines.shards import Shard, batches
from pipelines.store import Store

KEEP = f"{VERDICT}.keep"


@dataclass(frozen=True, slots=True)
class CountTokens:
    """The tokens of the kept documents of one shard; a document whose tokens are unknown has none."""

    store: Store
    shard: Shard
    sidecars: Mapping[str, str]
    column: str

    def __call__(self) -> int:
        """The sum."""
        found = 0
        for batch in batches(self.store, self.shard, [KEEP, self.column], self.sidecars):
            found += pc.sum(batch[self.column].filter(batch[KEEP])).as_py() or 0
        return found


def tokens_exported(execution: Execution, plan: Plan) -> int | None:
    """The tokens of all kept documents, epochs apart; None where no step counts those of the text that leaves."""
    column = plan.tokens
    if column is None:
        return None
    tasks = [
        CountTokens(execution.store, s, execution.results.sidecars(s, [KEEP, column]), column) for s in execution.shards
    ]
    total = 0
    for outcome in execution.each(tasks):
        if outcome.failure is not None:
            raise failed("counting tokens", outcome, tasks[outcome.index].shard)
        total += outcome.value
    return total
