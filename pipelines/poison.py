"""A pass that failed, taken apart: which documents break which step, so that the rest can go on without them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from pipelines.isolate import Poison, find_poison
from pipelines.passes import RowPass, kernel_of
from pipelines.plan import Step
from pipelines.shards import batches
from pipelines.spec import Limits
from stages.errors import StageError

#: So many documents of one shard may break a step, however small the shard is.
FEW = 10


@dataclass(frozen=True, slots=True)
class IsolatedPass:
    """A pass that failed: finds the documents that break it, quarantines them and measures the rest."""

    task: RowPass
    limits: Limits

    def __call__(self) -> dict[str, Any]:
        """The commit records by step.

        Raises:
            StageError: so many rows break the step that the step itself must be at fault.

        """
        poison: dict[str, dict[int, tuple[str, str]]] = {}
        done: tuple[Step, ...] = ()
        for step in self.task.steps:
            done = (*done, step)
            probe = replace(self.task, steps=done, poison=poison)
            found = find_poison(
                _Probe(probe),
                self.task.shard.rows,
                memory_bytes=self.limits.max_document_memory_bytes,
                seconds=self.limits.max_document_seconds,
                most=self._most(),
            )
            self._check(step, found)
            if found:
                poison[step.name] = {p.row: (p.reason, p.message) for p in found}
        return replace(self.task, poison=poison)()

    def _most(self) -> int:
        """How many documents of one shard may be at fault before the step is."""
        return max(FEW, int(self.limits.max_quarantine * self.task.shard.rows))

    def _check(self, step: Step, found: list[Poison]) -> None:
        if len(found) > self._most():
            first = found[0]
            raise StageError(
                f"step {step.name!r} fails on at least {len(found)} of {self.task.shard.rows} documents of shard "
                f"{self.task.shard.digest}, first on row {first.row} ({first.reason}: {first.message}); "
                "mend the stage or raise max_quarantine",
                step=step.name,
                shard=self.task.shard.digest,
                row=first.row,
            )


@dataclass(frozen=True, slots=True)
class _Probe:
    """Measures chosen rows with every step of a pass and throws the numbers away."""

    task: RowPass

    def __call__(self, rows: Sequence[int]) -> None:
        task, start = self.task, 0
        for step in task.steps:
            kernel_of(step, task.store)
        wanted = sorted(rows)
        if not wanted:
            return
        for batch in batches(task.store, task.shard, task.columns(), task.sidecars):
            inside = [r - start for r in wanted if start <= r < start + batch.num_rows]
            numbers = dict(enumerate(r for r in wanted if start <= r < start + batch.num_rows))
            start += batch.num_rows
            if not inside:
                continue
            chosen = batch.take(pa.array(inside, pa.int64()))
            known = {name: chosen.column(i) for i, name in enumerate(chosen.schema.names)}
            for step in task.steps:
                bad = {i for i, r in numbers.items() if r in task.poison.get(step.name, {})}
                small = replace(task, poison={step.name: dict.fromkeys(bad, ("", ""))})
                answer = small.answer(step, known, 0, chosen.num_rows)
                known |= {f"{step.name}.{n}": answer.column(i) for i, n in enumerate(answer.schema.names)}
