"""A pass: neighbouring row steps over one shard's bytes, in one read, each committed on its own."""

import resource
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.commit import Attempt
from pipelines.plan import Step
from pipelines.shards import Shard, batches, sidecar_schema, sidecar_writer
from pipelines.store import Store
from stages.base import Kernel, RowStage, measure
from stages.errors import StageError
from stages.failpoints import failpoint

_KERNELS: dict[str, Kernel] = {}
_KERNELS_KEPT = 32


@dataclass(frozen=True, slots=True)
class Address:
    """Where a step's result for one shard is committed."""

    folder: str
    name: str


@dataclass(frozen=True, slots=True)
class RowPass:
    """Measure one shard. Running it twice is harmless: the commit record decides.

    `poison` maps a step's name to the rows that must not be measured, each with its reason and message.
    """

    store: Store
    shard: Shard
    steps: tuple[Step, ...]
    addresses: Mapping[str, Address]
    sidecars: Mapping[str, str]
    poison: Mapping[str, Mapping[int, tuple[str, str]]] = field(default_factory=dict)

    def __call__(self) -> dict[str, Any]:
        """Commit every step's sidecar; gives the commit records by step."""
        with ExitStack() as stack:
            writers = [stack.enter_context(_StepWriter(self, step)) for step in self.steps]
            start = 0
            for batch in batches(self.store, self.shard, self.columns(), self.sidecars):
                self._measure(batch, start, writers)
                start += batch.num_rows
            failpoint("pass.before_commit")
            return {w.step.name: w.commit() for w in writers}

    def columns(self) -> list[str]:
        """The columns that the pass reads from the shard and from other sidecars."""
        made = {c for step in self.steps for c in step.columns()}
        read = [c for step in self.steps for c in step.reads if c not in made]
        return list(dict.fromkeys(["doc_id", "id", *read]))

    def _measure(self, batch: pa.RecordBatch, start: int, writers: "list[_StepWriter]") -> None:
        known = {name: batch.column(i) for i, name in enumerate(batch.schema.names)}
        for writer in writers:
            step = writer.step
            began, cpu = time.perf_counter(), time.process_time()
            answer = self.answer(step, known, start, batch.num_rows)
            known |= {f"{step.name}.{n}": answer.column(i) for i, n in enumerate(answer.schema.names)}
            writer.write(known["doc_id"], known["id"], answer)
            writer.seconds += time.perf_counter() - began
            writer.cpu_seconds += time.process_time() - cpu

    def answer(self, step: Step, known: Mapping[str, pa.Array], start: int, rows: int) -> pa.RecordBatch:
        """One step's columns for rows of which `known` holds every column that the step reads."""
        stage = step.stage
        assert isinstance(stage, RowStage)
        inputs = {c: known[c] for c in stage.reads()}
        bad = [r - start for r in self.poison.get(step.name, {}) if start <= r < start + rows]
        if bad:
            mask = pa.array([i not in bad for i in range(rows)])
            inputs = {c: pc.if_else(mask, v, pa.scalar(None, v.type)) for c, v in inputs.items()}
        failpoint("pass.before_measure")
        try:
            return measure(stage, kernel_of(step, self.store), pa.RecordBatch.from_pydict(inputs))
        except StageError as error:
            raise StageError(
                f"step {step.name!r} failed on shard {self.shard.digest}: {error.message}",
                **{**error.fields, "step": step.name, "shard": self.shard.digest, "row": start},
            ) from error


class _StepWriter:
    """One step's sidecar while its shard is measured."""

    def __init__(self, task: RowPass, step: Step) -> None:
        self.step, self._task = step, task
        self.seconds = self.cpu_seconds = 0.0
        self._ids: dict[int, tuple[str, str | None]] = {}
        self._rows = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        address = self._task.addresses[self.step.name]
        self._attempt = self._stack.enter_context(Attempt(self._task.store, address.folder, address.name))
        self._file = ExitStack()
        path = self._file.enter_context(self._attempt.file())
        self._columns = self.step.stage.schema()
        self._writer = self._file.enter_context(sidecar_writer(path, self._columns))
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is not None:
            self._file.__exit__(*error)  # type: ignore[arg-type]  # three that belong together
        self._stack.__exit__(*error)  # type: ignore[arg-type]  # the same

    def write(self, doc_id: pa.Array, ids: pa.Array, answer: pa.RecordBatch) -> None:
        """Append one row group."""
        for row in self._task.poison.get(self.step.name, {}):
            if self._rows <= row < self._rows + len(doc_id):
                self._ids[row] = (doc_id[row - self._rows].as_py(), ids[row - self._rows].as_py())
        table = pa.Table.from_arrays([doc_id, ids, *answer.columns], schema=sidecar_schema(self._columns))
        self._writer.write_table(table, row_group_size=max(1, len(doc_id)))
        self._rows += len(doc_id)

    def commit(self) -> dict[str, Any]:
        """Finish the file and create the commit record."""
        self._file.close()
        poison = self._task.poison.get(self.step.name, {})
        return self._attempt.commit(
            {
                "rows": self._rows,
                "text_bytes": self._task.shard.bytes,
                "seconds": round(self.seconds, 6),
                "cpu_seconds": round(self.cpu_seconds, 6),
                "peak_memory_bytes": peak_memory_bytes(),
                "quarantined": [
                    {"row": r, "doc_id": self._ids[r][0], "id": self._ids[r][1], "reason": why, "message": message}
                    for r, (why, message) in sorted(poison.items())
                ],
            }
        )


def kernel_of(step: Step, store: Store) -> Kernel:
    """The step's kernel, opened once per process."""
    if step.key not in _KERNELS:
        if len(_KERNELS) >= _KERNELS_KEPT:
            _KERNELS.clear()
        assert isinstance(step.stage, RowStage)
        _KERNELS[step.key] = step.stage.open_in(store)
    return _KERNELS[step.key]


def peak_memory_bytes() -> int:
    """The process's largest resident size so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
