"""The token column of a run as flat files that training maps: one for each shard, made once and shared by every arm.

    {store}/tokens/{key of the step}/{shard}.{attempt}.tokens      and its commit record

They are found by the addresses of the sidecars that they are made of, so that another run over the same shards, or a
shard that is added, makes only what is missing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.commit import Attempt, Record, committed
from pipelines.execute import Execution, failed
from pipelines.passes import peak_memory_bytes
from pipelines.plan import LEAVING, Plan, Step
from pipelines.shards import Shard, batches
from pipelines.store import Store
from stages.catalog import did_you_mean
from stages.document import packed
from stages.errors import SpecError
from stages.text.tokens import Tokens
from trainer.token_pack import PackWriter

SUFFIX = ".tokens"


@dataclass(frozen=True, slots=True)
class PackFile:
    """One shard's pack: where it is in the store, and how many documents and tokens are in it."""

    shard: str
    path: str
    documents: int
    tokens: int


@dataclass(frozen=True, slots=True)
class PackShard:
    """Writes the pack of one shard; gives the commit record.

    `sizes` is the column with the bytes of the texts that became tokens, or the column of the texts itself.
    """

    store: Store
    shard: Shard
    step: Step
    name: str
    sizes: str
    sidecars: Mapping[str, str]

    @property
    def folder(self) -> str:
        """Where the packs of all shards with these tokens are."""
        return f"tokens/{self.step.key}"

    def __call__(self) -> Record:
        """Write and commit."""
        documents = tokens = 0
        with Attempt(self.store, self.folder, self.name) as attempt:
            with attempt.file(SUFFIX) as path, self._writer(path) as writer:
                for batch in self._batches():
                    lengths, ids = _flat(batch[f"{self.step.name}.ids"])
                    writer.append(packed(pa.chunked_array([batch["doc_id"]])), lengths, ids, _sizes(batch[self.sizes]))
                    documents, tokens = documents + batch.num_rows, tokens + len(ids)
                writer.close()
            facts = {"documents": documents, "tokens": tokens, "peak_memory_bytes": peak_memory_bytes()}
            return attempt.commit(facts)

    def _writer(self, path: Path) -> PackWriter:
        stage = self.step.stage
        assert isinstance(stage, Tokens)
        assert stage.found is not None and stage.vocabulary is not None and stage.end_of_text is not None, stage  # noqa: PT018 - one condition
        return PackWriter(path, vocabulary=stage.vocabulary, end_of_text=stage.end_of_text, tokenizer=stage.found)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        columns = ["doc_id", f"{self.step.name}.ids", self.sizes]
        return batches(self.store, self.shard, columns, self.sidecars)


def token_packs(execution: Execution, plan: Plan, step_name: str) -> tuple[PackFile, ...]:
    """The packs of a step `tokens`, whose results the execution has, in the order of its shards.

    Raises:
        SpecError: the plan has no such step, or it is of another kind.
        StorageError: the store cannot be read or written.
    """
    step = _step(plan, step_name)
    tasks = [_task(execution, plan, step, shard) for shard in execution.shards]
    records = [committed(execution.store, task.folder, task.name) for task in tasks]
    waiting = [n for n, record in enumerate(records) if record is None]
    done = len(tasks) - len(waiting)
    execution.watch.step("token packs", done, len(tasks))
    for outcome in execution.each([tasks[n] for n in waiting]):
        task = tasks[waiting[outcome.index]]
        if outcome.failure is not None:
            raise failed("packing tokens", outcome, task.shard)
        records[waiting[outcome.index]] = outcome.value
        done += 1
        execution.watch.step("token packs", done, len(tasks))
    return tuple(_file(task, record) for task, record in zip(tasks, records, strict=True))


def _step(plan: Plan, name: str) -> Step:
    known = [s.name for s in plan.steps if isinstance(s.stage, Tokens)]
    if name not in known:
        raise SpecError(f"the spec has no step {name!r} of kind tokens{did_you_mean(name, known)}", step=name)
    return plan.step(name)


def _task(execution: Execution, plan: Plan, step: Step, shard: Shard) -> PackShard:
    text = step.reads[0]
    sizes = f"{LEAVING}.bytes" if text == plan.text else text
    sidecars = execution.results.sidecars(shard, [f"{step.name}.ids", sizes])
    return PackShard(execution.store, shard, step, execution.address(step, shard).name, sizes, sidecars)


def _file(task: PackShard, record: Record | None) -> PackFile:
    assert record is not None, "every task has an outcome"
    return PackFile(task.shard.digest, record["files"][0]["path"], record["documents"], record["tokens"])


def _flat(lists: pa.ListArray) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Tokens of each document (-1: unknown), and all of them in one."""
    lengths = pc.fill_null(pc.list_value_length(lists), -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return lengths, lists.flatten().to_numpy(zero_copy_only=False).astype(np.uint32, copy=False)


def _sizes(values: pa.Array) -> NDArray[np.int64]:
    """Bytes of each text, -1 where there is none."""
    found = pc.binary_length(values) if pa.types.is_string(values.type) else values
    return pc.fill_null(found.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]  # Arrow has no stubs


def local_paths(store: Store, files: Sequence[PackFile]) -> list[Path]:
    """Where the packs are on this machine, for `TokenPack.open`."""
    return [store.local(file.path) for file in files]
